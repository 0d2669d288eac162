//! Changes under load that need sockets and threads: what is accepted while a socket closes or the proxy ends is up to the kernel, and a
//! commit is made on another thread than those that serve. The tests wait for what happens, with real time as the limit. Changes that
//! need neither are in `change.rs`, under paused time.

use crate::support;
use fairway_config::Delta;
use fairway_config::model::{AppProtocol, BackendTarget, Resource, Unresolved};
use fairway_runtime::drain::Deadlines;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::backend::{Server, echo};
use support::wire::{Http1, LONG, status};
use support::*;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

/// Sends requests one after another until it is stopped or a connection is refused. Keeps its connection until the proxy closes it.
/// Counts the responses in `answers`. Panics at a status that is not 200, and if there is no response.
async fn load(address: SocketAddr, stop: Arc<AtomicBool>, answers: watch::Sender<usize>) {
    while !stop.load(Ordering::SeqCst) {
        let Some(mut client) = Http1::try_connect(address).await else { break };
        loop {
            client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
            let (head, _) = client.receive().await.expect("an answer");
            assert_eq!(status(&head), 200, "{head}");
            answers.send_modify(|count| *count += 1);
            if head.contains("connection: close") || stop.load(Ordering::SeqCst) {
                break;
            }
        }
    }
}

/// The status codes that a client gets which sends requests all the time. A code that repeats is listed once.
#[derive(Clone, Default)]
struct Codes(Arc<Mutex<Vec<u16>>>);

impl Codes {
    async fn watch(self, address: SocketAddr, path: &'static str, stop: Arc<AtomicBool>) {
        let mut client = Http1::connect(address).await;
        while !stop.load(Ordering::SeqCst) {
            client.send(&format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
            let code = status(&client.receive().await.unwrap().0);
            let mut codes = self.0.lock().unwrap();
            if codes.last() != Some(&code) {
                codes.push(code);
            }
        }
    }

    fn all(&self) -> Vec<u16> {
        self.0.lock().unwrap().clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_and_its_backend_appear_at_once() {
    let server = Server::http(1, echo).await;
    let mut proxy = Proxy::start(simple(AppProtocol::Http1, &[server.address]));
    let new = || backend("shop/new:80", AppProtocol::Http1, &[server.address]);
    let gone = || -> Vec<_> { new().iter().map(Resource::key).collect() };
    let missing = BackendTarget::Unresolved(Unresolved::NotFound);
    let mut unresolved = rule("/new", "x");
    unresolved.backends[0].target = missing;
    for (before, first) in [(vec![], 404), (vec![unresolved], 500)] {
        for _ in 0..100 {
            let only = rule("/only", "shop/web:80");
            let rules = std::iter::once(only.clone()).chain(before.clone()).collect();
            let delta = Delta { upserts: vec![routed(rules)], removals: gone(), ..Delta::default() };
            proxy.apply_delta(delta).unwrap();
            let stop = Arc::new(AtomicBool::new(false));
            let codes = Codes::default();
            let client = tokio::spawn(codes.clone().watch(proxy.address(), "/new", stop.clone()));
            wait_for(|| !codes.all().is_empty()).await;
            let mut upserts = new();
            upserts.push(routed(vec![only, rule("/new", "shop/new:80")]));
            proxy.apply(upserts).unwrap();
            wait_for(|| codes.all().len() > 1).await;
            stop.store(true, Ordering::SeqCst);
            client.await.unwrap();
            assert_eq!(codes.all(), [first, 200]);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_under_load_fails_no_request() {
    let server = Server::http(1, echo).await;
    let mut proxy = Proxy::start_with(simple(AppProtocol::Http1, &[server.address]), |settings| {
        settings.workers = NonZeroUsize::new(2).unwrap();
    });
    let stop = Arc::new(AtomicBool::new(false));
    let (answers, mut answered) = watch::channel(0);
    let client = || tokio::spawn(load(proxy.address(), stop.clone(), answers.clone()));
    let clients: Vec<_> = (0..4).map(|_| client()).collect();
    timeout(LONG, answered.wait_for(|count| *count > 100)).await.expect("answers in time").unwrap();
    let draining = proxy.drain.take().unwrap();
    let deadlines = Deadlines { linger: Duration::from_millis(500), grace: Duration::from_secs(20) };
    let drained = tokio::spawn(draining.drain(deadlines));
    // They go on until a connection is refused: no request that was accepted may fail.
    for client in clients {
        client.await.unwrap();
    }
    assert!(proxy.waypoint.join().await, "a worker panicked");
    assert!(drained.await.unwrap(), "nothing had to be cut off");
}

#[tokio::test]
async fn a_removed_listener_is_closed_and_another_one_opened() {
    let server = Server::http(1, echo).await;
    let mut proxy = Proxy::start(simple(AppProtocol::Http1, &[server.address]));
    let old = proxy.address();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut moved = listener(fairway_config::model::ListenerProtocol::Http);
    moved.port = free;
    proxy.apply(vec![Resource::Listener(Arc::new(moved))]).unwrap();
    assert_eq!(proxy.address().port(), free);
    assert_eq!(status(&wire::get(proxy.address(), "/").await), 200);
    let closing = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        while TcpStream::connect(old).await.is_ok() {
            ticks.tick().await;
        }
    };
    timeout(LONG, closing).await.expect("the old socket is closed in time");
}
