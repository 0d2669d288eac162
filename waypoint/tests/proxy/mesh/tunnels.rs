//! Endpoints in the mesh: they are reached through a tunnel to their own ztunnel.

use super::fixtures::{Mesh, VIP, fronted, named, ztunnel, ztunnel_that_ends};
use super::support::backend::{Server, echo};
use super::support::wire::status;
use super::support::*;
use fairway_config::model::{
    AppProtocol, InternalTrafficPolicy, L4Kind, Listener, ListenerProtocol, Resource,
};
use fairway_hbone::{ConnectRequest, Routing};
use fairway_runtime::drain;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_in_the_mesh_is_reached_through_a_tunnel_to_the_identity_it_has() {
    let server = Server::http(1, echo).await;
    // Addresses of loopback that no other test uses: the port is a fixed one.
    let (pod, impostor): (IpAddr, IpAddr) = ("127.77.1.1".parse().unwrap(), "127.77.1.2".parse().unwrap());
    let mesh = Mesh::start(vec![]).await;
    let (asked, mut requests) = tokio::sync::mpsc::unbounded_channel();
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
            let (peer, request) = requests.recv().await.unwrap();
            assert_eq!(peer, mesh.waypoint);
            assert_eq!(request.authority.address(), Some(SocketAddr::new(pod, 8080)));
            assert_eq!(request.routing, Routing::Pending);
            assert!(requests.try_recv().is_err(), "an impostor got a tunnel");
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn internal_traffic_policy_local_uses_the_node_that_the_client_s_tunnel_reports() {
    let (one, two) = (named("one").await, named("two").await);
    let mut resources = vec![Resource::Service(Arc::new(fronted(AppProtocol::Http1)))];
    resources.extend(backend("shop/web:80", AppProtocol::Http1, &[one.address, two.address]));
    let Some(Resource::Endpoints(endpoints)) = resources.last_mut() else { panic!("endpoints") };
    let endpoints = Arc::make_mut(endpoints);
    endpoints.internal_traffic_policy = InternalTrafficPolicy::Local;
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
    let (asked, mut requests) = tokio::sync::mpsc::unbounded_channel();
    LocalSet::new()
        .run_until(async {
            let db = mesh.authority.identity("shop", "db");
            tokio::task::spawn_local(ztunnel(pod, db, server.address, asked));
            tokio::task::yield_now().await;
            let mut mesh = mesh;
            let at: IpAddr = "127.0.0.2".parse().unwrap();
            let key = "shop/gateway/tcp";
            let tcp =
                Listener { addresses: vec![at], ..crate::support::named(key, None, ListenerProtocol::Tcp) };
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
            let (peer, request) = requests.recv().await.unwrap();
            assert_eq!(peer, mesh.waypoint);
            assert_eq!(request.authority.address(), Some(SocketAddr::new(pod, 5432)));
        })
        .await;
}
