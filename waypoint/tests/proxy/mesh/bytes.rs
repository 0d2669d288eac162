//! Services that are not HTTP, and ports whose protocol is detected.

use super::fixtures::{
    Mesh, VIP, assert_answered_by, bound_to_service, fronted, greeter, named, say_and_listen, shouter,
};
use super::support::wire::LONG;
use super::support::*;
use crate::undecidable::{GREETING, greeter as server_that_greets, guards};
use fairway_config::Delta;
use fairway_config::model::{AppProtocol, Attachment, Audience, L4Kind, Resource};
use fairway_hbone::{ConnectRequest, Routing};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::LocalSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_not_http_is_carried_as_bytes() {
    let shouts = shouter().await;
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
            let record = "backend=\"shop/web\",backend_port=\"80\",client_identity=\"\",server_identity=\"\",outcome=\"completed\"} 1";
            wait_for(|| mesh.proxy.scrape().contains(record)).await;
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
    assert_answered_by(&mesh, &[(("shop", "a"), Routing::Pending, "own")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_no_protocol_is_declared_the_first_bytes_decide() {
    let shouts = shouter().await;
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
            assert_eq!(say_and_listen(&mesh, b"\x16\x03 not http").await, "welcome \x16\x03 NOT HTTP");
            assert_eq!(say_and_listen(&mesh, b"").await, "welcome LATE");
            let record = "backend=\"shop/web\",backend_port=\"80\",client_identity=\"\",server_identity=\"\",outcome=\"completed\"} 2";
            wait_for(|| mesh.proxy.scrape().contains(record)).await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tcp_route_of_a_service_applies_to_its_own_audience() {
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
    assert_answered_by(
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_of_a_tunnel_do_not_reach_a_service_that_only_requests_can_be_judged_for() {
    for protocol in [AppProtocol::Tcp, AppProtocol::Unspecified] {
        for (guard, passes) in guards() {
            let what = format!("{protocol:?} {guard:?}");
            let server = server_that_greets().await;
            let mut resources = guard.service(protocol, server.address);
            resources.push(Resource::Service(Arc::new(fronted(protocol))));
            let mesh = Mesh::start(resources).await;
            LocalSet::new()
                .run_until(async {
                    let by = mesh.authority.identity("shop", "a");
                    let to = ConnectRequest::to(SocketAddr::new(VIP, 80));
                    // The reset may come before the answer to the request for the tunnel.
                    let asking = async {
                        let mut tunnel = mesh.open(&by, &to).await.map_err(|error| error.to_string())?;
                        let mut said = [0; GREETING.len()];
                        let written = tunnel.write_all(b"\x16\x03 not http").await;
                        written.map_err(|error| error.to_string())?;
                        tunnel.read_exact(&mut said).await.map_err(|error| error.to_string())?;
                        Ok::<_, String>(said)
                    };
                    let heard = tokio::time::timeout(LONG, asking).await.expect("an end in time");
                    if passes {
                        assert_eq!(heard.as_ref().map(|it| &it[..]), Ok(GREETING.as_bytes()), "{what}");
                        return;
                    }
                    assert!(heard.is_err(), "{what}: {heard:?}");
                    let counted = "fairway_streams_refused_total{reason=\"denied\"} 1";
                    wait_for(|| mesh.proxy.scrape().contains(counted)).await;
                    assert_eq!(server.connections(), 0, "{what}");
                })
                .await;
        }
    }
}
