//! Answers of HTTP/2 endpoints, frame by frame, well formed and not: what a client of either version gets of them is whole, or an
//! error that it sees (RFC 9113 §8.1.1).

use crate::support;
use fairway_config::model::AppProtocol;
use http::Request;
use http_body_util::BodyExt;
use std::net::SocketAddr;
use support::backend::{Server, full};
use support::wire::{exchange, http2, status};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A part of an answer.
#[derive(Clone, Copy, Debug)]
enum Part {
    /// HEADERS with these fields.
    Head(&'static [(&'static str, &'static str)]),
    /// HEADERS that end the stream: the whole answer, or trailers.
    Last(&'static [(&'static str, &'static str)]),
    /// DATA, with something behind it.
    Data(&'static str),
    /// DATA that ends the stream.
    End(&'static str),
    /// DATA with this much padding.
    Padded(&'static str, u8),
}
use Part::{Data, End, Head, Last, Padded};

/// What a client gets.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    /// Status 200 and this whole body; and whether there is the trailer `x-sum`.
    Whole(&'static str, bool),
    /// The same, with the trailer over HTTP/2 only: over HTTP/1 trailers have to be announced (RFC 9110 §6.6.2).
    Summed(&'static str),
    /// An error of the proxy, or a body that is visibly broken.
    Broken,
    /// This body over HTTP/1, which ends where the length says, unless what follows was seen before it; over HTTP/2 broken.
    Ended(&'static str),
}
use Outcome::{Broken, Ended, Summed, Whole};

const OK: &[(&str, &str)] = &[(":status", "200")];
const FIVE: &[(&str, &str)] = &[(":status", "200"), ("content-length", "5")];
const SUM: &[(&str, &str)] = &[("x-sum", "42")];

const ANSWERS: &[(&str, &[Part], Outcome)] = &[
    ("a length", &[Head(FIVE), End("hello")], Whole("hello", false)),
    ("a length, in pieces", &[Head(FIVE), Data("hel"), Data("lo"), End("")], Whole("hello", false)),
    ("no length", &[Head(OK), Data("hel"), End("lo")], Whole("hello", false)),
    ("padding is no content", &[Head(FIVE), Padded("hel", 9), End("lo")], Whole("hello", false)),
    ("nothing", &[Last(OK)], Whole("", false)),
    ("nothing, later", &[Head(OK), End("")], Whole("", false)),
    ("trailers", &[Head(OK), Data("hello"), Last(SUM)], Summed("hello")),
    ("a length and trailers", &[Head(FIVE), Data("hello"), Last(SUM)], Summed("hello")),
    ("trailers and nothing else", &[Head(OK), Last(SUM)], Summed("")),
    ("an interim answer", &[Head(&[(":status", "103")]), Head(FIVE), End("hello")], Whole("hello", false)),
    // Lengths that are not those of the content.
    ("more than the length", &[Head(FIVE), End("hello!")], Broken),
    ("more than the length, in pieces", &[Head(FIVE), Data("hello"), End("!")], Ended("hello")),
    ("less than the length", &[Head(FIVE), End("hell")], Broken),
    ("less than the length, and trailers", &[Head(FIVE), Data("hell"), Last(SUM)], Broken),
    ("a length and nothing", &[Last(FIVE)], Broken),
    ("a length and nothing, later", &[Head(FIVE), End("")], Broken),
    (
        "a length of nothing and content",
        &[Head(&[(":status", "200"), ("content-length", "0")]), End("hello")],
        Ended(""),
    ),
    (
        "two lengths, the first is right",
        &[Head(&[(":status", "200"), ("content-length", "5"), ("content-length", "6")]), End("hello")],
        Broken,
    ),
    (
        "two lengths, the second is right",
        &[Head(&[(":status", "200"), ("content-length", "6"), ("content-length", "5")]), End("hello")],
        Broken,
    ),
    ("two lengths in one", &[Head(&[(":status", "200"), ("content-length", "5, 6")]), End("hello")], Broken),
    ("a length with a sign", &[Head(&[(":status", "200"), ("content-length", "+5")]), End("hello")], Broken),
    ("a length of letters", &[Head(&[(":status", "200"), ("content-length", "five")]), End("hello")], Broken),
    (
        "a length of another base",
        &[Head(&[(":status", "200"), ("content-length", "0x5")]), End("hello")],
        Broken,
    ),
    ("an empty length", &[Head(&[(":status", "200"), ("content-length", "")]), End("hello")], Broken),
    (
        "a length that wraps around",
        &[Head(&[(":status", "200"), ("content-length", "18446744073709551621")]), End("hello")],
        Broken,
    ),
    // Statuses.
    ("no status", &[Head(&[("x-a", "1")]), End("hello")], Broken),
    ("no fields", &[Head(&[]), End("hello")], Broken),
    ("an empty status", &[Head(&[(":status", "")]), End("hello")], Broken),
    ("a short status", &[Head(&[(":status", "20")]), End("hello")], Broken),
    ("a long status", &[Head(&[(":status", "2000")]), End("hello")], Broken),
    ("a status of letters", &[Head(&[(":status", "two")]), End("hello")], Broken),
    ("a status with its words", &[Head(&[(":status", "200 OK")]), End("hello")], Broken),
    ("two statuses", &[Head(&[(":status", "200"), (":status", "404")]), End("hello")], Broken),
    ("a switch of protocols", &[Head(&[(":status", "101")]), End("hello")], Broken),
    ("an interim answer and no other", &[Last(&[(":status", "103")])], Broken),
    // Pseudo-fields.
    ("a status behind a field", &[Head(&[("x-a", "1"), (":status", "200")]), End("hello")], Broken),
    // Malformed (RFC 9113 §8.3), and harmless: h2 drops it, so nobody gets to see it.
    (
        "a pseudo-field of requests",
        &[Head(&[(":status", "200"), (":path", "/")]), End("hello")],
        Whole("hello", false),
    ),
    ("a pseudo-field of nobody", &[Head(&[(":status", "200"), (":odd", "1")]), End("hello")], Broken),
    ("a status in trailers", &[Head(OK), Data("hello"), Last(OK)], Whole("hello", false)),
    (
        "a pseudo-field of requests in trailers",
        &[Head(OK), Data("hello"), Last(&[(":path", "/")])],
        Whole("hello", false),
    ),
    // Fields of one connection.
    ("connection", &[Head(&[(":status", "200"), ("connection", "close")]), End("hello")], Broken),
    (
        "transfer-encoding",
        &[Head(&[(":status", "200"), ("transfer-encoding", "chunked")]), End("hello")],
        Broken,
    ),
    ("keep-alive", &[Head(&[(":status", "200"), ("keep-alive", "timeout=5")]), End("hello")], Broken),
    ("proxy-connection", &[Head(&[(":status", "200"), ("proxy-connection", "close")]), End("hello")], Broken),
    ("upgrade", &[Head(&[(":status", "200"), ("upgrade", "websocket")]), End("hello")], Broken),
    ("connection in trailers", &[Head(OK), Data("hello"), Last(&[("connection", "close")])], Broken),
    // Names and values.
    ("a name in upper case", &[Head(&[(":status", "200"), ("X-A", "1")]), End("hello")], Broken),
    ("a name with a blank", &[Head(&[(":status", "200"), ("x a", "1")]), End("hello")], Broken),
    ("a name with a colon", &[Head(&[(":status", "200"), ("x:a", "1")]), End("hello")], Broken),
    ("an empty name", &[Head(&[(":status", "200"), ("", "1")]), End("hello")], Broken),
    ("a line in a value", &[Head(&[(":status", "200"), ("x-a", "1\r\nx-b: 2")]), End("hello")], Broken),
    ("a feed in a value", &[Head(&[(":status", "200"), ("x-a", "1\nx-b: 2")]), End("hello")], Broken),
    ("a NUL in a value", &[Head(&[(":status", "200"), ("x-a", "1\0")]), End("hello")], Broken),
    ("a name in upper case in trailers", &[Head(OK), Data("hello"), Last(&[("X-Sum", "1")])], Broken),
    ("a line in a trailer", &[Head(OK), Data("hello"), Last(&[("x-sum", "1\r\nx-b: 2")])], Broken),
    // Frames in another order.
    ("content before the head", &[Data("hello"), Last(OK)], Broken),
    ("trailers that do not end", &[Head(OK), Data("hello"), Head(SUM), End("")], Broken),
    ("content behind trailers", &[Head(OK), Data("hel"), Head(SUM), End("lo")], Broken),
];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags][..], &stream.to_be_bytes()[..], payload].concat()
}

/// A block of fields that are written out (RFC 7541 §6.2.2).
fn fields(list: &[(&str, &str)]) -> Vec<u8> {
    let text = |it: &str| {
        assert!(it.len() < 127);
        [&[u8::try_from(it.len()).unwrap()][..], it.as_bytes()].concat()
    };
    list.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

fn bytes(part: Part, stream: u32) -> Vec<u8> {
    match part {
        Head(list) => frame(1, 4, stream, &fields(list)),
        Last(list) => frame(1, 5, stream, &fields(list)),
        Data(text) => frame(0, 0, stream, text.as_bytes()),
        End(text) => frame(0, 1, stream, text.as_bytes()),
        Padded(text, more) => {
            let padded = [&[more][..], text.as_bytes(), &[0; 255][..usize::from(more)]].concat();
            frame(0, 8, stream, &padded)
        }
    }
}

/// Answers every request with these parts.
async fn answer(mut stream: TcpStream, parts: &[Part]) -> std::io::Result<()> {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await?;
    stream.write_all(&frame(4, 0, 0, &[])).await?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut payload).await?;
        let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        match (head[3], head[4]) {
            (1, _) => {
                for part in parts {
                    stream.write_all(&bytes(*part, id)).await?;
                }
            }
            (4, 0) => stream.write_all(&frame(4, 1, 0, &[])).await?,
            (6, 0) => stream.write_all(&frame(6, 1, 0, &payload)).await?,
            _ => {}
        }
    }
}

/// Status, body and the trailer as a client reads them; none if the answer is visibly broken.
type Read = Option<(u16, String, bool)>;

async fn read_http2(address: SocketAddr) -> Read {
    let request = Request::get("http://a/").header("te", "trailers").body(full("")).unwrap();
    let response = http2(address).await.send_request(request).await.ok()?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.ok()?;
    let has_sum = body.trailers().is_some_and(|it| it.contains_key("x-sum"));
    Some((status, String::from_utf8(body.to_bytes().to_vec()).unwrap(), has_sum))
}

async fn read_http1(address: SocketAddr) -> Read {
    let request = "GET / HTTP/1.1\r\nhost: a\r\nte: trailers\r\nconnection: close, te\r\n\r\n";
    let answer = exchange(address, request).await;
    // Interim answers come before.
    let mut answer = answer.as_str();
    while answer.starts_with("HTTP/1.1 1") {
        answer = answer.split_once("\r\n\r\n")?.1;
    }
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = status(head);
    let field = |name: &str| head.lines().find_map(|it| it.strip_prefix(name));
    if let Some(length) = field("content-length: ") {
        let is_whole = length.parse() == Ok(body.len());
        return is_whole.then(|| (status, body.to_owned(), false));
    }
    if field("transfer-encoding: ") != Some("chunked") {
        return Some((status, body.to_owned(), false));
    }
    let (mut rest, mut text) = (body, String::new());
    loop {
        let (size, behind) = rest.split_once("\r\n")?;
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return behind.ends_with("\r\n").then(|| (status, text, behind.contains("x-sum: 42")));
        }
        text.push_str(behind.get(..size)?);
        rest = behind.get(size..)?.strip_prefix("\r\n")?;
    }
}

impl Outcome {
    fn is(self, read: &Read, version: u8) -> bool {
        match (self, read) {
            (Whole(body, has_sum), Some(read)) => *read == (200, body.to_owned(), has_sum),
            (Summed(body), Some(read)) => *read == (200, body.to_owned(), version == 2),
            (Ended(body), Some(read)) if version == 1 && *read == (200, body.to_owned(), false) => true,
            (Broken | Ended(_), Some((status, ..))) => [502, 503].contains(status),
            (Broken | Ended(_), None) => true,
            (Whole(..) | Summed(_), None) => false,
        }
    }
}

#[tokio::test]
async fn an_answer_over_http2_is_whole_or_an_error_that_the_client_sees() {
    let mut wrong = Vec::new();
    for (what, parts, outcome) in ANSWERS {
        let server = Server::raw(move |stream, _| async move { drop(answer(stream, parts).await) }).await;
        let proxy = Proxy::start(simple(AppProtocol::Http2, &[server.address]));
        for (version, read) in [
            (1, timeout(wire::LONG, read_http1(proxy.address())).await),
            (2, timeout(wire::LONG, read_http2(proxy.address())).await),
        ] {
            match read {
                Ok(read) if outcome.is(&read, version) => {}
                read => wrong.push(format!("{what}, for HTTP/{version}: {read:?}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
