//! Decisions about connections: pure functions over an immutable [`Index`]. They return a plan and open no socket.

mod candidates;
mod inbound;
mod index;
mod open;
mod outbound;
mod probe;
#[cfg(test)]
mod tests;

pub(crate) use candidates::KnownCandidates;
pub use candidates::{CandidateEndpoint, CandidateSet};
pub use inbound::{Client, Inbound, InboundRefusal, Incoming, inbound, is_probed};
pub use index::Index;
pub use open::{Affected, Established, OpenConnections, Revoked, is_admitted};
pub use outbound::{Hop, Outbound, OutboundRefusal, Path, outbound};
pub use probe::{HEAD_LIMIT, ProbeRefusal, ProbeRequest, classify, health_check};

use std::net::IpAddr;

/// The tunnel's own ports in a pod's network namespace. A connection to one of them would loop.
const OWN_PORTS: [u16; 3] = [15001, 15006, fairway_hbone::PORT];

fn is_own_port(port: u16) -> bool {
    OWN_PORTS.contains(&port)
}

/// A loopback or unspecified address. Connections to it never leave the pod, so the rules never redirect one.
fn is_within_pod(ip: IpAddr) -> bool {
    ip.is_loopback() || ip.is_unspecified()
}
