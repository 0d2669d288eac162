//! What is done with a connection: pure functions over an immutable [`Index`], which give a plan and open nothing.

mod choice;
mod inbound;
mod index;
mod open;
mod outbound;
mod probe;
#[cfg(test)]
mod tests;

pub use choice::{Choice, Reachable};
pub use inbound::{Client, Inbound, InboundRefusal, Incoming, inbound, is_probed};
pub use index::Index;
pub use open::{Affected, Established, OpenConnections, Revoked, is_admitted};
pub use outbound::{Hop, Outbound, OutboundRefusal, Path, outbound};
pub use probe::{Asked, HEAD_LIMIT, ProbeRefusal, asked, health_check};

use std::net::IpAddr;

/// Ports of the tunnel itself in a pod's namespace. What leads to one of them leads back here.
const OWN_PORTS: [u16; 3] = [15001, 15006, fairway_hbone::PORT];

fn is_own_port(port: u16) -> bool {
    OWN_PORTS.contains(&port)
}

/// An address that means "this machine": a connection to it never leaves a pod, so it must not come here.
fn is_within_pod(ip: IpAddr) -> bool {
    ip.is_loopback() || ip.is_unspecified()
}
