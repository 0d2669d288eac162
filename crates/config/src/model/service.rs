//! A Service as a destination that clients dial.

use super::reference::of_backend;
use super::{AppProtocol, BackendKey, References, Requires, ResourceKey, ResourceKind, ServiceKey};
use fairway_identity::SpiffeId;
use std::net::IpAddr;
use std::sync::Arc;

/// A Service: known by the address dialled, never by a Host header.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// `<namespace>/<service>`; each port is a backend with a key of its own.
    pub key: ServiceKey,
    /// The Kubernetes namespace that it lives in.
    pub namespace: Arc<str>,
    /// Its cluster IPs; none for a headless Service.
    pub addresses: Vec<IpAddr>,
    /// The ports that take TCP; those of UDP pass the mesh by.
    pub ports: Vec<ServicePort>,
    /// The waypoint of its own namespace, if it needs one: the key of that waypoint's endpoints.
    pub waypoint: Option<BackendKey>,
    /// Waypoints of client namespaces that have consumer routes for it.
    pub consumer_waypoints: Vec<ConsumerWaypoint>,
    /// Who is believed when it says that a request for this Service is routed already, and for whom it speaks: Gateways
    /// with a route that may name the Service, and waypoints of namespaces that it grants its use.
    pub routers: Vec<SpiffeId>,
}

/// A port of a Service, as clients dial it.
#[derive(Clone, Debug, PartialEq)]
pub struct ServicePort {
    /// The number clients dial.
    pub port: u16,
    /// Its name; a Service with a single port may leave it out.
    pub name: Option<Arc<str>>,
    /// What is spoken there.
    pub protocol: AppProtocol,
    /// The backend behind it.
    pub backend: BackendKey,
}

/// A client namespace that routes a Service itself.
#[derive(Clone, Debug, PartialEq)]
pub struct ConsumerWaypoint {
    /// The namespace whose clients are routed there.
    pub namespace: Arc<str>,
    /// On these ports of the Service only (`parentRef.port`); empty means every port.
    pub ports: Vec<u16>,
    /// The key of the endpoints of that namespace's waypoint.
    pub waypoint: BackendKey,
}

// === impl Service ===

impl Service {
    /// The waypoint of a client namespace that routes this port itself.
    pub fn consumer_waypoint(&self, client_namespace: &str, port: u16) -> Option<&BackendKey> {
        let holds = |it: &&ConsumerWaypoint| {
            &*it.namespace == client_namespace && (it.ports.is_empty() || it.ports.contains(&port))
        };
        self.consumer_waypoints.iter().find(holds).map(|it| &it.waypoint)
    }
}

impl Requires for Service {}

impl References for Service {
    fn references(&self) -> Vec<ResourceKey> {
        self.ports.iter().map(|port| of_backend(ResourceKind::Backend, &port.backend)).collect()
    }
}
