//! What passes between captured pods, and what does not.

use crate::mesh::{Cluster, at, endpoints_of, id, service, start_program, start_program_at, talk, workload};
use fairway_config::model::{Mesh, MutualTls, Resource};
use fairway_hbone::{ConnectRequest, Pool, Target, TcpConnector, client};
use fairway_policy::{Action, Authorization, Condition, Rule};
use fairway_testbed::{Pod, Sandbox, Wire};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

const STRICT: Mesh = Mesh::Captured(MutualTls::Strict);
const PERMISSIVE: Mesh = Mesh::Captured(MutualTls::Permissive);
const SECRET: &str = "nobody on the wire may read this";

/// `client` on node one and `server` on node two, captured, with a Service 10.96.0.1:80 before the server's port 8080.
async fn two_pods(cluster: &mut Cluster, mesh: Mesh, authorizations: &[&str]) -> (Pod, Pod) {
    let (client, server) = (cluster.pod("client", "10.7.0.10"), cluster.pod("server", "10.7.0.11"));
    let mut resources = service("server", [10, 96, 0, 1].into(), None, &[(&server, 8080)]);
    resources.extend([workload(&client, PERMISSIVE, &[]), workload(&server, mesh, authorizations)]);
    cluster.commit(resources, vec![]);
    cluster.register(0, "client", client.netns_path()).await.unwrap();
    cluster.register(1, "server", server.netns_path()).await.unwrap();
    start_program(&server, 8080).await;
    (client, server)
}

fn vip() -> SocketAddr {
    "10.96.0.1:80".parse().unwrap()
}

#[test]
fn captured_pods_speak_plain_to_each_other_and_nothing_plain_is_on_the_wire() {
    Sandbox::run_async_test(
        "traffic::captured_pods_speak_plain_to_each_other_and_nothing_plain_is_on_the_wire",
        async |sandbox| {
            let mut cluster = Cluster::new(sandbox);
            let (client, server) = two_pods(&mut cluster, STRICT, &[]).await;
            let wire = Wire::start(sandbox).unwrap();
            for destination in [vip(), at(&server, 8080)] {
                let said = talk(client.connect(destination).await, SECRET).await;
                // The program saw the client's own address, and spoke first.
                assert_eq!(said, Ok(format!("hello 10.7.0.10\n{SECRET}")), "{destination}");
            }
            assert_eq!(wire.contains(SECRET.as_bytes()).await, 0);
            assert_eq!(wire.contains(b"hello 10.7.0.10").await, 0);
            let seen = wire.seen().await;
            assert!(seen.frames > 0 && seen.dropped == 0, "{seen:?}");
        },
    );
}

#[test]
fn a_scrape_says_who_talks_to_whom_until_the_pod_is_gone() {
    Sandbox::run_async_test(
        "traffic::a_scrape_says_who_talks_to_whom_until_the_pod_is_gone",
        async |sandbox| {
            let mut cluster = Cluster::new(sandbox);
            let (client, _server) = two_pods(&mut cluster, STRICT, &[]).await;
            talk(client.connect(vip()).await, SECRET).await.unwrap();
            let count = |cluster: &Cluster, node, labels: &[(&str, &str)]| {
                cluster.scrape(node).sum("fairway_connections_total", labels)
            };
            let becomes = async |cluster: &Cluster, node, labels: &[(&str, &str)], wanted: f64| {
                let until = Instant::now() + Duration::from_secs(40);
                while count(cluster, node, labels) != wanted {
                    assert!(Instant::now() < until, "{labels:?}: {:?}", cluster.scrape(node).all());
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            let (from, to) = (id("client").to_string(), id("server").to_string());
            let between = [
                ("client_identity", from.as_str()),
                ("server_identity", to.as_str()),
                ("outcome", "completed"),
            ];
            let [client_is, server_is, well] = between;
            let of_service = [("backend", "shop/server"), ("backend_port", "80")];
            let [backend, port] = of_service;
            becomes(
                &cluster,
                0,
                &[("direction", "outbound"), client_is, server_is, well, backend, port],
                1.0,
            )
            .await;
            becomes(&cluster, 1, &[("direction", "inbound"), client_is, server_is, well], 1.0).await;
            assert_eq!(count(&cluster, 0, &[]), 1.0, "nothing else was counted");
            assert_eq!(
                cluster.scrape(0).sum("fairway_connection_received_bytes_total", &[]),
                SECRET.len() as f64
            );
            cluster.remove(0, "client").await;
            becomes(&cluster, 0, &[], 0.0).await;
        },
    );
}

#[test]
fn a_service_of_two_families_leads_to_the_family_that_was_dialled() {
    Sandbox::run_async_test(
        "traffic::a_service_of_two_families_leads_to_the_family_that_was_dialled",
        async |sandbox| {
            let mut cluster = Cluster::new(sandbox);
            let client = cluster.dual_pod("client", ["10.7.0.10", "fd00:7::10"]);
            let server = cluster.dual_pod("server", ["10.7.0.11", "fd00:7::11"]);
            let mut resources = service("both", [10, 96, 0, 1].into(), None, &[(&server, 8080)]);
            let Some(Resource::Service(both)) = resources.first_mut() else { panic!("no Service") };
            Arc::make_mut(both).addresses.push("fd00:96::1".parse().unwrap());
            resources.extend([workload(&client, PERMISSIVE, &[]), workload(&server, STRICT, &[])]);
            cluster.commit(resources, vec![]);
            cluster.register(0, "client", client.netns_path()).await.unwrap();
            cluster.register(1, "server", server.netns_path()).await.unwrap();
            for address in server.addresses() {
                start_program_at(&server, SocketAddr::new(*address, 8080)).await;
            }
            for (destination, own) in [("10.96.0.1:80", "10.7.0.10"), ("[fd00:96::1]:80", "fd00:7::10")] {
                for _ in 0..10 {
                    let said = talk(client.connect(destination.parse().unwrap()).await, SECRET).await;
                    assert_eq!(said, Ok(format!("hello {own}\n{SECRET}")), "{destination}");
                }
            }
        },
    );
}

#[test]
fn both_ends_know_whom_they_speak_to() {
    Sandbox::run_async_test("traffic::both_ends_know_whom_they_speak_to", async |sandbox| {
        let mut cluster = Cluster::new(sandbox);
        let (client, _server) = two_pods(&mut cluster, STRICT, &[]).await;
        let mut stream = client.connect(vip()).await.unwrap();
        stream.read_exact(&mut [0; 5]).await.unwrap();
        let (client, server) = (id("client").to_string(), id("server").to_string());
        assert_eq!(cluster.peers(0), [(client.clone(), Some(server.clone()))]);
        assert_eq!(cluster.peers(1), [(server, Some(client))]);
    });
}

#[test]
fn much_goes_through_unchanged_in_both_directions() {
    Sandbox::run_async_test("traffic::much_goes_through_unchanged_in_both_directions", async |sandbox| {
        let mut cluster = Cluster::new(sandbox);
        let (client, _server) = two_pods(&mut cluster, STRICT, &[]).await;
        let data: String = (0..400_000).map(|number| format!("{number},")).collect();
        let (read, mut write) = client.connect(vip()).await.unwrap().into_split();
        let sent = data.clone();
        let writing = tokio::spawn(async move {
            write.write_all(sent.as_bytes()).await.unwrap();
            write.shutdown().await.unwrap();
        });
        let mut back = String::new();
        tokio::io::BufReader::new(read).read_to_string(&mut back).await.unwrap();
        writing.await.unwrap();
        assert!(back.strip_prefix("hello 10.7.0.10\n") == Some(&data), "{} bytes came back", back.len());
    });
}

#[test]
fn plaintext_from_outside_is_served_by_permissive_pods_and_reset_by_strict_ones() {
    Sandbox::run_async_test(
        "traffic::plaintext_from_outside_is_served_by_permissive_pods_and_reset_by_strict_ones",
        async |sandbox| {
            let mut cluster = Cluster::new(sandbox);
            let (client, server) = two_pods(&mut cluster, PERMISSIVE, &[]).await;
            let outsider = cluster.pod("outsider", "10.7.0.50");
            let said = talk(outsider.connect(at(&server, 8080)).await, "hi").await;
            assert_eq!(said, Ok("hello 10.7.0.50\nhi".to_owned()));
            // In its name, but from no port that it would take itself: to the kernel the two would be one connection.
            let listener = server.listen(SocketAddr::new([0, 0, 0, 0].into(), 8081)).await.unwrap();
            for _ in 0..20 {
                let (near, accepted) = tokio::join!(outsider.connect(at(&server, 8081)), listener.accept());
                let (_program, client) = accepted.unwrap();
                assert!(near.is_ok() && client.ip() == outsider.address().unwrap(), "{client}");
                assert!((16_384..32_768).contains(&client.port()), "{client}");
            }

            cluster.commit(vec![workload(&server, STRICT, &[])], vec![]);
            let said = talk(outsider.connect(at(&server, 8080)).await, "hi").await;
            assert!(said.clone().is_err_and(|error| error.contains("reset")), "{said:?}");
            let counted = ["probe", "let_in", "refused"].map(|kind| {
                let of = |node| cluster.plaintext(node, kind);
                of(0) + of(1)
            });
            // The last of the twenty may still be open when the pod becomes strict, and is then refused as well.
            assert!(counted[..2] == [0, 21] && (1..=2).contains(&counted[2]), "{counted:?}");

            // What a pod of the mesh says to somebody outside it is plaintext, too.
            start_program(&outsider, 8080).await;
            let said = talk(client.connect(at(&outsider, 8080)).await, "hi").await;
            assert_eq!(said, Ok("hello 10.7.0.10\nhi".to_owned()));
            assert_eq!(cluster.plaintext(0, "sent") + cluster.plaintext(1, "sent"), 1);
        },
    );
}

#[test]
fn a_required_waypoint_is_the_only_way_in() {
    Sandbox::run_async_test("traffic::a_required_waypoint_is_the_only_way_in", async |sandbox| {
        let mut cluster = Cluster::new(sandbox);
        let (client, server) = two_pods(&mut cluster, STRICT, &["required"]).await;
        let rules = vec![Rule::when(vec![Condition::PeerIsNot(vec![id("waypoint")])])];
        let only_waypoint = Authorization::new("required", Action::Deny, rules);
        // Named but not known yet: refused. Then known, and the client is not the waypoint.
        for resources in [vec![], vec![Resource::Authorization(Arc::new(only_waypoint))]] {
            cluster.commit(resources, vec![]);
            for destination in [vip(), at(&server, 8080)] {
                let said = talk(client.connect(destination).await, "hi").await;
                assert!(said.is_err(), "{said:?}");
            }
        }
        // The waypoint itself is let in, and is who the program sees.
        let waypoint = cluster.pod("waypoint", "10.7.0.60");
        let identity = cluster.identity("shop", "waypoint");
        let target = Target { address: at(&server, 15008), identity: id("server") };
        let request = ConnectRequest::to(at(&server, 8080));
        let said = waypoint
            .run(async move || {
                let pool = Pool::new(TcpConnector, client::Settings::default());
                let mut tunnel = pool.open(&identity, &target, &request).await.unwrap();
                tunnel.write_all(b"routed").await.unwrap();
                tunnel.shutdown().await.unwrap();
                let mut said = String::new();
                tunnel.read_to_string(&mut said).await.unwrap();
                said
            })
            .await
            .unwrap();
        assert_eq!(said, "hello 10.7.0.60\nrouted");
        // A Service whose waypoint is not there is refused, not reached around it.
        let mut resources =
            service("routed", [10, 96, 0, 2].into(), Some("waypoint/shop/waypoint"), &[(&server, 8080)]);
        resources.push(workload(&server, STRICT, &[]));
        cluster.commit(resources, vec![]);
        let said = talk(client.connect("10.96.0.2:80".parse().unwrap()).await, "hi").await;
        assert!(said.is_err(), "{said:?}");
    });
}

#[test]
fn a_program_that_refuses_is_a_reset_and_another_endpoint_is_tried() {
    Sandbox::run_async_test(
        "traffic::a_program_that_refuses_is_a_reset_and_another_endpoint_is_tried",
        async |sandbox| {
            let mut cluster = Cluster::new(sandbox);
            let (client, server) = two_pods(&mut cluster, STRICT, &[]).await;
            let said = talk(client.connect(at(&server, 9999)).await, "hi").await;
            assert!(said.clone().is_err_and(|error| error.contains("reset")), "{said:?}");
            cluster.commit(vec![endpoints_of("shop/server:80", &[(&server, 9999), (&server, 8080)])], vec![]);
            for _ in 0..10 {
                assert_eq!(
                    talk(client.connect(vip()).await, "hi").await,
                    Ok("hello 10.7.0.10\nhi".to_owned())
                );
            }
        },
    );
}

#[test]
fn an_endpoint_that_does_not_answer_has_a_second_to_itself() {
    Sandbox::run_async_test(
        "traffic::an_endpoint_that_does_not_answer_has_a_second_to_itself",
        async |sandbox| {
            let mut cluster = Cluster::new(sandbox);
            let (client, server) = two_pods(&mut cluster, STRICT, &[]).await;
            let mute = cluster.pod("mute", "10.7.0.12");
            // Where its tunnel would be, the kernel takes connections and nobody ever says a word.
            let _mute = mute.listen(at(&mute, fairway_hbone::PORT)).await.unwrap();
            let endpoints = endpoints_of("shop/server:80", &[(&mute, 8080), (&server, 8080)]);
            cluster.commit(vec![workload(&mute, STRICT, &[]), endpoints], vec![]);
            let mut slowest = Duration::ZERO;
            for _ in 0..8 {
                let began = Instant::now();
                let said = talk(client.connect(vip()).await, "hi").await;
                assert_eq!(said, Ok("hello 10.7.0.10\nhi".to_owned()));
                slowest = slowest.max(began.elapsed());
            }
            // One in 256 runs never draws the mute one first, and shows nothing.
            assert!(slowest < Duration::from_secs(3), "{slowest:?}");
        },
    );
}

#[test]
fn a_drain_lets_an_open_connection_finish() {
    Sandbox::run_async_test("traffic::a_drain_lets_an_open_connection_finish", async |sandbox| {
        let mut cluster = Cluster::new(sandbox);
        let (client, _server) = two_pods(&mut cluster, STRICT, &[]).await;
        let mut stream = client.connect(vip()).await.unwrap();
        stream.read_exact(&mut [0; 16]).await.unwrap();
        let listeners_close = cluster.listeners_close(1);
        let draining = tokio::task::spawn_local(cluster.drain(1));
        tokio::time::timeout(Duration::from_secs(10), listeners_close)
            .await
            .expect("the drain begins in time");
        assert_eq!(talk(Ok::<_, String>(stream), "last words").await, Ok("last words".to_owned()));
        assert!(draining.await.unwrap());
    });
}
