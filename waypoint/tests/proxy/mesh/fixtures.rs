//! A waypoint of a mesh with an identity, and what stands around it: peers, ztunnels, servers.

use super::support::backend::{Server, full, read_head};
use super::support::*;
use fairway_config::model::{
    AppProtocol, Attachment, Audience, ListenerProtocol, Resource, Route, Service, ServicePort, SpiffeId,
};
use fairway_hbone::{ConnectRequest, OpenError, Pool, Routing, Target, TcpConnector};
use fairway_identity::testing::TestAuthority;
use fairway_identity::{Identities, TlsIdentity};
use fairway_runtime::drain;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

pub(crate) const VIP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 96, 0, 1));

pub(crate) struct Mesh {
    pub(crate) proxy: Proxy,
    pub(crate) waypoint: SpiffeId,
    pub(crate) authority: Arc<TestAuthority>,
}

impl Mesh {
    /// A waypoint with an identity, before a Service at [`VIP`].
    pub(crate) async fn start(resources: Vec<Resource>) -> Self {
        Self::start_with(resources, |_| ()).await
    }

    pub(crate) async fn start_with(
        resources: Vec<Resource>,
        tune: impl FnOnce(&mut fairway_waypoint::ProxySettings),
    ) -> Self {
        let authority = TestAuthority::new("cluster.local");
        let waypoint = authority.id("shop", "waypoint");
        let issuer = authority.into_issuer();
        let authority = issuer.authority();
        let identities = Identities::start(issuer, fairway_identity::Settings::default());
        let handle = identities.subscribe(&waypoint);
        tokio::time::timeout(Duration::from_secs(20), handle.ready()).await.unwrap();
        let hbone = listener(ListenerProtocol::Hbone);
        let mut all = vec![Resource::Listener(Arc::new(hbone))];
        all.extend(resources);
        let proxy = Proxy::start_as(Some(handle), all, tune);
        // The identities end with their last handle; the proxy has one.
        std::mem::forget(identities);
        Self { proxy, waypoint, authority }
    }

    pub(crate) async fn open(
        &self,
        by: &Arc<TlsIdentity>,
        request: &ConnectRequest,
    ) -> Result<fairway_hbone::Tunnel, OpenError> {
        let pool = Pool::new(TcpConnector, fairway_hbone::client::Settings::default());
        let target = Target { address: self.proxy.address(), identity: self.waypoint.clone() };
        let tunnel = pool.open(by, &target, request).await;
        // Keeps the connection for as long as the tunnel may need it.
        std::mem::forget(pool);
        tunnel
    }

    /// One request through a tunnel.
    pub(crate) async fn get(&self, by: (&str, &str), request: &ConnectRequest) -> Result<String, OpenError> {
        let mut tunnel = self.open(&self.authority.identity(by.0, by.1), request).await?;
        tunnel.write_all(b"GET / HTTP/1.1\r\nhost: whatever\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        let _ = tunnel.read_to_end(&mut answer).await;
        Ok(String::from_utf8(answer).unwrap())
    }
}

pub(crate) fn fronted(protocol: AppProtocol) -> Service {
    Service {
        key: "shop/web".into(),
        namespace: "shop".into(),
        addresses: vec![VIP],
        ports: vec![ServicePort { port: 80, name: None, protocol, backend: "shop/web:80".into() }],
        waypoint: Some("waypoint/shop/gateway".into()),
        consumer_waypoints: vec![],
        routers: vec!["spiffe://cluster.local/ns/edge/sa/gateway".parse().unwrap()],
    }
}

pub(crate) fn bound_to_service(name: &str, audience: Audience, backend: &str) -> Resource {
    Resource::Route(Arc::new(Route {
        attachments: vec![Attachment::Service { service: "shop/web".into(), port: None, audience }],
        ..route(name, vec![rule("/", backend)])
    }))
}

pub(crate) async fn named(name: &'static str) -> Server {
    Server::http(1, move |_| async move { http::Response::new(full(name)) }).await
}

/// Who answers a peer at [`VIP`] that says so much of what has been routed.
pub(crate) async fn assert_answered_by(mesh: &Mesh, cases: &[((&str, &str), Routing, &str)]) {
    let asking = async {
        for &(peer, routing, expected) in cases {
            let request = ConnectRequest { routing, ..ConnectRequest::to(SocketAddr::new(VIP, 80)) };
            let answer = mesh.get(peer, &request).await.unwrap();
            assert!(answer.ends_with(expected), "{peer:?}: {answer}");
        }
    };
    LocalSet::new().run_until(asking).await;
}

/// What comes back for these bytes, after which the client ends.
pub(crate) async fn say_and_listen(mesh: &Mesh, bytes: &[u8]) -> String {
    let by = mesh.authority.identity("shop", "a");
    let mut tunnel = mesh.open(&by, &ConnectRequest::to(SocketAddr::new(VIP, 80))).await.unwrap();
    let mut first = [0; 1];
    let mut answer = Vec::new();
    if bytes.is_empty() {
        // It waits for the server, for as long as that takes.
        tunnel.read_exact(&mut first).await.unwrap();
        answer.push(first[0]);
        tunnel.write_all(b"late").await.unwrap();
    } else {
        tunnel.write_all(bytes).await.unwrap();
    }
    tunnel.shutdown().await.unwrap();
    tunnel.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

/// A server of bytes that says its name when it is spoken to.
pub(crate) async fn greeter(name: &'static str) -> Server {
    Server::raw(move |mut stream, _| async move {
        read_head(&mut stream).await;
        stream.write_all(name.as_bytes()).await.unwrap();
    })
    .await
}

/// A server of bytes that speaks first, and says in capitals what it was told after the client has ended.
pub(crate) async fn shouter() -> Server {
    Server::raw(|mut stream, _| async move {
        stream.write_all(b"welcome ").await.unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        stream.write_all(said.to_uppercase().as_bytes()).await.unwrap();
    })
    .await
}

/// A ztunnel in little: ends tunnels at this address and carries them to a server, and tells what it was asked for.
pub(crate) async fn ztunnel(
    at: IpAddr,
    tls: Arc<TlsIdentity>,
    to: SocketAddr,
    asked: tokio::sync::mpsc::UnboundedSender<(SpiffeId, ConnectRequest)>,
) {
    let (_trigger, watch) = drain::channel();
    ztunnel_that_ends(at, tls, to, asked, watch).await;
}

/// Each of its connections holds up the drain.
pub(crate) async fn ztunnel_that_ends(
    at: IpAddr,
    tls: Arc<TlsIdentity>,
    to: SocketAddr,
    asked: tokio::sync::mpsc::UnboundedSender<(SpiffeId, ConnectRequest)>,
    watch: drain::Watch,
) {
    let listener = TcpListener::bind((at, fairway_hbone::PORT)).await.unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (tls, asked, watch) = (tls.clone(), asked.clone(), watch.clone());
        tokio::task::spawn_local(async move {
            let settings = fairway_hbone::server::Settings::default();
            let _ =
                fairway_hbone::serve(stream, &tls, &settings, &Default::default(), watch, move |request| {
                    let asked = asked.clone();
                    async move {
                        asked.send((request.peer().clone(), request.connect_request().clone())).unwrap();
                        let mut tunnel = request.accept().unwrap();
                        let mut server = TcpStream::connect(to).await.unwrap();
                        let _ = tokio::io::copy_bidirectional(&mut tunnel, &mut server).await;
                    }
                })
                .await;
        });
    }
}
