//! Far ends that are gone without a word. The kernel asks them: its table of sockets shows the timer.

use crate::support;
use fairway_config::model::{
    AppProtocol, Attachment, ClientKeepalive, ClientTreatment, L4Kind, Listener, ListenerProtocol, Resource,
    TlsTermination,
};
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use support::backend::{Body, Server};
use support::pki::Authority;
use support::tls::{client, connect};
use support::wire::{Http1, http2};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An open TCP socket of this machine, with the time until the kernel asks its far end, if it will.
#[derive(Clone, Copy, Debug)]
struct Socket {
    local: SocketAddr,
    remote: SocketAddr,
    /// In hundredths of a second.
    probe_in: Option<u64>,
}

/// The open sockets, as `/proc/net/tcp` has them: `tr` is 02 while the keepalive timer runs.
fn sockets() -> Vec<Socket> {
    let address = |text: &str| {
        let (ip, port) = text.split_once(':').unwrap();
        let ip = IpAddr::from(u32::from_str_radix(ip, 16).unwrap().to_ne_bytes());
        SocketAddr::new(ip, u16::from_str_radix(port, 16).unwrap())
    };
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let open = rows.filter(|row| row[3] == "01");
    let socket = |row: Vec<&str>| {
        let (timer, when) = row[5].split_once(':').unwrap();
        let probe_in = (timer == "02").then(|| u64::from_str_radix(when, 16).unwrap());
        Socket { local: address(row[1]), remote: address(row[2]), probe_in }
    };
    open.map(socket).collect()
}

/// Waits until the kernel will ask the far end of each of the proxy's sockets within 30 seconds: those of its clients, and those to
/// its endpoints. There are that many of each.
async fn will_be_asked(what: &str, proxy: &Proxy, server: SocketAddr, endpoints: usize) {
    let own = |it: &Socket| it.local == proxy.address();
    let out = |it: &Socket| it.remote == server;
    let is_asked = |it: &Socket| it.probe_in.is_some_and(|it| it <= 3_000);
    let mut last = Vec::new();
    for _ in 0..500 {
        last = sockets().into_iter().filter(|it| own(it) || out(it)).collect();
        let (clients, to_endpoints) = (last.iter().filter(|it| own(it)), last.iter().filter(|it| out(it)));
        if (clients.count(), to_endpoints.count()) == (1, endpoints) && last.iter().all(is_asked) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{what}: {last:?}");
}

/// A server's answer that never comes.
async fn silent(_: Request<Incoming>) -> Response<Body> {
    std::future::pending().await
}

/// Says yes to a WebSocket, and then nothing.
async fn upgrades() -> Server {
    Server::raw(|mut stream, _| async move {
        let mut head = [0; 2048];
        let _ = stream.read(&mut head).await;
        let answer = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                      sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
        std::future::pending::<()>().await;
    })
    .await
}

async fn held() -> Server {
    Server::raw(|stream, _| async move {
        let _held = stream;
        std::future::pending::<()>().await;
    })
    .await
}

#[tokio::test]
async fn the_kernel_asks_a_client_when_its_listener_says_so() {
    let server = held().await;
    let keepalive =
        ClientKeepalive { idle: Some(std::time::Duration::from_secs(600)), ..ClientKeepalive::default() };
    let treatment = ClientTreatment { keepalive, ..ClientTreatment::default() };
    let treated = Listener { treatment: Some(Arc::new(treatment)), ..listener(ListenerProtocol::Tcp) };
    let mut resources = backend("shop/db:1", AppProtocol::Tcp, &[server.address]);
    resources.push(Resource::Listener(Arc::new(treated)));
    resources.push(l4_route(L4Kind::Tcp, LISTENER, &[], &[(1, "shop/db:1")]));
    let proxy = Proxy::start(resources);
    let _it = TcpStream::connect(proxy.address()).await.unwrap();
    let mut last = Vec::new();
    for _ in 0..500 {
        last = sockets().into_iter().filter(|it| it.local == proxy.address()).collect();
        if matches!(last[..], [Socket { probe_in: Some(30_000..=60_000), .. }]) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{last:?}");
}

#[tokio::test]
async fn the_kernel_asks_every_silent_far_end_whether_it_is_still_there() {
    let request = "GET / HTTP/1.1\r\nhost: shop\r\n\r\n";
    let one = Server::http(1, silent).await;
    let proxy = Proxy::start(simple(AppProtocol::Http1, &[one.address]));
    let mut it = Http1::connect(proxy.address()).await;
    will_be_asked("HTTP/1 that says nothing", &proxy, one.address, 0).await;
    it.send("GET / HTTP/1.1\r\nhost").await;
    will_be_asked("HTTP/1 in its head", &proxy, one.address, 0).await;
    it.send(": shop\r\n\r\n").await;
    will_be_asked("HTTP/1 that waits for an answer", &proxy, one.address, 1).await;
    drop(it);

    let two = Server::http(2, silent).await;
    let proxy = Proxy::start(simple(AppProtocol::Http2, &[two.address]));
    let mut it = http2(proxy.address()).await;
    let body = Empty::new().map_err(|never| match never {}).boxed();
    let asked = tokio::spawn(it.send_request(Request::get("http://shop/").body(body).unwrap()));
    will_be_asked("HTTP/2 that waits for an answer", &proxy, two.address, 1).await;
    asked.abort();

    let server = upgrades().await;
    let proxy = Proxy::start(simple(AppProtocol::Http1, &[server.address]));
    let mut it = Http1::connect(proxy.address()).await;
    it.send(
        "GET / HTTP/1.1\r\nhost: shop\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )
    .await;
    let (head, _) = it.receive().await.unwrap();
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    will_be_asked("a WebSocket", &proxy, server.address, 1).await;

    let server = held().await;
    let mut resources = backend("shop/db:1", AppProtocol::Tcp, &[server.address]);
    resources.push(Resource::Listener(Arc::new(listener(ListenerProtocol::Tcp))));
    resources.push(l4_route(L4Kind::Tcp, LISTENER, &[], &[(1, "shop/db:1")]));
    let proxy = Proxy::start(resources);
    let _it = TcpStream::connect(proxy.address()).await.unwrap();
    will_be_asked("TCP", &proxy, server.address, 1).await;

    let authority = Authority::new("names");
    let config = Arc::new(client(&authority, None));
    let leaf = authority.for_host("*.example.com");
    let termination = || TlsTermination {
        certificates: vec!["shop/wild".into()],
        clients: None,
        min_version: Default::default(),
        algorithms: Default::default(),
    };
    let of_listener = |protocol, server: &Server| {
        let mut resources = backend("shop/db:1", AppProtocol::Tcp, &[server.address]);
        resources.push(Resource::Listener(Arc::new(listener(protocol))));
        resources.push(leaf.certificate("shop/wild"));
        resources
    };
    let server = held().await;
    let mut resources = of_listener(ListenerProtocol::TlsTerminate(termination()), &server);
    resources.push(l4_route(L4Kind::Tls, LISTENER, &[], &[(1, "shop/db:1")]));
    let proxy = Proxy::start(resources);
    let _it = connect(proxy.address(), &config, "a.example.com").await.unwrap();
    will_be_asked("TLS that ends here", &proxy, server.address, 1).await;

    let server = held().await;
    let mut resources = of_listener(ListenerProtocol::TlsPassthrough, &server);
    resources.push(l4_route(L4Kind::Tls, LISTENER, &[], &[(1, "shop/db:1")]));
    let proxy = Proxy::start(resources);
    let address = proxy.address();
    let going_on = tokio::spawn(async move { connect(address, &config, "a.example.com").await.map(drop) });
    will_be_asked("TLS that goes on", &proxy, server.address, 1).await;
    going_on.abort();

    let server = held().await;
    let protocol = ListenerProtocol::Service { service: "shop/db".into(), port: 1 };
    let mut resources = backend("shop/db:1", AppProtocol::Unspecified, &[server.address]);
    resources.push(service("shop/db", [10, 96, 0, 1].into(), 1, AppProtocol::Unspecified));
    resources.push(Resource::Listener(Arc::new(listener(protocol))));
    let proxy = Proxy::start(resources);
    let _it = TcpStream::connect(proxy.address()).await.unwrap();
    will_be_asked("a port whose protocol nobody named", &proxy, server.address, 1).await;

    let config = Arc::new(client(&authority, None));
    let mut resources = of_listener(ListenerProtocol::Https(termination()), &server);
    let web = Server::http(1, silent).await;
    resources.extend(backend("shop/web:80", AppProtocol::Http1, &[web.address]));
    let mut route = route("web", vec![rule("/", "shop/web:80")]);
    route.attachments = vec![Attachment::Listener { listener: LISTENER.into(), hostnames: vec![] }];
    resources.push(Resource::Route(Arc::new(route)));
    let proxy = Proxy::start(resources);
    let mut it = connect(proxy.address(), &config, "a.example.com").await.unwrap();
    it.write_all(request.replace("shop", "a.example.com").as_bytes()).await.unwrap();
    will_be_asked("HTTPS", &proxy, web.address, 1).await;
}
