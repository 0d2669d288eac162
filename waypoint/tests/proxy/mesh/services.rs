//! Requests through a tunnel to a Service: its address chooses the Service, and the peer's namespace chooses the routes.

use super::fixtures::{Mesh, assert_answered_by, bound_to_service, fronted, named};
use super::support::*;
use fairway_config::model::{AppProtocol, Audience, ConsumerWaypoint, Resource};
use fairway_hbone::{ConnectRequest, OpenError, Routing};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::task::LocalSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_address_chooses_the_service_and_the_peer_s_namespace_the_routes() {
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
    assert_answered_by(
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_that_the_waypoint_does_not_serve_is_refused() {
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
