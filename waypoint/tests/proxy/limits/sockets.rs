//! Limits whose state is with the kernel: its queues and addresses, and the handshakes before a request.

use super::support::backend::{Server, echo, read_head, say};
use super::support::wire::{Http1, LONG, get, status};
use super::support::*;
use fairway_config::model::{AppProtocol, Certificate, ListenerProtocol, Resource, TlsTermination};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// One second where a proxy has more: the sweep ends what has waited for so many of its ticks, one a second.
fn hurried(settings: &mut fairway_waypoint::ProxySettings) {
    settings.timeouts.handshake = Duration::from_secs(1);
    settings.timeouts.head = Duration::from_secs(1);
    settings.timeouts.idle = Duration::from_secs(1);
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
async fn a_flood_of_control_frames_ends_the_connection_and_says_why() {
    let server = Server::http(1, echo).await;
    let proxy = Proxy::start_with(simple(AppProtocol::Http1, &[server.address]), hurried);
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
        algorithms: Default::default(),
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
