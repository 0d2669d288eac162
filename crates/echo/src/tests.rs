//! The server over real sockets of this machine's loopback.

use crate::client::{self, Client, CollectedResponse};
use crate::proto::EchoRequest;
use crate::websocket::{Frame, Kind, Role, read_frame, write_frame};
use crate::{EchoServer, Recorded};
use bytes::Bytes;
use futures_util::stream;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tonic::Code;

struct Http {
    address: SocketAddr,
    server: EchoServer,
}

async fn listener() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap()
}

async fn http() -> Http {
    let listener = listener().await;
    let address = listener.local_addr().unwrap();
    let server = EchoServer::new("echo-1");
    tokio::spawn(server.clone().serve_http(listener, std::future::pending()));
    Http { address, server }
}

impl Http {
    async fn stream(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn clients(&self) -> [Client; 2] {
        [Client::http1(self.stream().await).await.unwrap(), Client::http2(self.stream().await).await.unwrap()]
    }
}

#[tokio::test]
async fn a_request_is_said_back_with_who_made_it() {
    let http = http().await;
    for (mut client, protocol) in http.clients().await.into_iter().zip(["HTTP/1.1", "HTTP/2.0"]) {
        let request = Request::post("http://shop.example/books/1?colour=blue")
            .header("x-one", "1")
            .header("x-two", "2")
            .body(Bytes::from_static(b"hello"))
            .unwrap();
        let answer = client.send(request).await.unwrap();
        assert_eq!((answer.status, answer.pod()), (StatusCode::OK, Some("echo-1")));
        let seen = answer.seen().unwrap();
        assert_eq!((seen.protocol.as_str(), seen.method.as_str()), (protocol, "POST"));
        assert_eq!(
            (seen.host.as_str(), seen.path.as_str(), seen.query.as_str()),
            ("shop.example", "/books/1", "colour=blue")
        );
        assert_eq!((seen.header("x-one"), seen.header("x-two")), (Some("1"), Some("2")));
        let order: Vec<_> = seen
            .headers
            .iter()
            .map(|(name, _)| name.as_str())
            .filter(|name| name.starts_with("x-"))
            .collect();
        assert_eq!(order, ["x-one", "x-two"]);
        assert!(seen.peer.starts_with("127.0.0.1:"));
        assert_eq!(seen.body.bytes, 5);
        assert_eq!(seen.body.sha256, "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
    }
}

#[tokio::test]
async fn it_fails_as_often_as_it_is_told_and_remembers_everything() {
    let http = http().await;
    let [mut one, mut other] = http.clients().await;
    let path = "/flaky?fail-first=2&key=a";
    let statuses = [
        one.get("h", path).await.unwrap().status.as_u16(),
        other.get("h", path).await.unwrap().status.as_u16(),
        one.get("h", path).await.unwrap().status.as_u16(),
        one.get("h", "/flaky?fail-first=1&key=b&fail-status=500").await.unwrap().status.as_u16(),
        one.get("h", "/?status=418").await.unwrap().status.as_u16(),
        one.get("h", "/?status=nonsense").await.unwrap().status.as_u16(),
    ];
    assert_eq!(statuses, [503, 503, 200, 500, 418, 400]);
    let recorded: Recorded = serde_json::from_slice(&one.get("h", "/_seen").await.unwrap().body).unwrap();
    assert_eq!(recorded.total, 5);
    assert_eq!(recorded.requests.iter().filter(|seen| seen.path == "/flaky").count(), 4);
    assert_eq!(recorded, http.server.recorded());
}

#[tokio::test]
async fn bodies_are_as_long_as_asked_and_trailers_follow() {
    let http = http().await;
    for mut client in http.clients().await {
        let request = Request::get("http://h/?size=100000&trailers=1")
            .header("te", "trailers")
            .body(Bytes::new())
            .unwrap();
        let answer = client.send(request).await.unwrap();
        assert_eq!(answer.body.len(), 100_000);
        let hash = answer.trailers.unwrap()["x-echo-sha256"].clone();
        assert_eq!(hash, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");

        let answer = client.get("h", "/?chunks=3").await.unwrap();
        assert_eq!(answer.body, "chunk 0\nchunk 1\nchunk 2\n");

        let request = Request::post("http://h/?return=body").body(Bytes::from_static(b"as it is")).unwrap();
        assert_eq!(client.send(request).await.unwrap().body, "as it is");
    }
}

#[tokio::test]
async fn chunks_come_one_by_one() {
    let http = http().await;
    for mut client in http.clients().await {
        let request = Request::get("http://h/?chunks=2&interval=3600s").body(Bytes::new()).unwrap();
        let mut body = client.start(request).await.unwrap().into_body();
        // The second is an hour away.
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(first, "chunk 0\n");
    }
}

#[tokio::test]
async fn a_delay_holds_the_answer_back() {
    let http = http().await;
    for mut client in http.clients().await {
        let asked = client.get("h", "/?delay=3600s");
        assert!(tokio::time::timeout(Duration::from_millis(50), asked).await.is_err());
    }
    let [mut client, _] = http.clients().await;
    let start = tokio::time::Instant::now();
    client.get("h", "/?delay=30ms").await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(30));
}

#[tokio::test]
async fn a_reset_is_a_reset_and_no_end() {
    let http = http().await;
    let mut stream = http.stream().await;
    stream.write_all(b"GET /?reset=1 HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
    let error = stream.read(&mut [0; 64]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(http.server.recorded().total, 1);
}

#[tokio::test]
async fn a_websocket_says_back_messages_and_pings() {
    let http = http().await;
    let mut socket = client::websocket(http.stream().await, "h", "/chat").await.unwrap();
    for (sent, answered) in [
        (Kind::Text, Kind::Text),
        (Kind::Binary, Kind::Binary),
        (Kind::Ping, Kind::Pong),
        (Kind::Close, Kind::Close),
    ] {
        let frame = Frame { is_final: true, kind: sent, payload: b"hello".to_vec() };
        write_frame(&mut socket, &frame, Role::Client).await.unwrap();
        assert_eq!(read_frame(&mut socket).await.unwrap(), Frame { kind: answered, ..frame });
    }
    assert_eq!(socket.read(&mut [0; 1]).await.unwrap(), 0);
    assert_eq!(http.server.recorded().requests[0].path, "/chat");
}

#[tokio::test]
async fn a_websocket_without_a_key_is_refused() {
    let http = http().await;
    let [mut client, _] = http.clients().await;
    let request = Request::get("http://h/").header("upgrade", "websocket").header("connection", "Upgrade");
    let answer: CollectedResponse = client.send(request.body(Bytes::new()).unwrap()).await.unwrap();
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn grpc_calls_of_all_kinds_are_answered() {
    let http = http().await;
    let mut client = client::grpc(http.stream().await, "echo.example").await.unwrap();
    let said = |message: &str| EchoRequest { message: message.to_owned(), ..EchoRequest::default() };

    let mut request = tonic::Request::new(said("hello"));
    request.metadata_mut().insert("x-version", "2".parse().unwrap());
    let answer = client.unary(request).await.unwrap().into_inner();
    assert_eq!((answer.pod.as_str(), answer.message.as_str()), ("echo-1", "hello"));
    assert!(answer.peer.starts_with("127.0.0.1:"));
    assert!(answer.headers.iter().any(|header| header.name == "x-version" && header.value == "2"));

    let wanted = EchoRequest { count: 3, ..said("again") };
    let mut answers = client.server_stream(wanted).await.unwrap().into_inner();
    for number in 0..3 {
        assert_eq!(answers.message().await.unwrap().unwrap().number, number);
    }
    assert!(answers.message().await.unwrap().is_none());

    let mut answers = client.bidi_stream(stream::iter([said("a"), said("b")])).await.unwrap().into_inner();
    for message in ["a", "b"] {
        assert_eq!(answers.message().await.unwrap().unwrap().message, message);
    }
    assert!(answers.message().await.unwrap().is_none());
    assert_eq!(http.server.recorded().requests[0].path, "/fairway.echo.v1.Echo/Unary");
}

#[tokio::test]
async fn grpc_calls_fail_as_asked() {
    let http = http().await;
    let mut client = client::grpc(http.stream().await, "echo.example").await.unwrap();
    let asked = EchoRequest { status: 7, ..EchoRequest::default() };
    assert_eq!(client.unary(asked).await.unwrap_err().code(), Code::PermissionDenied);
    let flaky = EchoRequest { fail_first: 1, key: "k".to_owned(), ..EchoRequest::default() };
    assert_eq!(client.unary(flaky.clone()).await.unwrap_err().code(), Code::Unavailable);
    assert!(client.unary(flaky).await.is_ok());
}

#[tokio::test]
async fn raw_ports_say_back_half_close_and_greet_first() {
    let server = EchoServer::new("echo-1");
    let listener = listener().await;
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    tokio::spawn(server.clone().serve_tcp(listener));
    stream.write_all(b"hello").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut heard = String::new();
    stream.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "hello");

    let listener = self::listener().await;
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    tokio::spawn(server.serve_greeting(listener));
    let greeting = b"220 echo-1 greets 127.0.0.1\r\n";
    let mut heard = vec![0; greeting.len()];
    // Not a word from this side yet.
    stream.read_exact(&mut heard).await.unwrap();
    assert_eq!(heard, greeting);
}

#[tokio::test]
async fn an_end_lets_requests_under_way_finish() {
    let listener = listener().await;
    let address = listener.local_addr().unwrap();
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let server = EchoServer::new("echo-1");
    let serving = tokio::spawn(server.clone().serve_http(listener, async {
        let _ = ended.await;
    }));
    let mut client = Client::http1(TcpStream::connect(address).await.unwrap()).await.unwrap();
    let request = Request::get("http://h/?chunks=2&interval=100ms").body(Bytes::new()).unwrap();
    let response = client.start(request).await.unwrap();
    end.send(()).unwrap();
    assert_eq!(CollectedResponse::read(response).await.unwrap().body, "chunk 0\nchunk 1\n");
    serving.await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}
