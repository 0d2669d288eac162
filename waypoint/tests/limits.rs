//! Every state in which a client can keep a connection of a Gateway ends: docs/limits.md has the table.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code: a panic is the failure of the test that called it"
)]

mod support;

use bytes::Bytes;
use fairway_config::model::{AppProtocol, Certificate, ListenerProtocol, Resource, TlsTermination};
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use support::backend::{Body, Server, echo, full, read_head, say};
use support::wire::{Http1, LONG, get, http2, status};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// Seconds where a proxy has minutes.
fn hurried(settings: &mut fairway_waypoint::ProxySettings) {
    settings.timeouts.head = Duration::from_secs(1);
    settings.timeouts.idle = Duration::from_secs(4);
    settings.timeouts.body = Duration::from_secs(2);
}

fn hurried_proxy(protocol: AppProtocol, address: SocketAddr) -> Proxy {
    Proxy::start_with(simple(protocol, &[address]), hurried)
}

/// What a client hears until its connection ends, which it must by then.
async fn until_end(stream: &mut TcpStream, within: Duration) -> String {
    let mut heard = Vec::new();
    let ended = timeout(within, stream.read_to_end(&mut heard)).await;
    assert!(ended.is_ok(), "open after {within:?}: {:?}", String::from_utf8_lossy(&heard));
    String::from_utf8_lossy(&heard).into_owned()
}

async fn has_not_ended(stream: &mut TcpStream, for_: Duration) -> bool {
    let mut byte = [0; 1024];
    timeout(for_, async { while stream.read(&mut byte).await.is_ok_and(|it| it > 0) {} }).await.is_err()
}

#[tokio::test]
async fn a_client_that_begins_and_does_not_go_on_is_given_up() {
    let server = Server::http(1, echo).await;
    let proxy = hurried_proxy(AppProtocol::Http1, server.address);
    let body = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\nx";
    let chunked = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n";
    let states: [(&str, &str, &[&str]); 11] = [
        ("nothing", "", &[""]),
        ("an empty line", "\r\n", &["HTTP/1.1 408"]),
        ("empty lines", "\r\n\r\n\r\n\r\n", &["HTTP/1.1 408"]),
        ("half an empty line", "\r", &["HTTP/1.1 408"]),
        ("a refused line and no more", "GET / HTTP/1.1\n", &["HTTP/1.1 408", "HTTP/1.1 400"]),
        ("half a head", "GET / HTTP/1.1\r\nhost: a\r\n", &["HTTP/1.1 408"]),
        ("half a preface", "PRI * HTT", &[""]),
        ("a preface and nothing", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[""]),
        ("a body that does not come", body, &["HTTP/1.1 408"]),
        ("chunks that do not come", chunked, &["HTTP/1.1 408"]),
        ("an empty line behind a request", "GET / HTTP/1.1\r\nhost: a\r\n\r\n\r\n", &["HTTP/1.1 200"]),
    ];
    let all = states.map(|(state, said, expected)| {
        let address = proxy.address();
        async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(said.as_bytes()).await.unwrap();
            let heard = until_end(&mut stream, LONG).await;
            assert!(expected.iter().any(|it| heard.contains(it)), "{state}: {heard:?}");
        }
    });
    futures_util::future::join_all(all).await;
}

#[tokio::test]
async fn bytes_that_trickle_do_not_win_time() {
    let server = Server::http(1, echo).await;
    let proxy = hurried_proxy(AppProtocol::Http1, server.address);
    for (begin, trickle) in [
        ("", "\r\n"),
        ("GET / HTTP/1.1\r\n", "a: b\r\n"),
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n", "x"),
        ("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n", "1\r\nx\r\n"),
    ] {
        let (mut read, mut write) = TcpStream::connect(proxy.address()).await.unwrap().into_split();
        write.write_all(begin.as_bytes()).await.unwrap();
        let began = Instant::now();
        let trickling = async {
            while began.elapsed() < LONG && write.write_all(trickle.as_bytes()).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        let mut heard = Vec::new();
        tokio::select! {
            () = trickling => assert!(began.elapsed() < LONG, "{begin:?}: still open"),
            _ = read.read_to_end(&mut heard) => {}
        }
    }
}

/// A response that never ends.
async fn endless(_: Request<Incoming>) -> Response<Body> {
    let pieces = futures_util::stream::repeat_with(|| Ok(Frame::data(Bytes::from(vec![0; 16 << 10]))));
    Response::new(BodyExt::boxed(StreamBody::new(pieces)))
}

#[tokio::test]
async fn a_client_that_does_not_take_its_response_is_given_up_and_one_that_does_is_not() {
    let server = Server::http(1, endless).await;
    let proxy = hurried_proxy(AppProtocol::Http1, server.address);
    let mut stalled = TcpStream::connect(proxy.address()).await.unwrap();
    stalled.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut slow = TcpStream::connect(proxy.address()).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let began = Instant::now();
    let mut some = vec![0; 256 << 10];
    while began.elapsed() < Duration::from_secs(7) {
        slow.read_exact(&mut some).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // It was cut off, and not ended as if that were all.
    let mut rest = Vec::new();
    let ended = timeout(LONG, stalled.read_to_end(&mut rest)).await.expect("it ends");
    assert!(ended.is_err(), "reset");
}

#[tokio::test]
async fn a_stream_that_is_not_taken_is_reset_and_the_others_of_its_connection_go_on() {
    let server = Server::http(2, |request| async move {
        if request.uri().path() == "/endless" { endless(request).await } else { echo(request).await }
    })
    .await;
    let proxy = hurried_proxy(AppProtocol::Http2, server.address);
    let mut client = http2(proxy.address()).await;
    let ask = |path: &str| {
        let request = Request::get(format!("http://a{path}"));
        request.body(full("")).unwrap()
    };
    let response = client.send_request(ask("/endless")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(12)).await;
    let other = client.send_request(ask("/")).await.unwrap();
    assert_eq!(other.status(), 200);
    other.into_body().collect().await.unwrap();
    let mut body = response.into_body();
    let reading = async {
        loop {
            match body.frame().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => return error.to_string(),
                None => return "the end".to_owned(),
            }
        }
    };
    let ended = timeout(LONG, reading).await.expect("it was reset");
    assert!(ended != "the end", "{ended}");
}

/// A request's body whose pieces come when they are sent.
fn piecemeal() -> (tokio::sync::mpsc::UnboundedSender<Bytes>, Body) {
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let pieces = futures_util::stream::poll_fn(move |cx| {
        receiver.poll_recv(cx).map(|it| it.map(|it| Ok(Frame::data(it))))
    });
    (sender, BodyExt::boxed(StreamBody::new(pieces)))
}

#[tokio::test]
async fn over_http2_a_body_that_does_not_come_is_answered_408_and_a_grpc_stream_may_be_silent() {
    let server = Server::http(2, echo).await;
    let proxy = hurried_proxy(AppProtocol::Http2, server.address);
    let mut client = http2(proxy.address()).await;
    let (held, body) = piecemeal();
    held.send(Bytes::from("x")).unwrap();
    let request = Request::post("http://a/").body(body).unwrap();
    let response = timeout(LONG, client.send_request(request)).await.expect("answered").unwrap();
    assert_eq!(response.status(), 408);

    let (held, body) = piecemeal();
    let request = Request::post("http://a/").header("content-type", "application/grpc").body(body).unwrap();
    let mut answering = std::pin::pin!(client.send_request(request));
    held.send(Bytes::from("x")).unwrap();
    assert!(timeout(Duration::from_secs(8), &mut answering).await.is_err(), "it waits");
    drop(held);
    assert_eq!(timeout(LONG, answering).await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn an_endpoint_may_take_its_time() {
    let server = Server::raw(|mut stream, _| async move {
        let head = read_head(&mut stream).await;
        tokio::time::sleep(Duration::from_secs(6)).await;
        if head.starts_with("POST") {
            // It takes nothing of the body meanwhile.
            let mut body = vec![0; 4 << 20];
            stream.read_exact(&mut body).await.unwrap();
        }
        say(&mut stream, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n").await;
        tokio::time::sleep(Duration::from_secs(6)).await;
        say(&mut stream, "1\r\nb\r\n0\r\n\r\n").await;
    })
    .await;
    let proxy = hurried_proxy(AppProtocol::Http1, server.address);
    let (mut get, mut post) = (Http1::connect(proxy.address()).await, Http1::connect(proxy.address()).await);
    get.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let sending = async {
        post.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4194304\r\n\r\n").await;
        post.0.write_all(&vec![0; 4 << 20]).await.unwrap();
        post.read_until(|read| read.ends_with(b"0\r\n\r\n").then_some(read.len())).await.unwrap()
    };
    let getting = get.read_until(|read| read.ends_with(b"0\r\n\r\n").then_some(read.len()));
    let (got, posted) = tokio::join!(getting, sending);
    assert!(got.unwrap().contains("200 OK"));
    assert!(posted.contains("200 OK"));
}

#[tokio::test]
async fn a_flood_of_control_frames_ends_the_connection_and_says_why() {
    let server = Server::http(1, echo).await;
    let proxy = hurried_proxy(AppProtocol::Http1, server.address);
    for (what, frame) in [
        ("PING", &b"\0\0\x08\x06\0\0\0\0\0whatever"[..]),
        ("PING ACK", b"\0\0\x08\x06\x01\0\0\0\0whatever"),
        ("SETTINGS", b"\0\0\0\x04\0\0\0\0\0"),
        ("WINDOW_UPDATE", b"\0\0\x04\x08\0\0\0\0\0\0\0\0\x01"),
        ("unknown", b"\0\0\0\xfa\0\0\0\0\0"),
    ] {
        let (mut read, mut write) = TcpStream::connect(proxy.address()).await.unwrap().into_split();
        write.write_all(PREFACE).await.unwrap();
        write.write_all(SETTINGS).await.unwrap();
        let flood = tokio::spawn(async move {
            let many = frame.repeat(64);
            while write.write_all(&many).await.is_ok() {}
        });
        let mut heard = Vec::new();
        let _ = timeout(LONG, read.read_to_end(&mut heard)).await.expect(what);
        // A reset may overtake the GOAWAY, but where anything is heard last, it is that.
        assert!(timeout(LONG, flood).await.is_ok(), "{what}");
    }
    let mut good = Http1::connect(proxy.address()).await;
    good.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(good.receive().await.unwrap().0.contains("200"));
}

#[tokio::test]
async fn nothing_is_said_in_the_middle_of_a_response() {
    let server = Server::http(1, |_| async { Response::new(full(vec![b'.'; 8 << 20])) }).await;
    let proxy = hurried_proxy(AppProtocol::Http1, server.address);
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 << 10).unwrap();
    let mut client = socket.connect(proxy.address()).await.unwrap();
    // The second head does not end, and nothing of the first response is read.
    client.write_all(b"GET /1 HTTP/1.1\r\nhost: a\r\n\r\nGET /2 HTTP/1.1\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mut heard = Vec::new();
    let _ = timeout(LONG, client.read_to_end(&mut heard)).await.expect("it ends");
    let heard = String::from_utf8_lossy(&heard);
    assert!(!heard.contains("408"), "{}", &heard[heard.len().saturating_sub(200)..]);
}

#[tokio::test]
async fn one_address_does_not_have_every_connection() {
    let server = Server::http(1, echo).await;
    let proxy = Proxy::start_with(simple(AppProtocol::Http1, &[server.address]), |settings| {
        settings.limits.connections = 32;
    });
    let from = |address: &'static str| {
        let to = proxy.address();
        async move {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind(address.parse().unwrap()).unwrap();
            socket.connect(to).await
        }
    };
    let mut held = Vec::new();
    for _ in 0..40 {
        // One that is refused may be so before it knows that it was there.
        held.extend(from("127.0.0.1:0").await.ok());
    }
    let mut other = from("127.0.0.2:0").await.unwrap();
    other.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let answer = until_end(&mut other, LONG).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let open =
        futures_util::future::join_all(held.iter_mut().map(|it| has_not_ended(it, Duration::from_secs(1))));
    let open = open.await.into_iter().filter(|it| *it).count();
    assert_eq!(open, 17, "half, and what was begun");
}

#[tokio::test]
async fn on_a_port_that_nobody_named_half_a_word_or_silence_before_nobody_ends() {
    let silent = Server::raw(|stream, _| async move {
        let _held = stream;
        std::future::pending::<()>().await;
    })
    .await;
    for (state, endpoints, said) in [
        ("half a method, late", vec![silent.address], "G"),
        ("half a method, nobody there", vec![], "G"),
        ("silence, nobody there", vec![], ""),
    ] {
        let protocol = ListenerProtocol::Service { service: "shop/web".into(), port: 80 };
        let mut resources = backend("shop/web:80", AppProtocol::Unspecified, &endpoints);
        resources.push(service("shop/web", [10, 96, 0, 1].into(), 80, AppProtocol::Unspecified));
        resources.push(Resource::Listener(Arc::new(listener(protocol))));
        let proxy = Proxy::start_with(resources, hurried);
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        stream.write_all(said.as_bytes()).await.unwrap();
        let mut heard = Vec::new();
        assert!(timeout(LONG, stream.read_to_end(&mut heard)).await.is_ok(), "{state}: still open");
    }
}

#[tokio::test]
async fn a_tls_handshake_that_does_not_go_on_is_given_up() {
    let made = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
    let pem = made.signing_key.serialize_pem();
    let certificate = Certificate::from_pem("shop/a".into(), &made.cert.pem(), &pem).unwrap();
    let termination = TlsTermination {
        certificates: vec!["shop/a".into()],
        clients: None,
        min_version: Default::default(),
    };
    let resources = vec![
        Resource::Listener(Arc::new(listener(ListenerProtocol::Https(termination)))),
        Resource::Certificate(Arc::new(certificate)),
    ];
    let proxy = Proxy::start_with(resources, hurried);
    for (state, said) in
        [("nothing", &b""[..]), ("half a record", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")]
    {
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        stream.write_all(said).await.unwrap();
        let mut heard = Vec::new();
        assert!(timeout(LONG, stream.read_to_end(&mut heard)).await.is_ok(), "{state}: still open");
    }
}

#[tokio::test]
async fn an_endpoint_that_does_not_say_continue_gets_the_body_all_the_same() {
    let server = Server::raw(|mut stream, _| async move {
        let head = read_head(&mut stream).await;
        assert!(head.contains("expect: 100-continue\r\n"), "{head}");
        let mut body = [0; 5];
        stream.read_exact(&mut body).await.unwrap();
        say(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    })
    .await;
    let proxy = Proxy::start_with(simple(AppProtocol::Http1, &[server.address]), |settings| {
        settings.timeouts.continue_ = Duration::from_millis(100);
    });
    let mut client = Http1::connect(proxy.address()).await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n").await;
    assert!(client.receive().await.unwrap().0.starts_with("HTTP/1.1 100"));
    client.send("hello").await;
    assert!(client.receive().await.unwrap().0.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn an_idle_connection_to_an_endpoint_is_closed() {
    for version in [1, 2] {
        let (closed, mut is_closed) = tokio::sync::mpsc::unbounded_channel();
        let server = Server::raw(move |stream, _| {
            let closed = closed.clone();
            async move {
                let io = hyper_util::rt::TokioIo::new(stream);
                let service = hyper::service::service_fn(|request| async move {
                    Ok::<_, std::convert::Infallible>(echo(request).await)
                });
                if version == 1 {
                    let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
                } else {
                    let executor = hyper_util::rt::TokioExecutor::new();
                    let _ = hyper::server::conn::http2::Builder::new(executor)
                        .serve_connection(io, service)
                        .await;
                }
                let _ = closed.send(());
            }
        })
        .await;
        let protocol = if version == 1 { AppProtocol::Http1 } else { AppProtocol::Http2 };
        let proxy = Proxy::start_with(simple(protocol, &[server.address]), |settings| {
            settings.timeouts.upstream_idle = Duration::from_secs(1);
        });
        let mut client = Http1::connect(proxy.address()).await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(client.receive().await.unwrap().0.starts_with("HTTP/1.1 200"));
        assert!(timeout(LONG, is_closed.recv()).await.is_ok(), "HTTP/{version}: still open");
    }
}

/// A socket whose queue of connections is full: who connects now hears nothing.
fn deaf() -> (socket2::Socket, SocketAddr, Vec<socket2::Socket>) {
    let new = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let listener = new();
    listener.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let waiting = (0..4).map(|_| {
        let socket = new();
        socket.set_nonblocking(true).unwrap();
        // The first is taken in, the others wait as the proxy will.
        let _ = socket.connect(&address.into());
        socket
    });
    let waiting = waiting.collect();
    (listener, address, waiting)
}

#[tokio::test]
async fn an_endpoint_that_does_not_take_connections_is_not_waited_for() {
    let (_listener, address, _waiting) = deaf();
    let proxy = Proxy::start_with(simple(AppProtocol::Http1, &[address]), |settings| {
        settings.timeouts.connect = Duration::from_millis(300);
    });
    let mut client = Http1::connect(proxy.address()).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let (head, _) = timeout(LONG, client.receive()).await.expect("an answer").unwrap();
    assert!(head.starts_with("HTTP/1.1 503") || head.starts_with("HTTP/1.1 504"), "{head}");
}

#[tokio::test]
async fn requests_for_an_http2_endpoint_that_takes_no_connections_do_not_wait_one_after_the_other() {
    let (_listener, address, _waiting) = deaf();
    let proxy = Proxy::start_with(simple(AppProtocol::Http2, &[address]), |settings| {
        settings.timeouts.connect = Duration::from_secs(1);
    });
    let began = Instant::now();
    let asking = futures_util::future::join_all((0..16).map(|_| get(proxy.address(), "/")));
    let answers = timeout(LONG, asking).await.expect("answers");
    assert!(answers.iter().all(|it| [503, 504].contains(&status(it))), "{answers:?}");
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}
