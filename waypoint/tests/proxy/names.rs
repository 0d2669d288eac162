//! One port, many names: TLS that goes on as it is, that ends here, and HTTPS, told apart by the SNI.

use crate::support;
use fairway_config::model::{
    AppProtocol, Attachment, L4Kind, Listener, ListenerProtocol, Resource, TlsTermination,
};
use fairway_waypoint::Timeouts;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use support::backend::{Server, echo};
use support::pki::{Authority, policy, secured, tls_server};
use support::tls::{client, connect};
use support::wire::{LONG, status};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Three listeners on one port: `through.example.com` goes on as it is, `*.example.com` ends here, and `web.example.com`
/// is HTTPS.
struct Gateway {
    proxy: Proxy,
    authority: Authority,
    /// What the backend behind the passthrough has read, connection by connection.
    read: mpsc::UnboundedReceiver<Vec<u8>>,
    _servers: Vec<Server>,
}

fn terminate(certificate: &str) -> TlsTermination {
    TlsTermination {
        certificates: vec![certificate.into()],
        clients: None,
        min_version: Default::default(),
        algorithms: Default::default(),
    }
}

fn listeners() -> Vec<Listener> {
    vec![
        named("shop/gateway/through", Some("through.example.com"), ListenerProtocol::TlsPassthrough),
        named(
            "shop/gateway/inside",
            Some("*.example.com"),
            ListenerProtocol::TlsTerminate(terminate("shop/wild")),
        ),
        named("shop/gateway/web", Some("web.example.com"), ListenerProtocol::Https(terminate("shop/wild"))),
    ]
}

/// Reads until the client is done, tells what it was, and says how much.
async fn recorder() -> (Server, mpsc::UnboundedReceiver<Vec<u8>>) {
    let (told, read) = mpsc::unbounded_channel();
    let server = Server::raw(move |mut stream, _| {
        let told = told.clone();
        async move {
            let mut bytes = Vec::new();
            let _ = stream.read_to_end(&mut bytes).await;
            let _ = stream.write_all(format!("{} bytes", bytes.len()).as_bytes()).await;
            told.send(bytes).unwrap();
        }
    })
    .await;
    (server, read)
}

/// Says its name and what it hears, in the clear.
async fn plain_parrot() -> Server {
    Server::raw(|mut stream, _| async move {
        stream.write_all(b"plain:").await.unwrap();
        let (mut from, mut to) = stream.split();
        let _ = tokio::io::copy(&mut from, &mut to).await;
    })
    .await
}

async fn gateway_with(timeouts: Timeouts) -> Gateway {
    let authority = Authority::new("names");
    let wild = authority.for_host("*.example.com");
    let (recorder, read) = recorder().await;
    let (parrot, web) = (plain_parrot().await, Server::http(1, echo).await);
    let mut resources = backend("shop/through:1", AppProtocol::Tcp, &[recorder.address]);
    resources.extend(backend("shop/inside:1", AppProtocol::Tcp, &[parrot.address]));
    resources.extend(backend("shop/web:80", AppProtocol::Http1, &[web.address]));
    resources.extend(listeners().into_iter().map(|it| Resource::Listener(Arc::new(it))));
    resources.push(wild.certificate("shop/wild"));
    let route = |listener, hostname, backend| l4_route(L4Kind::Tls, listener, &[hostname], &[(1, backend)]);
    resources.push(route("shop/gateway/through", "through.example.com", "shop/through:1"));
    resources.push(route("shop/gateway/inside", "in.example.com", "shop/inside:1"));
    let mut of_web = support::route("web", vec![rule("/", "shop/web:80")]);
    of_web.attachments =
        vec![Attachment::Listener { listener: "shop/gateway/web".into(), hostnames: vec![] }];
    resources.push(Resource::Route(Arc::new(of_web)));
    let proxy = Proxy::start_with(resources, |settings| settings.timeouts = timeouts);
    Gateway { proxy, authority, read, _servers: vec![recorder, parrot, web] }
}

async fn gateway() -> Gateway {
    gateway_with(Timeouts::default()).await
}

/// What a client says first.
fn hello(authority: &Authority, name: &str) -> Vec<u8> {
    let name = rustls::pki_types::ServerName::try_from(name.to_owned()).unwrap();
    let mut session = rustls::ClientConnection::new(Arc::new(client(authority, None)), name).unwrap();
    let mut bytes = Vec::new();
    session.write_tls(&mut bytes).unwrap();
    bytes
}

/// The same in records of this many bytes.
fn in_records_of(size: usize, hello: &[u8]) -> Vec<u8> {
    let record = |it: &[u8]| [&[22, 3, 1, 0, u8::try_from(it.len()).unwrap()], it].concat();
    hello[5..].chunks(size).flat_map(record).collect()
}

/// How the proxy ends a connection that begins with these bytes: what it says, or how it breaks off.
async fn ends(address: SocketAddr, bytes: &[u8]) -> Result<Vec<u8>, ErrorKind> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut said = Vec::new();
    let read = timeout(LONG, stream.read_to_end(&mut said)).await.expect("an end in time");
    read.map(|_| said).map_err(|error| error.kind())
}

#[tokio::test]
async fn each_name_finds_its_listener_and_what_that_does_with_tls() {
    let gateway = gateway().await;
    let config = Arc::new(client(&gateway.authority, None));
    let address = gateway.proxy.address();

    let mut inside = connect(address, &config, "in.example.com").await.unwrap();
    inside.write_all(b"secret").await.unwrap();
    inside.shutdown().await.unwrap();
    let mut said = String::new();
    timeout(LONG, inside.read_to_string(&mut said)).await.unwrap().unwrap();
    assert_eq!(said, "plain:secret", "TLS has ended at the proxy, and a half-close goes through it");
    assert_eq!(inside.get_ref().1.alpn_protocol(), None);

    let mut web = connect(address, &config, "web.example.com").await.unwrap();
    web.write_all(b"GET / HTTP/1.1\r\nhost: web.example.com\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    timeout(LONG, web.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert_eq!(status(&answer), 200);
    assert!(answer.contains("x-forwarded-proto: https"), "{answer}");

    // Another listener's name on a connection to this one's.
    let mut web = connect(address, &config, "web.example.com").await.unwrap();
    web.write_all(b"GET / HTTP/1.1\r\nhost: in.example.com\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    timeout(LONG, web.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert_eq!(status(&answer), 421);
}

#[tokio::test]
async fn what_goes_through_arrives_byte_for_byte_however_it_was_cut() {
    let mut gateway = gateway().await;
    let hello = hello(&gateway.authority, "through.example.com");
    let rest: Vec<u8> = (0..200_000u32).map(|it| (it % 251) as u8).collect();
    for (wire, segment) in [
        (hello.clone(), usize::MAX),
        (hello.clone(), 1),
        (in_records_of(100, &hello), 7),
        (in_records_of(1, &hello), usize::MAX),
    ] {
        let mut stream = TcpStream::connect(gateway.proxy.address()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        for piece in wire.chunks(segment) {
            stream.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        stream.write_all(&rest).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut said = String::new();
        timeout(LONG, stream.read_to_string(&mut said)).await.expect("an answer in time").unwrap();
        let expected = [wire, rest.clone()].concat();
        assert_eq!(said, format!("{} bytes", expected.len()));
        assert!(gateway.read.recv().await.unwrap() == expected, "other bytes have arrived");
    }
}

#[tokio::test]
async fn tls_that_goes_through_is_the_backends() {
    let authority = Authority::new("backend");
    let config = authority.for_host("through.example.com").server(None, &[]);
    let (server, seen) = tls_server(config, |mut stream| async move {
        stream.write_all(b"the backend's own").await.unwrap();
        stream.shutdown().await.unwrap();
    })
    .await;
    let mut gateway = gateway().await;
    let config = Arc::new(client(&authority, None));
    let plain = backend("shop/through:1", AppProtocol::Tcp, &[server.address]);
    // A policy for the backend's TLS is for proxies that speak it themselves: nothing is wrapped around the client's.
    let policy = policy("through.example.com", vec![], &authority);
    for resources in [secured(plain.clone(), "shop/through:1", &policy), plain] {
        gateway.proxy.apply(resources).unwrap();
        let mut stream = connect(gateway.proxy.address(), &config, "through.example.com").await.unwrap();
        let mut said = String::new();
        timeout(LONG, stream.read_to_string(&mut said)).await.unwrap().unwrap();
        assert_eq!(said, "the backend's own");
    }
    assert_eq!(*seen.lock().unwrap(), ["through.example.com - 0"; 2]);
}

#[tokio::test]
async fn what_ended_here_goes_on_in_tls_of_its_own_if_the_backend_asks_for_it() {
    let (servers, proxies) = (Authority::new("servers"), Authority::new("proxies"));
    let config = servers.for_host("db").server(Some(&proxies), &[]);
    let (server, seen) = tls_server(config, |mut stream| async move {
        let (mut from, mut to) = tokio::io::split(&mut stream);
        let _ = tokio::io::copy(&mut from, &mut to).await;
        let _ = to.shutdown().await;
    })
    .await;
    let mut gateway = gateway().await;
    let mut resources = backend("shop/inside:1", AppProtocol::Tcp, &[server.address]);
    resources = secured(resources, "shop/inside:1", &policy("db", vec![], &servers));
    resources.push(proxies.for_host("gateway").certificate("shop/mine"));
    for mut listener in listeners() {
        listener.backend_certificate = Some("shop/mine".into());
        resources.push(Resource::Listener(Arc::new(listener)));
    }
    gateway.proxy.apply(resources).unwrap();
    let config = Arc::new(client(&gateway.authority, None));
    let mut stream = connect(gateway.proxy.address(), &config, "in.example.com").await.unwrap();
    stream.write_all(b"there and back").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut said = String::new();
    timeout(LONG, stream.read_to_string(&mut said)).await.unwrap().unwrap();
    assert_eq!(said, "there and back");
    assert_eq!(
        *seen.lock().unwrap(),
        ["db - 1"],
        "the policy's name, no ALPN, and the listener's certificate"
    );
}

#[tokio::test]
async fn a_name_without_listener_or_route_is_closed_without_a_word() {
    let gateway = gateway().await;
    let address = gateway.proxy.address();
    for (name, reason) in [
        ("example.org", "no_listener"),
        ("192.0.2.1", "no_listener"),
        // The listener is there, the route is for another name.
        ("other.example.com", "no_route"),
    ] {
        let ended = ends(address, &hello(&gateway.authority, name)).await;
        assert_eq!(ended, Err(ErrorKind::ConnectionReset), "{name}");
        let line = format!("fairway_streams_refused_total{{reason=\"{reason}\"}} 0");
        wait_for(|| !gateway.proxy.scrape().contains(&line)).await;
    }
    let ended = ends(address, b"GET / HTTP/1.1\r\nhost: web.example.com\r\n\r\n").await;
    assert_eq!(ended, Err(ErrorKind::ConnectionReset));
    assert!(gateway.proxy.scrape().contains("fairway_streams_refused_total{reason=\"not_tls\"} 1"));
}

#[tokio::test]
async fn where_tls_always_ends_here_an_unknown_name_is_refused_in_tls() {
    let authority = Authority::new("names");
    let leaf = authority.for_host("*.example.com");
    let mut listeners = listeners();
    listeners.remove(0);
    let mut resources: Vec<_> = listeners.into_iter().map(|it| Resource::Listener(Arc::new(it))).collect();
    resources.push(leaf.certificate("shop/wild"));
    let proxy = Proxy::start(resources);
    let said = ends(proxy.address(), &hello(&authority, "example.org")).await.unwrap();
    assert_eq!(said, [21, 3, 3, 0, 2, 2, 112], "unrecognized_name");
}

#[tokio::test]
async fn a_client_that_does_not_finish_its_first_message_is_not_waited_for() {
    let timeouts = Timeouts { handshake: Duration::from_secs(1), ..Timeouts::default() };
    let gateway = gateway_with(timeouts).await;
    let hello = hello(&gateway.authority, "through.example.com");
    let ended = ends(gateway.proxy.address(), &hello[..hello.len() - 1]).await;
    assert_eq!(ended, Err(ErrorKind::ConnectionReset));
    assert!(gateway.proxy.scrape().contains("fairway_streams_refused_total{reason=\"too_slow\"} 1"));
}

#[tokio::test]
async fn a_listener_whose_certificate_is_missing_is_named_and_the_others_go_on() {
    let mut gateway = gateway().await;
    let lost = named(
        "shop/gateway/lost",
        Some("lost.example.org"),
        ListenerProtocol::TlsTerminate(terminate("shop/lost")),
    );
    let refused = gateway.proxy.apply(vec![Resource::Listener(Arc::new(lost))]).unwrap_err();
    assert_eq!(refused.len(), 1);
    assert_eq!(
        refused[0].to_string(),
        "Listener shop/gateway/lost: certificate shop/lost is not in the configuration"
    );
    let config = Arc::new(client(&gateway.authority, None));
    assert!(connect(gateway.proxy.address(), &config, "in.example.com").await.is_ok());
}
