//! Tables over one small mesh: two pods of two namespaces, a Service with each way to be reached.

mod inbound;
mod index;
mod open;
mod outbound;
mod probe;

use super::Index;
use fairway_balance::Locality;
use fairway_config::model::{
    AppProtocol, AuthorizationKey, BackendKey, ConsumerWaypoint, Endpoint, EndpointState, Endpoints, Mesh,
    MutualTls, Resource, Service, ServicePort, SpiffeId, Workload,
};
use fairway_config::{Delta, Snapshot};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

fn id(namespace: &str, account: &str) -> SpiffeId {
    format!("spiffe://cluster.local/ns/{namespace}/sa/{account}").parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn pod(namespace: &str, name: &str, ip_address: &str, mesh: Mesh, authorizations: &[&str]) -> Workload {
    Workload {
        key: format!("{namespace}/{name}").into(),
        uid: format!("uid-{name}").into(),
        addresses: vec![ip(ip_address)],
        identity: id(namespace, name),
        node: "node".into(),
        node_uid: None,
        mesh,
        aside: None,
        probes: vec![],
        authorizations: authorizations.iter().map(|name| AuthorizationKey::from(*name)).collect(),
    }
}

fn service(name: &str, ip_address: &str, waypoint: Option<&str>, consumers: &[(&str, &str)]) -> Service {
    Service {
        key: format!("shop/{name}").into(),
        namespace: "shop".into(),
        addresses: vec![ip(ip_address)],
        ports: vec![ServicePort {
            port: 80,
            name: None,
            protocol: AppProtocol::Unspecified,
            backend: format!("shop/{name}:80").into(),
        }],
        waypoint: waypoint.map(BackendKey::from),
        consumer_waypoints: consumers
            .iter()
            .map(|(namespace, waypoint)| ConsumerWaypoint {
                ports: vec![],
                namespace: (*namespace).into(),
                waypoint: (*waypoint).into(),
            })
            .collect(),
        routers: vec![],
    }
}

fn endpoints(backend: &str, endpoints: &[(&str, EndpointState, Option<SpiffeId>)]) -> Endpoints {
    let endpoint = |(at, state, identity): &(&str, EndpointState, Option<SpiffeId>)| Endpoint {
        address: address(at),
        state: *state,
        identity: identity.clone(),
        node: None,
        hints: None,
    };
    Endpoints::of_anybody(backend.into(), endpoints.iter().map(endpoint).collect())
}

fn index(resources: impl IntoIterator<Item = Resource>) -> Index {
    index_at(Locality::default(), resources)
}

fn index_at(locality: Locality, resources: impl IntoIterator<Item = Resource>) -> Index {
    let delta = Delta { upserts: resources.into_iter().collect(), ..Default::default() };
    Index::build(locality, &Snapshot::default().apply(delta).0)
}

const STRICT: Mesh = Mesh::Captured(MutualTls::Strict);
const PERMISSIVE: Mesh = Mesh::Captured(MutualTls::Permissive);

/// Pods: `shop/client` 10.0.0.1, `shop/server` 10.0.0.2, `other/client` 10.0.1.1, `pod_handoff/plain` 10.0.2.1 outside the mesh.
/// Services of `shop`, by last octet: 1 direct, 2 with waypoint, 3 consumed by `other`, 4 whose waypoint is not ready,
/// 5 without endpoints, 6 of a pod outside the mesh, 7 consumed by `other` where that waypoint is not ready.
fn mesh() -> Vec<Resource> {
    use EndpointState::{Draining, Ready, Unready};
    let pods = [
        pod("shop", "client", "10.0.0.1", PERMISSIVE, &[]),
        pod("shop", "server", "10.0.0.2", STRICT, &[]),
        pod("other", "client", "10.0.1.1", PERMISSIVE, &[]),
        pod("pod_handoff", "plain", "10.0.2.1", Mesh::Outside, &[]),
    ];
    let services = [
        service("direct", "10.96.0.1", None, &[]),
        service("routed", "10.96.0.2", Some("waypoint/shop/waypoint"), &[]),
        service(
            "consumed",
            "10.96.0.3",
            Some("waypoint/shop/waypoint"),
            &[("other", "waypoint/other/waypoint")],
        ),
        service("unready", "10.96.0.4", Some("waypoint/shop/unready"), &[]),
        service("empty", "10.96.0.5", None, &[]),
        service("plain", "10.96.0.6", None, &[]),
        service("half", "10.96.0.7", Some("waypoint/shop/waypoint"), &[("other", "waypoint/other/unready")]),
    ];
    let server = || Some(id("shop", "server"));
    let waypoint = |namespace| Some(id(namespace, "waypoint"));
    let all_endpoints = [
        endpoints(
            "shop/direct:80",
            &[
                ("10.0.0.2:8080", Ready, server()),
                ("10.0.0.3:8080", Unready, server()),
                ("10.0.0.4:8080", Draining, server()),
            ],
        ),
        endpoints("shop/routed:80", &[("10.0.0.2:8080", Ready, server())]),
        endpoints("shop/consumed:80", &[("10.0.0.2:8080", Ready, server())]),
        endpoints("shop/unready:80", &[("10.0.0.2:8080", Ready, server())]),
        endpoints("shop/half:80", &[("10.0.0.2:8080", Ready, server())]),
        endpoints("shop/empty:80", &[("10.0.0.9:8080", Unready, None)]),
        endpoints("shop/plain:80", &[("10.0.2.1:8080", Ready, None)]),
        endpoints("waypoint/shop/waypoint", &[("10.0.9.1:15008", Ready, waypoint("shop"))]),
        endpoints("waypoint/other/waypoint", &[("10.0.9.2:15008", Draining, waypoint("other"))]),
        endpoints("waypoint/shop/unready", &[("10.0.9.3:15008", Unready, waypoint("shop"))]),
    ];
    let pods = pods.into_iter().map(|it| Resource::Workload(Arc::new(it)));
    let services = services.into_iter().map(|it| Resource::Service(Arc::new(it)));
    let all_endpoints = all_endpoints.into_iter().map(|it| Resource::Endpoints(Arc::new(it)));
    pods.chain(services).chain(all_endpoints).collect()
}
