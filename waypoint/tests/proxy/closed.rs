//! Listeners that are closed: what is for them is refused, and no wider listener of the port takes it.

use crate::support;
use fairway_config::model::{
    AppProtocol, Attachment, L4Kind, Listener, ListenerProtocol, Resource, TlsTermination,
};
use fairway_waypoint::testing;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;
use support::backend::{Server, echo};
use support::pki::Authority;
use support::tls::{client, connect};
use support::wire::{Http1, LONG, exchange, status};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

const ADMIN: &str = "shop/gateway/admin";

fn resource(listener: Listener) -> Resource {
    Resource::Listener(Arc::new(listener))
}

/// A listener for `admin.example.com`.
fn admin(protocol: ListenerProtocol) -> Listener {
    named(ADMIN, Some("admin.example.com"), protocol)
}

fn closed(listener: &Listener) -> Resource {
    resource(listener.close("it has no certificate").unwrap())
}

/// A route for all that these listeners take.
fn route_at(listeners: &[&str], backend: &str) -> Resource {
    let mut route = testing::route("all", LISTENER, vec![rule("/", backend)]);
    let at = |it: &&str| Attachment::Listener { listener: (*it).into(), hostnames: vec![] };
    route.attachments = listeners.iter().map(at).collect();
    Resource::Route(Arc::new(route))
}

#[tokio::test]
async fn a_request_for_a_closed_listener_is_answered_with_500_and_never_by_a_wider_one() {
    let server = Server::http(1, echo).await;
    let narrow = admin(ListenerProtocol::Http);
    let mut resources = backend("shop/web:80", AppProtocol::Http1, &[server.address]);
    resources.extend([http(), resource(narrow.clone())]);
    // As at a proxy that is told of routes at a listener which it knows as closed.
    resources.push(route_at(&[LISTENER, ADMIN], "shop/web:80"));
    let mut proxy = Proxy::start(resources);
    let mut open = Http1::connect(proxy.address()).await;
    let request = |host: &str| format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n");
    open.send(&request("admin.example.com")).await;
    assert_eq!(status(&open.receive().await.unwrap().0), 200);

    proxy.apply(vec![closed(&narrow)]).unwrap();
    open.send(&request("admin.example.com")).await;
    let (head, _) = open.receive().await.unwrap();
    assert_eq!(status(&head), 500, "also on a connection from before");
    for (host, expected) in [
        ("admin.example.com", 500),
        ("ADMIN.example.com.", 500),
        ("admin.example.com:81", 500),
        ("other.example.com", 200),
        ("shop", 200),
    ] {
        let text = format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        assert_eq!(status(&exchange(proxy.address(), text).await), expected, "{host}");
    }
    let grpc = "POST /a.B/C HTTP/1.1\r\nhost: admin.example.com\r\ncontent-type: application/grpc\r\ncontent-length: 0\r\n\
                connection: close\r\n\r\n";
    let answer = exchange(proxy.address(), grpc).await;
    assert!(status(&answer) == 200 && answer.contains("grpc-status: 14\r\n"), "UNAVAILABLE: {answer}");
    let counted = "fairway_local_replies_total{reason=\"listener_closed\"} 5";
    wait_for(|| proxy.scrape().contains(counted)).await;

    proxy.apply(vec![resource(narrow)]).unwrap();
    open.send(&request("admin.example.com")).await;
    assert_eq!(status(&open.receive().await.unwrap().0), 200, "it is served again");
}

#[tokio::test]
async fn the_name_of_a_closed_listener_is_refused_in_tls_whatever_the_listeners_beside_it_do() {
    let authority = Authority::new("names");
    let leaf = authority.for_host("*.example.com");
    let server = Server::http(1, echo).await;
    let terminate = || TlsTermination {
        certificates: vec!["shop/wild".into()],
        clients: None,
        min_version: Default::default(),
        algorithms: Default::default(),
    };
    let config = Arc::new(client(&authority, None));
    for wide in [
        ListenerProtocol::Https(terminate()),
        ListenerProtocol::TlsTerminate(terminate()),
        ListenerProtocol::TlsPassthrough,
    ] {
        for narrow in [
            ListenerProtocol::Https(terminate()),
            ListenerProtocol::TlsTerminate(terminate()),
            ListenerProtocol::TlsPassthrough,
        ] {
            for host in [None, Some("*.example.com")] {
                let mut resources = backend("shop/web:80", AppProtocol::Http1, &[server.address]);
                resources.extend([
                    resource(named(LISTENER, host, wide.clone())),
                    closed(&admin(narrow.clone())),
                    leaf.certificate("shop/wild"),
                    route_at(&[LISTENER, ADMIN], "shop/web:80"),
                    l4_route(L4Kind::Tls, LISTENER, &[], &[(1, "shop/web:80")]),
                    l4_route(L4Kind::Tls, ADMIN, &[], &[(1, "shop/web:80")]),
                ]);
                let proxy = Proxy::start(resources);
                let what = format!("{wide:?} {narrow:?} {host:?}");
                let error = connect(proxy.address(), &config, "admin.example.com").await.unwrap_err();
                assert!(error.to_string().contains("UnrecognisedName"), "{what}: {error}");
                let counted = "fairway_streams_refused_total{reason=\"listener_closed\"} 1";
                wait_for(|| proxy.scrape().contains(counted)).await;
                let ListenerProtocol::Https(_) = wide else { continue };
                let mut web = connect(proxy.address(), &config, "web.example.com").await.unwrap();
                for (host, expected) in [("web", 200), ("admin", 421)] {
                    let request = format!("GET / HTTP/1.1\r\nhost: {host}.example.com\r\n\r\n");
                    web.write_all(request.as_bytes()).await.unwrap();
                    let mut answer = vec![0; 4096];
                    let count = timeout(LONG, web.read(&mut answer)).await.unwrap().unwrap();
                    assert_eq!(status(&String::from_utf8_lossy(&answer[..count])), expected, "{what}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_closed_listener_for_bytes_closes_and_one_for_datagrams_drops() {
    let server = Server::http(1, echo).await;
    let resources = |protocol, kind| {
        let mut resources = backend("shop/web:80", AppProtocol::Tcp, &[server.address]);
        resources.extend([
            closed(&named(LISTENER, None, protocol)),
            l4_route(kind, LISTENER, &[], &[(1, "shop/web:80")]),
        ]);
        resources
    };
    let proxy = Proxy::start(resources(ListenerProtocol::Tcp, L4Kind::Tcp));
    // The reset may come before the client has seen that it is connected.
    let asked = async { TcpStream::connect(proxy.address()).await?.read_u8().await };
    let error = timeout(LONG, asked).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);

    let proxy = Proxy::start(resources(ListenerProtocol::Udp, L4Kind::Udp));
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(proxy.address()).await.unwrap();
    let counted = || proxy.scrape().contains("fairway_streams_refused_total{reason=\"listener_closed\"} 1");
    socket.send(b"x").await.unwrap();
    wait_for(counted).await;
    let mut buffer = [0; 16];
    assert!(timeout(Duration::from_millis(50), socket.recv(&mut buffer)).await.is_err(), "nobody answers");
}
