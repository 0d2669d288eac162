//! What the pod's programs send.

use crate::stage::{Stage, accept, both, nobody_at, talk, within};
use fairway_netns::socket::{Connect, Mark, Source};
use fairway_testbed::Sandbox;
use std::io::ErrorKind;
use std::net::SocketAddr;

#[test]
fn a_connection_to_another_pod_or_a_service_comes_to_the_tunnel() {
    Sandbox::run_async_test(
        "outbound::a_connection_to_another_pod_or_a_service_comes_to_the_tunnel",
        async |sandbox| {
            let stage = Stage::set(sandbox);
            stage.capture();
            let tunnel = stage.tunnel_listener(15001).await;
            for addresses in both() {
                for destination in [addresses.other, addresses.service] {
                    let destination = SocketAddr::new(destination, 8080);
                    let mut client = within(stage.pod.connect(destination)).await.unwrap();
                    let (original, peer, mut captured) = accept(&tunnel).await;
                    assert_eq!((original, peer), (destination, addresses.pod));
                    talk(&mut client, &mut captured).await;
                }
            }
        },
    );
}

#[test]
fn without_capture_a_service_is_nowhere_and_another_pod_is_itself() {
    // What the test above shows is due to the rules.
    Sandbox::run_async_test(
        "outbound::without_capture_a_service_is_nowhere_and_another_pod_is_itself",
        async |sandbox| {
            let stage = Stage::set(sandbox);
            for addresses in both() {
                let service = SocketAddr::new(addresses.service, 8080);
                assert!(within(stage.pod.connect(service)).await.is_err());
                let there = SocketAddr::new(addresses.other, 8080);
                let app = stage.other.listen(there).await.unwrap();
                let mut client = within(stage.pod.connect(there)).await.unwrap();
                let (_, _, mut served) = accept(&app).await;
                talk(&mut client, &mut served).await;
            }
        },
    );
}

#[test]
fn what_the_tunnel_sends_is_not_captured() {
    Sandbox::run_async_test("outbound::what_the_tunnel_sends_is_not_captured", async |sandbox| {
        let stage = Stage::set(sandbox);
        stage.capture();
        let tunnel = stage.tunnel_listener(15001).await;
        for addresses in both() {
            let there = SocketAddr::new(addresses.other, 8080);
            let app = stage.other.listen(there).await.unwrap();
            let wanted = Connect { destination: there, source: None, mark: Some(stage.rules.own_mark) };
            let socket = stage.pod.namespace().connector(wanted).await.unwrap();
            let mut sent = within(socket.connect(there)).await.unwrap();
            let (_, peer, mut arrived) = accept(&app).await;
            assert_eq!(peer, addresses.pod);
            talk(&mut sent, &mut arrived).await;
            assert!(nobody_at(&tunnel));
        }
    });
}

#[test]
fn another_mark_does_not_pass_for_the_tunnels() {
    Sandbox::run_async_test("outbound::another_mark_does_not_pass_for_the_tunnels", async |sandbox| {
        let stage = Stage::set(sandbox);
        stage.capture();
        let tunnel = stage.tunnel_listener(15001).await;
        let destination = SocketAddr::new(both()[0].service, 80);
        let wanted =
            Connect { destination, source: None, mark: Some(Mark(stage.rules.own_mark.0 | 0x10000)) };
        let socket = stage.pod.namespace().connector(wanted).await.unwrap();
        let _client = within(socket.connect(destination)).await.unwrap();
        assert_eq!(accept(&tunnel).await.0, destination);
    });
}

#[test]
fn what_the_pod_says_to_itself_stays_within() {
    Sandbox::run_async_test("outbound::what_the_pod_says_to_itself_stays_within", async |sandbox| {
        let stage = Stage::set(sandbox);
        stage.capture();
        let outbound = stage.tunnel_listener(15001).await;
        let inbound = stage.tunnel_listener(15006).await;
        for addresses in both() {
            for itself in [addresses.loopback, addresses.pod] {
                let itself = SocketAddr::new(itself, 8080);
                let app = stage.pod.listen(itself).await.unwrap();
                let mut client = within(stage.pod.connect(itself)).await.unwrap();
                let (_, peer, mut served) = accept(&app).await;
                assert_eq!(peer, itself.ip());
                talk(&mut client, &mut served).await;
                assert!(nobody_at(&outbound) && nobody_at(&inbound));
            }
        }
    });
}

#[test]
fn the_tunnels_ports_refuse_who_dials_them_from_within() {
    Sandbox::run_async_test(
        "outbound::the_tunnels_ports_refuse_who_dials_them_from_within",
        async |sandbox| {
            let stage = Stage::set(sandbox);
            stage.capture();
            for port in [stage.rules.outbound_port, stage.rules.inbound_port] {
                let tunnel = stage.tunnel_listener(port).await;
                for addresses in both() {
                    for itself in [addresses.loopback, addresses.pod] {
                        let itself = SocketAddr::new(itself, port);
                        let refused = within(stage.pod.connect(itself)).await.unwrap_err();
                        assert!(refused.to_string().contains("refused"), "{itself}: {refused}");

                        // And if the tunnel were talked into dialling itself: no loop either.
                        let wanted =
                            Connect { destination: itself, source: None, mark: Some(stage.rules.own_mark) };
                        let socket = stage.pod.namespace().connector(wanted).await.unwrap();
                        let refused = within(socket.connect(itself)).await.unwrap_err();
                        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
                    }
                }
                assert!(nobody_at(&tunnel));
            }
        },
    );
}

#[test]
fn datagrams_pass_by() {
    Sandbox::run_async_test("outbound::datagrams_pass_by", async |sandbox| {
        let stage = Stage::set(sandbox);
        stage.capture();
        for addresses in both() {
            for (from, from_ip, to, to_ip) in [
                (&stage.pod, addresses.pod, &stage.other, addresses.other),
                (&stage.other, addresses.other, &stage.pod, addresses.pod),
            ] {
                let server = to.udp(SocketAddr::new(to_ip, 15001)).await.unwrap();
                let client = from.udp(SocketAddr::new(from_ip, 0)).await.unwrap();
                client.send_to(b"ping", SocketAddr::new(to_ip, 15001)).await.unwrap();
                let mut heard = [0; 8];
                let (length, peer) = within(server.recv_from(&mut heard)).await.unwrap();
                assert_eq!((&heard[..length], peer.ip()), (b"ping".as_slice(), from_ip));
            }
        }
    });
}

#[test]
fn the_tunnel_opens_more_connections_to_one_place_than_there_are_ports() {
    // `IP_BIND_ADDRESS_NO_PORT`: a port is taken for one destination, not for the source address as a whole.
    Sandbox::run_async_test(
        "outbound::the_tunnel_opens_more_connections_to_one_place_than_there_are_ports",
        async |sandbox| {
            let stage = Stage::set(sandbox);
            stage.capture();
            let [v4, _] = both();
            let narrow = || fairway_netns::link::set_switch("net/ipv4/ip_local_port_range", "40000 40001");
            stage.pod.namespace().run_blocking(narrow).unwrap().unwrap();
            let mut open = Vec::new();
            for port in 8080..8086 {
                let there = SocketAddr::new(v4.pod, port);
                let app = stage.pod.listen(there).await.unwrap();
                let source = Some(Source::Spoofed(v4.other));
                let wanted = Connect { destination: there, source, mark: Some(stage.rules.own_mark) };
                let socket = stage.pod.namespace().connector(wanted).await.unwrap();
                open.push((within(socket.connect(there)).await.unwrap(), accept(&app).await));
            }
        },
    );
}
