//! Services that require their waypoint: nothing reaches their pods around it.

use super::fixtures::{Mesh, VIP, fronted, ztunnel};
use super::support::backend::{Server, echo, read_head};
use super::support::wire::status;
use super::support::*;
use fairway_config::model::{AppProtocol, Attachment, Audience, Backend, L4Kind, Resource, Route};
use fairway_hbone::{ConnectRequest, Routing};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::task::LocalSet;

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
async fn a_service_that_requires_its_waypoint_is_reached_through_it_with_routing_declared_done() {
    let server = Server::http(1, echo).await;
    let at: IpAddr = "127.77.1.3".parse().unwrap();
    let mesh = Mesh::start(vec![]).await;
    let (asked, mut requests) = tokio::sync::mpsc::unbounded_channel();
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
                    authorizations: vec![],
                    limits: vec![],
                    authentications: vec![],
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
            let (_, request) = requests.recv().await.unwrap();
            assert_eq!((request.authority.address(), request.routing), (Some(far), Routing::Done));
        })
        .await;
}
