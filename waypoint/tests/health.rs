//! An endpoint that breaks while there is load: how much it costs, and how soon it has its share again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code: a panic is the failure of the test that called it"
)]

mod support;

use fairway_config::model::{AppProtocol, Retry};
use socket2::SockRef;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use support::backend::Server;
use support::wire::{Http1, status};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

/// How an endpoint breaks.
#[derive(Clone, Copy, Debug)]
enum Breaks {
    /// Whoever connects is reset.
    Connections,
    /// Whoever asks is reset.
    Requests,
}

#[derive(Clone, Default)]
struct Pod {
    broken: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
}

fn reset(stream: &TcpStream) {
    SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
}

impl Pod {
    async fn serve(self, mut stream: TcpStream, breaks: Breaks) {
        stream.set_nodelay(true).unwrap();
        let mut head = Vec::new();
        loop {
            if self.broken.load(Ordering::SeqCst) && matches!(breaks, Breaks::Connections) {
                return reset(&stream);
            }
            head.clear();
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => return,
                }
            }
            if self.broken.load(Ordering::SeqCst) {
                return reset(&stream);
            }
            self.served.fetch_add(1, Ordering::SeqCst);
            if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.is_err() {
                return;
            }
        }
    }
}

/// Asks every few milliseconds until it is stopped; gives how many answers were no 200.
async fn ask(address: std::net::SocketAddr, stop: Arc<AtomicBool>) -> usize {
    let (mut failed, mut client) = (0, Http1::connect(address).await);
    while !stop.load(Ordering::SeqCst) {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let (head, _) = client.receive().await.expect("an answer");
        failed += usize::from(status(&head) != 200);
        if head.contains("connection: close") {
            client = Http1::connect(address).await;
        }
        sleep(Duration::from_millis(4)).await;
    }
    failed
}

/// The bar is 25 errors for 20 seconds; this is a fifth of it, with a pause as long as it takes to be held back for longest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_resets_costs_few_requests_and_gets_its_share_back_within_two_seconds() {
    for (breaks, most) in [(Breaks::Connections, 6), (Breaks::Requests, 12)] {
        let pods: [Pod; 3] = Default::default();
        let mut servers = Vec::new();
        for pod in &pods {
            let pod = pod.clone();
            servers.push(Server::raw(move |stream, _| pod.clone().serve(stream, breaks)).await);
        }
        let addresses: Vec<_> = servers.iter().map(|it| it.address).collect();
        let mut rule = rule("/", "shop/web:80");
        rule.retry = Some(Retry { attempts: 0, backoff: None, codes: vec![], connection_errors: true });
        let proxy = Proxy::start(with_rule(rule, AppProtocol::Http1, &addresses));
        let stop = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..8).map(|_| tokio::spawn(ask(proxy.address(), stop.clone()))).collect();
        sleep(Duration::from_millis(300)).await;
        pods[0].broken.store(true, Ordering::SeqCst);
        sleep(Duration::from_secs(4)).await;
        pods[0].broken.store(false, Ordering::SeqCst);
        let (back, before) = (Instant::now(), pods[0].served.load(Ordering::SeqCst));
        while pods[0].served.load(Ordering::SeqCst) < before + 20 {
            sleep(Duration::from_millis(5)).await;
        }
        let after = back.elapsed();
        // Its share: a third, of what the three serve from now on.
        let count = || pods.each_ref().map(|it| it.served.load(Ordering::SeqCst));
        let start = count();
        sleep(Duration::from_millis(500)).await;
        let served: Vec<_> = count().iter().zip(start).map(|(now, then)| now - then).collect();
        stop.store(true, Ordering::SeqCst);
        let mut failed = 0;
        for client in clients {
            failed += client.await.unwrap();
        }
        assert!(failed <= most, "{breaks:?}: {failed} requests failed");
        assert!(after < Duration::from_millis(2_500), "{breaks:?}: {after:?}");
        let all: usize = served.iter().sum();
        assert!(served[0] * 5 > all, "{breaks:?}: {served:?}");
    }
}
