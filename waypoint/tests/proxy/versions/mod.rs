//! HTTP/1 and HTTP/2 on both sides, trailers, gRPC, WebSockets and interim responses.

use crate::support;

mod interim;
mod websockets;

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
        // Pieces without anything in them.
        (vec!["user=beta", ""], true),
        (vec!["", "user=beta"], true),
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
async fn an_empty_piece_of_a_cookie_is_nothing_to_routes_and_backends() {
    use fairway_config::model::{HeaderMatch, ValueMatch};
    let exact =
        |text: &str| HeaderMatch { name: http::header::COOKIE, value: ValueMatch::Exact(text.into()) };
    let seen = |request: Request<Incoming>| async move {
        let cookies = request.headers().get_all("cookie").iter();
        let cookies: Vec<_> = cookies.map(|it| it.to_str().unwrap()).collect();
        Response::new(full(format!("beta got {cookies:?}")))
    };
    for (out, protocol) in [(1, AppProtocol::Http1), (2, AppProtocol::Http2)] {
        let beta = Server::http(out, seen).await;
        let web = Server::http(1, echo).await;
        let mut matched = rule("/", "shop/beta:80");
        matched.matches[0].headers = vec![exact("a=1; user=beta")];
        let mut resources = backend("shop/web:80", AppProtocol::Http1, &[web.address]);
        resources.extend(backend("shop/beta:80", protocol, &[beta.address]));
        resources.extend([http(), routed(vec![matched, rule("/", "shop/web:80")])]);
        let proxy = Proxy::start(resources);
        for pieces in [
            &["a=1; user=beta"][..],
            &["a=1", "user=beta"],
            &["a=1", "", "user=beta"],
            &["", "a=1", "user=beta"],
            &["a=1", "user=beta", ""],
            &["a=1; user=beta", "", ""],
        ] {
            let mut request = Request::get("http://shop/");
            let mut text = "GET / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n".to_owned();
            for piece in pieces {
                request = request.header("cookie", *piece);
                text.push_str(&format!("cookie: {piece}\r\n"));
            }
            let expected = "beta got [\"a=1; user=beta\"]";
            let client = http2(proxy.address()).await;
            let answer =
                self::text({ client }.send_request(request.body(nothing()).unwrap()).await.unwrap()).await;
            assert_eq!(answer, expected, "{pieces:?} to {out}");
            let answer = exchange(proxy.address(), format!("{text}\r\n")).await;
            assert!(answer.ends_with(expected), "{pieces:?} to {out}: {answer}");
        }
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
