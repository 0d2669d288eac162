//! WebSockets from HTTP/1 and HTTP/2 clients, and upgrades that are refused.

use super::*;

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
