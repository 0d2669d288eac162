//! Bytes that a proxy must not let through as two servers could read them differently, and bytes it must bound.

use crate::support;
use fairway_config::model::AppProtocol;
use fairway_waypoint::Timeouts;
use std::time::Duration;
use support::backend::{Server, echo};
use support::wire::{exchange, status};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Every one of these is answered with this status, the connection is closed, and no endpoint hears of what is behind it.
const REFUSED: &[(&str, u16, &str)] = &[
    (
        "length and encoding",
        400,
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "encoding and length",
        400,
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n",
    ),
    ("two lengths", 400, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nabcde"),
    (
        "one length twice",
        400,
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\ncontent-length: 4\r\n\r\nabcd",
    ),
    ("list of lengths", 400, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4, 4\r\n\r\nabcd"),
    ("signed length", 400, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +4\r\n\r\nabcd"),
    ("length in hex", 400, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0x4\r\n\r\nabcd"),
    (
        "length beyond 64 bits",
        400,
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 18446744073709551617\r\n\r\na",
    ),
    ("encoding not chunked", 400, "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: identity\r\n\r\n"),
    (
        "gzip before chunked",
        400,
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunked not last",
        400,
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunked twice",
        400,
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    ("encoding in 1.0", 400, "POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("space before colon", 400, "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding : chunked\r\n\r\n0\r\n\r\n"),
    ("tab before colon", 400, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length\t: 4\r\n\r\nabcd"),
    ("folded header", 400, "GET / HTTP/1.1\r\nhost: a\r\nx: 1\r\n 2\r\n\r\n"),
    ("folded encoding", 400, "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
    ("space before first header", 400, "GET / HTTP/1.1\r\n host: a\r\n\r\n"),
    ("bare LF after header", 400, "GET / HTTP/1.1\r\nhost: a\nx: 1\r\n\r\n"),
    ("bare LF at the end", 400, "GET / HTTP/1.1\r\nhost: a\r\n\n"),
    ("bare LF everywhere", 400, "GET / HTTP/1.1\nhost: a\n\n"),
    ("bare CR in value", 400, "GET / HTTP/1.1\r\nhost: a\r\nx: 1\r2\r\n\r\n"),
    ("NUL in value", 400, "GET / HTTP/1.1\r\nhost: a\r\nx: 1\x002\r\n\r\n"),
    ("no colon", 400, "GET / HTTP/1.1\r\nhost: a\r\ngarbage\r\n\r\n"),
    ("two spaces", 400, "GET  / HTTP/1.1\r\nhost: a\r\n\r\n"),
    ("no version", 400, "GET /\r\nhost: a\r\n\r\n"),
    ("other version", 400, "GET / HTTP/3.0\r\nhost: a\r\n\r\n"),
    ("space in target", 400, "GET /a b HTTP/1.1\r\nhost: a\r\n\r\n"),
    ("no host", 400, "GET / HTTP/1.1\r\n\r\n"),
    ("two hosts", 400, "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n"),
    ("list of hosts", 400, "GET / HTTP/1.1\r\nhost: a, b\r\n\r\n"),
    ("user in host", 400, "GET / HTTP/1.1\r\nhost: a@b\r\n\r\n"),
    (
        "chunk size not hex",
        400,
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\nabc\r\n0\r\n\r\n",
    ),
    (
        "chunk size empty",
        400,
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n\r\nabc\r\n0\r\n\r\n",
    ),
    (
        "chunk size with 0x",
        400,
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n",
    ),
    (
        "chunk size beyond 64 bits",
        400,
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n10000000000000003\r\nabc\r\n0\r\n\r\n",
    ),
    (
        "chunk longer than said",
        400,
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
    ),
    (
        "LF after chunk size",
        400,
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
    ),
    (
        "LF in chunk extension",
        400,
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3;a\nabc\r\n0\r\n\r\n",
    ),
    ("CONNECT", 405, "CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\n\r\n"),
];

#[tokio::test]
async fn what_could_be_read_in_two_ways_is_refused_and_what_follows_is_not_served() {
    let server = Server::http(1, echo).await;
    let proxy = Proxy::start(simple(AppProtocol::Http1, &[server.address]));
    let mut wrong = Vec::new();
    for (name, expected, bytes) in REFUSED {
        let smuggled = format!("{bytes}GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n");
        let answer = exchange(proxy.address(), &smuggled).await;
        if !answer.starts_with(&format!("HTTP/1.1 {expected} ")) || answer.contains("/smuggled") {
            wrong.push(format!("{name}: {answer:?}"));
        }
        // The same behind a request that is as it should be.
        let second = format!("GET /first HTTP/1.1\r\nhost: a\r\n\r\n{smuggled}");
        let answer = exchange(proxy.address(), &second).await;
        let refused = answer.contains(&format!("HTTP/1.1 {expected} "));
        if !answer.starts_with("HTTP/1.1 200 ") || !refused || answer.contains("/smuggled") {
            wrong.push(format!("{name}, second: {answer:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn heads_are_bounded() {
    let server = Server::http(1, echo).await;
    let proxy = Proxy::start_with(simple(AppProtocol::Http1, &[server.address]), |settings| {
        settings.limits.target_bytes = 1024;
        settings.limits.head_bytes = 16 * 1024;
    });
    let fields: String = (0..120).map(|it| format!("x-{it}: 1\r\n")).collect();
    for (name, expected, bytes) in [
        ("target", 414, format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "a".repeat(2000))),
        ("fields", 431, format!("GET / HTTP/1.1\r\nhost: a\r\n{fields}\r\n")),
        ("size", 431, format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "a".repeat(20_000))),
        ("endless", 431, format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}", "a".repeat(200_000))),
    ] {
        assert_eq!(status(&exchange(proxy.address(), bytes).await), expected, "{name}");
    }
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn a_head_that_does_not_end_is_not_waited_for() {
    let server = Server::http(1, echo).await;
    let proxy = Proxy::start_with(simple(AppProtocol::Http1, &[server.address]), |settings| {
        settings.timeouts = Timeouts { head: Duration::from_secs(1), ..Timeouts::default() };
    });
    let mut slow = tokio::net::TcpStream::connect(proxy.address()).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n").await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(wire::LONG, slow.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert_eq!(status(&answer), 408, "{answer}");
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let server = Server::http(1, echo).await;
    let proxy = Proxy::start_with(simple(AppProtocol::Http1, &[server.address]), |settings| {
        settings.timeouts = Timeouts { idle: Duration::from_secs(1), ..Timeouts::default() };
    });
    let mut client = wire::Http1::connect(proxy.address()).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(client.receive().await.is_some());
    assert!(client.receive().await.is_none());
}
