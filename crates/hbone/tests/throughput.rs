//! Figures: throughput and latency of tunnels over loopback, alone and beside tunnels that nobody reads.
//! `cargo test -p fairway-hbone --test throughput -- --ignored --nocapture`
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "test code: a panic is the failure of the test that called it; figures are for people"
)]

use fairway_hbone::{ConnectRequest, Pool, Request, Target, TcpConnector, Tunnel, client, serve, server};
use fairway_identity::TlsIdentity;
use fairway_identity::testing::TestAuthority;
use fairway_runtime::drain;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, sink};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, timeout};

const READ: u8 = 0;
const READ_NOTHING: u8 = 1;

fn locally<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, work)
}

async fn program(request: Request) {
    let mut tunnel = request.accept().unwrap();
    match tunnel.read_u8().await {
        Ok(READ) => {
            let _ = copy(&mut tunnel, &mut sink()).await;
            let _ = tunnel.write_u8(0).await;
            let _ = tunnel.shutdown().await;
        }
        _ => std::future::pending().await,
    }
}

async fn accept(listener: std::net::TcpListener, tls: Arc<TlsIdentity>) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let (_trigger, watch) = drain::channel();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (tls, watch) = (tls.clone(), watch.clone());
        spawn_local(async move {
            let (settings, budget) = (server::Settings::default(), Default::default());
            serve(stream, &tls, &settings, &budget, watch, program).await
        });
    }
}

struct Peer {
    pool: Pool<TcpConnector>,
    tls: Arc<TlsIdentity>,
    target: Target,
}

impl Peer {
    async fn open(&self, deed: u8) -> Option<Tunnel> {
        let connect_request = ConnectRequest::to("10.0.0.1:80".parse::<SocketAddr>().unwrap());
        let mut tunnel = self.pool.open(&self.tls, &self.target, &connect_request).await.unwrap();
        timeout(Duration::from_secs(3), tunnel.write_u8(deed)).await.ok()?.unwrap();
        Some(tunnel)
    }

    /// Tunnels on which as much is sent as goes, and that nobody reads.
    async fn stall(&self, count: usize) {
        for _ in 0..count {
            let Some(mut tunnel) = self.open(READ_NOTHING).await else { return };
            spawn_local(async move {
                let chunk = vec![0; 64 << 10];
                while tunnel.write_all(&chunk).await.is_ok() {}
            });
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }

    /// Gbit/s over so many tunnels; none if they stand still.
    async fn throughput(&self, tunnels: usize) -> Option<f64> {
        const SENT: usize = 256 << 20;
        let start = Instant::now();
        let mut sending = Vec::new();
        for _ in 0..tunnels {
            let mut tunnel = self.open(READ).await?;
            sending.push(spawn_local(async move {
                let chunk = vec![0; 64 << 10];
                for _ in 0..SENT / tunnels / chunk.len() {
                    tunnel.write_all(&chunk).await.unwrap();
                }
                tunnel.shutdown().await.unwrap();
                tunnel.read_u8().await.unwrap();
            }));
        }
        for sent in sending {
            timeout(Duration::from_secs(10), sent).await.ok()?.unwrap();
        }
        Some(SENT as f64 * 8.0 / start.elapsed().as_secs_f64() / 1e9)
    }

    /// Microseconds for opening a tunnel, a kilobyte and an answer: the median and the 99th in a hundred.
    async fn latency(&self) -> Option<(u128, u128)> {
        let mut took = Vec::new();
        for _ in 0..1000 {
            let start = Instant::now();
            let exchange = async {
                let mut tunnel = self.open(READ).await?;
                tunnel.write_all(&[0; 1024]).await.unwrap();
                tunnel.shutdown().await.unwrap();
                tunnel.read_u8().await.ok()
            };
            timeout(Duration::from_secs(3), exchange).await.ok()??;
            took.push(start.elapsed().as_micros());
        }
        took.sort_unstable();
        Some((took[took.len() / 2], took[took.len() * 99 / 100]))
    }
}

#[test]
#[ignore = "figures for people, of a machine that does nothing else"]
fn throughput_and_latency_alone_and_beside_readers_that_stop() {
    let authority = TestAuthority::new("cluster.local");
    let (client_tls, server_tls) = (authority.identity("a", "client"), authority.identity("a", "server"));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let target = Target { address: listener.local_addr().unwrap(), identity: server_tls.id().clone() };
    std::thread::spawn(move || locally(accept(listener, server_tls)));
    for stalled in [0, 3, 4, 90] {
        locally(async {
            let pool = Pool::new(TcpConnector, client::Settings::default());
            let peer = Peer { pool, tls: client_tls.clone(), target: target.clone() };
            peer.stall(stalled).await;
            for tunnels in [1, 8] {
                let mut rates = Vec::new();
                for _ in 0..5 {
                    let Some(rate) = peer.throughput(tunnels).await else { break };
                    rates.push(rate);
                }
                rates.sort_by(f64::total_cmp);
                println!("{stalled} stalled, {tunnels} tunnels: {:?} Gbit/s", rates.get(rates.len() / 2));
            }
            println!("{stalled} stalled, latency (µs, p50 and p99): {:?}", peer.latency().await);
        });
    }
}
