//! The decision about an outbound connection of a local pod.

use super::{CandidateEndpoint, CandidateSet, Index, is_own_port, is_within_pod};
use fairway_config::model::{BackendKey, Family, Mesh, Service, ServiceKey, Workload};
use fairway_hbone::{Authority, PORT, Target};
use std::net::SocketAddr;

/// The decision about an outbound connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Outbound {
    /// Forward it to one of these endpoints.
    Forward {
        /// What the endpoints are: waypoints, endpoints of a Service, or the pod that was dialled.
        path: Path,
        /// The endpoints, at least one.
        candidates: CandidateSet,
    },
    /// Connect to the original destination without a tunnel: the configuration does not know it, or it is outside the mesh.
    Passthrough,
    /// Reset it, for this reason.
    Refuse(OutboundRefusal),
}

/// The kind of endpoint that a connection is forwarded to.
#[derive(Clone, Debug, PartialEq)]
pub enum Path {
    /// A waypoint, which receives the original destination as the authority of the tunnel.
    Waypoint(BackendKey),
    /// An endpoint of this Service.
    Endpoint(ServiceKey),
    /// The pod whose address was dialled.
    Pod,
}

/// Why an outbound connection is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutboundRefusal {
    /// The Service requires its waypoint, and no endpoint of the waypoint is ready. The waypoint is never bypassed.
    #[error("no ready endpoint of {0}, and its traffic may not go around it")]
    WaypointMissing(BackendKey),
    /// The Service port has no ready endpoint.
    #[error("no ready endpoint of {0}")]
    NoEndpoint(BackendKey),
    /// `internalTrafficPolicy` is `Local`, and the Service port has no ready endpoint on this node.
    #[error("no ready endpoint of {0} on this node, and its internalTrafficPolicy is Local")]
    NoLocalEndpoint(BackendKey),
    /// The address belongs to a Service that does not have the port.
    #[error("{service} has no port {port}")]
    UnknownPort {
        /// The Service that has the address.
        service: ServiceKey,
        /// The port that was dialled.
        port: u16,
    },
    /// The connection would come back to the tunnel.
    #[error("{0} is an address or port of the tunnel itself")]
    Loop(SocketAddr),
}

impl OutboundRefusal {
    /// The word for the access log.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::WaypointMissing(_) | Self::NoEndpoint(_) | Self::NoLocalEndpoint(_) => "no_endpoint",
            Self::UnknownPort { .. } => "unknown_port",
            Self::Loop(_) => "loop",
        }
    }
}

/// A connection to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hop {
    /// A tunnel over mTLS (HBONE).
    Tunnel {
        /// The address of the tunnel's server and its expected identity.
        target: Target,
        /// The `:authority` of the CONNECT request.
        authority: Authority,
    },
    /// Plain TCP to an endpoint outside the mesh.
    Plain(SocketAddr),
}

/// Decides by the original destination. A Service's address leads to a consumer waypoint of the client's namespace, else to the
/// Service's own waypoint, else to an endpoint (GEP-1294). A pod's address leads to the pod: the routes of its Services do not
/// apply, the policies of the pod do.
pub fn outbound(index: &Index, client: &Workload, destination: SocketAddr) -> Outbound {
    let ip = destination.ip();
    let own_address = client.addresses.contains(&ip);
    if is_within_pod(ip) || (own_address && is_own_port(destination.port())) {
        return Outbound::Refuse(OutboundRefusal::Loop(destination));
    }
    if client.mesh == Mesh::Outside {
        // The pod is being released: its connections go on as if it already were.
        return Outbound::Passthrough;
    }
    if let Some(service) = index.service_at(ip) {
        return to_service(index, client, service, destination);
    }
    let Some(workload) = index.workload_at(ip) else {
        return Outbound::Passthrough;
    };
    if workload.mesh == Mesh::Outside {
        return Outbound::Passthrough;
    }
    if is_own_port(destination.port()) {
        return Outbound::Refuse(OutboundRefusal::Loop(destination));
    }
    let identity = Some(workload.identity.clone());
    let candidates = CandidateSet::only(CandidateEndpoint::new(destination, identity));
    Outbound::Forward { path: Path::Pod, candidates }
}

fn to_service(index: &Index, client: &Workload, service: &Service, dialled: SocketAddr) -> Outbound {
    let port = dialled.port();
    let Some(service_port) = service.ports.iter().find(|it| it.port == port) else {
        return Outbound::Refuse(OutboundRefusal::UnknownPort { service: service.key.clone(), port });
    };
    let namespace = client.identity.namespace();
    let waypoint = service.consumer_waypoint(namespace, port).or(service.waypoint.as_ref());
    match waypoint {
        Some(waypoint) => match index.candidates(waypoint, None) {
            Some(candidates) => Outbound::Forward { path: Path::Waypoint(waypoint.clone()), candidates },
            None => Outbound::Refuse(OutboundRefusal::WaypointMissing(waypoint.clone())),
        },
        // An application may listen on one address family only. Its Service then has an address of that family.
        None => match index.candidates(&service_port.backend, Some(Family::from_address(dialled.ip()))) {
            Some(candidates) => Outbound::Forward { path: Path::Endpoint(service.key.clone()), candidates },
            None if index.is_local(&service_port.backend) => {
                Outbound::Refuse(OutboundRefusal::NoLocalEndpoint(service_port.backend.clone()))
            }
            None => Outbound::Refuse(OutboundRefusal::NoEndpoint(service_port.backend.clone())),
        },
    }
}

// === impl Path ===

impl Path {
    /// The connection that leads to endpoint `to`. `None` for a waypoint without an identity, which cannot be authenticated.
    pub fn hop(&self, to: &CandidateEndpoint, dialled: SocketAddr) -> Option<Hop> {
        let identity = to.identity.clone();
        match (self, identity) {
            (Self::Waypoint(_), Some(identity)) => Some(Hop::Tunnel {
                target: Target { address: to.address, identity },
                authority: dialled.into(),
            }),
            (Self::Waypoint(_), None) => None,
            (Self::Endpoint(_) | Self::Pod, Some(identity)) => Some(Hop::Tunnel {
                target: Target { address: SocketAddr::new(to.address.ip(), PORT), identity },
                authority: to.address.into(),
            }),
            (Self::Endpoint(_) | Self::Pod, None) => Some(Hop::Plain(to.address)),
        }
    }
}
