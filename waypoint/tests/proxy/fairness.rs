//! Clients and endpoints that stop reading delay nobody else.

use crate::support;
use bytes::Bytes;
use fairway_config::model::AppProtocol;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use support::backend::{Body, Server, echo};
use support::wire::{LONG, get, http2, status};
use support::*;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

const CHUNK: usize = 16 * 1024;
const MUCH: usize = 2 * 1024 * 1024;

/// A body of which it is counted how much was taken.
fn counted(taken: Arc<AtomicUsize>, chunk: usize, all: usize) -> Body {
    let chunks = futures_util::stream::iter((0..all / chunk).map(move |_| {
        taken.fetch_add(chunk, Ordering::SeqCst);
        Ok(Frame::data(Bytes::from(vec![7; chunk])))
    }));
    StreamBody::new(chunks).boxed()
}

/// Answers `/big` with much, in chunks that the query says.
async fn server(taken: Arc<AtomicUsize>) -> Server {
    Server::http(2, move |request: Request<Incoming>| {
        let taken = taken.clone();
        async move {
            match request.uri().path() {
                "/big" => Response::new(counted(taken, CHUNK, MUCH)),
                "/crumbs" => Response::new(counted(taken, 20, MUCH)),
                _ => echo(request).await,
            }
        }
    })
    .await
}

/// How long a request may take at most, whoever does not read. One that waits for somebody who has stopped waits for good.
const EACH: Duration = Duration::from_secs(5);
/// How many requests are measured.
const MEASURED: usize = 21;

/// How long requests of others take, one on a connection of its own after the other, in order. What they send and get is
/// nothing to speak of.
async fn times(address: SocketAddr, what: &str) -> Vec<Duration> {
    let mut times = Vec::new();
    for number in 0..MEASURED {
        let began = Instant::now();
        let answer = timeout(EACH, get(address, "/small")).await;
        assert_eq!(status(&answer.expect("no answer to somebody else")), 200, "{what} {number}");
        times.push(began.elapsed());
    }
    times.sort();
    times
}

/// What half of the requests may take where half took this without anybody who stops: tests run beside each other on a machine
/// that does other things too.
fn bound(alone: &[Duration]) -> Duration {
    (alone[MEASURED / 2] * 10).max(Duration::from_millis(250))
}

/// A client whose streams have a window of one byte, which it never opens.
async fn stall(address: SocketAddr, path: &str, streams: usize) -> Vec<impl Sized> {
    let mut held = Vec::new();
    for streams in (0..streams.div_ceil(100)).map(|it| (streams - it * 100).min(100)) {
        let stream = TcpStream::connect(address).await.unwrap();
        let mut builder = h2::client::Builder::new();
        let (mut send, connection) =
            builder.initial_window_size(1).handshake::<_, Bytes>(stream).await.unwrap();
        tokio::spawn(connection);
        for _ in 0..streams {
            send = send.ready().await.unwrap();
            let request = Request::get(format!("http://shop{path}")).body(()).unwrap();
            let (response, _) = send.send_request(request, true).unwrap();
            held.push((timeout(LONG, response).await.expect("an answer in time").unwrap(), send.clone()));
        }
    }
    held
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_do_not_read_hold_up_nobody_elses_streams_at_an_http2_endpoint() {
    for count in [1, 4, 100, 1000] {
        let taken = Arc::new(AtomicUsize::new(0));
        let server = server(taken.clone()).await;
        let proxy = Proxy::start(simple(AppProtocol::Http2, &[server.address]));
        let alone = times(proxy.address(), "without any").await;
        let _held = stall(proxy.address(), "/big", count).await;
        let buffered = until_unchanged(&taken).await;
        // The window of each stream, and what the endpoint itself has ready for each and for each connection.
        let most = match count {
            1000 => 250 << 20,
            few => few * (1 << 20) + (8 << 20),
        };
        assert!(buffered <= most, "{count}: {buffered} bytes are somewhere");
        let beside = times(proxy.address(), &format!("beside {count}")).await;
        assert!(beside[MEASURED / 2] <= bound(&alone), "{count}: {beside:?} instead of {alone:?}");
    }
}

/// Clients of HTTP/1.1 whose sockets take little, and who read none of it.
async fn stall_http1(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut held = Vec::new();
    for _ in 0..count {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stream = socket.connect(address).await.unwrap();
        stream.write_all(b"GET /big HTTP/1.1\r\nhost: shop\r\n\r\n").await.unwrap();
        held.push(stream);
    }
    held
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_not_read_hold_up_nobody_else_s_requests() {
    for protocol in [AppProtocol::Http1, AppProtocol::Http2] {
        let taken = Arc::new(AtomicUsize::new(0));
        let counter = taken.clone();
        let version = if protocol == AppProtocol::Http1 { 1 } else { 2 };
        let server = Server::http(version, move |request: Request<Incoming>| {
            let taken = counter.clone();
            async move {
                match request.uri().path() {
                    "/big" => Response::new(counted(taken, CHUNK, MUCH)),
                    _ => echo(request).await,
                }
            }
        })
        .await;
        let proxy = Proxy::start(simple(protocol, &[server.address]));
        let alone = times(proxy.address(), "without any").await;
        let mut held = Vec::new();
        // Each of them costs the kernel its send buffers, on the way to the proxy and from there.
        for count in [1, 4, 100] {
            held.extend(stall_http1(proxy.address(), count - held.len()).await);
            until_unchanged(&taken).await;
            let beside = times(proxy.address(), &format!("beside {count}")).await;
            assert!(
                beside[MEASURED / 2] <= bound(&alone),
                "{protocol:?} {count}: {beside:?} instead of {alone:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_messages_that_clients_do_not_read_do_not_end_the_streams_of_others() {
    let taken = Arc::new(AtomicUsize::new(0));
    let server = server(taken.clone()).await;
    let proxy = Proxy::start(simple(AppProtocol::Http2, &[server.address]));
    let held = stall(proxy.address(), "/crumbs", 8).await;
    until_unchanged(&taken).await;
    assert_eq!(status(&get(proxy.address(), "/small").await), 200);
    // On a busy machine the first streams may not wait for the SETTINGS of the first connection; each that was ended would
    // have brought another one.
    assert!(server.connections() <= 2, "{}", server.connections());
    drop(held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_does_not_take_uploads_holds_up_none_to_others_on_the_same_connection() {
    // It keeps the request and does not read it.
    let deaf = Server::http(2, |request: Request<Incoming>| async move {
        let _kept = request;
        std::future::pending().await
    })
    .await;
    let hears = Server::http(1, echo).await;
    let mut resources = vec![http(), routed(vec![rule("/deaf", "shop/deaf:80"), rule("/", "shop/web:80")])];
    resources.extend(backend("shop/deaf:80", AppProtocol::Http2, &[deaf.address]));
    resources.extend(backend("shop/web:80", AppProtocol::Http1, &[hears.address]));
    let proxy = Proxy::start(resources);
    let client = http2(proxy.address()).await;
    let taken = Arc::new(AtomicUsize::new(0));
    for _ in 0..90 {
        let request = Request::post("http://shop/deaf").body(counted(taken.clone(), CHUNK, 1 << 30)).unwrap();
        let mut client = client.clone();
        tokio::spawn(async move { client.send_request(request).await });
    }
    let buffered = until_unchanged(&taken).await;
    assert!((16 << 20..=90 << 20).contains(&buffered), "{buffered}");
    let request = Request::post("http://shop/").body(counted(Arc::default(), CHUNK, MUCH)).unwrap();
    let answer = timeout(LONG, client.clone().send_request(request)).await.expect("held up").unwrap();
    assert_eq!(answer.status(), 200);
    assert!(timeout(LONG, answer.into_body().collect()).await.unwrap().unwrap().to_bytes().len() > MUCH);
}
