//! Routes for bytes and datagrams whose endpoints are the proxy itself, or another that leads back to it.

use crate::support;
use fairway_config::model::{AppProtocol, L4Kind, Listener, ListenerProtocol, Resource};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;
use support::backend::{Server, echo};
use support::wire::{LONG, get, status};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::time::{interval, timeout};

const A: &str = "shop/gateway/a";
const B: &str = "shop/gateway/b";

/// What carries bytes without looking into them.
const OF_BYTES: [(ListenerProtocol, L4Kind); 2] =
    [(ListenerProtocol::Tcp, L4Kind::Tcp), (ListenerProtocol::TlsPassthrough, L4Kind::Tls)];

fn ip(last: u8) -> IpAddr {
    [127, 0, 0, last].into()
}

/// A listener at its own address of loopback.
fn at(key: &str, last: u8, protocol: &ListenerProtocol) -> Resource {
    let addresses = vec![ip(last)];
    Resource::Listener(Arc::new(Listener { addresses, ..named(key, None, protocol.clone()) }))
}

/// Backends of bytes, each with one endpoint.
fn backends(of: &[(&str, SocketAddr)]) -> Vec<Resource> {
    of.iter().flat_map(|(key, address)| backend(key, AppProtocol::Tcp, &[*address])).collect()
}

/// What begins a connection: a ClientHello for `a.ex` to those who look for its name.
fn hello() -> Vec<u8> {
    let extension = [&[0, 0, 0, 9, 0, 7, 0, 0, 4][..], b"a.ex"].concat();
    let body = [&[3, 3][..], &[0; 32], &[0, 0, 2, 0x13, 1, 1, 0, 0, 13], &extension].concat();
    let length = |of: &[u8]| u8::try_from(of.len()).unwrap();
    let handshake = [&[1, 0, 0, length(&body)][..], &body].concat();
    [&[22, 3, 1, 0, length(&handshake)][..], &handshake].concat()
}

async fn open(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // A circle may be cut off before.
    let _ = stream.write_all(&hello()).await;
    stream
}

/// Says `here` to whoever connects.
async fn greeter() -> Server {
    Server::raw(|mut stream, _| async move {
        let _ = stream.write_all(b"here").await;
        let _ = stream.read_u8().await;
    })
    .await
}

/// What a server says first; none if the connection breaks.
async fn greeting(mut stream: TcpStream) -> Option<String> {
    let mut heard = [0; 4];
    let heard = timeout(LONG, stream.read_exact(&mut heard)).await.expect("an end in time").map(|_| heard);
    heard.ok().map(|it| String::from_utf8_lossy(&it).into_owned())
}

const REFUSED: &str = "fairway_streams_refused_total{reason=\"loop\"} ";
const CONNECTIONS: &str = "fairway_client_connections_total ";
const RECEIVED: &str = "fairway_datagrams_received_total ";

/// The number behind this.
fn counted(proxy: &Proxy, what: &str) -> usize {
    let scrape = proxy.scrape();
    let line =
        scrape.lines().find_map(|it| it.strip_prefix(what)).unwrap_or_else(|| panic!("{what}: {scrape}"));
    line.parse().unwrap()
}

/// Waits until a number has not changed for 300 ms, and returns it.
async fn settled(number: impl Fn() -> usize) -> usize {
    let settling = async {
        let (mut ticks, mut before) = (interval(Duration::from_millis(300)), usize::MAX);
        loop {
            ticks.tick().await;
            let now = number();
            if std::mem::replace(&mut before, now) == now {
                return now;
            }
        }
    };
    timeout(LONG, settling).await.expect("it settles in time")
}

/// An endpoint of datagrams that says them back.
async fn parrot() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 100];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let _ = socket.send_to(&buffer[..length], from).await;
        }
    });
    address
}

/// What is said back to a client at this address.
async fn asked(from: IpAddr, to: SocketAddr) -> Vec<u8> {
    let socket = UdpSocket::bind((from, 0)).await.unwrap();
    socket.connect(to).await.unwrap();
    socket.send(b"x").await.unwrap();
    let mut buffer = [0; 100];
    let length = timeout(LONG, socket.recv(&mut buffer)).await.expect("an answer in time").unwrap();
    buffer[..length].to_vec()
}

#[tokio::test]
async fn a_listener_for_bytes_that_leads_to_itself_is_cut_off_in_the_first_rounds() {
    let server = Server::http(1, echo).await;
    for workers in [1, 2] {
        for (protocol, kind) in OF_BYTES {
            let is_tcp = protocol == ListenerProtocol::Tcp;
            let mut proxy =
                Proxy::start_with(vec![Resource::Listener(Arc::new(listener(protocol)))], |settings| {
                    settings.workers = NonZeroUsize::new(workers).unwrap()
                });
            let mut resources = backends(&[("shop/self:1", proxy.address())]);
            resources.push(l4_route(kind, LISTENER, &[], &[(1, "shop/self:1")]));
            proxy.apply(resources).unwrap();
            assert_eq!(greeting(open(proxy.address()).await).await, None);
            assert!(counted(&proxy, REFUSED) >= 1);
            let taken = counted(&proxy, CONNECTIONS);
            assert!(taken <= 4, "{taken} connections");
            // It goes on for others.
            proxy.apply(backends(&[("shop/self:1", server.address)])).unwrap();
            if is_tcp {
                assert_eq!(status(&get(proxy.address(), "/").await), 200);
            }
        }
    }
}

#[tokio::test]
async fn bytes_may_pass_two_listeners_of_one_proxy_and_no_circle_of_them() {
    let server = greeter().await;
    for (protocol, kind) in OF_BYTES {
        let mut proxy = Proxy::start(vec![at(A, 1, &protocol), at(B, 2, &protocol)]);
        let mut resources = backends(&[("shop/b:1", proxy.at(ip(2))), ("shop/web:1", server.address)]);
        resources.push(l4_route(kind, A, &[], &[(1, "shop/b:1")]));
        resources.push(l4_route(kind, B, &[], &[(1, "shop/web:1")]));
        proxy.apply(resources).unwrap();
        for _ in 0..3 {
            assert_eq!(greeting(open(proxy.at(ip(1))).await).await.as_deref(), Some("here"), "{kind:?}");
        }
        assert_eq!((counted(&proxy, CONNECTIONS), counted(&proxy, REFUSED)), (6, 0));

        let mut resources = backends(&[("shop/a:1", proxy.at(ip(1)))]);
        resources.push(l4_route(kind, B, &[], &[(1, "shop/a:1")]));
        proxy.apply(resources).unwrap();
        assert_eq!(greeting(open(proxy.at(ip(1))).await).await, None, "{kind:?}");
        let taken = counted(&proxy, CONNECTIONS) - 6;
        assert!(taken <= 6, "{taken} connections");
    }
}

#[tokio::test]
async fn two_ends_of_a_port_of_no_known_protocol_that_both_say_nothing_open_no_further_connection() {
    let own = ListenerProtocol::Service { service: "shop/self".into(), port: 1 };
    let mut proxy = Proxy::start(vec![at(A, 1, &own)]);
    let to_itself = backend("shop/self:1", AppProtocol::Unspecified, &[proxy.address()]);
    proxy.apply(to_itself).unwrap();
    let _silent = TcpStream::connect(proxy.address()).await.unwrap();
    wait_for(|| counted(&proxy, REFUSED) >= 1).await;
    let taken = settled(|| counted(&proxy, CONNECTIONS)).await;
    assert!(taken <= 4, "{taken} connections");
}

#[tokio::test]
async fn a_listener_for_datagrams_that_leads_to_itself_is_cut_off_in_the_first_round() {
    let mut proxy = Proxy::start(vec![at(LISTENER, 1, &ListenerProtocol::Udp)]);
    let mut resources = backends(&[("shop/self:1", proxy.address())]);
    resources.push(l4_route(L4Kind::Udp, LISTENER, &[], &[(1, "shop/self:1")]));
    proxy.apply(resources).unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(b"x", proxy.address()).await.unwrap();
    wait_for(|| counted(&proxy, REFUSED) == 1).await;
    assert_eq!(counted(&proxy, "fairway_streams_active "), 1, "the client's own session");
    socket.send_to(b"y", proxy.address()).await.unwrap();
    wait_for(|| counted(&proxy, REFUSED) == 2).await;
    assert_eq!(counted(&proxy, "fairway_streams_active "), 1);
}

#[tokio::test]
async fn datagrams_may_pass_two_listeners_of_one_proxy_and_no_circle_of_them() {
    let mut proxy = Proxy::start(vec![at(A, 1, &ListenerProtocol::Udp), at(B, 2, &ListenerProtocol::Udp)]);
    let mut resources = backends(&[("shop/b:1", proxy.at(ip(2))), ("shop/web:1", parrot().await)]);
    resources.push(l4_route(L4Kind::Udp, A, &[], &[(1, "shop/b:1")]));
    resources.push(l4_route(L4Kind::Udp, B, &[], &[(1, "shop/web:1")]));
    proxy.apply(resources).unwrap();
    assert_eq!(asked(ip(1), proxy.at(ip(1))).await, b"x");
    assert_eq!(counted(&proxy, REFUSED), 0);

    let mut resources = backends(&[("shop/a:1", proxy.at(ip(1)))]);
    resources.push(l4_route(L4Kind::Udp, B, &[], &[(1, "shop/a:1")]));
    proxy.apply(resources).unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(b"x", proxy.at(ip(1))).await.unwrap();
    wait_for(|| counted(&proxy, REFUSED) == 1).await;
    assert!(settled(|| counted(&proxy, RECEIVED)).await <= 6);
}

/// Two proxies that lead to each other, of which the first has another listener with a route of its own. Each has room for 64 clients.
fn lead_to_each_other(protocol: &ListenerProtocol, kind: L4Kind, web: SocketAddr) -> [Proxy; 2] {
    let start = |listeners| {
        Proxy::start_with(listeners, |settings| {
            (settings.limits.connections, settings.limits.sessions) = (64, 64);
        })
    };
    let mut one = start(vec![at(A, 1, protocol), at(B, 3, protocol)]);
    let mut other = start(vec![at(A, 2, protocol)]);
    let mut resources = backends(&[("shop/other:1", other.at(ip(2))), ("shop/web:1", web)]);
    resources.push(l4_route(kind, A, &[], &[(1, "shop/other:1")]));
    resources.push(l4_route(kind, B, &[], &[(1, "shop/web:1")]));
    let mut back = backends(&[("shop/one:1", one.at(ip(1)))]);
    back.push(l4_route(kind, A, &[], &[(1, "shop/one:1")]));
    one.apply(resources).unwrap();
    other.apply(back).unwrap();
    [one, other]
}

/// Bytes have no mark that another process could read: the share of one address ends it.
#[tokio::test]
async fn bytes_between_two_proxies_that_lead_to_each_other_have_an_end_and_others_are_served_meanwhile() {
    let server = greeter().await;
    for (protocol, kind) in OF_BYTES {
        let proxies = lead_to_each_other(&protocol, kind, server.address);
        let going_round = async {
            for _ in 0..3 {
                assert_eq!(greeting(open(proxies[0].at(ip(1))).await).await, None, "{kind:?}");
            }
        };
        let others = async {
            for _ in 0..30 {
                let socket = TcpSocket::new_v4().unwrap();
                socket.bind((ip(9), 0).into()).unwrap();
                let mut stream = socket.connect(proxies[0].at(ip(3))).await.unwrap();
                stream.write_all(&hello()).await.unwrap();
                assert_eq!(greeting(stream).await.as_deref(), Some("here"), "{kind:?}");
            }
        };
        tokio::join!(going_round, others);
        for proxy in &proxies {
            wait_for(|| counted(proxy, "fairway_streams_active ") == 0).await;
            let taken = counted(proxy, CONNECTIONS);
            assert!(taken <= 3 * 40 + 30, "{taken} connections");
        }
    }
}

/// A datagram that goes round comes by a new port each time, and is never answered. Of such sessions an address gives up so many in a second
/// as it may have, and no more; whoever is answered goes on beyond its share.
#[tokio::test]
async fn a_datagram_between_two_proxies_that_lead_to_each_other_has_an_end_and_others_are_served_then() {
    let proxies = lead_to_each_other(&ListenerProtocol::Udp, L4Kind::Udp, parrot().await);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(b"x", proxies[0].at(ip(1))).await.unwrap();
    let received = settled(|| counted(&proxies[0], RECEIVED) + counted(&proxies[1], RECEIVED)).await;
    assert!((60..200).contains(&received), "{received}");
    for _ in 0..10 {
        assert_eq!(asked(ip(9), proxies[0].at(ip(3))).await, b"x");
    }
}
