//! Open connections that a change of the configuration refuses.

use crate::mesh::{Cluster, at, id, service, start_program, workload};
use fairway_config::model::{Mesh, MutualTls, Resource, Workload};
use fairway_policy::{Action, Authorization, Condition, Rule};
use fairway_testbed::{Pod, Sandbox};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

const STRICT: Mesh = Mesh::Captured(MutualTls::Strict);
const PERMISSIVE: Mesh = Mesh::Captured(MutualTls::Permissive);

/// Connects to the program of a pod and hears its greeting.
async fn connect(client: &Pod, server: &Pod) -> TcpStream {
    let mut stream = client.connect(at(server, 8080)).await.unwrap();
    let greeting = format!("hello {}\n", client.address().unwrap());
    stream.read_exact(&mut vec![0; greeting.len()]).await.unwrap();
    stream
}

/// Whether an open connection still carries bytes both ways; else how it broke.
async fn is_open(stream: &mut TcpStream) -> Result<(), String> {
    let exchange = async {
        stream.write_all(b"still there?").await?;
        stream.read_exact(&mut [0; 12]).await
    };
    match tokio::time::timeout(Duration::from_secs(5), exchange).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("silence".to_owned()),
    }
}

/// Waits for a connection to be reset, from its own end's view.
async fn is_reset(stream: &mut TcpStream) -> bool {
    let read = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut [0; 1])).await;
    read.is_ok_and(|it| it.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset))
}

#[test]
fn a_change_resets_the_open_connections_that_it_refuses_and_no_others() {
    Sandbox::run_async_test(
        "revocation::a_change_resets_the_open_connections_that_it_refuses_and_no_others",
        async |sandbox| {
            let mut cluster = Cluster::new(sandbox);
            let (a, b) = (cluster.pod("a", "10.7.0.10"), cluster.pod("b", "10.7.0.12"));
            let (server, outsider) =
                (cluster.pod("server", "10.7.0.11"), cluster.pod("outsider", "10.7.0.50"));
            let deny = |account: &str| {
                let rules = vec![Rule::when(vec![Condition::PeerIs(vec![id(account)])])];
                Resource::Authorization(Arc::new(Authorization::new("policy", Action::Deny, rules)))
            };
            let mut resources = service("server", [10, 96, 0, 1].into(), None, &[(&server, 8080)]);
            resources.extend([workload(&a, PERMISSIVE, &[]), workload(&b, PERMISSIVE, &[])]);
            resources.extend([workload(&server, PERMISSIVE, &["policy"]), deny("nobody")]);
            cluster.commit(resources, vec![]);
            cluster.register(0, "a", a.netns_path()).await.unwrap();
            cluster.register(0, "b", b.netns_path()).await.unwrap();
            cluster.register(1, "server", server.netns_path()).await.unwrap();
            start_program(&server, 8080).await;
            start_program(&outsider, 8080).await;

            let (mut from_a, mut from_b) = (connect(&a, &server).await, connect(&b, &server).await);
            let mut plaintext = connect(&outsider, &server).await;
            let mut outbound = connect(&server, &outsider).await;

            // What concerns none of them ends none of them.
            cluster.commit(vec![workload(&outsider, Mesh::Outside, &[]), deny("somebody")], vec![]);
            for stream in [&mut from_a, &mut from_b, &mut plaintext, &mut outbound] {
                assert_eq!(is_open(stream).await, Ok(()));
            }

            cluster.commit(vec![deny("b")], vec![]);
            assert!(is_reset(&mut from_b).await);
            for stream in [&mut from_a, &mut plaintext, &mut outbound] {
                assert_eq!(is_open(stream).await, Ok(()));
            }

            cluster.commit(vec![workload(&server, STRICT, &["policy"])], vec![]);
            assert!(is_reset(&mut plaintext).await);
            for stream in [&mut from_a, &mut outbound] {
                assert_eq!(is_open(stream).await, Ok(()));
            }
            // The same tunnel between the two nodes carries what is still allowed, and new connections are judged as before.
            assert_eq!(is_open(&mut connect(&a, &server).await).await, Ok(()));
            // They are counted as what they are, and not as connections that were never let in.
            let ended = |outcome| {
                ["inbound", "plaintext"].map(|direction| {
                    let labels = [("direction", direction), ("outcome", outcome)];
                    cluster.scrape(1).sum("fairway_connections_total", &labels)
                })
            };
            let until = Instant::now() + Duration::from_secs(10);
            while ended("revoked") != [1.0, 1.0] {
                assert!(Instant::now() < until, "{:?}", cluster.scrape(1).all());
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert_eq!(ended("refused"), [0.0, 0.0]);
            let denied = [("policy", "policy"), ("rule", "0"), ("decision", "denied")];
            assert_eq!(cluster.scrape(1).sum("fairway_policy_decisions_total", &denied), 1.0, "that of b");

            // Somebody else is at the address now: the tunnel of the client ends what leads there.
            let Resource::Workload(it) = workload(&server, STRICT, &["policy"]) else {
                unreachable!("a workload");
            };
            let other = Workload { identity: id("somebody-else"), ..(*it).clone() };
            cluster.commit(vec![Resource::Workload(Arc::new(other))], vec![]);
            assert!(is_reset(&mut from_a).await);
        },
    );
}
