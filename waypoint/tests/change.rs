//! Changes under load: a new configuration, and the end of the proxy. No request fails.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code: a panic is the failure of the test that called it"
)]

mod support;

use fairway_config::model::{AppProtocol, Resource};
use fairway_runtime::drain::Deadlines;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::backend::{Server, echo};
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
            answers += 1;
            if head.contains("connection: close") || stop.load(Ordering::SeqCst) {
                break;
            }
        }
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn configurations_change_under_load() {
    let (one, two) = (Server::http(1, echo).await, Server::http(1, echo).await);
    let mut resources = simple(AppProtocol::Http1, &[one.address]);
    resources.extend(backend("shop/other:80", AppProtocol::Http1, &[two.address]));
    let mut proxy = Proxy::start_with(resources, |settings| settings.workers = NonZeroUsize::new(2).unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4).map(|_| tokio::spawn(load(proxy.address(), stop.clone()))).collect();
    for number in 0..100 {
        let target = if number % 2 == 0 { "shop/other:80" } else { "shop/web:80" };
        proxy.apply(vec![routed(vec![rule("/", target)])]).unwrap();
        // Endpoints come and go too.
        let addresses = if number % 3 == 0 { vec![one.address, two.address] } else { vec![one.address] };
        proxy.apply(backend("shop/web:80", AppProtocol::Http1, &addresses)).unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.store(true, Ordering::SeqCst);
    let mut answers = 0;
    for client in clients {
        answers += client.await.unwrap();
    }
    assert!(answers > 100 && one.requests() > 0 && two.requests() > 0, "{answers}");
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
