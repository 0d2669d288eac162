//! A new configuration while there is load: no request fails, and each is served by one configuration. In memory, under paused time;
//! `sockets.rs` has what needs sockets and threads.

use crate::support;
use fairway_config::Delta;
use fairway_config::model::{AppProtocol, Filter, Resource, Rule};
use fairway_waypoint::testing::{MemoryClient, MemoryProxy, endpoint, listener, set};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use support::backend::{read_head, say};
use support::wire::{Http1, status};
use support::{LISTENER, backend, route, rule};
use tokio::io::DuplexStream;
use tokio::sync::watch;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::sleep;

/// How long an endpoint takes for a response, so that there are requests under way whenever the configuration changes.
const LATENCY: Duration = Duration::from_millis(3);

/// A proxy whose endpoints answer with their host and the header `x-with` of the request, and how often each has answered.
fn started(rules: Vec<Rule>) -> (MemoryProxy, Rc<RefCell<BTreeMap<u8, usize>>>) {
    let mut resources = vec![Resource::Listener(Arc::new(listener(LISTENER))), routed(rules)];
    resources.extend(web(1));
    resources.extend(backend("shop/two:80", AppProtocol::Http1, &[endpoint(2)]));
    let served: Rc<RefCell<BTreeMap<u8, usize>>> = Rc::default();
    let counted = served.clone();
    let proxy = MemoryProxy::start(resources, move |address, stream| {
        let host = (1..=3).find(|host| endpoint(*host) == address).unwrap();
        spawn_local(serve(stream, host, counted.clone()));
        Ok(())
    });
    (proxy.unwrap(), served)
}

async fn serve(mut stream: DuplexStream, host: u8, served: Rc<RefCell<BTreeMap<u8, usize>>>) {
    loop {
        let head = read_head(&mut stream).await;
        if head.is_empty() {
            return;
        }
        let with = head.lines().find_map(|line| line.strip_prefix("x-with: ")).unwrap_or("-");
        sleep(LATENCY).await;
        *served.borrow_mut().entry(host).or_default() += 1;
        say(&mut stream, &format!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-was: {host} {with}\r\n\r\n"))
            .await;
    }
}

fn routed(rules: Vec<Rule>) -> Resource {
    Resource::Route(Arc::new(route("route", rules)))
}

/// `shop/web:80` with its one endpoint.
fn web(host: u8) -> Vec<Resource> {
    backend("shop/web:80", AppProtocol::Http1, &[endpoint(host)])
}

fn marked(path: &str, backend: &str, mark: &'static str) -> Rule {
    Rule { filters: vec![Filter::RequestHeaders(set("x-with", mark))], ..rule(path, backend) }
}

fn apply(proxy: &mut MemoryProxy, upserts: Vec<Resource>) {
    proxy.apply(Delta { upserts, ..Delta::default() }).unwrap();
}

/// Sends requests one after another until it is stopped. The rule that marks a request is the one that chooses its backend.
async fn load(mut client: Http1<DuplexStream>, stop: Rc<Cell<bool>>, answers: watch::Sender<usize>) {
    while !stop.get() {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let (head, _) = client.receive().await.expect("an answer");
        assert_eq!(status(&head), 200, "{head}");
        let was = head.lines().find_map(|it| it.strip_prefix("x-was: ")).unwrap();
        assert!(matches!(was, "1 web" | "3 web" | "2 two"), "{was}");
        answers.send_modify(|count| *count += 1);
    }
}

/// Backends, filters, the order of rules and endpoints change a thousand times. No request fails, and none gets one half of a
/// change: the filter and the backend belong to the same rule.
#[tokio::test(start_paused = true)]
async fn a_thousand_changes_under_load_fail_no_request() {
    let to_web = || marked("/", "shop/web:80", "web");
    let to_two = |path| marked(path, "shop/two:80", "two");
    let test = async {
        let (mut proxy, served) = started(vec![to_web()]);
        let stop = Rc::new(Cell::new(false));
        let (answers, mut answered) = watch::channel(0);
        let clients: Vec<_> = (0..4)
            .map(|_| {
                let client = Http1::over(proxy.connect(MemoryClient::default()));
                spawn_local(load(client, stop.clone(), answers.clone()))
            })
            .collect();
        for number in 0..1_000 {
            match number % 4 {
                0 => apply(&mut proxy, vec![routed(vec![to_two("/")])]),
                // The endpoint that serves now is gone, and another one is there.
                1 | 3 => apply(&mut proxy, web(if number % 8 < 4 { 3 } else { 1 })),
                _ => {
                    let mut rules = vec![to_web(), to_two("/other")];
                    rules.rotate_left(number % 3 % 2);
                    apply(&mut proxy, vec![routed(rules)]);
                }
            }
            // Every configuration answers requests before the next one comes.
            let before = *answered.borrow_and_update();
            answered.wait_for(|count| *count > before).await.unwrap();
        }
        stop.set(true);
        for client in clients {
            client.await.unwrap();
        }
        assert_eq!(served.borrow().keys().collect::<Vec<_>>(), [&1, &2, &3], "each was chosen");
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test(start_paused = true)]
async fn the_next_request_on_an_open_connection_follows_the_new_configuration() {
    let test = async {
        let (mut proxy, _) = started(vec![rule("/", "shop/web:80")]);
        let mut client = Http1::over(proxy.connect(MemoryClient::default()));
        for (path, expected) in [("/", 200), ("/only", 404), ("/", 200)] {
            apply(&mut proxy, vec![routed(vec![rule(path, "shop/web:80")])]);
            client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
            assert_eq!(status(&client.receive().await.unwrap().0), expected);
        }
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_under_way_is_served_as_it_began() {
    let test = async {
        let (mut proxy, served) = started(vec![marked("/", "shop/web:80", "web")]);
        let mut client = Http1::over(proxy.connect(MemoryClient::default()));
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        // It has come to its endpoint, which is about to answer.
        sleep(LATENCY / 2).await;
        let gone = web(1).iter().map(Resource::key).collect();
        proxy.apply(Delta { upserts: vec![routed(vec![])], removals: gone, ..Delta::default() }).unwrap();
        let (head, _) = client.receive().await.unwrap();
        assert!(head.contains("x-was: 1 web\r\n"), "{head}");
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!(status(&client.receive().await.unwrap().0), 404);
        assert_eq!(served.borrow().values().sum::<usize>(), 1);
    };
    LocalSet::new().run_until(test).await;
}
