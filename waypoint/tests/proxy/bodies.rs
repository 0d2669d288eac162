//! Bodies are whole or visibly broken: every method, framing and version on both sides; and answers that no two parsers read alike.

use crate::support;
use bytes::Bytes;
use fairway_config::model::{AppProtocol, Retry};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::Incoming;
use std::net::SocketAddr;
use support::backend::{Body, Server, full, read_head, say};
use support::wire::{exchange, http2};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::timeout;

const METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "PROPFIND", "QUERY"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    None,
    Length,
    Unknown,
    Trailers,
    /// Only HTTP/2 has it.
    LengthAndTrailers,
}
use Framing::{Length, LengthAndTrailers, Trailers, Unknown};

/// What a backend got: method, body and the trailer.
type Seen = (String, String, Option<String>);

async fn remember(sender: UnboundedSender<Seen>, request: Request<Incoming>) -> Response<Body> {
    let method = request.method().to_string();
    let body = request.into_body().collect().await;
    let seen = match body {
        Ok(body) => {
            let sum =
                body.trailers().and_then(|it| it.get("x-sum")).map(|it| it.to_str().unwrap().to_owned());
            (method, String::from_utf8(body.to_bytes().to_vec()).unwrap(), sum)
        }
        Err(error) => (method, format!("broken: {error}"), None),
    };
    let is_head = seen.0 == "HEAD";
    sender.send(seen).unwrap();
    // hyper's server would send it over HTTP/2.
    Response::new(full(if is_head { "" } else { "ok" }))
}

/// `hello` in two pieces.
fn pieces(has_trailers: bool) -> Body {
    let mut frames = vec![Ok(Frame::data(Bytes::from("hel"))), Ok(Frame::data(Bytes::from("lo")))];
    if has_trailers {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("42"));
        frames.push(Ok(Frame::trailers(trailers)));
    }
    BodyExt::boxed(StreamBody::new(futures_util::stream::iter(frames)))
}

async fn ask_http1(address: SocketAddr, method: &str, framing: Framing) {
    let body = match framing {
        Framing::None => "\r\n".to_owned(),
        Length => "content-length: 5\r\n\r\nhello".to_owned(),
        Unknown => "transfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n".to_owned(),
        Trailers | LengthAndTrailers => {
            "trailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\nx-sum: 42\r\n\r\n".to_owned()
        }
    };
    let answer =
        exchange(address, format!("{method} / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{body}")).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{method} {framing:?}: {answer}");
}

async fn ask_http2(address: SocketAddr, method: &str, framing: Framing) {
    let mut request = Request::builder().method(method).uri("http://a/");
    if matches!(framing, Trailers | LengthAndTrailers) {
        request = request.header("trailer", "x-sum");
    }
    if matches!(framing, Length | LengthAndTrailers) {
        request = request.header("content-length", "5");
    }
    let body = match framing {
        Framing::None => Empty::new().map_err(|never| match never {}).boxed(),
        Length | Unknown => pieces(false),
        Trailers | LengthAndTrailers => pieces(true),
    };
    let response = http2(address).await.send_request(request.body(body).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200, "{method} {framing:?}");
}

#[tokio::test]
async fn what_the_client_sent_is_what_the_backend_got() {
    for (out, protocol) in [(1, AppProtocol::Http1), (2, AppProtocol::Http2)] {
        for retried in [false, true] {
            let (sender, mut seen) = unbounded_channel();
            let server = Server::http(out, move |request| remember(sender.clone(), request)).await;
            let mut rule = rule("/", "shop/web:80");
            // Then the body is remembered on its way.
            rule.retry =
                retried.then(|| Retry { attempts: 1, backoff: None, codes: vec![], connection_errors: true });
            let proxy = Proxy::start(with_rule(rule, protocol, &[server.address]));
            for version in [1, 2] {
                for method in METHODS {
                    for framing in [Framing::None, Length, Unknown, Trailers, LengthAndTrailers] {
                        match version {
                            1 => ask_http1(proxy.address(), method, framing).await,
                            _ => ask_http2(proxy.address(), method, framing).await,
                        }
                        let got = timeout(wire::LONG, seen.recv()).await.unwrap().unwrap();
                        let body = if framing == Framing::None { "" } else { "hello" };
                        let sum = matches!(framing, Trailers | LengthAndTrailers).then(|| "42".to_owned());
                        let what = format!("{method} {framing:?} {version} to {out}, retried: {retried}");
                        assert_eq!(got, (method.to_owned(), body.to_owned(), sum), "{what}");
                    }
                }
            }
        }
    }
}

/// A response's body as an HTTP/1 client reads it; none if the client can see that it is broken.
fn whole(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = wire::status(head);
    let header = |name: &str| head.lines().find_map(|it| it.strip_prefix(name));
    if let Some(length) = header("content-length: ") {
        let length: usize = length.parse().unwrap();
        return (body.len() == length).then(|| (status, body.to_owned()));
    }
    if header("transfer-encoding: chunked").is_none() && header("transfer-encoding: ").is_none() {
        return Some((status, body.to_owned()));
    }
    let (mut rest, mut text) = (body, String::new());
    loop {
        let (size, behind) = rest.split_once("\r\n")?;
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return behind.ends_with("\r\n").then_some((status, text));
        }
        text.push_str(behind.get(..size)?);
        rest = behind.get(size..)?.strip_prefix("\r\n")?;
    }
}

/// What the client makes of a backend's bytes.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    /// This whole body, with status 200.
    Whole(&'static str),
    /// A 502 of the proxy itself.
    BadGateway,
    /// A 502, or a body that is visibly broken.
    Visible,
}
use Outcome::{BadGateway, Visible, Whole};

impl Outcome {
    fn is(self, read: Option<(u16, String)>) -> bool {
        match (self, read) {
            (Whole(text), Some((200, body))) => body == text,
            (BadGateway | Visible, Some((502, _))) | (Visible, None) => true,
            _ => false,
        }
    }
}

const RESPONSES: &[(&str, Outcome)] = &[
    ("content-length: 12\r\n\r\nhello world!", Whole("hello world!")),
    ("transfer-encoding: chunked\r\n\r\nc\r\nhello world!\r\n0\r\n\r\n", Whole("hello world!")),
    ("\r\nhello world!", Whole("hello world!")),
    (
        "content-length: 4\r\ntransfer-encoding: chunked\r\n\r\nc\r\nhello world!\r\n0\r\n\r\n",
        Whole("hello world!"),
    ),
    (
        "content-length: 0\r\ntransfer-encoding: chunked\r\n\r\nc\r\nhello world!\r\n0\r\n\r\n",
        Whole("hello world!"),
    ),
    (
        "content-length: 20\r\ntransfer-encoding: chunked\r\n\r\nc\r\nhello world!\r\n0\r\n\r\n",
        Whole("hello world!"),
    ),
    (
        "transfer-encoding: chunked\r\ncontent-length: 12\r\n\r\nc\r\nhello world!\r\n0\r\n\r\n",
        Whole("hello world!"),
    ),
    (
        "content-length: x\r\ntransfer-encoding: chunked\r\n\r\nc\r\nhello world!\r\n0\r\n\r\n",
        Whole("hello world!"),
    ),
    ("content-length: 2, 2\r\n\r\nhi", Whole("hi")),
    ("content-length: 2\r\ncontent-length: 2\r\n\r\nhi", Whole("hi")),
    ("content-length: 2\r\ncontent-length: 3\r\n\r\nhi!", BadGateway),
    ("content-length: 2, 3\r\n\r\nhi!", BadGateway),
    ("content-length: +2\r\n\r\nhi", BadGateway),
    ("content-length: -2\r\n\r\nhi", BadGateway),
    ("content-length: 0x2\r\n\r\nhi", BadGateway),
    ("content-length: two\r\n\r\nhi", BadGateway),
    ("content-length: 18446744073709551618\r\n\r\nhi", BadGateway),
    ("transfer-encoding: gzip, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", BadGateway),
    ("transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", BadGateway),
    ("transfer-encoding: chunked, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", BadGateway),
    ("transfer-encoding: identity\r\n\r\nhi", BadGateway),
    ("transfer-encoding: gzip\r\n\r\nhi", BadGateway),
    ("transfer-encoding: xchunked\r\n\r\nhi", BadGateway),
    ("content-length: 10\r\n\r\nhalf", Visible),
    ("content-length: 10\r\n\r\n", Visible),
    ("transfer-encoding: chunked\r\n\r\n5\r\nhel", Visible),
    ("transfer-encoding: chunked\r\n\r\n3\r\nhel\r\n", Visible),
    ("transfer-encoding: chunked\r\n\r\n", Visible),
    ("transfer-encoding: chunked\r\n\r\n3\r\nhel\r\n0\r\n", Visible),
    ("transfer-encoding: chunked\r\n\r\nzz\r\nhi\r\n0\r\n\r\n", Visible),
    ("transfer-encoding: chunked\r\n\r\n2\r\nhi!\r\n0\r\n\r\n", Visible),
    ("transfer-encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\nhi\r\n0\r\n\r\n", Visible),
];

#[tokio::test]
async fn an_answer_is_whole_or_an_error_that_the_client_sees() {
    let mut wrong = Vec::new();
    for (bytes, outcome) in RESPONSES {
        let server = Server::raw(move |mut stream, _| async move {
            read_head(&mut stream).await;
            say(&mut stream, &format!("HTTP/1.1 200 OK\r\nconnection: close\r\n{bytes}")).await;
        })
        .await;
        let proxy = Proxy::start(simple(AppProtocol::Http1, &[server.address]));
        let answer = get_raw(proxy.address(), "HTTP/1.1").await.unwrap_or_default();
        if !outcome.is(whole(&answer)) {
            wrong.push(format!("{bytes:?}: {answer:?}"));
        }
        // Nobody is left with an end and no word.
        if answer.is_empty() {
            wrong.push(format!("{bytes:?}: no status"));
        }
        let read = read_http2(proxy.address()).await;
        if !outcome.is(read.clone()) {
            wrong.push(format!("{bytes:?} over HTTP/2: {read:?}"));
        }
        // To an HTTP/1.0 client an end may be the body's: one that is broken is a reset.
        if let Ok(answer) = get_raw(proxy.address(), "HTTP/1.0").await
            && !outcome.is(whole(&answer))
        {
            wrong.push(format!("{bytes:?} for HTTP/1.0: {answer:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// All that an HTTP/1 client reads, or the error with which its connection breaks.
async fn get_raw(address: SocketAddr, version: &str) -> std::io::Result<String> {
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    let connect_request = if version == "HTTP/1.0" { "keep-alive" } else { "close" };
    stream
        .write_all(format!("GET / {version}\r\nhost: a\r\nconnection: {connect_request}\r\n\r\n").as_bytes())
        .await?;
    let mut answer = Vec::new();
    timeout(wire::LONG, async {
        loop {
            let count = stream.read_buf(&mut answer).await?;
            let text = String::from_utf8_lossy(&answer);
            // What was promised to be kept is not waited for.
            if count == 0 || (text.contains("connection: keep-alive\r\n") && whole(&text).is_some()) {
                return Ok(text.into_owned());
            }
        }
    })
    .await
    .expect("the proxy answers in time")
}

async fn read_http2(address: SocketAddr) -> Option<(u16, String)> {
    let request = Request::get("http://a/").body(full("")).unwrap();
    let response = http2(address).await.send_request(request).await.ok()?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.ok()?;
    Some((status, String::from_utf8(body.to_bytes().to_vec()).unwrap()))
}

#[tokio::test]
async fn an_http2_answer_that_ends_too_early_is_an_error_that_the_client_sees() {
    let server = Server::raw(|stream, _| async move {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let response = Response::builder().header("content-length", "10").body(()).unwrap();
            let mut body = respond.send_response(response, false).unwrap();
            let _ = body.send_data(Bytes::from("half"), true);
        }
    })
    .await;
    let proxy = Proxy::start(simple(AppProtocol::Http2, &[server.address]));
    let answer = get_raw(proxy.address(), "HTTP/1.1").await.unwrap();
    assert!(Visible.is(whole(&answer)) && !answer.is_empty(), "{answer:?}");
    assert!(Visible.is(read_http2(proxy.address()).await));
}

#[tokio::test]
async fn a_stream_that_is_reset_before_its_end_is_no_end_whatever_the_code() {
    for code in [h2::Reason::NO_ERROR, h2::Reason::CANCEL, h2::Reason::INTERNAL_ERROR] {
        let server = Server::raw(move |stream, _| async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                let mut body = respond.send_response(Response::new(()), false).unwrap();
                let _ = body.send_data(Bytes::from("half"), false);
                tokio::spawn(async move {
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    body.send_reset(code);
                });
            }
        })
        .await;
        let proxy = Proxy::start(simple(AppProtocol::Http2, &[server.address]));
        let answer = get_raw(proxy.address(), "HTTP/1.1").await.unwrap();
        assert!(whole(&answer).is_none() && answer.starts_with("HTTP/1.1 200"), "{code:?}: {answer:?}");
        assert_eq!(read_http2(proxy.address()).await, None, "{code:?}");
    }
}

#[tokio::test]
async fn an_upload_that_is_reset_before_its_end_never_looks_complete() {
    for code in [h2::Reason::NO_ERROR, h2::Reason::CANCEL] {
        let (sender, mut seen) = unbounded_channel();
        let server = Server::raw(move |mut stream, _| {
            let sender = sender.clone();
            async move {
                read_head(&mut stream).await;
                // The answer is under way while the body still comes.
                say(&mut stream, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n").await;
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest).await;
                sender.send(String::from_utf8(rest).unwrap()).unwrap();
            }
        })
        .await;
        let proxy = Proxy::start(simple(AppProtocol::Http1, &[server.address]));
        let stream = tokio::net::TcpStream::connect(proxy.address()).await.unwrap();
        let (client, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let request = Request::post("http://a/").body(()).unwrap();
        let (response, mut body) = client.ready().await.unwrap().send_request(request, false).unwrap();
        body.send_data(Bytes::from("half"), false).unwrap();
        assert_eq!(timeout(wire::LONG, response).await.unwrap().unwrap().status(), 200);
        body.send_reset(code);
        let rest = timeout(wire::LONG, seen.recv()).await.unwrap().unwrap();
        assert!(rest.contains("half") && !rest.contains("0\r\n\r\n"), "{code:?}: {rest:?}");
    }
}

#[tokio::test]
async fn what_the_backend_said_is_what_the_client_got() {
    for (out, protocol) in [(1, AppProtocol::Http1), (2, AppProtocol::Http2)] {
        let server = Server::http(out, |request: Request<Incoming>| async move {
            let response = Response::builder();
            match request.uri().path() {
                "/length" => response.body(full("hello")).unwrap(),
                "/unknown" => response.body(pieces(false)).unwrap(),
                _ => response.header("trailer", "x-sum").body(pieces(true)).unwrap(),
            }
        })
        .await;
        let proxy = Proxy::start(simple(protocol, &[server.address]));
        for path in ["/length", "/unknown", "/trailers"] {
            let request =
                Request::get(format!("http://a{path}")).header("te", "trailers").body(full("")).unwrap();
            let body = http2(proxy.address()).await.send_request(request).await.unwrap();
            let body = body.into_body().collect().await.unwrap();
            assert_eq!(body.trailers().is_some(), path == "/trailers", "{out} {path}");
            assert_eq!(body.to_bytes(), "hello", "{out} {path}");

            let text =
                format!("GET {path} HTTP/1.1\r\nhost: a\r\nte: trailers\r\nconnection: close, te\r\n\r\n");
            let answer = exchange(proxy.address(), text).await;
            assert_eq!(whole(&answer), Some((200, "hello".to_owned())), "{out} {path}: {answer}");
            assert_eq!(answer.contains("x-sum: 42"), path == "/trailers", "{out} {path}: {answer}");

            let answer = get_raw_path(proxy.address(), path).await;
            assert_eq!(whole(&answer).unwrap().1, "hello", "{out} {path} for HTTP/1.0: {answer}");
        }
    }
}

/// HTTP/1.0 with a promise to be kept: it holds only where the body has a length.
async fn get_raw_path(address: SocketAddr, path: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream
        .write_all(format!("GET {path} HTTP/1.0\r\nconnection: keep-alive\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut answer = Vec::new();
    loop {
        let count = timeout(wire::LONG, stream.read_buf(&mut answer)).await.unwrap().unwrap();
        let text = String::from_utf8_lossy(&answer).into_owned();
        let is_kept = text.contains("connection: keep-alive\r\n");
        assert!(!is_kept || text.contains("content-length: "), "{text}");
        if count == 0 || (is_kept && text.ends_with("hello")) {
            return text;
        }
    }
}

#[tokio::test]
async fn an_answer_without_content_says_no_length() {
    for method in ["GET", "HEAD"] {
        let server = Server::raw(|mut stream, _| async move {
            read_head(&mut stream).await;
            say(&mut stream, "HTTP/1.1 204 Nothing Here\r\ncontent-length: 5\r\n\r\n").await;
        })
        .await;
        let proxy = Proxy::start(simple(AppProtocol::Http1, &[server.address]));
        let request = format!("{method} / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        let answer = exchange(proxy.address(), request).await;
        // The words beside the status are the endpoint's.
        assert!(answer.starts_with("HTTP/1.1 204 Nothing Here\r\n"), "{answer}");
        assert!(!answer.contains("content-length"), "{answer}");
    }
}

#[tokio::test]
async fn a_client_that_is_still_sending_reads_the_answer() {
    let proxy = Proxy::start(vec![http()]);
    let mut stream = tokio::net::TcpStream::connect(proxy.address()).await.unwrap();
    let head = "POST /nowhere HTTP/1.1\r\nhost: a\r\ncontent-length: 4000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    // As some clients do: all of the body first.
    for _ in 0..1000 {
        stream.write_all(&[b'x'; 4000]).await.expect("nobody resets the connection");
    }
    let mut answer = String::new();
    timeout(wire::LONG, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
}
