//! Listeners that limit how many connections they have, on sockets.

use crate::support;
use fairway_config::model::{
    AppProtocol, Attachment, ClientLimits, ClientTreatment, L4Kind, Listener, ListenerProtocol, Resource,
    TlsTermination,
};
use std::num::NonZeroUsize;
use std::sync::Arc;
use support::backend::{Server, echo};
use support::pki::Authority;
use support::tls::{client, connect};
use support::wire::LONG;
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

fn limited(most: u64, listener: Listener) -> Resource {
    let limits = ClientLimits { connections: Some(most), ..ClientLimits::default() };
    let treatment = Some(Arc::new(ClientTreatment { limits, ..ClientTreatment::default() }));
    Resource::Listener(Arc::new(Listener { treatment, ..listener }))
}

/// Says back what it hears.
async fn echoing() -> Server {
    Server::raw(|mut stream, _| async move {
        let (mut read, mut write) = stream.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
    })
    .await
}

/// A connection, if it is served.
async fn served(proxy: &Proxy) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(proxy.address()).await.ok()?;
    stream.write_all(b"x").await.ok()?;
    let mut byte = [0];
    let read = timeout(LONG, stream.read(&mut byte)).await.expect("an answer or an end in time");
    (read.ok()? == 1).then_some(stream)
}

/// On all threads together; who goes makes room.
#[tokio::test]
async fn a_listener_for_bytes_has_so_many_connections_on_all_threads() {
    let server = echoing().await;
    let mut resources = backend("shop/db:1", AppProtocol::Tcp, &[server.address]);
    resources.push(limited(3, listener(ListenerProtocol::Tcp)));
    resources.push(l4_route(L4Kind::Tcp, LISTENER, &[], &[(1, "shop/db:1")]));
    let proxy = Proxy::start_with(resources, |it| it.workers = NonZeroUsize::new(2).unwrap());
    let mut held = Vec::new();
    for number in 0..3 {
        held.push(served(&proxy).await.unwrap_or_else(|| panic!("connection {number} is served")));
    }
    for _ in 0..8 {
        assert!(served(&proxy).await.is_none());
    }
    assert!(proxy.scrape().contains("fairway_streams_refused_total{reason=\"connection_limit\"} 8"));
    held.pop();
    let mut is_served = false;
    for _ in 0..200 {
        is_served = served(&proxy).await.is_some();
        if is_served {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(is_served, "one has gone");
}

/// In TLS a connection counts once its name is known, and before its handshake.
#[tokio::test]
async fn a_listener_in_tls_has_so_many_connections_and_its_neighbour_its_own() {
    let server = Server::http(1, echo).await;
    let authority = Authority::new("names");
    let mut resources = backend("shop/web:80", AppProtocol::Http1, &[server.address]);
    resources.push(authority.for_host("*.example.com").certificate("shop/wild"));
    let mut rules = route("route", vec![rule("/", "shop/web:80")]);
    rules.attachments.clear();
    for name in ["few", "many"] {
        let key = format!("shop/gateway/{name}");
        let protocol = ListenerProtocol::Https(TlsTermination {
            certificates: vec!["shop/wild".into()],
            clients: None,
            min_version: Default::default(),
            algorithms: Default::default(),
        });
        let plain = named(&key, Some(&format!("{name}.example.com")), protocol);
        resources.push(if name == "few" { limited(1, plain) } else { Resource::Listener(Arc::new(plain)) });
        rules.attachments.push(Attachment::Listener { listener: key.as_str().into(), hostnames: vec![] });
    }
    resources.push(Resource::Route(Arc::new(rules)));
    let proxy = Proxy::start(resources);
    let config = Arc::new(client(&authority, None));
    let first = connect(proxy.address(), &config, "few.example.com").await.unwrap();
    assert!(connect(proxy.address(), &config, "few.example.com").await.is_err());
    for _ in 0..3 {
        assert!(connect(proxy.address(), &config, "many.example.com").await.is_ok());
    }
    assert!(proxy.scrape().contains("fairway_streams_refused_total{reason=\"connection_limit\"} 1"));
    drop(first);
    let mut is_served = false;
    for _ in 0..200 {
        is_served = connect(proxy.address(), &config, "few.example.com").await.is_ok();
        if is_served {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(is_served, "it has gone");
}
