//! A Service that no longer needs the waypoint: open connections are still served.

use super::fixtures::{Mesh, VIP, fronted, named};
use super::support::wire::status;
use super::support::*;
use fairway_config::Delta;
use fairway_config::model::{AppProtocol, ListenerProtocol, Resource};
use fairway_hbone::ConnectRequest;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::LocalSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waypoint_that_is_no_longer_needed_serves_open_connections_until_they_end() {
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
                let listener = Resource::Listener(Arc::new(listener(ListenerProtocol::Http))).key();
                let removals = keys.iter().cloned().chain([listener]).collect();
                mesh.proxy.apply_delta(Delta { removals, ..Delta::default() }).unwrap();
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_no_longer_needs_the_waypoint_is_served_once_more_on_open_connections() {
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
