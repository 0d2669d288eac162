//! Whether a connection to a local pod is let in.

use super::{Index, is_own_port};
use fairway_config::model::{Mesh, MutualTls, Workload};
use fairway_identity::SpiffeId;
use fairway_policy::{Attached, Attributes, Level, Refusal};
use std::net::{IpAddr, SocketAddr};

/// Who connects to a local pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client<'a> {
    /// Somebody who proved this identity.
    Peer(&'a SpiffeId),
    /// A process of the pod's node, in plaintext.
    Node,
    /// Anybody else, in plaintext.
    Stranger,
}

/// A connection to a local pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incoming<'a> {
    /// Who connects.
    pub client: Client<'a>,
    /// The address that the connection comes from; in a tunnel, the address that the tunnel comes from.
    pub address: IpAddr,
    /// What is to be reached.
    pub destination: SocketAddr,
}

/// What is done with a connection to a local pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inbound {
    /// It is handed to the pod's program.
    Admit,
    /// Only what the pod's own spec has its node's kubelet ask at this port is.
    AdmitProbe,
    /// It is not.
    Refuse(InboundRefusal),
}

/// Why a connection is not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InboundRefusal {
    /// The configuration in force does not know the pod.
    #[error("the configuration in force holds no such pod")]
    UnknownPod,
    /// The address is not the pod's.
    #[error("{0} is not an address of this pod")]
    OtherPod(SocketAddr),
    /// It would come back here.
    #[error("{0} is a port of the tunnel itself")]
    Loop(SocketAddr),
    /// Plaintext to a pod that takes only mTLS.
    #[error("this pod takes mTLS only")]
    Strict,
    /// A connection that is more than a probe, where only probes are let in now.
    #[error("only the probes of the pod are let in")]
    ProbesOnly,
    /// An authorization matched, did not match, or is not known.
    #[error("not authorized: {0}")]
    Policy(Refusal),
}

/// Decides. `addresses` are those of the pod, which the configuration may not know yet.
pub fn inbound(index: &Index, pod: &Workload, addresses: &[IpAddr], incoming: Incoming<'_>) -> Inbound {
    let Incoming { client, destination, .. } = incoming;
    if !addresses.contains(&destination.ip()) {
        return Inbound::Refuse(InboundRefusal::OtherPod(destination));
    }
    if is_own_port(destination.port()) {
        return Inbound::Refuse(InboundRefusal::Loop(destination));
    }
    match (judge(index, pod, incoming), client) {
        // A pod whose probes fail is killed: policy is for those who want something of it. The node alone is believed, and
        // it is no better than a stranger for anything but the probe: whoever can write a pod's spec can have kubelet send
        // requests to another pod.
        (Err(_), Client::Node) if is_probed(pod, destination.port()) => Inbound::AdmitProbe,
        (Err(refusal), _) => Inbound::Refuse(refusal),
        (Ok(()), _) => Inbound::Admit,
    }
}

/// Whether the pod's spec has its node's kubelet ask something at this port.
pub fn is_probed(pod: &Workload, port: u16) -> bool {
    pod.probes.iter().any(|it| it.port == port)
}

/// By the pod's mode and its policies.
fn judge(index: &Index, pod: &Workload, incoming: Incoming<'_>) -> Result<(), InboundRefusal> {
    let peer = match incoming.client {
        Client::Peer(peer) => Some(peer),
        Client::Node | Client::Stranger => None,
    };
    if peer.is_none() && pod.mesh == Mesh::Captured(MutualTls::Strict) {
        return Err(InboundRefusal::Strict);
    }
    let attributes =
        Attributes { peer, client: Some(incoming.address), port: incoming.destination.port(), request: None };
    let attached = index.authorizations(pod).map(|(name, authorization)| Attached {
        level: Level::Pod,
        name,
        authorization,
    });
    fairway_policy::evaluate(attached, &attributes).verdict.into_result().map_err(InboundRefusal::Policy)
}

// === impl InboundRefusal ===

impl InboundRefusal {
    /// The status for a tunnel's peer: 400 for nonsense, 401 for what is not allowed.
    pub fn status(&self) -> http::StatusCode {
        match self {
            Self::UnknownPod => http::StatusCode::SERVICE_UNAVAILABLE,
            Self::OtherPod(_) | Self::Loop(_) => http::StatusCode::BAD_REQUEST,
            Self::Strict | Self::ProbesOnly | Self::Policy(_) => http::StatusCode::UNAUTHORIZED,
        }
    }

    /// What the peer is told: not which rule it met.
    pub fn for_peer(&self) -> &'static str {
        match self {
            Self::UnknownPod => "not now",
            Self::OtherPod(_) => "the address is not this pod's",
            Self::Loop(_) => "the port is the tunnel's own",
            Self::Strict | Self::ProbesOnly | Self::Policy(_) => "not allowed",
        }
    }
}
