//! What leaves HTTP: WebSocket, when both sides have agreed to it, and nothing else.

use crate::support;
use fairway_config::model::AppProtocol;
use std::sync::{Arc, Mutex};
use support::backend::{Server, read_head, say};
use support::wire::{Http1, status};
use support::*;
use tokio::io::AsyncReadExt;

const KEY: &str = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n";
const ACCEPT: &str = "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

/// Takes whatever upgrade it is asked for, and remembers what it was sent.
async fn eager(seen: Arc<Mutex<Vec<String>>>) -> Server {
    Server::raw(move |mut stream, _| {
        let seen = seen.clone();
        async move {
            loop {
                let head = read_head(&mut stream).await;
                if head.is_empty() {
                    return;
                }
                let asked = head.lines().find_map(|it| it.strip_prefix("upgrade: ").map(str::to_owned));
                seen.lock().unwrap().push(head);
                let Some(protocol) = asked else {
                    say(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nh1").await;
                    continue;
                };
                let answer = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: {protocol}\r\n{ACCEPT}\r\n"
                );
                say(&mut stream, &answer).await;
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest).await;
                seen.lock().unwrap().push(String::from_utf8_lossy(&rest).into_owned());
                return;
            }
        }
    })
    .await
}

#[tokio::test]
async fn what_is_no_websocket_handshake_is_served_as_http_and_its_bytes_go_past_no_route() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let server = eager(seen.clone()).await;
    let proxy =
        Proxy::start(with_rule(rule("/public", "shop/web:80"), AppProtocol::Http1, &[server.address]));
    for head in [
        "connection: Upgrade\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n",
        "connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n",
        "connection: upgrade\r\nupgrade: H2C, h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        "connection: upgrade\r\nupgrade: TLS/1.2\r\n",
        "connection: upgrade\r\nupgrade: spdy/3, anything\r\n",
        "connection: upgrade\r\nupgrade: websocket\r\n",
        "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: x\r\nsec-websocket-version: 13\r\n",
        "connection: upgrade\r\nupgrade: websocket2\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n",
        "connection: close\r\nupgrade: websocket\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n",
        "http2-settings: AAMAAABkAAQAAP__\r\n",
    ] {
        seen.lock().unwrap().clear();
        let mut client = Http1::connect(proxy.address()).await;
        client.send(&format!("GET /public HTTP/1.1\r\nhost: a\r\n{head}\r\n")).await;
        assert_eq!(status(&client.receive().await.unwrap().0), 200, "{head}");
        // What a smuggler would say next is a request like any other, and no route is for it.
        client.send("GET /admin HTTP/1.1\r\nhost: internal\r\n\r\n").await;
        if let Some((head, _)) = client.receive().await {
            assert_eq!(status(&head), 404);
        }
        let seen = seen.lock().unwrap();
        assert_eq!(seen.len(), 1, "{head}: {seen:?}");
        let lower = seen[0].to_ascii_lowercase();
        assert!(!lower.contains("\r\nupgrade:") && !lower.contains("http2-settings"), "{head}: {lower}");
    }
}

#[tokio::test]
async fn of_several_protocols_only_websocket_is_asked_for() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let server = eager(seen.clone()).await;
    let proxy = Proxy::start(simple(AppProtocol::Http1, &[server.address]));
    for upgrade in ["WebSocket", "h2c, websocket", "websocket, h2c"] {
        let mut client = Http1::connect(proxy.address()).await;
        client
            .send(&format!(
                "GET / HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: {upgrade}\r\n{KEY}\r\n"
            ))
            .await;
        let (head, _) = client.receive().await.unwrap();
        assert_eq!(status(&head), 101, "{upgrade}");
        assert!(head.contains("upgrade: websocket\r\n") && head.contains(ACCEPT), "{head}");
        let asked = seen.lock().unwrap().last().unwrap().clone();
        assert!(asked.contains("upgrade: websocket\r\n") && !asked.contains("h2c"), "{asked}");
    }
}

#[tokio::test]
async fn an_endpoint_that_did_not_agree_to_the_websocket_gets_none_of_its_bytes() {
    for answer in [
        "upgrade: h2c\r\nconnection: upgrade\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
        "upgrade: websocket, h2c\r\nconnection: upgrade\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
        "connection: upgrade\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
        "upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n",
        "upgrade: websocket\r\nconnection: upgrade\r\n",
        "",
    ] {
        let (sender, mut rest) = tokio::sync::mpsc::unbounded_channel();
        let server = Server::raw(move |mut stream, _| {
            let sender = sender.clone();
            async move {
                read_head(&mut stream).await;
                say(&mut stream, &format!("HTTP/1.1 101 Switching Protocols\r\n{answer}\r\n")).await;
                let mut bytes = Vec::new();
                let _ = stream.read_to_end(&mut bytes).await;
                sender.send(bytes).unwrap();
            }
        })
        .await;
        let proxy = Proxy::start(simple(AppProtocol::Http1, &[server.address]));
        let mut client = Http1::connect(proxy.address()).await;
        client
            .send(&format!(
                "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n{KEY}\r\nGET /early HTTP/1.1\r\n"
            ))
            .await;
        assert_eq!(status(&client.receive().await.unwrap().0), 502, "{answer:?}");
        let bytes = tokio::time::timeout(wire::LONG, rest.recv()).await.unwrap().unwrap();
        assert!(bytes.is_empty(), "{answer:?}: {}", String::from_utf8_lossy(&bytes));
    }
}

#[tokio::test]
async fn an_answer_that_asks_for_websocket_says_so_to_the_client() {
    let server = Server::raw(|mut stream, _| async move {
        read_head(&mut stream).await;
        say(
            &mut stream,
            "HTTP/1.1 426 Upgrade Required\r\nupgrade: websocket\r\nconnection: upgrade\r\ncontent-length: 0\r\n\r\n",
        )
        .await;
    })
    .await;
    let proxy = Proxy::start(simple(AppProtocol::Http1, &[server.address]));
    let mut client = Http1::connect(proxy.address()).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let (head, _) = client.receive().await.unwrap();
    assert_eq!(status(&head), 426);
    assert!(head.contains("upgrade: websocket\r\n"), "{head}");
}
