//! How many sockets the node's tunnel has for one pod.

use crate::mesh::{Cluster, at, service, start_program, talk, workload};
use fairway_config::model::{Mesh, MutualTls};
use fairway_testbed::Sandbox;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::time::{interval, timeout};

const PERMISSIVE: Mesh = Mesh::Captured(MutualTls::Permissive);

#[test]
fn tunnels_into_a_pod_count_among_its_sockets() {
    Sandbox::run_async_test("sockets::tunnels_into_a_pod_count_among_its_sockets", async |sandbox| {
        let mut cluster = Cluster::with_sockets(sandbox, [1024, 8]);
        let (client, server) = (cluster.pod("client", "10.7.0.10"), cluster.pod("server", "10.7.0.11"));
        let mut resources = service("server", [10, 96, 0, 1].into(), None, &[(&server, 8080)]);
        resources.extend([workload(&client, PERMISSIVE, &[]), workload(&server, PERMISSIVE, &[])]);
        cluster.commit(resources, vec![]);
        cluster.register(0, "client", client.netns_path()).await.unwrap();
        cluster.register(1, "server", server.netns_path()).await.unwrap();
        start_program(&server, 8080).await;
        let greeting = format!("hello {}\n", client.address().unwrap());
        let mut open = Vec::new();
        for _ in 0..20 {
            // One too many is reset, at once or after its handshake.
            let Ok(mut stream) = client.connect(at(&server, 8080)).await else { continue };
            let mut heard = vec![0; greeting.len()];
            if let Ok(Ok(_)) = timeout(Duration::from_secs(5), stream.read_exact(&mut heard)).await {
                open.push(stream);
            }
        }
        assert!((1..=8).contains(&open.len()), "{} connections are open", open.len());
        open.clear();
        let again = async {
            let mut ticks = interval(Duration::from_millis(50));
            while talk(client.connect(at(&server, 8080)).await, "again").await.is_err() {
                ticks.tick().await;
            }
        };
        assert!(timeout(Duration::from_secs(10), again).await.is_ok(), "what has ended is not given back");
        cluster.drain_all().await;
    });
}
