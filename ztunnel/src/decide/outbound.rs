//! Where a connection of a local pod goes.

use super::{Choice, Index, Reachable, is_own_port, is_within_pod};
use fairway_config::model::{BackendKey, Family, Mesh, Service, ServiceKey, Workload};
use fairway_hbone::{Authority, PORT, Target};
use std::net::SocketAddr;

/// What is done with a connection of a local pod.
#[derive(Clone, Debug, PartialEq)]
pub enum Outbound {
    /// It goes to one of these.
    Forward {
        /// What they are.
        path: Path,
        /// The choice.
        choice: Choice,
    },
    /// Its destination is nobody known: it goes there as it is.
    Passthrough,
    /// It goes nowhere.
    Refuse(OutboundRefusal),
}

/// By which way a connection goes.
#[derive(Clone, Debug, PartialEq)]
pub enum Path {
    /// Through a waypoint, which is told the address that was dialled.
    Waypoint(BackendKey),
    /// To an endpoint of a Service.
    Endpoint(ServiceKey),
    /// To the pod that was dialled.
    Pod,
}

/// Why a connection goes nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutboundRefusal {
    /// The Service's traffic belongs through a waypoint, and there is none that is ready. Never around it.
    #[error("no ready endpoint of {0}, and its traffic may not go around it")]
    WaypointMissing(BackendKey),
    /// Nobody serves this port of the Service.
    #[error("no ready endpoint of {0}")]
    NoEndpoint(BackendKey),
    /// Nobody on this node does, and others do not count.
    #[error("no ready endpoint of {0} on this node, and its internalTrafficPolicy is Local")]
    NoLocalEndpoint(BackendKey),
    /// The address is a Service's, the port is not.
    #[error("{service} has no port {port}")]
    UnknownPort {
        /// Whose address it is.
        service: ServiceKey,
        /// What was dialled.
        port: u16,
    },
    /// It would come back here.
    #[error("{0} is an address or port of the tunnel itself")]
    Loop(SocketAddr),
}

/// One connection to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hop {
    /// A tunnel.
    Tunnel {
        /// To whom.
        target: Target,
        /// What for.
        authority: Authority,
    },
    /// TCP to an endpoint outside the mesh.
    Plain(SocketAddr),
}

/// Decides by the address dialled: a consumer waypoint of the client's namespace, else the Service's own waypoint, else an
/// endpoint. Whoever is dialled by a pod's address is met without the Service's routes (not without its policies).
pub fn outbound(index: &Index, client: &Workload, destination: SocketAddr) -> Outbound {
    let ip = destination.ip();
    let own_address = client.addresses.contains(&ip);
    if is_within_pod(ip) || (own_address && is_own_port(destination.port())) {
        return Outbound::Refuse(OutboundRefusal::Loop(destination));
    }
    if client.mesh == Mesh::Outside {
        // The pod is about to be released: what still comes here goes on as if it were already.
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
    let choice = Choice::only(Reachable { address: destination, identity });
    Outbound::Forward { path: Path::Pod, choice }
}

fn to_service(index: &Index, client: &Workload, service: &Service, dialled: SocketAddr) -> Outbound {
    let port = dialled.port();
    let Some(service_port) = service.ports.iter().find(|it| it.port == port) else {
        return Outbound::Refuse(OutboundRefusal::UnknownPort { service: service.key.clone(), port });
    };
    let namespace = client.identity.namespace();
    let waypoint = service.consumer_waypoint(namespace, port).or(service.waypoint.as_ref());
    match waypoint {
        Some(waypoint) => match index.choice(waypoint, None) {
            Some(choice) => Outbound::Forward { path: Path::Waypoint(waypoint.clone()), choice },
            None => Outbound::Refuse(OutboundRefusal::WaypointMissing(waypoint.clone())),
        },
        // A program may listen on one family of addresses only, and has a Service of that family then.
        None => match index.choice(&service_port.backend, Some(Family::of(dialled.ip()))) {
            Some(choice) => Outbound::Forward { path: Path::Endpoint(service.key.clone()), choice },
            None if index.is_local(&service_port.backend) => {
                Outbound::Refuse(OutboundRefusal::NoLocalEndpoint(service_port.backend.clone()))
            }
            None => Outbound::Refuse(OutboundRefusal::NoEndpoint(service_port.backend.clone())),
        },
    }
}

// === impl Path ===

impl Path {
    /// The connection that leads to one of the choice; none to a waypoint without identity, which cannot be one.
    pub fn hop(&self, to: &Reachable, dialled: SocketAddr) -> Option<Hop> {
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
