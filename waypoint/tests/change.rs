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
use support::wire::{Http1, status};
use support::*;
use tokio::net::TcpStream;

/// Keeps asking, on connections that it keeps and replaces when told to, until it is stopped or refused a connection.
/// Gives the number of answers; panics at one that is not 200 or does not come.
async fn load(address: SocketAddr, stop: Arc<AtomicBool>) -> usize {
    let mut answers = 0;
    while !stop.load(Ordering::SeqCst) {
        let Some(mut client) = Http1::try_connect(address).await else { break };
        loop {
            client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
            let (head, _) = client.receive().await.expect("an answer");
            assert_eq!(status(&head), 200, "{head}");
            if let Some(was) = head.lines().find_map(|it| it.strip_prefix("x-was: ")) {
                assert!(matches!(was, "one one" | "two two"), "{was}");
            }
            answers += 1;
            if head.contains("connection: close") || stop.load(Ordering::SeqCst) {
                break;
            }
        }
    }
    answers
}

/// Says its name, and the header `x-with` that it got.
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

/// Backends, filters, the order of rules and endpoints change a thousand times; no request fails, and none sees one half of
/// a change: whose filter it met, to that one's backend it goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_changes_under_load_fail_no_request() {
    let (one, two, spare) = (named("one").await, named("two").await, named("one").await);
    let mut resources = simple(AppProtocol::Http1, &[one.address]);
    resources.extend(backend("shop/two:80", AppProtocol::Http1, &[two.address]));
    let rule_of = |name: &'static str, backend: &str| with_header(rule("/", backend), name);
    resources.push(routed(vec![rule_of("one", "shop/web:80")]));
    let mut proxy = Proxy::start_with(resources, |settings| settings.workers = NonZeroUsize::new(2).unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4).map(|_| tokio::spawn(load(proxy.address(), stop.clone()))).collect();
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
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    stop.store(true, Ordering::SeqCst);
    let mut answers = 0;
    for client in clients {
        answers += client.await.unwrap();
    }
    assert!(answers > 1_000, "{answers}");
    assert!([&one, &two, &spare].iter().all(|it| it.requests() > 0));
}

/// What a client that asks all the time is answered, each code once as long as it stays the same.
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
    let clients: Vec<_> = (0..4).map(|_| tokio::spawn(load(proxy.address(), stop.clone()))).collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let draining = proxy.drain.take().unwrap();
    let deadlines = Deadlines { linger: Duration::from_millis(500), grace: Duration::from_secs(20) };
    let drained = tokio::spawn(draining.drain(deadlines));
    // They go on until they are refused a connection: no request that was let in may fail.
    let mut answers = 0;
    for client in clients {
        answers += client.await.unwrap();
    }
    assert!(answers > 100, "{answers}");
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
    let mut refused = false;
    for _ in 0..100 {
        refused = TcpStream::connect(old).await.is_err();
        if refused {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(refused, "the old socket is still open");
}
