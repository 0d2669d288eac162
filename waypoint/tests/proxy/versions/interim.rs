//! Interim responses: `100 Continue` and `103 Early Hints`.

use super::*;

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
