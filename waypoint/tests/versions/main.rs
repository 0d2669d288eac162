//! HTTP/1 and HTTP/2 on both sides, trailers, gRPC, upgrades and `100 Continue`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code: a panic is the failure of the test that called it"
)]

mod support;

use bytes::Bytes;
use fairway_config::model::{AppProtocol, Resource, RouteKind};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Incoming;
use std::sync::Arc;
use std::time::Duration;
use support::backend::{Body, Server, echo, full, read_head, say};
use support::wire::{Http1, exchange, http2, status};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

fn nothing() -> Body {
    Empty::new().map_err(|never| match never {}).boxed()
}

async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn an_http2_client_reaches_an_http1_endpoint() {
    let server = Server::http(1, echo).await;
    let proxy = Proxy::start(simple(AppProtocol::Http1, &[server.address]));
    let mut client = http2(proxy.address()).await;
    let request = Request::post("http://shop/a?b")
        .header("cookie", "a=b")
        .header("cookie", "c=d")
        .header("te", "trailers")
        .body(full("hello"))
        .unwrap();
    let seen = text(client.send_request(request).await.unwrap()).await;
    for part in ["POST /a?b\n", "host: shop\n", "cookie: a=b; c=d\n", "content-length: 5\n", "\n\nhello"] {
        assert!(seen.contains(part), "{part:?} in {seen}");
    }
}

#[tokio::test]
async fn an_http1_client_reaches_an_http2_endpoint() {
    let server = Server::http(2, echo).await;
    let proxy = Proxy::start(simple(AppProtocol::Http2, &[server.address]));
    let request = "POST /a?b HTTP/1.1\r\nhost: shop\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n\
                   3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n";
    let answer = exchange(proxy.address(), request).await;
    assert!(answer.contains("POST http://shop/a?b\n") && answer.contains("\n\nhello"), "{answer}");
    assert!(!answer.contains("host:") && !answer.contains("connection: close\nx"), "{answer}");
}

#[tokio::test]
async fn streams_of_one_client_share_a_connection_to_the_endpoint() {
    let server = Server::http(2, echo).await;
    let proxy = Proxy::start(simple(AppProtocol::Http2, &[server.address]));
    let client = http2(proxy.address()).await;
    let requests = (0..50).map(|number| {
        let mut client = client.clone();
        async move {
            let request = Request::get(format!("http://shop/{number}")).body(nothing()).unwrap();
            text(client.send_request(request).await.unwrap()).await
        }
    });
    for (number, seen) in futures_util::future::join_all(requests).await.into_iter().enumerate() {
        assert!(seen.starts_with(&format!("GET http://shop/{number}\n")), "{seen}");
    }
    assert_eq!((server.requests(), server.connections()), (50, 1));
}

/// Sends back every message as it comes, and then how it went.
async fn grpc_echo(request: Request<Incoming>) -> Response<Body> {
    let body = request.into_body();
    let trailers = async {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        Ok(Frame::trailers(trailers))
    };
    let frames = futures_util::StreamExt::chain(
        http_body_util::BodyStream::new(body),
        futures_util::stream::once(Box::pin(trailers)),
    );
    Response::builder()
        .header("content-type", "application/grpc")
        .body(StreamBody::new(frames).boxed())
        .unwrap()
}

fn grpc(server: &Server) -> Vec<Resource> {
    let mut route = route("grpc", vec![rule("/", "shop/web:80")]);
    route.kind = RouteKind::Grpc;
    route.key = "GRPCRoute/shop/grpc".into();
    route.rules[0].matches[0].path = fairway_config::model::PathMatch::Grpc(Default::default());
    let mut resources = backend("shop/web:80", AppProtocol::Unspecified, &[server.address]);
    resources.extend([http(), Resource::Route(Arc::new(route))]);
    resources
}

#[tokio::test]
async fn grpc_messages_stream_both_ways_at_once() {
    let server = Server::http(2, grpc_echo).await;
    let proxy = Proxy::start(grpc(&server));
    let mut client = http2(proxy.address()).await;
    let (messages, body) = futures_channel();
    let request = Request::post("http://shop/shop.Books/Chat")
        .header("content-type", "application/grpc")
        .body(body)
        .unwrap();
    let response = client.send_request(request).await.unwrap();
    let mut answers = response.into_body();
    for number in 0..10 {
        let message = Bytes::from(format!("message {number}"));
        messages.send(message.clone()).unwrap();
        let answer = timeout(wire::LONG, answers.frame()).await.unwrap().unwrap().unwrap();
        assert_eq!(answer.into_data().unwrap(), message);
    }
    drop(messages);
    let trailers = answers.frame().await.unwrap().unwrap().into_trailers().unwrap();
    assert_eq!(trailers["grpc-status"], "0");
}

/// A body whose chunks come when the test says so.
fn futures_channel() -> (tokio::sync::mpsc::UnboundedSender<Bytes>, Body) {
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel::<Bytes>();
    let frames = futures_util::stream::poll_fn(move |cx| {
        receiver.poll_recv(cx).map(|it| it.map(|it| Ok(Frame::data(it))))
    });
    (sender, BodyExt::boxed(StreamBody::new(frames)))
}

#[tokio::test]
async fn what_the_proxy_itself_says_to_a_grpc_client_is_grpc() {
    let server = Server::http(2, grpc_echo).await;
    let proxy = Proxy::start(grpc(&server));
    let mut client = http2(proxy.address()).await;
    let request = Request::post("http://shop/nothing-with-two-parts")
        .header("content-type", "application/grpc")
        .body(nothing())
        .unwrap();
    let response = client.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["grpc-status"], "12");
    assert_eq!(response.headers()["grpc-message"], "No route matches this request.");
}

#[tokio::test]
async fn a_websocket_passes_and_one_side_may_end_first() {
    let server = Server::raw(|mut stream, _| async move {
        let head = read_head(&mut stream).await;
        assert!(
            head.contains("upgrade: websocket\r\n") && head.contains("connection: upgrade\r\n"),
            "{head}"
        );
        say(
            &mut stream,
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
             sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nearly",
        )
        .await;
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        stream.write_all(&all).await.unwrap();
    })
    .await;
    let proxy = Proxy::start(simple(AppProtocol::Http1, &[server.address]));
    let mut client = Http1::connect(proxy.address()).await;
    client
        .send(
            "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\nright behind\n",
        )
        .await;
    let head = client
        .read_until(|read| read.windows(4).position(|it| it == b"\r\n\r\n").map(|at| at + 4))
        .await
        .unwrap();
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("upgrade: websocket\r\n"), "{head}");
    assert_eq!(client.read_until(|read| (read.len() >= 5).then_some(5)).await.unwrap(), "early");
    client.send("\n\nnot HTTP\0 at all").await;
    client.0.shutdown().await.unwrap();
    let expected = "right behind\n\n\nnot HTTP\0 at all";
    let echoed =
        client.read_until(|read| (read.len() >= expected.len()).then_some(expected.len())).await.unwrap();
    assert_eq!(echoed, expected);
}

#[tokio::test]
async fn an_upgrade_that_is_refused_leaves_an_ordinary_connection() {
    let server = Server::http(1, echo).await;
    let proxy = Proxy::start(simple(AppProtocol::Http1, &[server.address]));
    let mut client = Http1::connect(proxy.address()).await;
    for _ in 0..2 {
        client
            .send(
                "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                 sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n",
            )
            .await;
        assert_eq!(status(&client.receive().await.unwrap().0), 200);
    }
}

#[tokio::test]
async fn the_endpoint_decides_whether_a_body_is_sent() {
    let refuses = Server::raw(|mut stream, _| async move {
        let head = read_head(&mut stream).await;
        assert!(head.contains("expect: 100-continue\r\n"), "{head}");
        say(&mut stream, "HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\n\r\n").await;
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        assert!(rest.is_empty(), "the body was sent all the same");
    })
    .await;
    let request = "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n";
    let proxy = Proxy::start(simple(AppProtocol::Http1, &[refuses.address]));
    let mut client = Http1::connect(proxy.address()).await;
    client.send(request).await;
    assert_eq!(status(&client.receive().await.unwrap().0), 413);

    let agrees = Server::http(1, echo).await;
    let proxy = Proxy::start(simple(AppProtocol::Http1, &[agrees.address]));
    let mut client = Http1::connect(proxy.address()).await;
    client.send(request).await;
    assert_eq!(status(&client.receive().await.unwrap().0), 100);
    client.send("hello").await;
    let (head, body) = client.receive().await.unwrap();
    assert_eq!(status(&head), 200);
    assert!(body.ends_with("hello"), "{body}");
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_the_endpoint_back() {
    let sent = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = sent.clone();
    let server = Server::raw(move |mut stream, _| {
        let counted = counted.clone();
        async move {
            read_head(&mut stream).await;
            say(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n").await;
            let chunk = vec![0; 64 * 1024];
            while let Ok(count) = stream.write(&chunk).await {
                counted.fetch_add(count, std::sync::atomic::Ordering::SeqCst);
            }
        }
    })
    .await;
    let proxy = Proxy::start(simple(AppProtocol::Http1, &[server.address]));
    let mut client = Http1::connect(proxy.address()).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    // It stops when every buffer on the way is full: two pairs of sockets and one read buffer.
    let buffered = until_unchanged(&sent).await;
    assert!(buffered < 40_000_000, "{buffered} bytes are somewhere");
}

#[tokio::test]
async fn trailers_an_http1_endpoint_announced_reach_an_http2_client() {
    let server = Server::raw(|mut stream, _| async move {
        read_head(&mut stream).await;
        say(
            &mut stream,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n2\r\nhi\r\n0\r\nx-sum: 42\r\n\r\n",
        )
        .await;
        let _ = stream.read(&mut [0]).await;
    })
    .await;
    let proxy = Proxy::start(simple(AppProtocol::Http1, &[server.address]));
    let mut client = http2(proxy.address()).await;
    let request =
        Request::get("http://shop/").body(Full::new(Bytes::new()).map_err(|never| match never {}).boxed());
    let body = client.send_request(request.unwrap()).await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["x-sum"], "42");
    assert_eq!(body.to_bytes(), "hi");
}

#[tokio::test]
async fn cookies_in_pieces_are_routed_like_one_cookie() {
    use fairway_config::model::{HeaderMatch, ValueMatch};
    let server = Server::http(1, echo).await;
    let beta = Server::http(1, |_| async { Response::new(full("beta")) }).await;
    let mut matched = rule("/", "shop/beta:80");
    let expression = "^(.*?;)?\\s*(user=beta)(;.*)?$";
    matched.matches[0].headers = vec![HeaderMatch {
        name: http::header::COOKIE,
        value: ValueMatch::Regex(fairway_config::model::Pattern::new(expression).unwrap()),
    }];
    let mut resources = backend("shop/web:80", AppProtocol::Http1, &[server.address]);
    resources.extend(backend("shop/beta:80", AppProtocol::Http1, &[beta.address]));
    resources.extend([http(), routed(vec![matched, rule("/", "shop/web:80")])]);
    let proxy = Proxy::start(resources);
    for (pieces, is_beta) in [
        (vec!["a=1; user=beta"], true),
        (vec!["a=1", "user=beta"], true),
        (vec!["user=beta", "a=1", "b=2"], true),
        (vec!["a=1", "b=2", "user=beta"], true),
        (vec!["a=1", "user=betamax"], false),
    ] {
        let mut request = Request::get("http://shop/");
        let mut text = "GET / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n".to_owned();
        for piece in &pieces {
            request = request.header("cookie", *piece);
            text.push_str(&format!("cookie: {piece}\r\n"));
        }
        let seen = self::text(
            http2(proxy.address()).await.send_request(request.body(nothing()).unwrap()).await.unwrap(),
        );
        assert_eq!(seen.await == "beta", is_beta, "{pieces:?}");
        let answer = exchange(proxy.address(), format!("{text}\r\n")).await;
        assert_eq!(answer.ends_with("\r\n\r\nbeta"), is_beta, "{pieces:?}: {answer}");
    }
}

#[tokio::test]
async fn what_http2_can_say_and_http1_would_read_otherwise_is_refused() {
    let server = Server::http(1, echo).await;
    let proxy = Proxy::start(simple(AppProtocol::Http1, &[server.address]));
    for (name, values, expected) in [
        ("x", vec![" a"], 400),
        ("x", vec!["a\t"], 400),
        ("x", vec!["a b"], 200),
        ("content_length", vec!["5"], 400),
        ("transfer_encoding", vec!["chunked"], 400),
        ("content-length", vec!["0", "0"], 400),
        ("content-length", vec!["0, 0"], 400),
    ] {
        let mut request = Request::get("http://shop/");
        for value in &values {
            request = request.header(name, *value);
        }
        let stream = tokio::net::TcpStream::connect(proxy.address()).await.unwrap();
        let (client, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let mut client = client.ready().await.unwrap();
        let (response, _) = client.send_request(request.body(()).unwrap(), true).unwrap();
        // The stack itself may refuse it, too.
        let status = response.await.map_or(400, |it| it.status().as_u16());
        assert_eq!(status, expected, "{name} {values:?}");
    }
    assert_eq!(server.requests(), 1);
}

/// A WebSocket server of HTTP/1 that sends back what it gets, behind a greeting.
async fn greeter() -> Server {
    Server::raw(|mut stream, _| async move {
        use base64::Engine;
        use sha1::Digest;
        let head = read_head(&mut stream).await;
        assert!(head.starts_with("GET /chat ") && head.contains("upgrade: websocket\r\n"), "{head}");
        assert!(head.contains("sec-websocket-version: 13\r\n"), "{head}");
        let key = head.lines().find_map(|it| it.strip_prefix("sec-websocket-key: ")).unwrap();
        let digest = sha1::Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
        let accept = base64::engine::general_purpose::STANDARD.encode(digest);
        let head = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                    sec-websocket-protocol: chat\r\n";
        say(&mut stream, &format!("{head}sec-websocket-accept: {accept}\r\n\r\nhello ")).await;
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        stream.write_all(&all).await.unwrap();
    })
    .await
}

/// CONNECT with a protocol, and the answer with what comes behind it.
async fn connect(
    proxy: &Proxy,
    protocol: &'static str,
) -> (u16, HeaderMap, h2::SendStream<Bytes>, h2::RecvStream) {
    connect_with(proxy, protocol, &[]).await
}

async fn connect_with(
    proxy: &Proxy,
    protocol: &'static str,
    headers: &[(&'static str, &'static str)],
) -> (u16, HeaderMap, h2::SendStream<Bytes>, h2::RecvStream) {
    let stream = tokio::net::TcpStream::connect(proxy.address()).await.unwrap();
    let (client, mut connection) = h2::client::handshake(stream).await.unwrap();
    let mut client = client.ready().await.unwrap();
    // Until the proxy's settings are there.
    let enabled = async {
        while !client.is_extended_connect_protocol_enabled() {
            let _ = timeout(Duration::from_millis(5), &mut connection).await;
        }
    };
    timeout(wire::LONG, enabled).await.expect("the proxy's SETTINGS allow extended CONNECT");
    tokio::spawn(connection);
    let mut request = Request::new(());
    *request.method_mut() = http::Method::CONNECT;
    *request.uri_mut() = "http://shop/chat".parse().unwrap();
    request.headers_mut().insert("sec-websocket-version", HeaderValue::from_static("13"));
    for (name, value) in headers {
        request.headers_mut().insert(*name, HeaderValue::from_static(value));
    }
    request.extensions_mut().insert(h2::ext::Protocol::from_static(protocol));
    let (response, body) = client.send_request(request, false).unwrap();
    let (head, answer) = timeout(wire::LONG, response).await.unwrap().unwrap().into_parts();
    (head.status.as_u16(), head.headers, body, answer)
}

#[tokio::test]
async fn a_websocket_over_http2_reaches_an_http1_endpoint() {
    let server = greeter().await;
    let proxy = Proxy::start(simple(AppProtocol::Http1, &[server.address]));
    let (status, headers, mut body, mut answer) = connect(&proxy, "websocket").await;
    assert_eq!(status, 200);
    assert_eq!(headers["sec-websocket-protocol"], "chat");
    for name in ["sec-websocket-accept", "upgrade", "connection"] {
        assert!(!headers.contains_key(name), "{name}");
    }
    body.send_data(Bytes::from("frames"), true).unwrap();
    let mut got = Vec::new();
    while let Some(data) = timeout(wire::LONG, answer.data()).await.unwrap() {
        got.extend_from_slice(&data.unwrap());
    }
    assert_eq!(String::from_utf8(got).unwrap(), "hello frames");
}

#[tokio::test]
async fn nothing_but_a_websocket_is_a_tunnel_over_http2() {
    let server = Server::http(1, echo).await;
    let proxy = Proxy::start(simple(AppProtocol::Http1, &[server.address]));
    for protocol in ["connect-udp", "h2c", "websocket2", "connect-ip"] {
        assert_eq!(connect(&proxy, protocol).await.0, 405, "{protocol}");
    }
    assert_eq!(server.requests(), 0);
    // An endpoint that does not want to is not taken for a tunnel.
    assert_eq!(connect(&proxy, "websocket").await.0, 502);
}

/// Refuses every upgrade, keeps its connections, and remembers the bytes of each.
async fn unwilling(seen: Arc<std::sync::Mutex<Vec<String>>>) -> Server {
    Server::raw(move |mut stream, number| {
        let seen = seen.clone();
        async move {
            loop {
                let head = read_head(&mut stream).await;
                if head.is_empty() {
                    return;
                }
                seen.lock().unwrap().push(format!("{number} {head}"));
                say(&mut stream, "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_websocket_over_http2_that_announces_a_body_reaches_no_endpoint() {
    let seen = Arc::default();
    let server = unwilling(Arc::clone(&seen)).await;
    let proxy = Proxy::start(simple(AppProtocol::Http1, &[server.address]));
    for (length, expected) in [("5", 400), ("44", 400), ("00", 400), ("0", 404)] {
        let (status, ..) = connect_with(&proxy, "websocket", &[("content-length", length)]).await;
        assert_eq!(status, expected, "{length}");
    }
    let (status, ..) = connect_with(&proxy, "websocket", &[("trailer", "x-sum")]).await;
    assert_eq!(status, 404);
    let heads = seen.lock().unwrap().clone();
    assert_eq!(heads.len(), 2, "{heads:?}");
    for head in &heads {
        assert!(head.contains("GET /chat HTTP/1.1\r\n") && head.contains("upgrade: websocket\r\n"), "{head}");
        for name in ["content-length", "transfer-encoding", "trailer"] {
            assert!(!head.contains(name), "{name} in {head}");
        }
    }
}

#[tokio::test]
async fn a_connection_whose_upgrade_was_refused_serves_no_other_request() {
    let seen = Arc::default();
    let server = unwilling(Arc::clone(&seen)).await;
    let proxy = Proxy::start(simple(AppProtocol::Http1, &[server.address]));
    assert_eq!(connect(&proxy, "websocket").await.0, 404);
    let handshake = "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade, close\r\nupgrade: websocket\r\n\
                     sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n";
    assert_eq!(status(&exchange(proxy.address(), handshake).await), 404);
    // What follows an ordinary request goes on its connection.
    for _ in 0..2 {
        assert_eq!(status(&wire::get(proxy.address(), "/other").await), 404);
    }
    let numbers: Vec<_> = seen.lock().unwrap().iter().map(|it: &String| it.as_bytes()[0]).collect();
    assert_eq!(numbers, b"0122");
}

#[tokio::test]
async fn the_trailers_of_a_client_say_no_more_than_its_headers_may() {
    for (protocol, version) in [(AppProtocol::Http1, 1), (AppProtocol::Http2, 2)] {
        let server = Server::http(version, |request: Request<Incoming>| async move {
            let body = request.into_body().collect().await.unwrap();
            let names = body.trailers().into_iter().flat_map(HeaderMap::keys).map(ToString::to_string);
            let mut names: Vec<_> = names.collect();
            names.sort();
            Response::new(full(format!("trailers: {}.", names.join(" "))))
        })
        .await;
        let proxy = Proxy::start(simple(protocol, &[server.address]));
        let request = "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\
                       trailer: x-sum, x-forwarded-for, x_real_ip\r\n\r\n2\r\nhi\r\n0\r\nx-sum: 1\r\n\
                       x-forwarded-for: 192.0.2.66\r\nx_real_ip: 192.0.2.66\r\n\r\n";
        let answer = exchange(proxy.address(), request).await;
        assert!(answer.contains("trailers: x-sum."), "{protocol:?}: {answer}");
        let mut trailers = HeaderMap::new();
        for name in ["x-sum", "x-forwarded-for", "x_real_ip"] {
            trailers.insert(name, HeaderValue::from_static("192.0.2.66"));
        }
        let mut client = http2(proxy.address()).await;
        let request = Request::post("http://shop/")
            .header("trailer", "x-sum, x-forwarded-for, x_real_ip")
            .body(full("hi").with_trailers(async { Some(Ok(trailers)) }).boxed())
            .unwrap();
        let answer = text(client.send_request(request).await.unwrap()).await;
        assert_eq!(answer, "trailers: x-sum.", "{protocol:?}");
    }
}

/// The next interim response.
async fn interim(response: &mut h2::client::ResponseFuture) -> Option<Response<()>> {
    let told = std::future::poll_fn(|cx| response.poll_informational(cx));
    timeout(wire::LONG, told).await.expect("a 1xx in time").map(Result::unwrap)
}

/// A stream of HTTP/2 without a body as yet.
async fn open(
    proxy: &Proxy,
    request: http::request::Builder,
    is_over: bool,
) -> (h2::client::ResponseFuture, h2::SendStream<Bytes>) {
    let stream = tokio::net::TcpStream::connect(proxy.address()).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    client.send_request(request.body(()).unwrap(), is_over).unwrap()
}

#[tokio::test]
async fn an_http2_client_is_told_to_go_on_when_its_body_is_wanted() {
    let silent = Server::http(2, echo).await;
    let agrees = Server::raw(|mut stream, _| async move {
        let head = read_head(&mut stream).await;
        assert!(head.contains("expect: 100-continue\r\n"), "{head}");
        say(&mut stream, "HTTP/1.1 100 Continue\r\n\r\n").await;
        let mut body = [0; 5];
        stream.read_exact(&mut body).await.unwrap();
        say(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        let _ = stream.read(&mut body).await;
    })
    .await;
    // An HTTP/2 endpoint gets the body as it comes.
    for (protocol, address) in [(AppProtocol::Http1, agrees.address), (AppProtocol::Http2, silent.address)] {
        let proxy = Proxy::start_with(simple(protocol, &[address]), |settings| {
            settings.timeouts.continue_ = Duration::from_secs(60);
        });
        let request =
            Request::post("http://a/").header("expect", "100-continue").header("content-length", "5");
        let (mut response, mut body) = open(&proxy, request, false).await;
        assert_eq!(interim(&mut response).await.unwrap().status(), 100, "{protocol:?}");
        body.send_data(Bytes::from("hello"), true).unwrap();
        assert_eq!(timeout(wire::LONG, response).await.unwrap().unwrap().status(), 200, "{protocol:?}");
    }
}

#[tokio::test]
async fn an_http2_client_whose_body_is_not_wanted_is_not_told_to_go_on() {
    let refuses = Server::raw(|mut stream, _| async move {
        read_head(&mut stream).await;
        say(&mut stream, "HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\n\r\n").await;
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        assert!(rest.is_empty());
    })
    .await;
    let proxy = Proxy::start(simple(AppProtocol::Http1, &[refuses.address]));
    let request = Request::post("http://a/").header("expect", "100-continue");
    let (mut response, _body) = open(&proxy, request, false).await;
    assert!(interim(&mut response).await.is_none());
    assert_eq!(timeout(wire::LONG, response).await.unwrap().unwrap().status(), 413);
}

#[tokio::test]
async fn early_hints_reach_an_http2_client_but_not_without_end() {
    let hints = |count: usize| async move {
        Server::raw(move |mut stream, _| async move {
            read_head(&mut stream).await;
            for _ in 0..count {
                let hint = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\nconnection: x\r\nx: 1\r\n\r\n";
                say(&mut stream, hint).await;
            }
            say(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
            let _ = stream.read(&mut [0]).await;
        })
        .await
    };
    for (said, heard) in [(1, 1), (2, 2), (200, 16)] {
        let server = hints(said).await;
        let proxy = Proxy::start(simple(AppProtocol::Http1, &[server.address]));
        let (mut response, _) = open(&proxy, Request::get("http://a/"), true).await;
        let mut count = 0;
        while let Some(hint) = interim(&mut response).await {
            assert_eq!(hint.status(), 103);
            assert_eq!(hint.headers()["link"], "</a.css>; rel=preload");
            assert!(!hint.headers().contains_key("connection") && !hint.headers().contains_key("x"));
            count += 1;
        }
        assert_eq!(count, heard);
        assert_eq!(timeout(wire::LONG, response).await.unwrap().unwrap().status(), 200);
    }
}
