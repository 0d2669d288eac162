//! TCP listeners: bytes both ways, and what becomes of them when parts end.

use crate::support;
use fairway_config::Delta;
use fairway_config::model::{
    AppProtocol, BackendSecurity, L4Kind, Listener, ListenerProtocol, Resource, ResourceKey, ResourceKind,
};
use fairway_runtime::drain::Deadlines;
use fairway_telemetry::testing::Exposition;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use support::backend::Server;
use support::wire::LONG;
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

fn tcp() -> Resource {
    Resource::Listener(Arc::new(listener(ListenerProtocol::Tcp)))
}

fn to_backends(backends: &[(u32, &str)]) -> Resource {
    l4_route(L4Kind::Tcp, LISTENER, &[], backends)
}

fn bytes_to(key: &str, addresses: &[SocketAddr]) -> Vec<Resource> {
    backend(key, AppProtocol::Tcp, addresses)
}

/// Says its name, and then back all it hears.
async fn parrot(name: &'static str) -> Server {
    Server::raw(move |mut stream, _| async move {
        let _ = stream.write_all(name.as_bytes()).await;
        let (mut from, mut to) = stream.split();
        let _ = tokio::io::copy(&mut from, &mut to).await;
    })
    .await
}

async fn name_of(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let mut name = [0];
    timeout(LONG, stream.read_exact(&mut name)).await.expect("an answer in time")?;
    Ok(char::from(name[0]).to_string())
}

/// An address that was free a moment ago: it refuses connections.
async fn nobody() -> SocketAddr {
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    socket.local_addr().unwrap()
}

#[tokio::test]
async fn each_side_may_be_done_before_the_other() {
    let server = Server::raw(|mut stream, _| async move {
        stream.write_all(b"welcome ").await.unwrap();
        let mut question = Vec::new();
        stream.read_to_end(&mut question).await.unwrap();
        stream.write_all(format!("{} bytes", question.len()).as_bytes()).await.unwrap();
    })
    .await;
    let mut resources = bytes_to("shop/db:1", &[server.address]);
    resources.extend([tcp(), to_backends(&[(1, "shop/db:1")])]);
    let proxy = Proxy::start(resources);
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    // The server speaks first.
    let mut welcome = [0; 8];
    timeout(LONG, stream.read_exact(&mut welcome)).await.expect("a welcome in time").unwrap();
    stream.write_all(&vec![1; 3_000_000]).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    timeout(LONG, stream.read_to_string(&mut answer)).await.expect("an answer in time").unwrap();
    assert_eq!(answer, "3000000 bytes");
    wait_for(|| proxy.scrape().contains("fairway_streams_active 0")).await;
    let scrape = proxy.scrape();
    for line in [
        "fairway_streams_total{protocol=\"tcp\"} 1",
        "fairway_stream_received_bytes_total 3000000",
        "fairway_stream_sent_bytes_total 21",
    ] {
        assert!(scrape.contains(line), "{line} in\n{scrape}");
    }
}

#[tokio::test]
async fn connections_are_shared_out_by_weight() {
    let (a, b, c) = (parrot("a").await, parrot("b").await, parrot("c").await);
    let mut resources = bytes_to("shop/a:1", &[a.address]);
    resources.extend(bytes_to("shop/b:1", &[b.address]));
    resources.extend(bytes_to("shop/c:1", &[c.address]));
    resources.extend([tcp(), to_backends(&[(70, "shop/a:1"), (30, "shop/b:1"), (0, "shop/c:1")])]);
    let proxy = Proxy::start(resources);
    for _ in 0..200 {
        name_of(proxy.address()).await.unwrap();
    }
    assert_eq!((a.connections() + b.connections(), c.connections()), (200, 0));
    // 140 of 200; five standard deviations are 32.
    assert!((108..=172).contains(&a.connections()), "{}", a.connections());
}

#[tokio::test]
async fn an_endpoint_that_cannot_be_reached_costs_no_connection() {
    let server = parrot("a").await;
    let mut resources = bytes_to("shop/db:1", &[nobody().await, nobody().await, server.address]);
    resources.extend([tcp(), to_backends(&[(1, "shop/db:1")])]);
    let proxy = Proxy::start(resources);
    for _ in 0..20 {
        assert_eq!(name_of(proxy.address()).await.unwrap(), "a");
    }
}

#[tokio::test]
async fn what_leads_nowhere_is_reset_and_the_reason_counted() {
    let gone = bytes_to("shop/gone:1", &[nobody().await]);
    let empty = bytes_to("shop/empty:1", &[]);
    let mut refused = bytes_to("shop/policy:1", &[nobody().await]);
    if let Some(Resource::Backend(backend)) = refused.first_mut() {
        Arc::make_mut(backend).security = BackendSecurity::Unusable("no bundle".into());
    }
    let mut proxy = Proxy::start([vec![tcp()], gone, empty, refused].concat());
    for (route, reason, backend) in [
        (None, "no_route", ""),
        (Some(to_backends(&[])), "no_backend", ""),
        (Some(to_backends(&[(0, "shop/gone:1")])), "no_backend", ""),
        (Some(to_backends(&[(1, "shop/unknown:1")])), "unresolved_backend", "shop/unknown"),
        (Some(to_backends(&[(1, "shop/empty:1")])), "no_endpoint", "shop/empty"),
        (Some(to_backends(&[(1, "shop/gone:1")])), "unreachable", "shop/gone"),
        (Some(to_backends(&[(1, "shop/policy:1")])), "tls_policy", "shop/policy"),
    ] {
        let labels =
            [("route", if route.is_some() { "TcpRoute/shop/gateway/web" } else { "" }), ("backend", backend)];
        proxy.apply(route.into_iter().collect()).unwrap();
        let counted = |scrape: &str| {
            let line = format!("fairway_streams_refused_total{{reason=\"{reason}\"}} ");
            let count = scrape.lines().find_map(|it| it.strip_prefix(&line)).unwrap();
            count.parse::<u32>().unwrap()
        };
        let before = counted(&proxy.scrape());
        let error = name_of(proxy.address()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{reason}");
        wait_for(|| counted(&proxy.scrape()) == before + 1).await;
        let scraped = || Exposition::parse(&proxy.scrape());
        wait_for(|| scraped().sum("fairway_connections_total", &labels) >= 1.0).await;
    }
}

#[tokio::test]
async fn a_listener_may_get_and_lose_its_route_while_old_connections_go_on() {
    let server = parrot("a").await;
    let mut proxy = Proxy::start([bytes_to("shop/db:1", &[server.address]), vec![tcp()]].concat());
    assert!(name_of(proxy.address()).await.is_err());
    let route = to_backends(&[(1, "shop/db:1")]);
    proxy.apply(vec![route.clone()]).unwrap();
    let mut held = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(timeout(LONG, held.read_u8()).await.unwrap().unwrap(), b'a');
    let (_, bound) = proxy.applier.bound().next().unwrap();
    // Another listener comes and goes, and the route goes.
    let other = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
    let other =
        Listener { addresses: vec![other], ..named("shop/gateway/other", None, ListenerProtocol::Tcp) };
    proxy.apply(vec![Resource::Listener(Arc::new(other))]).unwrap();
    let removals = vec![route.key(), ResourceKey::new(ResourceKind::Listener, "shop/gateway/other")];
    proxy.apply_delta(Delta { removals, ..Delta::default() }).unwrap();
    assert!(name_of(proxy.address()).await.is_err(), "new connections are closed");
    assert_eq!(proxy.address(), bound, "the socket is the same");
    held.write_all(b"x").await.unwrap();
    assert_eq!(timeout(LONG, held.read_u8()).await.unwrap().unwrap(), b'x', "the old one goes on");
}

#[tokio::test]
async fn a_side_that_breaks_is_told_to_the_other_as_broken() {
    let server = Server::raw(|mut stream, _| async move {
        let _ = stream.read_u8().await;
        stream.set_zero_linger().unwrap();
    })
    .await;
    let mut resources = bytes_to("shop/db:1", &[server.address]);
    resources.extend([tcp(), to_backends(&[(1, "shop/db:1")])]);
    let proxy = Proxy::start(resources);
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    stream.write_all(b"x").await.unwrap();
    let error = timeout(LONG, stream.read_u8()).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_drain_leaves_streams_alone_until_its_deadline_and_then_cuts_them_off() {
    let server = parrot("a").await;
    let mut resources = bytes_to("shop/db:1", &[server.address]);
    resources.extend([tcp(), to_backends(&[(1, "shop/db:1")])]);
    let mut proxy = Proxy::start(resources);
    let address = proxy.address();
    let mut stream = TcpStream::connect(address).await.unwrap();
    assert_eq!(timeout(LONG, stream.read_u8()).await.unwrap().unwrap(), b'a');
    let deadlines = Deadlines { linger: Duration::from_millis(50), grace: Duration::from_secs(2) };
    let draining = tokio::spawn(proxy.drain.take().unwrap().drain(deadlines));
    wait_for_closed(address).await;
    wait_for(|| proxy.scrape().contains("fairway_streams_active 1")).await;
    stream.write_all(b"x").await.unwrap();
    assert_eq!(timeout(LONG, stream.read_u8()).await.unwrap().unwrap(), b'x', "still carried");
    let error = timeout(LONG, stream.read_u8()).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "cut off, not ended");
    assert!(!draining.await.unwrap());
    assert!(proxy.scrape().contains("fairway_streams_cut_off_total 1"), "{}", proxy.scrape());
}

/// Until the proxy takes no connections any more.
async fn wait_for_closed(address: SocketAddr) {
    let closed = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, closed).await.expect("the listener closes");
}
