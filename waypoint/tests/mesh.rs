//! Tunnels in and out: Services by their address, consumers and producers, endpoints that are in the mesh.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code: a panic is the failure of the test that called it"
)]

mod support;

use fairway_config::Delta;
use fairway_config::model::{
    AppProtocol, Attachment, Audience, Backend, ConsumerWaypoint, L4Kind, Listener, ListenerProtocol, Reach,
    Resource, Route, Service, ServicePort, SpiffeId,
};
use fairway_hbone::{ConnectRequest, OpenError, Pool, Routing, Target, TcpConnector};
use fairway_identity::testing::TestAuthority;
use fairway_identity::{Identities, TlsIdentity};
use fairway_runtime::drain;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use support::backend::{Server, echo, full, read_head};
use support::wire::status;
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

const VIP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 96, 0, 1));

struct Mesh {
    proxy: Proxy,
    waypoint: SpiffeId,
    authority: Arc<TestAuthority>,
}

impl Mesh {
    /// A waypoint with an identity, before a Service at [`VIP`].
    async fn start(resources: Vec<Resource>) -> Self {
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
        let proxy = Proxy::start_as(Some(handle), all, |_| ());
        // The identities end with their last handle; the proxy has one.
        std::mem::forget(identities);
        Self { proxy, waypoint, authority }
    }

    async fn open(
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
    async fn get(&self, by: (&str, &str), request: &ConnectRequest) -> Result<String, OpenError> {
        let mut tunnel = self.open(&self.authority.identity(by.0, by.1), request).await?;
        tunnel.write_all(b"GET / HTTP/1.1\r\nhost: whatever\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        let _ = tunnel.read_to_end(&mut answer).await;
        Ok(String::from_utf8(answer).unwrap())
    }
}

fn fronted(protocol: AppProtocol) -> Service {
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

fn bound_to_service(name: &str, audience: Audience, backend: &str) -> Resource {
    Resource::Route(Arc::new(Route {
        attachments: vec![Attachment::Service { service: "shop/web".into(), port: None, audience }],
        ..route(name, vec![rule("/", backend)])
    }))
}

async fn named(name: &'static str) -> Server {
    Server::http(1, move |_| async move { http::Response::new(full(name)) }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_address_dialled_is_the_service_and_the_peer_says_whose_routes_hold() {
    let (own, producer, consumer) = (named("own").await, named("producer").await, named("consumer").await);
    let mut service = fronted(AppProtocol::Http1);
    service.consumer_waypoints = vec![ConsumerWaypoint {
        namespace: "client".into(),
        ports: vec![],
        waypoint: "waypoint/shop/gateway".into(),
    }];
    let mut resources = vec![
        Resource::Service(Arc::new(service)),
        bound_to_service("producer", Audience::Producer, "shop/producer:80"),
        bound_to_service("consumer", Audience::Consumer("client".into()), "shop/consumer:80"),
    ];
    for (key, server) in
        [("shop/web:80", &own), ("shop/producer:80", &producer), ("shop/consumer:80", &consumer)]
    {
        resources.extend(backend(key, AppProtocol::Http1, &[server.address]));
    }
    assert_led(
        &Mesh::start(resources).await,
        &[
            (("shop", "a"), Routing::Pending, "producer"),
            (("other", "a"), Routing::Pending, "producer"),
            (("client", "a"), Routing::Pending, "consumer"),
            // A proxy that is believed has routed; what anybody else says of it is nothing.
            (("edge", "gateway"), Routing::Done, "own"),
            (("other", "a"), Routing::Done, "producer"),
        ],
    )
    .await;
}

/// Who answers a peer at [`VIP`] that says so much of what has been routed.
async fn assert_led(mesh: &Mesh, cases: &[((&str, &str), Routing, &str)]) {
    let asking = async {
        for &(peer, routing, expected) in cases {
            let request = ConnectRequest { routing, ..ConnectRequest::to(SocketAddr::new(VIP, 80)) };
            let answer = mesh.get(peer, &request).await.unwrap();
            assert!(answer.ends_with(expected), "{peer:?}: {answer}");
        }
    };
    LocalSet::new().run_until(asking).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_waypoint_does_not_stand_before_is_refused() {
    let own = named("own").await;
    let mut other = fronted(AppProtocol::Http1);
    other.key = "other/web".into();
    other.namespace = "other".into();
    other.addresses = vec!["10.96.0.2".parse().unwrap()];
    other.waypoint = Some("waypoint/other/waypoint".into());
    // Nobody is sent here for it any more, or yet.
    let mut neighbour = fronted(AppProtocol::Http1);
    neighbour.key = "shop/neighbour".into();
    neighbour.addresses = vec!["10.96.0.3".parse().unwrap()];
    neighbour.waypoint = None;
    let services = [fronted(AppProtocol::Http1), other, neighbour];
    let mut resources: Vec<_> = services.into_iter().map(|it| Resource::Service(Arc::new(it))).collect();
    resources.extend(backend("shop/web:80", AppProtocol::Http1, &[own.address]));
    let mesh = Mesh::start(resources).await;
    LocalSet::new()
        .run_until(async {
            for (address, expected) in [
                ("10.96.0.1:80", None),
                ("10.96.0.1:81", Some(503)),
                ("10.96.0.2:80", Some(401)),
                ("10.96.0.3:80", None),
                ("10.9.9.9:80", Some(503)),
            ] {
                let request = ConnectRequest::to(address.parse::<SocketAddr>().unwrap());
                let status = match mesh.get(("shop", "a"), &request).await {
                    Ok(_) => None,
                    Err(OpenError::Refused { status, .. }) => Some(status.as_u16()),
                    Err(error) => panic!("{error}"),
                };
                assert_eq!(status, expected, "{address}");
            }
        })
        .await;
}

/// A canary: `shop/web` requires its waypoint and routes to `shop/web-v1`, which has the same pods.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_behind_a_service_that_requires_its_waypoint_are_not_reached_through_its_sibling() {
    const SIBLING: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 96, 0, 2));
    let l4 = |service: &str, kind| {
        let Resource::L4Route(it) = l4_route(kind, service, &[], &[(1, "shop/web-v1:80")]) else { panic!() };
        let attachments = vec![Attachment::Service {
            service: format!("shop/{service}").into(),
            port: None,
            audience: Audience::Producer,
        }];
        Resource::L4Route(Arc::new(fairway_config::model::L4Route { attachments, ..(*it).clone() }))
    };
    let http = |service: &str| {
        let attachments = vec![Attachment::Service {
            service: format!("shop/{service}").into(),
            port: None,
            audience: Audience::Producer,
        }];
        Resource::Route(Arc::new(Route { attachments, ..route(service, vec![rule("/", "shop/web-v1:80")]) }))
    };
    for (protocol, routes, is_asked) in [
        (AppProtocol::Http1, vec![http("web")], true),
        (AppProtocol::Http1, vec![http("web"), http("web-v1")], true),
        (AppProtocol::Http2, vec![http("web")], false),
        (AppProtocol::Tcp, vec![l4("web", L4Kind::Tcp)], true),
        (AppProtocol::Tcp, vec![l4("web", L4Kind::Tls)], true),
        (AppProtocol::Tcp, vec![l4("web", L4Kind::Tcp), l4("web-v1", L4Kind::Tcp)], true),
        (AppProtocol::Unspecified, vec![http("web")], true),
    ] {
        let about = format!("{protocol:?} {routes:?}");
        let reached = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = reached.clone();
        let ledger = Server::raw(move |mut stream, _| {
            counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            async move {
                read_head(&mut stream).await;
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nledger").await.unwrap();
            }
        })
        .await;
        let mut sibling = fronted(protocol);
        sibling.key = "shop/web-v1".into();
        sibling.addresses = vec![SIBLING];
        sibling.ports[0].backend = "shop/web-v1:80".into();
        let mut resources: Vec<_> =
            [fronted(protocol), sibling].into_iter().map(|it| Resource::Service(Arc::new(it))).collect();
        resources.extend(routes);
        for key in ["shop/web:80", "shop/web-v1:80"] {
            for it in backend(key, protocol, &[ledger.address]) {
                resources.push(match it {
                    Resource::Endpoints(mut it) => {
                        let guard = fairway_config::model::Guard {
                            service: "shop/web".into(),
                            endpoints: vec![ledger.address],
                        };
                        Arc::make_mut(&mut it).guards = vec![guard];
                        Resource::Endpoints(it)
                    }
                    it => it,
                });
            }
        }
        let mesh = Mesh::start(resources).await;
        LocalSet::new()
            .run_until(async {
                for routing in [Routing::Pending, Routing::Done] {
                    for peer in [("evil", "g-fairway"), ("shop", "a"), ("edge", "gateway")] {
                        let request =
                            ConnectRequest { routing, ..ConnectRequest::to(SocketAddr::new(SIBLING, 80)) };
                        let answer = mesh.get(peer, &request).await.unwrap_or_default();
                        assert!(!answer.contains("ledger"), "{about}: {peer:?} {answer}");
                    }
                }
                let all = std::sync::atomic::Ordering::SeqCst;
                assert_eq!(reached.load(all), 0, "{about}: not even a connection");
                if is_asked {
                    let request = ConnectRequest::to(SocketAddr::new(VIP, 80));
                    let answer = mesh.get(("shop", "a"), &request).await.unwrap();
                    assert!(answer.ends_with("ledger"), "{about}: {answer}");
                }
            })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_not_http_is_carried_as_bytes() {
    let shouts = Server::raw(|mut stream, _| async move {
        // The server speaks first, and goes on after the client has ended.
        stream.write_all(b"welcome ").await.unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        stream.write_all(said.to_uppercase().as_bytes()).await.unwrap();
    })
    .await;
    let mut resources = vec![Resource::Service(Arc::new(fronted(AppProtocol::Tcp)))];
    resources.extend(backend("shop/web:80", AppProtocol::Tcp, &[shouts.address]));
    let mesh = Mesh::start(resources).await;
    LocalSet::new()
        .run_until(async {
            let by = mesh.authority.identity("shop", "a");
            let mut tunnel = mesh.open(&by, &ConnectRequest::to(SocketAddr::new(VIP, 80))).await.unwrap();
            tunnel.write_all(b"hello").await.unwrap();
            tunnel.shutdown().await.unwrap();
            let mut answer = String::new();
            tunnel.read_to_string(&mut answer).await.unwrap();
            assert_eq!(answer, "welcome HELLO");
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waypoint_that_is_not_wanted_any_more_serves_who_is_there_until_it_ends() {
    let own = named("own").await;
    let mut resources = vec![Resource::Service(Arc::new(fronted(AppProtocol::Http1)))];
    resources.extend(backend("shop/web:80", AppProtocol::Http1, &[own.address]));
    let keys: Vec<_> = resources.iter().map(Resource::key).collect();
    let mut mesh = Mesh::start(resources).await;
    LocalSet::new()
        .run_until(async {
            let by = mesh.authority.identity("shop", "a");
            let mut tunnel = mesh.open(&by, &ConnectRequest::to(SocketAddr::new(VIP, 80))).await.unwrap();
            for round in 0..2 {
                tunnel.write_all(b"GET / HTTP/1.1\r\nhost: whatever\r\n\r\n").await.unwrap();
                let mut answer = Vec::new();
                while !answer.ends_with(b"own") {
                    assert_ne!(tunnel.read_buf(&mut answer).await.unwrap(), 0, "round {round}: {answer:?}");
                }
                assert_eq!(status(&String::from_utf8(answer).unwrap()), 200, "round {round}");
                let door = Resource::Listener(Arc::new(listener(ListenerProtocol::Http))).key();
                let removals = keys.iter().cloned().chain([door]).collect();
                mesh.proxy.apply_delta(Delta { removals, ..Delta::default() }).unwrap();
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_a_waypoint_is_not_needed_for_any_more_is_served_once_more_on_open_connections() {
    let (own, other) = (named("own").await, named("other").await);
    let mut resources = vec![Resource::Service(Arc::new(fronted(AppProtocol::Http1)))];
    resources.extend(backend("shop/web:80", AppProtocol::Http1, &[own.address]));
    let gone: Vec<_> = resources.iter().map(Resource::key).collect();
    resources.extend(backend("shop/other:80", AppProtocol::Http1, &[other.address]));
    let mut mesh = Mesh::start(resources).await;
    LocalSet::new()
        .run_until(async {
            let by = mesh.authority.identity("shop", "a");
            let mut tunnel = mesh.open(&by, &ConnectRequest::to(SocketAddr::new(VIP, 80))).await.unwrap();
            mesh.proxy.apply_delta(Delta { removals: gone, ..Delta::default() }).unwrap();
            // Its tunnel has not heard of it yet.
            let late = mesh.open(&by, &ConnectRequest::to(SocketAddr::new(VIP, 80))).await.unwrap();
            for tunnel in [&mut tunnel, &mut { late }] {
                tunnel.write_all(b"GET / HTTP/1.1\r\nhost: whatever\r\n\r\n").await.unwrap();
                let mut answer = String::new();
                tunnel.read_to_string(&mut answer).await.unwrap();
                assert_eq!(status(&answer), 200, "{answer}");
                assert!(answer.ends_with("own"), "{answer}");
                assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_for_a_service_that_has_gone_are_not_taken_for_http() {
    let own = greeter("own").await;
    let mut resources = vec![Resource::Service(Arc::new(fronted(AppProtocol::Tcp)))];
    resources.extend(backend("shop/web:80", AppProtocol::Tcp, &[own.address]));
    let removals: Vec<_> = resources.iter().map(Resource::key).collect();
    let other = named("other").await;
    resources.extend(backend("shop/other:80", AppProtocol::Http1, &[other.address]));
    let mut mesh = Mesh::start(resources).await;
    mesh.proxy.apply_delta(Delta { removals, ..Delta::default() }).unwrap();
    assert_led(&mesh, &[(("shop", "a"), Routing::Pending, "own")]).await;
}

/// What comes back for these bytes, after which the client ends.
async fn said(mesh: &Mesh, bytes: &[u8]) -> String {
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_port_nobody_speaks_of_whoever_speaks_first_says_what_it_is() {
    let shouts = Server::raw(|mut stream, _| async move {
        stream.write_all(b"welcome ").await.unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        stream.write_all(said.to_uppercase().as_bytes()).await.unwrap();
    })
    .await;
    let mut resources = vec![Resource::Service(Arc::new(fronted(AppProtocol::Unspecified)))];
    resources.push(bound_to_service("web", Audience::Producer, "shop/http:80"));
    let http = named("routed").await;
    resources.extend(backend("shop/http:80", AppProtocol::Http1, &[http.address]));
    resources.extend(backend("shop/web:80", AppProtocol::Unspecified, &[shouts.address]));
    let mesh = Mesh::start(resources).await;
    LocalSet::new()
        .run_until(async {
            // Routes are for what they can read.
            let answer =
                mesh.get(("shop", "a"), &ConnectRequest::to(SocketAddr::new(VIP, 80))).await.unwrap();
            assert!(answer.ends_with("routed"), "{answer}");
            assert_eq!(said(&mesh, b"\x16\x03 not http").await, "welcome \x16\x03 NOT HTTP");
            assert_eq!(said(&mesh, b"").await, "welcome LATE");
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tcp_route_of_a_service_carries_its_connections_for_whom_it_is() {
    let (own, producer, consumer) =
        (greeter("own").await, greeter("producer").await, greeter("consumer").await);
    let mut resources = vec![Resource::Service(Arc::new(fronted(AppProtocol::Http1)))];
    for (name, audience, port, backends) in [
        ("all", Audience::Producer, Some(80), &[(1, "shop/producer:80")]),
        ("theirs", Audience::Consumer("shop".into()), None, &[(1, "shop/consumer:80")]),
    ] {
        let Resource::L4Route(it) = l4_route(L4Kind::Tcp, name, &[], backends) else { panic!() };
        let attachments = vec![Attachment::Service { service: "shop/web".into(), port, audience }];
        let key = format!("TCPRoute/test/{name}").into();
        resources.push(Resource::L4Route(Arc::new(fairway_config::model::L4Route {
            key,
            attachments,
            ..(*it).clone()
        })));
    }
    for (key, server) in
        [("shop/web:80", &own), ("shop/producer:80", &producer), ("shop/consumer:80", &consumer)]
    {
        resources.extend(backend(key, AppProtocol::Tcp, &[server.address]));
    }
    assert_led(
        &Mesh::start(resources).await,
        &[
            (("other", "a"), Routing::Pending, "producer"),
            // The waypoint is in `shop`: whose consumers these are.
            (("shop", "a"), Routing::Pending, "consumer"),
            (("edge", "gateway"), Routing::Done, "own"),
        ],
    )
    .await;
}

/// A server of bytes that says its name when it is spoken to.
async fn greeter(name: &'static str) -> Server {
    Server::raw(move |mut stream, _| async move {
        read_head(&mut stream).await;
        stream.write_all(name.as_bytes()).await.unwrap();
    })
    .await
}

/// A ztunnel in little: ends tunnels at this address and carries them to a server, and tells what it was asked for.
async fn ztunnel(
    at: IpAddr,
    tls: Arc<TlsIdentity>,
    to: SocketAddr,
    asked: tokio::sync::mpsc::UnboundedSender<(SpiffeId, ConnectRequest)>,
) {
    let (_trigger, watch) = drain::channel();
    ztunnel_that_ends(at, tls, to, asked, watch).await;
}

/// Each of its connections holds up the drain.
async fn ztunnel_that_ends(
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
                        asked.send((request.peer().clone(), request.wish().clone())).unwrap();
                        let mut tunnel = request.accept().unwrap();
                        let mut server = TcpStream::connect(to).await.unwrap();
                        let _ = tokio::io::copy_bidirectional(&mut tunnel, &mut server).await;
                    }
                })
                .await;
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_in_the_mesh_is_reached_through_a_tunnel_to_the_identity_it_has() {
    let server = Server::http(1, echo).await;
    // Addresses of loopback that no other test uses: the port is a fixed one.
    let (pod, impostor): (IpAddr, IpAddr) = ("127.77.1.1".parse().unwrap(), "127.77.1.2".parse().unwrap());
    let mesh = Mesh::start(vec![]).await;
    let (asked, mut options) = tokio::sync::mpsc::unbounded_channel();
    LocalSet::new()
        .run_until(async {
            let web = mesh.authority.identity("shop", "web");
            for at in [pod, impostor] {
                tokio::task::spawn_local(ztunnel(at, web.clone(), server.address, asked.clone()));
            }
            tokio::task::yield_now().await;
            let mut mesh = mesh;
            for (at, account, expected) in [(pod, "web", 200), (impostor, "other", 503)] {
                let mut resources = vec![Resource::Service(Arc::new(fronted(AppProtocol::Http1)))];
                resources.extend(backend("shop/web:80", AppProtocol::Http1, &[]));
                let Some(Resource::Endpoints(endpoints)) = resources.last_mut() else { panic!("endpoints") };
                Arc::make_mut(endpoints).endpoints = vec![fairway_config::model::Endpoint {
                    address: SocketAddr::new(at, 8080),
                    state: fairway_config::model::EndpointState::Ready,
                    identity: Some(mesh.authority.id("shop", account)),
                    node: None,
                    hints: None,
                }];
                mesh.proxy.apply(resources).unwrap();
                let answer =
                    mesh.get(("shop", "a"), &ConnectRequest::to(SocketAddr::new(VIP, 80))).await.unwrap();
                assert_eq!(status(&answer), expected, "{at}: {answer}");
            }
            let (peer, wish) = options.recv().await.unwrap();
            assert_eq!(peer, mesh.waypoint);
            assert_eq!(wish.authority.address(), Some(SocketAddr::new(pod, 8080)));
            assert_eq!(wish.routing, Routing::Pending);
            assert!(options.try_recv().is_err(), "an impostor got a tunnel");
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_local_is_served_on_the_node_that_the_client_s_tunnel_tells() {
    let (one, two) = (named("one").await, named("two").await);
    let mut resources = vec![Resource::Service(Arc::new(fronted(AppProtocol::Http1)))];
    resources.extend(backend("shop/web:80", AppProtocol::Http1, &[one.address, two.address]));
    let Some(Resource::Endpoints(endpoints)) = resources.last_mut() else { panic!("endpoints") };
    let endpoints = Arc::make_mut(endpoints);
    endpoints.reach = Reach::Node;
    for (endpoint, node) in endpoints.endpoints.iter_mut().zip(["n1", "n2"]) {
        endpoint.node = Some(node.into());
    }
    let mesh = Mesh::start(resources).await;
    let from = |node: Option<&str>| ConnectRequest {
        node: node.map(Arc::from),
        ..ConnectRequest::to(SocketAddr::new(VIP, 80))
    };
    LocalSet::new()
        .run_until(async {
            for (node, expected) in [(Some("n1"), "one"), (Some("n2"), "two")] {
                for _ in 0..5 {
                    let answer = mesh.get(("shop", "a"), &from(node)).await.unwrap();
                    assert!(answer.ends_with(expected), "{node:?}: {answer}");
                }
            }
            // This proxy has no node of its own to take for that of a client who tells none.
            for (node, expected) in [(Some("n3"), 503), (None, 200)] {
                let answer = mesh.get(("shop", "a"), &from(node)).await.unwrap();
                assert_eq!(status(&answer), expected, "{node:?}: {answer}");
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_requires_its_waypoint_is_reached_through_it_with_the_routing_said_to_be_done() {
    let server = Server::http(1, echo).await;
    let at: IpAddr = "127.77.1.3".parse().unwrap();
    let mesh = Mesh::start(vec![]).await;
    let (asked, mut options) = tokio::sync::mpsc::unbounded_channel();
    LocalSet::new()
        .run_until(async {
            let other = mesh.authority.identity("other", "waypoint");
            tokio::task::spawn_local(ztunnel(at, other, server.address, asked));
            tokio::task::yield_now().await;
            let mut mesh = mesh;
            let far = SocketAddr::new("10.96.0.9".parse().unwrap(), 80);
            let mut resources = vec![
                Resource::Service(Arc::new(fronted(AppProtocol::Http1))),
                Resource::Backend(Arc::new(Backend {
                    key: "shop/web:80".into(),
                    service: "shop/web".into(),
                    port: 80,
                    protocol: AppProtocol::Http1,
                    security: fairway_config::model::BackendSecurity::Plain,
                    via: Some(("waypoint/other/waypoint".into(), far)),
                })),
            ];
            resources.push(Resource::Endpoints(Arc::new(fairway_config::model::Endpoints::of_anybody(
                "waypoint/other/waypoint".into(),
                vec![fairway_config::model::Endpoint {
                    address: SocketAddr::new(at, fairway_hbone::PORT),
                    state: fairway_config::model::EndpointState::Ready,
                    identity: Some(mesh.authority.id("other", "waypoint")),
                    node: None,
                    hints: None,
                }],
            ))));
            mesh.proxy.apply(resources).unwrap();
            let answer =
                mesh.get(("shop", "a"), &ConnectRequest::to(SocketAddr::new(VIP, 80))).await.unwrap();
            assert_eq!(status(&answer), 200, "{answer}");
            let (_, wish) = options.recv().await.unwrap();
            assert_eq!((wish.authority.address(), wish.routing), (Some(far), Routing::Done));
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_do_not_hold_up_a_ztunnel_that_ends() {
    for (host, protocol) in [("127.77.1.4", AppProtocol::Http1), ("127.77.1.5", AppProtocol::Http2)] {
        let server = Server::http(if protocol == AppProtocol::Http2 { 2 } else { 1 }, echo).await;
        let at: IpAddr = host.parse().unwrap();
        let mut mesh = Mesh::start(vec![]).await;
        let (asked, _wishes) = tokio::sync::mpsc::unbounded_channel();
        LocalSet::new()
            .run_until(async {
                let web = mesh.authority.identity("shop", "web");
                let (trigger, watch) = drain::channel();
                let serving =
                    tokio::task::spawn_local(ztunnel_that_ends(at, web, server.address, asked, watch));
                tokio::task::yield_now().await;
                let mut resources = vec![Resource::Service(Arc::new(fronted(protocol)))];
                resources.extend(backend("shop/web:80", protocol, &[]));
                let Some(Resource::Endpoints(endpoints)) = resources.last_mut() else { panic!("endpoints") };
                Arc::make_mut(endpoints).endpoints = vec![fairway_config::model::Endpoint {
                    address: SocketAddr::new(at, 8080),
                    state: fairway_config::model::EndpointState::Ready,
                    identity: Some(mesh.authority.id("shop", "web")),
                    node: None,
                    hints: None,
                }];
                mesh.proxy.apply(resources).unwrap();
                let request = ConnectRequest::to(SocketAddr::new(VIP, 80));
                assert_eq!(status(&mesh.get(("shop", "a"), &request).await.unwrap()), 200);
                // The connection to the endpoint is idle in its tunnel now. SIGTERM:
                serving.abort();
                let deadlines =
                    drain::Deadlines { linger: Duration::from_millis(10), grace: Duration::from_secs(60) };
                let drained = tokio::time::timeout(Duration::from_secs(10), trigger.drain(deadlines)).await;
                assert_eq!(drained, Ok(true), "{protocol:?}: the tunnel was kept");
            })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tcp_listeners_connections_to_the_mesh_go_through_tunnels() {
    let server = Server::raw(|mut stream, _| async move {
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        stream.write_all(said.to_uppercase().as_bytes()).await.unwrap();
    })
    .await;
    let pod: IpAddr = "127.77.1.6".parse().unwrap();
    let mesh = Mesh::start(vec![]).await;
    let (asked, mut options) = tokio::sync::mpsc::unbounded_channel();
    LocalSet::new()
        .run_until(async {
            let db = mesh.authority.identity("shop", "db");
            tokio::task::spawn_local(ztunnel(pod, db, server.address, asked));
            tokio::task::yield_now().await;
            let mut mesh = mesh;
            let at: IpAddr = "127.0.0.2".parse().unwrap();
            let key = "shop/gateway/tcp";
            let tcp = Listener { addresses: vec![at], ..support::named(key, None, ListenerProtocol::Tcp) };
            let mut resources = backend("shop/db:1", AppProtocol::Tcp, &[SocketAddr::new(pod, 5432)]);
            let Some(Resource::Endpoints(endpoints)) = resources.last_mut() else { panic!("endpoints") };
            Arc::make_mut(endpoints).endpoints[0].identity = Some(mesh.authority.id("shop", "db"));
            resources.push(Resource::Listener(Arc::new(tcp)));
            resources.push(l4_route(L4Kind::Tcp, key, &[], &[(1, "shop/db:1")]));
            mesh.proxy.apply(resources).unwrap();
            let mut stream = TcpStream::connect(mesh.proxy.at(at)).await.unwrap();
            stream.write_all(b"hello").await.unwrap();
            stream.shutdown().await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert_eq!(answer, "HELLO");
            let (peer, wish) = options.recv().await.unwrap();
            assert_eq!(peer, mesh.waypoint);
            assert_eq!(wish.authority.address(), Some(SocketAddr::new(pod, 5432)));
        })
        .await;
}
