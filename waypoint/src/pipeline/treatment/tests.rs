//! Listeners that treat their clients in ways of their own, through a proxy in memory.

use crate::fixtures::{attachment, listener, prefix, route, rule};
use crate::testing::{MemoryClient, MemoryProxy, backend, endpoint};
use crate::wire::Version;
use bytes::Bytes;
use fairway_config::model::{
    AddressSource, AppProtocol, CertificateHeader, ClientLimits, ClientTimeouts, ClientTreatment, Listener,
    RequestIds, Resource, Route, Underscores,
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
    start_as(listener_, other, AddressSource::Connection)
}

/// The same with a `listener` that learns so where its clients are.
fn start_at(listener_: ClientTreatment, source: AddressSource) -> (MemoryProxy, Heard) {
    start_as(listener_, None, source)
}

fn start_as(
    listener_: ClientTreatment,
    other: Option<ClientTreatment>,
    source: AddressSource,
) -> (MemoryProxy, Heard) {
    let heard = Heard::default();
    let held = heard.clone();
    let listeners = [
        ("listener", None, Some(listener_), source),
        ("other", Some("b.ex"), other, AddressSource::Connection),
    ];
    let mut resources: Vec<Resource> = listeners
        .map(|(key, hostname, treatment, address_source)| {
            let treatment = treatment.map(Arc::new);
            let listener = Listener { treatment, address_source, ..listener(key, hostname) };
            Resource::Listener(Arc::new(listener))
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
    ClientTreatment { timeouts, ..ClientTreatment::default() }
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
            let head =
                format!("POST / HTTP/1.1\r\nhost: {host}\r\nx-wait: 1\r\ntransfer-encoding: chunked\r\n\r\n");
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

fn limits(limits: ClientLimits) -> ClientTreatment {
    ClientTreatment { limits, ..ClientTreatment::default() }
}

/// The status of an answer; 0 if there is none.
fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|it| it.parse().ok()).unwrap_or_default()
}

async fn ask(proxy: &MemoryProxy, request: &str) -> String {
    let mut stream = proxy.connect(MemoryClient::default());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(start_paused = true)]
async fn a_head_that_is_larger_than_its_listener_lets_it_be_is_answered_with_431() {
    let of_fields = ClientLimits { headers: Some(4), ..ClientLimits::default() };
    let of_bytes = ClientLimits { header_bytes: Some(1024), ..ClientLimits::default() };
    let with =
        |host: &str, more: &str| format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{more}\r\n");
    // Host, Connection and so many more; a line that fills the head to the byte.
    let fields = |count: usize| "x-a: 1\r\n".repeat(count);
    let filled = |host: &str, bytes: usize| {
        let rest = bytes - with(host, "x-long: \r\n").len();
        format!("x-long: {}\r\n", "a".repeat(rest))
    };
    for (treatment, host, more, expected) in [
        (of_fields, "a.ex", fields(2), 200),
        (of_fields, "a.ex", fields(3), 431),
        (of_fields, "b.ex", fields(3), 200),
        (of_bytes, "a.ex", filled("a.ex", 1024), 200),
        (of_bytes, "a.ex", filled("a.ex", 1025), 431),
        (of_bytes, "b.ex", filled("b.ex", 1025), 200),
    ] {
        let (proxy, heard) = start(limits(treatment), None);
        run(proxy, async |proxy| {
            let answer = ask(proxy, &with(host, &more)).await;
            assert_eq!(status(&answer), expected, "{treatment:?} {host} {}: {answer}", more.len());
            assert_eq!(heard.borrow().is_empty(), expected != 200, "{host}");
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_longer_than_its_listener_lets_it_be_is_answered_with_413_and_never_looks_whole() {
    let ten = ClientLimits { body_bytes: Some(10), ..ClientLimits::default() };
    let said = |host: &str, length: usize| {
        let body = "a".repeat(length);
        format!(
            "POST / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        )
    };
    // The endpoint waits for the end of such a body.
    let chunked = |host: &str, chunks: &[&str]| {
        let chunks: String = chunks.iter().map(|it| format!("{:x}\r\n{it}\r\n", it.len())).collect();
        format!(
            "POST / HTTP/1.1\r\nhost: {host}\r\nx-wait: 1\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"
        )
    };
    for (request, expected, reached) in [
        (said("a.ex", 10), 200, true),
        (said("a.ex", 11), 413, false),
        (said("b.ex", 11), 200, true),
        (chunked("a.ex", &["aaaaa", "aaaaaa"]), 413, true),
        (chunked("a.ex", &["aaaaaaaaaaa"]), 413, true),
    ] {
        let (proxy, heard) = start(limits(ten), None);
        run(proxy, async |proxy| {
            let answer = ask(proxy, &request).await;
            assert_eq!(status(&answer), expected, "{request}: {answer}");
            let heard = String::from_utf8_lossy(&heard.borrow()).into_owned();
            assert!(reached || heard.is_empty(), "{request}: {heard}");
            let is_whole = heard.ends_with("0\r\n\r\n");
            assert!(expected != 413 || !is_whole, "{request}: {heard}");
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn over_http2_a_body_that_is_too_long_is_answered_with_413_and_the_other_streams_go_on() {
    let ten = ClientLimits { body_bytes: Some(10), streams: Some(7), ..ClientLimits::default() };
    // Of the streams the larger number of the two holds.
    let other = ClientLimits { streams: Some(5), ..ClientLimits::default() };
    let (proxy, heard) = start(limits(ten), Some(limits(other)));
    run(proxy, async |proxy| {
        let version = Some(Version::Http2);
        let stream = proxy.connect(MemoryClient { version, ..MemoryClient::default() });
        let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
        spawn_local(connection);
        let mut ask = async |wait: bool, length: Option<usize>, pieces: &[usize]| {
            let mut request = http::Request::post("http://a.ex/");
            if wait {
                request = request.header("x-wait", "1");
            }
            if let Some(length) = length {
                request = request.header("content-length", length);
            }
            let mut ready = client.clone().ready().await.unwrap();
            let (response, mut body) = ready.send_request(request.body(()).unwrap(), false).unwrap();
            for (index, piece) in pieces.iter().enumerate() {
                let is_last = index + 1 == pieces.len();
                let _ = body.send_data(Bytes::from(vec![b'a'; *piece]), is_last);
            }
            client = ready;
            response.await.map(|it| it.status().as_u16())
        };
        assert_eq!(ask(false, Some(11), &[11]).await.unwrap(), 413);
        assert!(heard.borrow().is_empty(), "its length says it");
        assert_eq!(ask(false, Some(10), &[10]).await.unwrap(), 200);
        assert_eq!(ask(false, None, &[5, 5]).await.unwrap(), 200);
        let before = heard.borrow().len();
        assert_eq!(ask(true, None, &[5, 6]).await.unwrap(), 413);
        let more = String::from_utf8_lossy(&heard.borrow()[before..]).into_owned();
        assert!(!more.ends_with("0\r\n\r\n"), "{more}");
        assert_eq!(client.current_max_send_streams(), 7);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_over_the_limit_of_its_listener_is_closed_and_counted_and_makes_room_when_it_ends() {
    let one = ClientLimits { connections: Some(1), ..ClientLimits::default() };
    let (proxy, _) = start(limits(one), None);
    run(proxy, async |proxy| {
        let mut first = proxy.connect(MemoryClient::default());
        first.write_all(get("a.ex").as_bytes()).await.unwrap();
        let mut some = [0; 64];
        assert!(first.read(&mut some).await.unwrap() > 0);
        let close = |host: &str| get(host).replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
        assert_eq!(ask(proxy, &close("a.ex")).await, "");
        assert_eq!(status(&ask(proxy, &close("b.ex")).await), 200, "the other listener has no limit");
        let mut registry = prometheus_client::registry::Registry::with_prefix("fairway");
        registry.register_collector(Box::new(proxy.metrics()));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(text.contains("streams_refused_total{reason=\"connection_limit\"} 1"), "{text}");
        // It counts once, whatever it asks for.
        first.write_all(get("a.ex").as_bytes()).await.unwrap();
        assert!(first.read(&mut some).await.unwrap() > 0);
        drop(first);
        sleep(Duration::from_millis(1)).await;
        assert_eq!(status(&ask(proxy, &close("a.ex")).await), 200);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_brings_so_many_requests_and_is_then_closed() {
    let two = ClientLimits { requests_per_connection: Some(2), ..ClientLimits::default() };
    let (proxy, _) = start(limits(two), None);
    run(proxy, async |proxy| {
        let answers = ask(proxy, &get("a.ex").repeat(3)).await.to_ascii_lowercase();
        assert_eq!(answers.matches("http/1.1 200").count(), 2, "{answers}");
        let last = answers.rfind("http/1.1").map(|at| &answers[at..]);
        assert!(last.is_some_and(|it| it.contains("connection: close")), "{answers}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn headers_with_underscores_go_on_or_are_dropped_or_refused() {
    let says = |underscores| ClientTreatment { underscores, ..ClientTreatment::default() };
    let line = "GET / HTTP/1.1\r\nconnection: close\r\napi_key: 1\r\nx_real_ip: 1\r\nx-a: 1\r\n";
    for (underscores, host, expected, passed) in [
        (Underscores::Keep, "a.ex", 200, true),
        (Underscores::Drop, "a.ex", 200, false),
        (Underscores::Refuse, "a.ex", 400, false),
        (Underscores::Refuse, "b.ex", 200, true),
    ] {
        // What takes no header with underscores takes requests without one.
        let treatment = ClientTreatment { request_ids: RequestIds::Keep, ..says(underscores) };
        let (proxy, heard) = start(treatment, None);
        run(proxy, async |proxy| {
            let answer = ask(proxy, &format!("{line}host: {host}\r\n\r\n")).await;
            assert_eq!(status(&answer), expected, "{underscores:?} {host}: {answer}");
            let got = String::from_utf8_lossy(&heard.borrow()).into_owned();
            assert_eq!(got.contains("api_key: 1"), passed, "{underscores:?} {host}: {got}");
            assert!(!got.contains("x_real_ip"), "{got}");
            assert_eq!(got.contains("x-a: 1"), expected == 200, "{got}");
            let answer =
                ask(proxy, &format!("GET / HTTP/1.1\r\nconnection: close\r\nhost: {host}\r\n\r\n")).await;
            assert_eq!(status(&answer), 200, "{underscores:?} {host}: {answer}");
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_id_of_a_request_is_that_of_the_client_or_of_a_proxy_that_is_believed_or_a_new_one() {
    let trusted = || std::iter::once("192.0.2.0/24".parse().unwrap()).collect();
    let elsewhere = || std::iter::once("10.0.0.0/8".parse().unwrap()).collect();
    for (request_ids, source, sent, expected) in [
        (RequestIds::BuiltIn, AddressSource::Connection, "x-request-id: mine\r\n", "4"),
        (RequestIds::Keep, AddressSource::Connection, "x-request-id: mine\r\n", "mine"),
        (RequestIds::Keep, AddressSource::Connection, "x-request-id: two words\r\n", "7"),
        (RequestIds::Keep, AddressSource::Connection, "", "7"),
        (RequestIds::Generate, AddressSource::Connection, "x-request-id: mine\r\n", "7"),
        (RequestIds::Generate, AddressSource::ForwardedFor(trusted()), "x-request-id: mine\r\n", "mine"),
        (RequestIds::Generate, AddressSource::ForwardedFor(elsewhere()), "x-request-id: mine\r\n", "7"),
    ] {
        let treatment = ClientTreatment { request_ids, ..ClientTreatment::default() };
        let (proxy, heard) = start_at(treatment, source.clone());
        run(proxy, async |proxy| {
            ask(proxy, &format!("GET / HTTP/1.1\r\nhost: a.ex\r\nconnection: close\r\n{sent}\r\n")).await;
            let got = String::from_utf8_lossy(&heard.borrow()).into_owned();
            let id = got.lines().find_map(|it| it.strip_prefix("x-request-id: ")).unwrap_or_default();
            let found = if id.len() == 36 { &id[14..15] } else { id };
            assert_eq!(found, expected, "{request_ids:?} {source:?} {sent}: {got}");
        })
        .await;
    }
}

/// Over a connection without a certificate nothing is set, whatever the listener says, and what a client writes there is gone.
#[tokio::test(start_paused = true)]
async fn no_client_says_itself_which_certificate_it_has_shown() {
    for certificate_header in [CertificateHeader::Drop, CertificateHeader::Set] {
        let treatment = ClientTreatment {
            certificate_header,
            request_ids: RequestIds::Keep,
            ..ClientTreatment::default()
        };
        let (proxy, heard) = start(treatment, None);
        run(proxy, async |proxy| {
            let forged = "x-forwarded-client-cert: Hash=0\r\nx_forwarded_client_cert: Hash=0\r\nx-forwarded_client-cert: Hash=0\r\n";
            let request = format!("GET / HTTP/1.1\r\nhost: a.ex\r\nconnection: close\r\n{forged}\r\n");
            assert_eq!(status(&ask(proxy, &request).await), 200);
            let got = String::from_utf8_lossy(&heard.borrow()).to_ascii_lowercase();
            assert!(!got.contains("client") && !got.contains("hash=0"), "{certificate_header:?}: {got}");
        })
        .await;
    }
}
