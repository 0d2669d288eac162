//! What comes to the pod.

use crate::stage::{Stage, accept, both, nobody_at, talk, within};
use fairway_netns::socket::{Connect, ReusePort, Source, Transparency};
use fairway_netns::{Namespace, socket, sockets};
use fairway_testbed::Sandbox;
use std::net::SocketAddr;
use tokio::net::TcpStream;

async fn connect_from(namespace: &Namespace, destination: SocketAddr) -> TcpStream {
    let wanted = Connect { destination, source: None, mark: None };
    let socket = namespace.connector(wanted).await.unwrap();
    within(socket.connect(destination)).await.unwrap()
}

#[test]
fn plaintext_from_outside_comes_to_the_tunnel_and_tunnels_to_theirs() {
    Sandbox::run_async_test(
        "inbound::plaintext_from_outside_comes_to_the_tunnel_and_tunnels_to_theirs",
        async |sandbox| {
            let stage = Stage::set(sandbox);
            stage.capture();
            let inbound = stage.tunnel_listener(15006).await;
            let hbone = stage.tunnel_listener(15008).await;
            for addresses in both() {
                let mut programs = Vec::new();
                for port in [8080, 80] {
                    programs.push(stage.pod.listen(SocketAddr::new(addresses.pod, port)).await.unwrap());
                }
                // Its own ports included: the tunnel sees where the connection was meant to go, and refuses.
                for port in [8080, 80, 15006] {
                    let destination = SocketAddr::new(addresses.pod, port);
                    if port == 15006 {
                        // Redirected to where it goes anyway, which is no redirect.
                        assert!(within(stage.other.connect(destination)).await.is_err());
                        continue;
                    }
                    let mut client = within(stage.other.connect(destination)).await.unwrap();
                    let (original, peer, mut captured) = accept(&inbound).await;
                    assert_eq!((original, peer), (destination, addresses.other));
                    talk(&mut client, &mut captured).await;
                }
                let destination = SocketAddr::new(addresses.pod, 15008);
                let mut client = within(stage.other.connect(destination)).await.unwrap();
                let (original, peer, mut tunnel) = accept(&hbone).await;
                assert_eq!((original, peer), (destination, addresses.other));
                talk(&mut client, &mut tunnel).await;
                assert!(nobody_at(&inbound));
            }
        },
    );
}

#[test]
fn where_nobody_listens_nobody_answers() {
    Sandbox::run_async_test("inbound::where_nobody_listens_nobody_answers", async |sandbox| {
        let stage = Stage::set(sandbox);
        stage.capture();
        let inbound = stage.tunnel_listener(15006).await;
        for addresses in both() {
            let destination = SocketAddr::new(addresses.pod, 8080);
            let refused = within(stage.other.connect(destination)).await;
            assert!(refused.is_err_and(|error| error.to_string().contains("refused")));
            // Within the pod only: from outside there is still nobody.
            let _private = stage.pod.listen(SocketAddr::new(addresses.loopback, 8080)).await.unwrap();
            assert!(within(stage.other.connect(destination)).await.is_err());
            assert!(nobody_at(&inbound));
            let _program = stage.pod.listen(destination).await.unwrap();
            let _client = within(stage.other.connect(destination)).await.unwrap();
            assert_eq!(accept(&inbound).await.0, destination);
        }
    });
}

#[test]
fn a_process_of_the_node_is_told_from_what_the_node_forwards() {
    Sandbox::run_async_test(
        "inbound::a_process_of_the_node_is_told_from_what_the_node_forwards",
        async |sandbox| {
            let stage = Stage::set(sandbox);
            let node = stage.network.node().clone();
            let has = async |source, destination| {
                node.run(move || sockets::has_connection(source, destination)).await.unwrap().unwrap()
            };
            for (addresses, own) in both().into_iter().zip(["10.42.0.1", "fd00:42::1"]) {
                let destination = SocketAddr::new(addresses.pod, 8080);
                let program = stage.pod.listen(destination).await.unwrap();
                let client = connect_from(&node, destination).await;
                let source = client.local_addr().unwrap();
                assert_eq!(source.ip(), own.parse::<std::net::IpAddr>().unwrap());
                let (_, _, accepted) = accept(&program).await;
                assert!(has(source, destination).await);
                assert!(!has(source, SocketAddr::new(addresses.pod, 8081)).await);
                // A probe has often gone when it is looked for.
                drop((accepted, client));
                // A pod's own connection passes through the node, and is nobody's there.
                let passing = within(stage.other.connect(destination)).await.unwrap();
                assert!(!has(passing.local_addr().unwrap(), destination).await);
                // Where the node only listens, it has no connection.
                let listening = SocketAddr::new(source.ip(), 10250);
                let wanted = socket::Listen {
                    address: listening,
                    backlog: 1,
                    reuse_port: ReusePort::Exclusive,
                    transparency: Transparency::Opaque,
                    mark: None,
                };
                let _listener = node.listen(wanted).await.unwrap();
                assert!(!has(listening, destination).await);
            }
        },
    );
}

#[test]
fn a_probe_from_the_node_comes_to_the_tunnel_with_the_nodes_address() {
    Sandbox::run_async_test(
        "inbound::a_probe_from_the_node_comes_to_the_tunnel_with_the_nodes_address",
        async |sandbox| {
            let stage = Stage::set(sandbox);
            stage.capture();
            let inbound = stage.tunnel_listener(15006).await;
            for (addresses, node) in both().into_iter().zip(["10.42.0.1", "fd00:42::1"]) {
                let destination = SocketAddr::new(addresses.pod, 8080);
                let _program = stage.pod.listen(destination).await.unwrap();
                let mut probe = connect_from(stage.network.node(), destination).await;
                let (original, peer, mut captured) = accept(&inbound).await;
                assert_eq!((original, peer), (destination, node.parse().unwrap()));
                talk(&mut probe, &mut captured).await;
            }
        },
    );
}

#[test]
fn the_app_sees_the_clients_address_and_its_answers_come_back_to_the_tunnel() {
    Sandbox::run_async_test(
        "inbound::the_app_sees_the_clients_address_and_its_answers_come_back_to_the_tunnel",
        async |sandbox| {
            let stage = Stage::set(sandbox);
            stage.capture();
            let inbound = stage.tunnel_listener(15006).await;
            let outbound = stage.tunnel_listener(15001).await;
            for addresses in both() {
                let there = SocketAddr::new(addresses.pod, 8080);
                let app = stage.pod.listen(there).await.unwrap();
                // An address on the same bridge, one behind the gateway, and with the port as well.
                let far = SocketAddr::new(addresses.service, 4711);
                for source in
                    [Source::Spoofed(addresses.other), Source::Spoofed(far.ip()), Source::SpoofedPort(far)]
                {
                    let wanted = Connect {
                        destination: there,
                        source: Some(source),
                        mark: Some(stage.rules.own_mark),
                    };
                    let socket = stage.pod.namespace().connector(wanted).await.unwrap();
                    let mut sent = within(socket.connect(there)).await.unwrap();
                    let (mut served, peer) = within(app.accept()).await.unwrap();
                    match source {
                        Source::Spoofed(ip) => assert_eq!(peer.ip(), ip),
                        Source::SpoofedPort(address) => assert_eq!(peer, address),
                    }
                    talk(&mut sent, &mut served).await;
                    assert!(nobody_at(&inbound) && nobody_at(&outbound));
                }
            }
        },
    );
}

#[test]
fn without_the_way_back_the_clients_address_does_not_work() {
    // What the test above shows is due to the rules.
    Sandbox::run_async_test(
        "inbound::without_the_way_back_the_clients_address_does_not_work",
        async |sandbox| {
            let stage = Stage::set(sandbox);
            let [v4, _] = both();
            let there = SocketAddr::new(v4.pod, 8080);
            let _app = stage.pod.listen(there).await.unwrap();
            let source = Some(Source::Spoofed(v4.other));
            let wanted = Connect { destination: there, source, mark: Some(stage.rules.own_mark) };
            let socket = stage.pod.namespace().connector(wanted).await.unwrap();
            // The other pod gets an answer to what it never asked, and resets; or nothing ever comes.
            let outcome =
                tokio::time::timeout(std::time::Duration::from_millis(500), socket.connect(there)).await;
            assert!(!matches!(outcome, Ok(Ok(_))));
        },
    );
}

#[test]
fn a_client_served_directly_and_by_the_tunnel_is_told_apart() {
    // The answer's mark is that of one connection, not of all with the client.
    Sandbox::run_async_test(
        "inbound::a_client_served_directly_and_by_the_tunnel_is_told_apart",
        async |sandbox| {
            let stage = Stage::set(sandbox);
            stage.capture();
            let hbone = stage.tunnel_listener(15008).await;
            let [v4, _] = both();
            let there = SocketAddr::new(v4.pod, 8080);
            let app = stage.pod.listen(there).await.unwrap();

            let mut tunnel = within(stage.other.connect(SocketAddr::new(v4.pod, 15008))).await.unwrap();
            let (_, _, mut accepted) = accept(&hbone).await;
            let source = Some(Source::Spoofed(v4.other));
            let wanted = Connect { destination: there, source, mark: Some(stage.rules.own_mark) };
            let socket = stage.pod.namespace().connector(wanted).await.unwrap();
            let mut handed = within(socket.connect(there)).await.unwrap();
            let (_, _, mut served) = accept(&app).await;

            talk(&mut tunnel, &mut accepted).await;
            talk(&mut handed, &mut served).await;
            talk(&mut tunnel, &mut accepted).await;
        },
    );
}

#[test]
fn an_upgraded_tunnel_listens_beside_the_old_one() {
    Sandbox::run_async_test("inbound::an_upgraded_tunnel_listens_beside_the_old_one", async |sandbox| {
        let stage = Stage::set(sandbox);
        let old = stage.tunnel_listener(15008).await;
        let new = stage.tunnel_listener(15008).await;
        drop(old);
        let destination = SocketAddr::new(both()[0].pod, 15008);
        let _client = within(stage.other.connect(destination)).await.unwrap();
        accept(&new).await;

        // Without sharing there is one.
        let alone = socket::Listen {
            address: SocketAddr::new(both()[0].pod, 15008),
            backlog: 1,
            reuse_port: ReusePort::Exclusive,
            transparency: Transparency::Opaque,
            mark: None,
        };
        let refused = stage.pod.namespace().listen(alone).await.unwrap_err();
        assert!(refused.to_string().contains("cannot listen on 10.42.0.2:15008"), "{refused}");
    });
}
