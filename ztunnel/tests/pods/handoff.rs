//! A new tunnel process takes over from the running one while there is traffic.

use crate::mesh::{Cluster, at, id, service, start_program, talk, workload};
use fairway_config::model::{Mesh, MutualTls};
use fairway_netns::capture::{self, Capture, CaptureRules, Fence};
use fairway_testbed::{Pod, Sandbox};
use fairway_ztunnel::PodState;
use fairway_ztunnel::registration::Client;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const STRICT: Mesh = Mesh::Captured(MutualTls::Strict);
const GREETING: &str = "hello 10.7.0.10\n";

async fn two_pods(cluster: &mut Cluster) -> (Pod, Pod) {
    let (client, server) = (cluster.pod("client", "10.7.0.10"), cluster.pod("server", "10.7.0.11"));
    let mut resources = service("server", [10, 96, 0, 1].into(), None, &[(&server, 8080)]);
    resources.extend([workload(&client, STRICT, &[]), workload(&server, STRICT, &[])]);
    cluster.commit(resources, vec![]);
    for (node, pod) in [(0, &client), (1, &server)] {
        cluster.register(node, pod.name(), pod.netns_path()).await.unwrap();
        cluster.open_registration(node).await;
    }
    start_program(&server, 8080).await;
    (client, server)
}

/// Says something on a connection that is open, and hears it back.
async fn echo(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut heard = vec![0; text.len()];
    stream.read_exact(&mut heard).await.unwrap();
    assert_eq!(heard, text.as_bytes());
}

#[test]
fn both_ends_are_upgraded_again_and_again_and_nothing_breaks() {
    Sandbox::run_async_test(
        "handoff::both_ends_are_upgraded_again_and_again_and_nothing_breaks",
        async |sandbox| {
            let mut cluster = Cluster::new(sandbox);
            let (client, server) = two_pods(&mut cluster).await;
            let (client, destination) = (Rc::new(client), at(&server, 8080));

            // Short ones all the time, by one after another and by several at once.
            let (stop, count) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0)));
            let load: Vec<_> = (0..4)
                .map(|_| {
                    let (client, stop, count) = (client.clone(), stop.clone(), count.clone());
                    tokio::task::spawn_local(async move {
                        while !stop.get() {
                            let said = talk(client.connect(destination).await, "short").await;
                            assert_eq!(said, Ok(format!("{GREETING}short")));
                            count.set(count.get() + 1);
                        }
                    })
                })
                .collect();
            let mut open = Vec::new();
            let mut predecessors = Vec::new();
            for round in 0..3 {
                for node in [0, 1] {
                    let mut stream = client.connect(destination).await.unwrap();
                    stream.read_exact(&mut vec![0; GREETING.len()]).await.unwrap();
                    open.push(stream);
                    let before = count.get();
                    predecessors.push(cluster.upgrade(node).await);
                    for stream in &mut open {
                        echo(stream, &format!("round {round} of node {node}")).await;
                    }
                    // The new ones carry what is new.
                    let carried = async {
                        while count.get() < before + 8 {
                            tokio::task::yield_now().await;
                        }
                    };
                    let carried = timeout(Duration::from_secs(60), carried).await;
                    carried.expect("eight more short connections are carried");
                }
            }
            stop.set(true);
            for load in load {
                load.await.unwrap();
            }
            // What the old ones carry still works, and they end when it does.
            for stream in &mut open {
                echo(stream, "last words").await;
            }
            drop(open);
            for predecessor in predecessors {
                assert!(predecessor.end().await, "something had to be cut off");
            }
            let mut stream = client.connect(destination).await.unwrap();
            stream.read_exact(&mut vec![0; GREETING.len()]).await.unwrap();
            assert_eq!(cluster.peers(0), [(id("client").to_string(), Some(id("server").to_string()))]);
        },
    );
}

#[test]
fn pods_are_registered_with_the_new_tunnel_at_the_same_socket() {
    Sandbox::run_async_test(
        "handoff::pods_are_registered_with_the_new_tunnel_at_the_same_socket",
        async |sandbox| {
            let mut cluster = Cluster::new(sandbox);
            let (_client, _server) = two_pods(&mut cluster).await;
            let late = cluster.pod("late", "10.7.0.12");
            cluster.commit(vec![workload(&late, STRICT, &[])], vec![]);
            let before = cluster.upgrade(0).await;
            let mut agent = Client::connect(&cluster.socket("one")).await.unwrap();
            let state = agent.add("uid-late", "shop", "late", late.netns_path()).await.unwrap();
            assert_eq!(state, PodState::Captured);
            let pods: Vec<_> = agent.list().await.unwrap().into_iter().map(|it| it.pod.to_string()).collect();
            assert_eq!(pods, ["shop/client", "shop/late"]);
            assert!(before.end().await);
        },
    );
}

#[test]
fn when_the_mesh_leaves_a_node_its_pods_are_let_go_and_open_connections_go_on() {
    Sandbox::run_async_test(
        "handoff::when_the_mesh_leaves_a_node_its_pods_are_let_go_and_open_connections_go_on",
        async |sandbox| {
            let mut cluster = Cluster::new(sandbox);
            let (client, server) = two_pods(&mut cluster).await;
            let mut stream = client.connect(at(&server, 8080)).await.unwrap();
            stream.read_exact(&mut vec![0; GREETING.len()]).await.unwrap();
            for node in ["one", "two"] {
                Client::connect(&cluster.socket(node)).await.unwrap().release().await.unwrap();
            }
            let rules_of = async |pod: &Pod| {
                pod.namespace()
                    .run(|| capture::inspect(&CaptureRules::default(), &Fence::Down))
                    .await
                    .unwrap()
                    .unwrap()
            };
            echo(&mut stream, "still here").await;
            // In plaintext, which the strict server would have refused.
            assert_eq!(
                talk(client.connect(at(&server, 8080)).await, "plain").await,
                Ok(format!("{GREETING}plain"))
            );
            // With its last connections the tunnel takes away the rest.
            assert_ne!(rules_of(&server).await, Capture::Missing);
            drop(stream);
            cluster.drain_all().await;
            for pod in [&client, &server] {
                assert_eq!(rules_of(pod).await, Capture::Missing);
            }
        },
    );
}

#[test]
fn a_pod_that_leaves_the_mesh_is_released_by_the_tunnel_that_has_begun_to() {
    Sandbox::run_async_test(
        "handoff::a_pod_that_leaves_the_mesh_is_released_by_the_tunnel_that_has_begun_to",
        async |sandbox| {
            let mut cluster = Cluster::new(sandbox);
            let (client, server) = two_pods(&mut cluster).await;
            let mut stream = client.connect(at(&server, 8080)).await.unwrap();
            stream.read_exact(&mut vec![0; GREETING.len()]).await.unwrap();
            cluster.commit(vec![workload(&server, Mesh::Outside, &[])], vec![]);
            cluster.until(1, "server", |pod| pod.state == PodState::Releasing).await;

            let before = cluster.upgrade(1).await;
            let mut agent = Client::connect(&cluster.socket("two")).await.unwrap();
            let registered = agent.list().await.unwrap();
            assert!(registered.is_empty(), "it is captured by nobody any more: {registered:?}");
            echo(&mut stream, "still here").await;
            assert_eq!(
                talk(client.connect(at(&server, 8080)).await, "plain").await,
                Ok(format!("{GREETING}plain"))
            );
            drop(stream);
            assert!(before.end().await);
            let rules = server.namespace().run(|| capture::inspect(&CaptureRules::default(), &Fence::Down));
            assert_eq!(rules.await.unwrap().unwrap(), Capture::Missing);
        },
    );
}
