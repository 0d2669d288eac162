//! Changes under load: a new configuration, and the end of the proxy. No request fails.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code: a panic is the failure of the test that called it"
)]

mod support;

use fairway_config::Delta;
use fairway_config::model::{AppProtocol, BackendTarget, Filter, HeaderModifier, Resource, Rule, Unresolved};
use fairway_runtime::drain::Deadlines;
use http::{HeaderName, HeaderValue};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::backend::{Server, echo, full};
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
            if let Some(was) = head.lines().find_map(|it| it.strip_prefix("x-was: ")) {
                assert!(matches!(was, "one one" | "two two"), "{was}");
            }
            answers.send_modify(|count| *count += 1);
            if head.contains("connection: close") || stop.load(Ordering::SeqCst) {
                break;
            }
        }
    }
}

/// A server that answers with its name and the header `x-with` of the request.
async fn named(name: &'static str) -> Server {
    Server::http(1, move |request| {
        let with = request.headers().get("x-with").and_then(|it| it.to_str().ok()).unwrap_or("-").to_owned();
        async move { http::Response::builder().header("x-was", format!("{name} {with}")).body(full("")).unwrap() }
    })
    .await
}

fn with_header(rule: Rule, value: &'static str) -> Rule {
    let set = vec![(HeaderName::from_static("x-with"), HeaderValue::from_static(value))];
    let modifier = HeaderModifier { set, ..HeaderModifier::default() };
    Rule { filters: vec![Filter::RequestHeaders(modifier)], ..rule }
}

/// Backends, filters, the order of rules and endpoints change a thousand times. No request fails, and none gets one half of a
/// change: the filter and the backend belong to the same rule.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_changes_under_load_fail_no_request() {
    let (one, two, spare) = (named("one").await, named("two").await, named("one").await);
    let mut resources = simple(AppProtocol::Http1, &[one.address]);
    resources.extend(backend("shop/two:80", AppProtocol::Http1, &[two.address]));
    let rule_of = |name: &'static str, backend: &str| with_header(rule("/", backend), name);
    resources.push(routed(vec![rule_of("one", "shop/web:80")]));
    let mut proxy = Proxy::start_with(resources, |settings| settings.workers = NonZeroUsize::new(2).unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let (answers, mut answered) = watch::channel(0);
    let client = || tokio::spawn(load(proxy.address(), stop.clone(), answers.clone()));
    let clients: Vec<_> = (0..4).map(|_| client()).collect();
    for number in 0..1_000 {
        match number % 4 {
            0 => proxy.apply(vec![routed(vec![rule_of("two", "shop/two:80")])]).unwrap(),
            // The endpoint that serves now is gone, and another one is there.
            1 | 3 => {
                let address = if number % 8 < 4 { spare.address } else { one.address };
                proxy.apply(backend("shop/web:80", AppProtocol::Http1, &[address])).unwrap();
            }
            _ => {
                let other = Rule { matches: rule("/other", "x").matches, ..rule_of("two", "shop/two:80") };
                let mut rules = vec![rule_of("one", "shop/web:80"), other];
                rules.rotate_left(number % 3 % 2);
                proxy.apply(vec![routed(rules)]).unwrap();
            }
        }
        // Every configuration answers requests before the next one comes.
        let before = *answered.borrow_and_update();
        timeout(LONG, answered.wait_for(|count| *count > before)).await.expect("answers in time").unwrap();
    }
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.unwrap();
    }
    assert!([&one, &two, &spare].iter().all(|it| it.requests() > 0));
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

#[tokio::test]
async fn the_next_request_on_an_open_connection_follows_the_new_configuration() {
    let server = Server::http(1, echo).await;
    let mut proxy = Proxy::start(simple(AppProtocol::Http1, &[server.address]));
    let mut client = Http1::connect(proxy.address()).await;
    for (resources, expected) in [
        (vec![], 200),
        (vec![routed(vec![rule("/only", "shop/web:80")])], 404),
        (vec![routed(vec![rule("/", "shop/web:80")])], 200),
    ] {
        proxy.apply(resources).unwrap();
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!(status(&client.receive().await.unwrap().0), expected);
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
