//! Listeners that treat their clients in ways of their own, through a proxy in memory.

use crate::fixtures::{attachment, listener, prefix, route, rule};
use crate::testing::{MemoryClient, MemoryProxy, backend, endpoint};
use fairway_config::model::{
    AppProtocol, ClientTimeouts, ClientTreatment, Listener, Resource, Route,
};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, sleep};

/// What the endpoints got.
type Heard = Rc<RefCell<Vec<u8>>>;

/// A proxy with `listener` for every host and `other` for `b.ex` on one port, before endpoints that answer each head.
fn start(listener_: ClientTreatment, other: Option<ClientTreatment>) -> (MemoryProxy, Heard) {
    let heard = Heard::default();
    let held = heard.clone();
    let listeners = [("listener", None, Some(listener_)), ("other", Some("b.ex"), other)];
    let mut resources: Vec<Resource> = listeners
        .map(|(key, hostname, treatment)| {
            let treatment = treatment.map(Arc::new);
            Resource::Listener(Arc::new(Listener { treatment, ..listener(key, hostname) }))
        })
        .to_vec();
    let attachments = vec![attachment("listener", &[]), attachment("other", &[])];
    let route = Route { attachments, rules: vec![rule(vec![prefix("/")], "web")], ..route("r") };
    resources.push(Resource::Route(Arc::new(route)));
    resources.extend(backend("web", AppProtocol::Http1, &[endpoint(1)]));
    let proxy = MemoryProxy::start(resources, move |_, stream| {
        spawn_local(serve(stream, held.clone()));
        Ok(())
    });
    (proxy.unwrap(), heard)
}

/// Answers each head at once, whatever body follows; one that says `x-wait` never.
async fn serve(mut stream: DuplexStream, heard: Heard) {
    let (mut seen, mut bytes) = (0, [0; 4096]);
    while let Ok(count) = stream.read(&mut bytes).await
        && count > 0
    {
        heard.borrow_mut().extend_from_slice(&bytes[..count]);
        let ends = heads(&heard.borrow());
        for _ in seen..ends {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n").await;
        }
        seen = ends;
    }
}

/// How many heads have ended that want an answer.
fn heads(bytes: &[u8]) -> usize {
    if bytes.windows(6).any(|it| it == b"x-wait") {
        return 0;
    }
    bytes.windows(4).filter(|it| it == b"\r\n\r\n").count()
}

/// Runs a test while connections are looked at once a second.
async fn run(proxy: MemoryProxy, test: impl AsyncFnOnce(&MemoryProxy)) {
    let testing = async {
        tokio::select! {
            never = proxy.sweep() => match never {},
            () = test(&proxy) => {}
        }
    };
    LocalSet::new().run_until(testing).await;
}

/// Sends some bytes; what comes until the proxy closes, and after how many seconds it does.
async fn until_end(proxy: &MemoryProxy, bytes: &[u8]) -> (String, u64) {
    let mut stream = proxy.connect(MemoryClient::default());
    stream.write_all(bytes).await.unwrap();
    let (began, mut answer) = (Instant::now(), Vec::new());
    let _ = stream.read_to_end(&mut answer).await;
    (String::from_utf8_lossy(&answer).into_owned(), began.elapsed().as_secs())
}

fn get(host: &str) -> String {
    format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n")
}

fn waits(head: u64, idle: u64, body: u64) -> ClientTreatment {
    let seconds = |it| Some(Duration::from_secs(it));
    let (request_headers, request_body) = (seconds(head), seconds(body));
    let timeouts =
        ClientTimeouts { request_headers, request_body, idle: seconds(idle), ..ClientTimeouts::default() };
    ClientTreatment { timeouts }
}

/// Until the Host is known, the longest of the port's listeners holds; then that of the listener that takes the request.
#[tokio::test(start_paused = true)]
async fn a_connection_has_the_timeouts_of_its_listener_and_before_that_the_longest_of_its_port() {
    let half = b"GET / HTTP/1.1\r\nhost: a.ex\r\n".to_vec();
    let (a, b) = (get("a.ex").into_bytes(), get("b.ex").into_bytes());
    let both = [a.clone(), half.clone()].concat();
    for (other, bytes, expected) in [
        (Some(waits(2, 20, 30)), &half, 2),
        (Some(waits(5, 20, 30)), &half, 5),
        (None, &half, 10),
        // Nothing was said yet.
        (Some(waits(2, 20, 30)), &Vec::new(), 20),
        (None, &Vec::new(), 300),
        // What follows a request is of its listener.
        (None, &a, 4),
        (Some(waits(2, 20, 30)), &b, 20),
        (None, &b, 300),
        (None, &both, 2),
    ] {
        let (proxy, _) = start(waits(2, 4, 6), other.clone());
        run(proxy, async |proxy| {
            let (answer, took) = until_end(proxy, bytes).await;
            let shown = String::from_utf8_lossy(bytes);
            assert!((expected..=expected + 3).contains(&took), "{other:?} {shown}: {took}s, {answer}");
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_waited_for_has_the_time_of_its_listener() {
    for (host, expected) in [("a.ex", 6), ("b.ex", 60)] {
        let (proxy, _) = start(waits(2, 4, 6), None);
        run(proxy, async |proxy| {
            let mut stream = proxy.connect(MemoryClient::default());
            let head = format!("POST / HTTP/1.1\r\nhost: {host}\r\nx-wait: 1\r\ntransfer-encoding: chunked\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            sleep(Duration::from_millis(1)).await;
            let (began, mut answer) = (Instant::now(), Vec::new());
            let _ = stream.read_to_end(&mut answer).await;
            let took = began.elapsed().as_secs();
            let answer = String::from_utf8_lossy(&answer);
            assert!(answer.starts_with("HTTP/1.1 408 "), "{host}: {answer}");
            assert!((expected..=expected + 3).contains(&took), "{host}: {took}s");
        })
        .await;
    }
}
