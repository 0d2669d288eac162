//! Nothing that was captured goes around the tunnel, however late.

use crate::stage::{Stage, accept, both, talk, within};
use fairway_netns::capture::{self, Fence};
use fairway_netns::socket::{Connect, Source};
use fairway_testbed::{Pod, Sandbox};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long the kernel remembers half-closed connections where a test says so, in seconds.
const SHORT: u32 = 1;

/// Longer than that, and than the kernel may be late.
const SILENCE: Duration = Duration::from_millis(2500);

/// Has the kernel remember connections of a pod of which one side has ended for this long.
fn forget_half_closed_after(pod: &Pod, seconds: u32) {
    let write = move || {
        for state in ["fin_wait", "close_wait"] {
            let file = format!("/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_{state}");
            std::fs::write(file, seconds.to_string())?;
        }
        Ok::<_, std::io::Error>(())
    };
    pod.namespace().run_blocking(write).unwrap().unwrap();
}

/// Connections of the captured pod, out and in: the program's end, and the tunnel's. Whom they are with is nowhere.
async fn captured_connections(stage: &Stage) -> Vec<(TcpStream, TcpStream)> {
    let outbound = stage.tunnel_listener(15001).await;
    let mut open = Vec::new();
    for addresses in both() {
        let far = SocketAddr::new(addresses.service, 80);
        let client = within(stage.pod.connect(far)).await.unwrap();
        open.push((client, accept(&outbound).await.2));

        let here = SocketAddr::new(addresses.pod, 8080);
        let app = stage.pod.listen(here).await.unwrap();
        let source = Some(Source::Spoofed(far.ip()));
        let wanted = Connect { destination: here, source, mark: Some(stage.rules.own_mark) };
        let socket = stage.pod.namespace().connector(wanted).await.unwrap();
        let tunnel = within(socket.connect(here)).await.unwrap();
        open.push((within(app.accept()).await.unwrap().0, tunnel));
    }
    for (program, tunnel) in &mut open {
        talk(program, tunnel).await;
    }
    open
}

#[test]
fn a_half_closed_connection_may_be_silent_for_long() {
    Sandbox::run_async_test("fence::a_half_closed_connection_may_be_silent_for_long", async |sandbox| {
        let stage = Stage::set(sandbox);
        forget_half_closed_after(&stage.pod, SHORT);
        stage.capture();
        let mut by_programs = captured_connections(&stage).await;
        let mut by_others = captured_connections(&stage).await;
        for (program, _) in &mut by_programs {
            program.shutdown().await.unwrap();
        }
        for (_, tunnel) in &mut by_others {
            tunnel.shutdown().await.unwrap();
        }
        tokio::time::sleep(SILENCE).await;
        let mut heard = String::new();
        for (mut program, mut tunnel) in by_programs {
            tunnel.write_all(b"late").await.unwrap();
            drop(tunnel);
            within(program.read_to_string(&mut heard)).await.unwrap();
        }
        for (mut program, mut tunnel) in by_others {
            program.write_all(b"late").await.unwrap();
            drop(program);
            within(tunnel.read_to_string(&mut heard)).await.unwrap();
        }
        assert_eq!(heard, "late".repeat(8));
    });
}

#[test]
fn what_the_kernel_has_forgotten_is_broken_and_does_not_leave_the_pod() {
    Sandbox::run_async_test(
        "fence::what_the_kernel_has_forgotten_is_broken_and_does_not_leave_the_pod",
        async |sandbox| {
            let stage = Stage::set(sandbox);
            assert_eq!(stage.capture(), Fence::Up);
            forget_half_closed_after(&stage.pod, SHORT);
            let mut open = captured_connections(&stage).await;
            for (_, tunnel) in &mut open {
                tunnel.shutdown().await.unwrap();
            }
            for (program, _) in &mut open {
                assert_eq!(program.read(&mut [0; 8]).await.unwrap(), 0);
            }
            tokio::time::sleep(SILENCE).await;
            // On its way to where nobody answers; only the fence can refuse it.
            for (program, _) in &mut open {
                program.write_all(b"a secret").await.unwrap();
                let broken = within(async {
                    loop {
                        if let Err(error) = program.write_all(b"a secret").await {
                            return error.kind();
                        }
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                });
                let broken = broken.await;
                assert!(matches!(broken, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{broken}");
            }
        },
    );
}

#[test]
fn the_fence_is_up_but_for_connections_that_are_older_than_the_rules() {
    Sandbox::run_async_test(
        "fence::the_fence_is_up_but_for_connections_that_are_older_than_the_rules",
        async |sandbox| {
            let stage = Stage::set(sandbox);
            let there = SocketAddr::new(both()[0].other, 8080);
            let app = stage.other.listen(there).await.unwrap();
            let mut client = within(stage.pod.connect(there)).await.unwrap();
            let mut server = accept(&app).await.2;
            let older = |fence: Fence| fence.older().map_or(0, |it| it.len());
            assert_eq!(older(stage.capture()), 1);
            talk(&mut client, &mut server).await;

            // It ends. What was opened since is captured, and nobody is left whom the fence would cut off.
            let mut captured = captured_connections(&stage).await;
            assert_eq!(older(stage.capture()), 1);
            drop(client);
            within(server.read(&mut [0; 8])).await.unwrap();
            drop(server);
            let raised = async {
                while stage.capture() != Fence::Up {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            within(raised).await;
            for (program, tunnel) in &mut captured {
                talk(program, tunnel).await;
            }
        },
    );
}

#[test]
fn a_fence_that_somebody_pulled_down_is_put_up_whatever_is_open() {
    Sandbox::run_async_test(
        "fence::a_fence_that_somebody_pulled_down_is_put_up_whatever_is_open",
        async |sandbox| {
            let stage = Stage::set(sandbox);
            assert_eq!(stage.capture(), Fence::Up);
            let mut captured = captured_connections(&stage).await;
            let rules = stage.rules;
            let remove = move || capture::remove(&rules);
            stage.pod.namespace().run_blocking(remove).unwrap().unwrap();
            let there = SocketAddr::new(both()[0].other, 8080);
            let app = stage.other.listen(there).await.unwrap();
            let mut around = within(stage.pod.connect(there)).await.unwrap();
            let _server = accept(&app).await;

            let repair = move || capture::repair(&rules, &Fence::Up);
            assert_eq!(stage.pod.namespace().run_blocking(repair).unwrap().unwrap(), Fence::Up);
            for (program, tunnel) in &mut captured {
                talk(program, tunnel).await;
            }
            around.write_all(b"a secret").await.unwrap();
            let broken = within(around.read(&mut [0; 8])).await.unwrap_err().kind();
            assert_eq!(broken, ErrorKind::ConnectionReset);
        },
    );
}
