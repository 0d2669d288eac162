//! The PROXY protocol on sockets: before TLS, before HTTP, before bytes, and for nobody who is not trusted.

use crate::support;
use fairway_config::model::{
    AddressSource, AppProtocol, Certificate, L4Kind, Listener, ListenerProtocol, Resource, TlsTermination,
};
use fairway_policy::CidrSet;
use rustls::RootCertStore;
use rustls::pki_types::ServerName;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use support::backend::{Server, echo};
use support::wire::{LONG, status};
use support::*;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

const LINE: &[u8] = b"PROXY TCP4 203.0.113.7 192.0.2.1 51234 443\r\n";
const REQUEST: &[u8] =
    b"GET / HTTP/1.1\r\nhost: shop\r\nx-forwarded-for: 198.51.100.66\r\nconnection: close\r\n\r\n";

fn ranges(text: &str) -> CidrSet {
    std::iter::once(text.parse().unwrap()).collect()
}

/// Of loopback everybody is trusted.
fn loopback() -> AddressSource {
    AddressSource::ProxyProtocol(ranges("127.0.0.0/8"))
}

fn block(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[command, family], &length, rest].concat()
}

fn v4(more: &[u8]) -> Vec<u8> {
    block(0x21, 0x11, &[&[203, 0, 113, 7, 192, 0, 2, 1, 200, 34, 1, 187][..], more].concat())
}

fn resources(listener: Listener, server: &Server) -> Vec<Resource> {
    let mut all = backend("shop/web:80", AppProtocol::Http1, &[server.address]);
    all.extend([Resource::Listener(Arc::new(listener)), routed(vec![rule("/", "shop/web:80")])]);
    all
}

fn http_listener(address_source: AddressSource) -> Listener {
    Listener { address_source, ..listener(ListenerProtocol::Http) }
}

/// Sends bytes, and reads until the proxy closes, which may be before it has all of them.
async fn exchange(address: SocketAddr, bytes: impl AsRef<[u8]>) -> String {
    // A reset may come before anything else.
    let Ok(mut stream) = TcpStream::connect(address).await else { return String::new() };
    let _ = stream.write_all(bytes.as_ref()).await;
    let mut answer = Vec::new();
    let _ = timeout(LONG, stream.read_to_end(&mut answer)).await.expect("the proxy closes in time");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_trusted_peer_says_where_the_client_is_in_either_version_and_in_any_pieces() {
    let server = Server::http(1, echo).await;
    let proxy = Proxy::start(resources(http_listener(loopback()), &server));
    let v6 = block(
        0x21,
        0x21,
        &[&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7][..], &[0; 20]].concat(),
    );
    for (header, client) in [
        (LINE.to_vec(), "203.0.113.7"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 51234 443\r\n".to_vec(), "2001:db8::7"),
        (b"PROXY TCP6 ::ffff:203.0.113.7 ::1 51234 443\r\n".to_vec(), "203.0.113.7"),
        (v4(&[]), "203.0.113.7"),
        (v4(&[3, 0, 4, 1, 2, 3, 4]), "203.0.113.7"),
        (v6, "2001:db8::7"),
        // It does not say: its own address.
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (block(0x20, 0, &[]), "127.0.0.1"),
        (block(0x21, 0, &[1, 2, 3]), "127.0.0.1"),
    ] {
        for size in [1, 7, 4096] {
            let bytes = [&header, REQUEST].concat();
            let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
            stream.set_nodelay(true).unwrap();
            for piece in bytes.chunks(size) {
                stream.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            let mut answer = String::new();
            timeout(LONG, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
            assert_eq!(status(&answer), 200, "{answer}");
            let told: Vec<&str> = answer.lines().filter(|it| it.starts_with("x-forwarded-for: ")).collect();
            assert_eq!(told, [format!("x-forwarded-for: {client}")], "{size}: {answer}");
        }
    }
}

#[tokio::test]
async fn what_is_no_header_and_who_is_not_trusted_is_closed_without_an_answer() {
    let server = Server::http(1, echo).await;
    let proxy = Proxy::start(resources(http_listener(loopback()), &server));
    let long_line = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 200]].concat();
    for bytes in [
        REQUEST.to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00".to_vec(),
        [b"PROXY TCP5 1.1.1.1 2.2.2.2 1 2\r\n", REQUEST].concat(),
        [b"PROXY TCP4 203.0.113.7 192.0.2.1 51234\r\n", REQUEST].concat(),
        [b"PROXY TCP4 203.0.113.7 192.0.2.1 51234 443\n", REQUEST].concat(),
        [&long_line, REQUEST].concat(),
        [&block(0x21, 0x11, &[7; 600]), REQUEST].concat(),
        [&block(0x21, 0x31, &[b'/'; 216]), REQUEST].concat(),
        [&block(0x22, 0x11, &[7; 12]), REQUEST].concat(),
    ] {
        assert_eq!(exchange(proxy.address(), &bytes).await, "", "{}", String::from_utf8_lossy(&bytes));
    }
    // A second header is a request that nobody understands.
    let twice = exchange(proxy.address(), [LINE, LINE, REQUEST].concat()).await;
    assert_eq!(status(&twice), 400, "{twice}");
    let stranger =
        Proxy::start(resources(http_listener(AddressSource::ProxyProtocol(ranges("10.0.0.0/8"))), &server));
    for bytes in [[LINE, REQUEST].concat(), REQUEST.to_vec()] {
        assert_eq!(exchange(stranger.address(), bytes).await, "");
    }
    assert_eq!(server.requests(), 0);
    assert!(stranger.scrape().contains("streams_refused_total{reason=\"no_proxy_header\"} 2"));
}

/// As many connections as a proxy's thread has in these tests. Once half are in use, one address may have two.
const CONNECTIONS: usize = 32;

async fn connect_from(source: &str, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.bind(source.parse().unwrap())?;
    socket.connect(to).await
}

/// How many of these are open a moment later.
async fn count_open(streams: &mut [TcpStream]) -> usize {
    let is_open = async |stream: &mut TcpStream| {
        timeout(Duration::from_secs(1), stream.read_to_end(&mut Vec::new())).await.is_err()
    };
    let open = futures_util::future::join_all(streams.iter_mut().map(is_open)).await;
    open.into_iter().filter(|it| *it).count()
}

#[tokio::test]
async fn a_peer_that_sends_no_proxy_header_does_not_have_every_connection() {
    let server = Server::http(1, echo).await;
    let proxy = Proxy::start_with(resources(http_listener(loopback()), &server), |settings| {
        settings.limits.connections = CONNECTIONS;
    });
    let mut held = Vec::new();
    for _ in 0..40 {
        held.extend(connect_from("127.0.0.1:0", proxy.address()).await.ok());
    }
    let mut other = connect_from("127.0.0.2:0", proxy.address()).await.unwrap();
    other.write_all(&[LINE, REQUEST].concat()).await.unwrap();
    let mut answer = String::new();
    timeout(Duration::from_secs(2), other.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert_eq!(status(&answer), 200, "{answer}");
    assert_eq!(count_open(&mut held).await, 17, "half, and what was begun");
}

#[tokio::test]
async fn once_its_header_is_there_a_connection_counts_for_the_client_and_not_for_the_load_balancer() {
    let server = Server::http(1, echo).await;
    let proxy = Proxy::start_with(resources(http_listener(loopback()), &server), |settings| {
        settings.limits.connections = CONNECTIONS;
    });
    let mut held = Vec::new();
    for _ in 0..40 {
        let Ok(mut stream) = TcpStream::connect(proxy.address()).await else { continue };
        let _ = stream.write_all(&[LINE, b"GET"].concat()).await;
        held.push(stream);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Another client of the same load balancer has its own share.
    let other = b"PROXY TCP4 203.0.113.8 192.0.2.1 51234 443\r\n";
    let answer = exchange(proxy.address(), [&other[..], REQUEST].concat()).await;
    assert_eq!(status(&answer), 200, "{answer}");
    assert_eq!(count_open(&mut held).await, 17, "half, and what was begun");
}

#[tokio::test]
async fn a_listener_without_the_protocol_does_not_take_its_header() {
    let server = Server::http(1, echo).await;
    for source in [AddressSource::Connection, AddressSource::ForwardedFor(ranges("127.0.0.0/8"))] {
        let proxy = Proxy::start(resources(http_listener(source), &server));
        for header in [LINE.to_vec(), v4(&[])] {
            let answer = exchange(proxy.address(), [&header, REQUEST].concat()).await;
            assert!(!answer.contains(" 200 "), "{answer}");
        }
    }
    assert_eq!(server.requests(), 0);
}

/// Puts bytes before what is written first, so that both are in one packet.
struct Preceded {
    stream: TcpStream,
    before: Vec<u8>,
}

impl AsyncRead for Preceded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Preceded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let before = self.before.len();
        if before == 0 {
            return Pin::new(&mut self.stream).poll_write(cx, buf);
        }
        let whole = [&self.before, buf].concat();
        let written = std::task::ready!(Pin::new(&mut self.stream).poll_write(cx, &whole))?;
        assert!(written > before, "a new connection has room");
        self.before.clear();
        Poll::Ready(Ok(written - before))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

struct Secured {
    certificate: Resource,
    termination: TlsTermination,
    roots: RootCertStore,
}

fn secured() -> Secured {
    let made = rcgen::generate_simple_self_signed(vec!["shop".to_owned()]).unwrap();
    let pem = made.signing_key.serialize_pem();
    let certificate = Certificate::from_pem("shop/tls".into(), &made.cert.pem(), &pem).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    Secured {
        certificate: Resource::Certificate(Arc::new(certificate)),
        termination: TlsTermination {
            certificates: vec!["shop/tls".into()],
            clients: None,
            min_version: Default::default(),
            algorithms: Default::default(),
        },
        roots,
    }
}

async fn ask_over_tls(address: SocketAddr, roots: &RootCertStore, header: &[u8]) -> io::Result<String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots.clone())
        .with_no_client_auth();
    let stream = Preceded { stream: TcpStream::connect(address).await?, before: header.to_vec() };
    let name = ServerName::try_from("shop").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    stream.write_all(REQUEST).await?;
    let mut answer = Vec::new();
    let _ = timeout(LONG, stream.read_to_end(&mut answer)).await.expect("an answer in time");
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test]
async fn no_byte_of_a_tls_handshake_is_lost_to_the_header_before_it() {
    let server = Server::http(1, echo).await;
    let Secured { certificate, termination, roots } = secured();
    let https = Listener { address_source: loopback(), ..listener(ListenerProtocol::Https(termination)) };
    let mut all = resources(https, &server);
    all.push(certificate);
    let proxy = Proxy::start(all);
    for header in [LINE.to_vec(), b"PROXY TCP4 203.0.113.7 1.1.1.1 1 2\r\n".to_vec(), v4(&[]), v4(&[0; 500])]
    {
        let answer = ask_over_tls(proxy.address(), &roots, &header).await.unwrap();
        assert!(answer.contains("x-forwarded-for: 203.0.113.7\n"), "{answer}");
    }
    assert!(ask_over_tls(proxy.address(), &roots, b"").await.is_err(), "there is no header");
    assert!(
        ask_over_tls(proxy.address(), &roots, &[LINE, LINE].concat()).await.is_err(),
        "there are two headers"
    );
}

#[tokio::test]
async fn bytes_that_follow_the_header_reach_the_endpoint_and_the_header_does_not() {
    let server = Server::raw(|mut stream, _| async move {
        let (mut from, mut to) = stream.split();
        let _ = tokio::io::copy(&mut from, &mut to).await;
    })
    .await;
    let tcp = Listener { address_source: loopback(), ..listener(ListenerProtocol::Tcp) };
    let mut all = backend("shop/db:5432", AppProtocol::Tcp, &[server.address]);
    all.push(Resource::Listener(Arc::new(tcp)));
    all.push(l4_route(L4Kind::Tcp, LISTENER, &[], &[(1, "shop/db:5432")]));
    let proxy = Proxy::start(all);
    for header in [LINE.to_vec(), v4(&[9; 77])] {
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        let payload: Vec<u8> = (0..=255).cycle().take(10_000).collect();
        stream.write_all(&[&header, &*payload].concat()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut back = Vec::new();
        timeout(LONG, stream.read_to_end(&mut back)).await.unwrap().unwrap();
        assert!(back == payload, "{} bytes came back", back.len());
    }
    // Headers of requests are not seen there.
    let source = AddressSource::ForwardedFor(ranges("127.0.0.0/8"));
    let mut proxy = proxy;
    let tcp = Listener { address_source: source, ..listener(ListenerProtocol::Tcp) };
    proxy.apply(vec![Resource::Listener(Arc::new(tcp))]).unwrap();
    assert_eq!(exchange(proxy.address(), REQUEST).await, "");
}

#[tokio::test]
async fn tls_that_is_passed_on_is_passed_on_whole() {
    let Secured { certificate, termination, roots } = secured();
    let server = Server::http(1, echo).await;
    // The endpoint is another proxy, which ends the TLS.
    let mut behind = resources(listener(ListenerProtocol::Https(termination)), &server);
    behind.push(certificate);
    let behind = Proxy::start(behind);
    let passthrough = Listener { address_source: loopback(), ..listener(ListenerProtocol::TlsPassthrough) };
    let mut all = backend("shop/tls:443", AppProtocol::Tcp, &[behind.address()]);
    all.push(Resource::Listener(Arc::new(passthrough)));
    all.push(l4_route(L4Kind::Tls, LISTENER, &["shop"], &[(1, "shop/tls:443")]));
    let proxy = Proxy::start(all);
    let answer = ask_over_tls(proxy.address(), &roots, LINE).await.unwrap();
    assert_eq!(status(&answer), 200, "{answer}");
    assert!(ask_over_tls(proxy.address(), &roots, b"").await.is_err());
}
