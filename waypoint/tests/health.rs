//! An endpoint that fails while there is load: it is ejected, and readmitted when it has recovered. How many requests that costs over
//! time is simulated in `crates/balance/tests/outage.rs`; this is the same with real connections.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code: a panic is the failure of the test that called it"
)]

mod support;

use fairway_config::model::{AppProtocol, Retry};
use socket2::SockRef;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;
use support::backend::Server;
use support::wire::{Http1, LONG, status};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

/// How an endpoint fails.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// It resets every connection.
    Connections,
    /// It resets every request.
    Requests,
}

/// An endpoint, and what has happened at it.
#[derive(Clone)]
struct Pod {
    is_failing: Arc<AtomicBool>,
    served: watch::Sender<usize>,
    resets: watch::Sender<usize>,
}

impl Pod {
    fn new() -> Self {
        Self { is_failing: Arc::default(), served: watch::Sender::new(0), resets: watch::Sender::new(0) }
    }

    async fn serve(self, mut stream: TcpStream, fault: Fault) {
        stream.set_nodelay(true).unwrap();
        let mut head = Vec::new();
        loop {
            if self.is_failing.load(SeqCst) && matches!(fault, Fault::Connections) {
                return self.reset(&stream);
            }
            head.clear();
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => return,
                }
            }
            if self.is_failing.load(SeqCst) {
                return self.reset(&stream);
            }
            self.served.send_modify(|count| *count += 1);
            if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.is_err() {
                return;
            }
        }
    }

    fn reset(&self, stream: &TcpStream) {
        SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
        self.resets.send_modify(|count| *count += 1);
    }
}

/// Waits until a counter has grown by `more`.
async fn grow(counter: &watch::Sender<usize>, more: usize) {
    let mut counter = counter.subscribe();
    let goal = *counter.borrow_and_update() + more;
    timeout(LONG, counter.wait_for(|count| *count >= goal)).await.expect("it grows in time").unwrap();
}

/// Sends requests one after another until it is stopped. Returns the number of responses that were not 200.
async fn load(address: SocketAddr, stop: Arc<AtomicBool>) -> usize {
    let (mut failed, mut client) = (0, Http1::connect(address).await);
    while !stop.load(SeqCst) {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let (head, _) = client.receive().await.expect("a response");
        failed += usize::from(status(&head) != 200);
        if head.contains("connection: close") {
            client = Http1::connect(address).await;
        }
    }
    failed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_resets_is_ejected_and_has_its_share_again_when_it_has_recovered() {
    for (fault, most) in [(Fault::Connections, 8), (Fault::Requests, 14)] {
        let pods = [(); 3].map(|()| Pod::new());
        let mut servers = Vec::new();
        for pod in &pods {
            let pod = pod.clone();
            servers.push(Server::raw(move |stream, _| pod.clone().serve(stream, fault)).await);
        }
        let addresses: Vec<_> = servers.iter().map(|server| server.address).collect();
        let mut rule = rule("/", "shop/web:80");
        rule.retry = Some(Retry { attempts: 0, backoff: None, codes: vec![], connection_errors: true });
        let proxy = Proxy::start(with_rule(rule, AppProtocol::Http1, &addresses));
        let stop = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..8).map(|_| tokio::spawn(load(proxy.address(), stop.clone()))).collect();
        for pod in &pods {
            grow(&pod.served, 20).await;
        }
        pods[0].is_failing.store(true, SeqCst);
        // The open connections or the requests of the first moment, then some attempts to readmit it.
        grow(&pods[0].resets, 11).await;
        pods[0].is_failing.store(false, SeqCst);
        grow(&pods[0].served, 20).await;

        // Its share: about a third of what the three serve from now on.
        let served = || pods.each_ref().map(|pod| *pod.served.borrow());
        let before = served();
        grow(&pods[1].served, 500).await;
        let share: Vec<_> = served().iter().zip(before).map(|(now, then)| now - then).collect();
        stop.store(true, SeqCst);
        let mut failed = 0;
        for client in clients {
            failed += client.await.unwrap();
        }
        assert!(failed <= most, "{fault:?}: {failed} requests have failed");
        assert!(share[0] * 5 > share.iter().sum::<usize>(), "{fault:?}: {share:?}");
    }
}
