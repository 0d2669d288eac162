//! Pods that come, go and change.

use crate::mesh::{Cluster, at, probed, start_program, talk, workload};
use fairway_config::model::{HttpProbe, Mesh, MutualTls, Probe, ProbeAction};
use fairway_netns::capture::{self, Capture, CaptureRules, Fence};
use fairway_netns::socket::Connect;
use fairway_testbed::{Pod, Sandbox, Wire};
use fairway_ztunnel::{PodError, PodState};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const CAPTURED: Mesh = Mesh::Captured(MutualTls::Permissive);

async fn rules_of(pod: &Pod) -> Capture {
    pod.namespace().run(|| capture::inspect(&CaptureRules::default(), &Fence::Up)).await.unwrap().unwrap()
}

#[test]
fn a_pod_that_the_configuration_does_not_know_must_not_start() {
    Sandbox::run_async_test(
        "capture::a_pod_that_the_configuration_does_not_know_must_not_start",
        async |sandbox| {
            let mut cluster = Cluster::new(sandbox);
            let (early, never) = (cluster.pod("early", "10.7.0.10"), cluster.pod("never", "10.7.0.11"));
            assert!(matches!(
                cluster.register(0, "never", never.netns_path()).await,
                Err(PodError::Unknown { .. })
            ));
            // One that becomes known while its registration waits is captured.
            let (registered, ()) = tokio::join!(cluster.register(0, "early", early.netns_path()), async {
                tokio::task::yield_now().await;
            });
            assert!(registered.is_err());
            cluster.commit(vec![workload(&early, CAPTURED, &[])], vec![]);
            assert_eq!(cluster.register(0, "early", early.netns_path()).await.unwrap(), PodState::Captured);
            assert_eq!(rules_of(&early).await, Capture::Installed);
        },
    );
}

#[test]
fn a_namespace_that_is_not_there_is_an_error_and_no_other_pods_trouble() {
    Sandbox::run_async_test(
        "capture::a_namespace_that_is_not_there_is_an_error_and_no_other_pods_trouble",
        async |sandbox| {
            let mut cluster = Cluster::new(sandbox);
            let good = cluster.pod("good", "10.7.0.10");
            cluster.commit(vec![workload(&good, CAPTURED, &[])], vec![]);
            let nowhere = cluster.register(0, "bad", "/nowhere".as_ref()).await;
            assert!(matches!(nowhere, Err(PodError::Namespace(_))), "{nowhere:?}");
            assert_eq!(cluster.register(0, "good", good.netns_path()).await.unwrap(), PodState::Captured);
            cluster.until(0, "bad", |pod| pod.state == PodState::Failed && pod.reason.is_some()).await;
        },
    );
}

#[test]
fn rules_that_somebody_takes_away_are_put_back() {
    Sandbox::run_async_test("capture::rules_that_somebody_takes_away_are_put_back", async |sandbox| {
        let mut cluster = Cluster::new(sandbox);
        let pod = cluster.pod("pod", "10.7.0.10");
        cluster.commit(vec![workload(&pod, CAPTURED, &[])], vec![]);
        cluster.register(0, "pod", pod.netns_path()).await.unwrap();
        pod.namespace().run(|| capture::remove(&CaptureRules::default())).await.unwrap().unwrap();
        cluster.until(0, "pod", |pod| pod.repairs >= 1).await;
        // They are taken away table by table, and the tunnel may have come in between.
        let installed = async {
            while rules_of(&pod).await != Capture::Installed {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), installed).await.expect("the rules are put back");
    });
}

#[test]
fn a_label_that_comes_and_goes_takes_a_running_pod_in_and_out() {
    Sandbox::run_async_test(
        "capture::a_label_that_comes_and_goes_takes_a_running_pod_in_and_out",
        async |sandbox| {
            let mut cluster = Cluster::new(sandbox);
            let (client, server) = (cluster.pod("client", "10.7.0.10"), cluster.pod("server", "10.7.0.11"));
            start_program(&server, 8080).await;
            let wire = Wire::start(sandbox).unwrap();
            let outside = |pod| workload(pod, Mesh::Outside, &[]);
            cluster.commit(vec![outside(&client), outside(&server)], vec![]);
            for (node, pod) in [(0, &client), (1, &server)] {
                assert_eq!(
                    cluster.register(node, pod.name(), pod.netns_path()).await.unwrap(),
                    PodState::Outside
                );
            }
            let text = "before the label";
            let greeting = "hello 10.7.0.10\n".to_owned();
            assert_eq!(
                talk(client.connect(at(&server, 8080)).await, text).await,
                Ok(greeting.clone() + text)
            );
            assert_ne!(wire.contains(text.as_bytes()).await, 0);

            // In, while a connection from before is open: that one goes on as it was.
            let before = client.connect(at(&server, 8080)).await;
            cluster.commit(vec![workload(&client, CAPTURED, &[]), workload(&server, CAPTURED, &[])], vec![]);
            cluster.until(0, "client", |pod| pod.state == PodState::Captured).await;
            cluster.until(1, "server", |pod| pod.state == PodState::Captured).await;
            let text = "within the mesh";
            assert_eq!(
                talk(client.connect(at(&server, 8080)).await, text).await,
                Ok(greeting.clone() + text)
            );
            assert_eq!(wire.contains(text.as_bytes()).await, 0);
            assert_eq!(talk(before, "old").await, Ok(greeting.clone() + "old"));

            // And out again, while a connection through the tunnel is open: it may still end.
            let within = client.connect(at(&server, 8080)).await;
            cluster.until(1, "server", |pod| pod.connections == 1).await;
            cluster.commit(vec![outside(&client), outside(&server)], vec![]);
            cluster.until(1, "server", |pod| pod.state == PodState::Releasing).await;
            assert_eq!(talk(within, "still here").await, Ok(greeting.clone() + "still here"));
            cluster.until(0, "client", |pod| pod.state == PodState::Outside).await;
            cluster.until(1, "server", |pod| pod.state == PodState::Outside).await;
            assert_eq!(rules_of(&client).await, Capture::Missing);
            let text = "after the label";
            assert_eq!(talk(client.connect(at(&server, 8080)).await, text).await, Ok(greeting + text));
            assert_ne!(wire.contains(text.as_bytes()).await, 0);
        },
    );
}

#[test]
fn a_connection_waits_for_a_peer_that_is_just_being_captured() {
    Sandbox::run_async_test(
        "capture::a_connection_waits_for_a_peer_that_is_just_being_captured",
        async |sandbox| {
            let mut cluster = Cluster::new(sandbox);
            let (client, server) = (cluster.pod("client", "10.7.0.10"), cluster.pod("server", "10.7.0.11"));
            start_program(&server, 8080).await;
            // The configuration says that both are, and so it is of one.
            cluster.commit(vec![workload(&client, CAPTURED, &[]), workload(&server, CAPTURED, &[])], vec![]);
            cluster.register(0, "client", client.netns_path()).await.unwrap();
            let wire = Wire::start(sandbox).unwrap();
            let text = "as soon as there is a tunnel";
            let (said, ()) =
                tokio::join!(async { talk(client.connect(at(&server, 8080)).await, text).await }, async {
                    cluster.until(0, "client", |pod| pod.connections == 1).await;
                    cluster.register(1, "server", server.netns_path()).await.unwrap();
                });
            assert_eq!(said, Ok("hello 10.7.0.10\n".to_owned() + text));
            assert_eq!(wire.contains(text.as_bytes()).await, 0);
            // Not for ever.
            cluster.remove(1, "server").await;
            let said = talk(client.connect(at(&server, 8080)).await, text).await;
            assert!(said.is_err(), "{said:?}");
            assert_eq!(wire.contains(text.as_bytes()).await, 0);
        },
    );
}

#[test]
fn a_pod_whose_sandbox_was_made_anew_is_captured_anew() {
    Sandbox::run_async_test("capture::a_pod_whose_sandbox_was_made_anew_is_captured_anew", async |sandbox| {
        let mut cluster = Cluster::new(sandbox);
        let (server, old) = (cluster.pod("server", "10.7.0.11"), cluster.pod("client", "10.7.0.10"));
        start_program(&server, 8080).await;
        cluster.commit(vec![workload(&server, CAPTURED, &[]), workload(&old, CAPTURED, &[])], vec![]);
        cluster.register(1, "server", server.netns_path()).await.unwrap();
        cluster.register(0, "client", old.netns_path()).await.unwrap();
        // The same again changes nothing.
        cluster.register(0, "client", old.netns_path()).await.unwrap();
        assert!(talk(old.connect(at(&server, 8080)).await, "old").await.is_ok());
        drop(old);
        let new = cluster.pod("client", "10.7.0.12");
        cluster.commit(vec![workload(&new, CAPTURED, &[])], vec![]);
        cluster.register(0, "client", new.netns_path()).await.unwrap();
        assert_eq!(rules_of(&new).await, Capture::Installed);
        let said = talk(new.connect(at(&server, 8080)).await, "new").await;
        assert_eq!(said, Ok("hello 10.7.0.12\nnew".to_owned()));
        cluster.remove(0, "client").await;
        // Nobody takes what a pod without a tunnel says: it does not get out in plain.
        let wire = Wire::start(sandbox).unwrap();
        let said = talk(new.connect(at(&server, 8080)).await, "after the tunnel").await;
        assert!(said.is_err(), "{said:?}");
        assert_eq!(wire.contains(b"after the tunnel").await, 0);
    });
}

#[test]
fn a_pod_that_was_seen_to_be_meshed_is_captured_before_the_configuration_knows_it() {
    Sandbox::run_async_test(
        "capture::a_pod_that_was_seen_to_be_meshed_is_captured_before_the_configuration_knows_it",
        async |sandbox| {
            let mut cluster = Cluster::new(sandbox);
            let (client, server) = (cluster.pod("client", "10.7.0.10"), cluster.pod("server", "10.7.0.11"));
            start_program(&server, 8080).await;
            cluster.commit(vec![workload(&server, CAPTURED, &[])], vec![]);
            cluster.register(1, "server", server.netns_path()).await.unwrap();
            let wire = Wire::start(sandbox).unwrap();

            assert_eq!(cluster.register_meshed(0, &client).await.unwrap(), PodState::Captured);
            assert_eq!(rules_of(&client).await, Capture::Installed);
            // What its program says at once waits until it is known who it is.
            let saying = talk(client.connect(at(&server, 8080)).await, "first words");
            let (said, ()) = tokio::join!(saying, async {
                cluster.until(0, "client", |pod| pod.connections == 1).await;
                cluster.commit(vec![workload(&client, CAPTURED, &[])], vec![]);
            });
            assert_eq!(said, Ok("hello 10.7.0.10\nfirst words".to_owned()));
            assert_eq!(wire.contains(b"first words").await, 0);
        },
    );
}

#[test]
fn the_word_of_who_saw_the_label_counts_for_more_than_an_old_configuration_for_a_while() {
    Sandbox::run_async_test(
        "capture::the_word_of_who_saw_the_label_counts_for_more_than_an_old_configuration_for_a_while",
        async |sandbox| {
            let mut cluster = Cluster::new(sandbox);
            let pod = cluster.pod("pod", "10.7.0.10");
            cluster.commit(vec![workload(&pod, Mesh::Outside, &[])], vec![]);
            assert_eq!(cluster.register_meshed(0, &pod).await.unwrap(), PodState::Captured);
            assert_eq!(rules_of(&pod).await, Capture::Installed);
            // It was not old: the label has gone again.
            cluster.until(0, "pod", |pod| pod.state == PodState::Outside).await;
            assert_eq!(rules_of(&pod).await, Capture::Missing);
        },
    );
}

#[test]
fn the_node_itself_is_never_captured() {
    Sandbox::run_async_test("capture::the_node_itself_is_never_captured", async |sandbox| {
        let mut cluster = Cluster::new(sandbox);
        let pod = cluster.pod("pod", "10.7.0.10");
        cluster.commit(vec![workload(&pod, CAPTURED, &[])], vec![]);
        let node = cluster.network.node().clone();
        let refused = cluster.register(0, "pod", "/proc/self/ns/net".as_ref()).await;
        assert!(matches!(refused, Err(PodError::NodeNamespace(id)) if id == node.id()), "{refused:?}");
        let rules =
            node.run(|| capture::inspect(&CaptureRules::default(), &Fence::Down)).await.unwrap().unwrap();
        assert_eq!(rules, Capture::Missing);
    });
}

#[test]
fn kubelet_probes_a_strict_pod_and_nobody_else_does() {
    Sandbox::run_async_test("capture::kubelet_probes_a_strict_pod_and_nobody_else_does", async |sandbox| {
        let mut cluster = Cluster::new(sandbox);
        let pod = cluster.pod("pod", "10.7.0.10");
        for port in [8080, 8081, 8082] {
            start_program(&pod, port).await;
        }
        let http = HttpProbe { target: "/healthz".into(), host: None, headers: vec![], tls: false };
        let http = Probe { port: 8080, action: ProbeAction::Http(http) };
        let connect = Probe { port: 8082, action: ProbeAction::Connect };
        cluster.commit(vec![probed(&pod, vec![http, connect])], vec![]);
        cluster.register(0, "pod", pod.netns_path()).await.unwrap();
        let from_node = async |port, text: &str| {
            let wanted = Connect { destination: at(&pod, port), source: None, mark: None };
            let socket = cluster.network.node().connector(wanted).await.unwrap();
            talk(socket.connect(at(&pod, port)).await, text).await
        };
        let request = |target: &str, more: &str| {
            format!(
                "GET {target} HTTP/1.1\r\nHost: 10.7.0.10:8080\r\nUser-Agent: kube-probe/1.34\r\nAccept: */*\r\n{more}Connection: close\r\n\r\n"
            )
        };
        // The program gets the probe as kubelet writes it, whatever else was written.
        let probe = request("/healthz", "");
        for written in [probe.clone(), request("/healthz", "X-Admin: 1\r\n")] {
            assert_eq!(from_node(8080, &written).await, Ok(format!("hello 10.7.0.1\n{probe}")));
        }
        let refused = [
            (8080, request("/admin", "")),
            (8080, probe.replace("GET", "POST")),
            (8080, probe.replace("10.7.0.10:8080", "admin")),
            (8080, request("/healthz", "Upgrade: websocket\r\n")),
            (8080, format!("{probe}{}", request("/admin", ""))),
            (8080, "how are you".to_owned()),
            (8082, probe.clone()),
            (8081, probe.clone()),
        ];
        for (port, written) in &refused {
            let said = from_node(*port, written).await;
            assert!(said.as_ref().is_err_and(|error| error.contains("reset")), "{port} {written}: {said:?}");
        }
        // A connection that says nothing is what the spec asks at one port only.
        let _ = from_node(8082, "").await;
        let stranger = cluster.pod("stranger", "10.7.0.50");
        let said = talk(stranger.connect(at(&pod, 8080)).await, &probe).await;
        assert!(said.is_err_and(|error| error.contains("reset")));
        let counted = ["probe", "let_in", "refused"].map(|kind| cluster.plaintext(0, kind));
        let refusals = refused.len() as u64 + 1;
        assert_eq!(counted, [3, 0, refusals], "probes are no traffic that strict mode would cut off");
    });
}

#[test]
fn a_probe_that_the_spec_no_longer_asks_for_is_reset() {
    Sandbox::run_async_test("capture::a_probe_that_the_spec_no_longer_asks_for_is_reset", async |sandbox| {
        let mut cluster = Cluster::new(sandbox);
        let pod = cluster.pod("pod", "10.7.0.10");
        start_program(&pod, 8080).await;
        let http = HttpProbe { target: "/healthz".into(), host: None, headers: vec![], tls: false };
        let probe = Probe { port: 8080, action: ProbeAction::Http(http) };
        cluster.commit(vec![probed(&pod, vec![probe])], vec![]);
        cluster.register(0, "pod", pod.netns_path()).await.unwrap();
        let wanted = Connect { destination: at(&pod, 8080), source: None, mark: None };
        let mut streams = Vec::new();
        for written in ["GET /healthz HTTP/1.1\r\n", "GET /healthz HTTP/1.1\r\nHost: 10.7.0.10:8080\r\n\r\n"]
        {
            let socket = cluster.network.node().connector(wanted).await.unwrap();
            let mut stream = socket.connect(at(&pod, 8080)).await.unwrap();
            stream.write_all(written.as_bytes()).await.unwrap();
            streams.push(stream);
        }
        // The second one is being answered.
        let mut said = vec![0; b"hello 10.7.0.1\nGET /healthz".len()];
        streams[1].read_exact(&mut said).await.unwrap();
        cluster.commit(vec![probed(&pod, vec![])], vec![]);
        for mut stream in streams {
            let mut rest = Vec::new();
            let ended =
                tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await.unwrap();
            let kind = ended.map_err(|error| error.kind());
            assert_eq!(kind, Err(std::io::ErrorKind::ConnectionReset), "{rest:?}");
        }
    });
}

#[test]
fn a_client_that_goes_on_after_its_probe_is_cut_off() {
    Sandbox::run_async_test("capture::a_client_that_goes_on_after_its_probe_is_cut_off", async |sandbox| {
        let mut cluster = Cluster::new(sandbox);
        let pod = cluster.pod("pod", "10.7.0.10");
        start_program(&pod, 8080).await;
        let http = HttpProbe { target: "/healthz".into(), host: None, headers: vec![], tls: false };
        cluster
            .commit(vec![probed(&pod, vec![Probe { port: 8080, action: ProbeAction::Http(http) }])], vec![]);
        cluster.register(0, "pod", pod.netns_path()).await.unwrap();
        let wanted = Connect { destination: at(&pod, 8080), source: None, mark: None };
        let socket = cluster.network.node().connector(wanted).await.unwrap();
        let mut stream = socket.connect(at(&pod, 8080)).await.unwrap();
        let head = b"GET /healthz HTTP/1.1\r\nHost: 10.7.0.10:8080\r\n\r\n";
        stream.write_all(head).await.unwrap();
        let mut said = vec![0; b"hello 10.7.0.1\nGET /healthz".len()];
        stream.read_exact(&mut said).await.unwrap();
        assert_eq!(said, b"hello 10.7.0.1\nGET /healthz");
        // The program would have echoed it.
        stream.write_all(b"GET /admin HTTP/1.1\r\n\r\n").await.unwrap();
        let mut rest = Vec::new();
        let ended =
            tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await.unwrap();
        assert!(ended.is_err() && !rest.windows(6).any(|it| it == b"/admin"), "{rest:?}");
        assert_eq!(cluster.plaintext(0, "refused"), 1);
    });
}
