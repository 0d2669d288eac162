//! Whether a connection to a local pod is let in.

use super::{Index, is_own_port};
use fairway_config::model::{Mesh, MutualTls, Workload};
use fairway_identity::SpiffeId;
use fairway_policy::{Connection, Verdict};
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
    /// An authorization matched, did not match, or is not known.
    #[error("not authorized: {}", why(.0))]
    Policy(Verdict),
}

/// Decides. `addresses` are those of the pod, which the configuration may not know yet.
pub fn inbound(
    index: &Index,
    pod: &Workload,
    addresses: &[IpAddr],
    client: Client<'_>,
    destination: SocketAddr,
) -> Inbound {
    if !addresses.contains(&destination.ip()) {
        return Inbound::Refuse(InboundRefusal::OtherPod(destination));
    }
    if is_own_port(destination.port()) {
        return Inbound::Refuse(InboundRefusal::Loop(destination));
    }
    match (judge(index, pod, client, destination.port()), client) {
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
fn judge(index: &Index, pod: &Workload, client: Client<'_>, port: u16) -> Result<(), InboundRefusal> {
    let peer = match client {
        Client::Peer(peer) => Some(peer),
        Client::Node | Client::Stranger => None,
    };
    if peer.is_none() && pod.mesh == Mesh::Captured(MutualTls::Strict) {
        return Err(InboundRefusal::Strict);
    }
    let connection = Connection { peer, port };
    let named: Vec<_> = index.authorizations(pod).collect();
    match fairway_policy::evaluate(named.iter().map(|(name, it)| (name, *it)), connection) {
        Verdict::Allowed => Ok(()),
        verdict => Err(InboundRefusal::Policy(verdict)),
    }
}

// === impl InboundRefusal ===

impl InboundRefusal {
    /// The status for a tunnel's peer: 400 for nonsense, 401 for what is not allowed.
    pub fn status(&self) -> http::StatusCode {
        match self {
            Self::UnknownPod => http::StatusCode::SERVICE_UNAVAILABLE,
            Self::OtherPod(_) | Self::Loop(_) => http::StatusCode::BAD_REQUEST,
            Self::Strict | Self::Policy(_) => http::StatusCode::UNAUTHORIZED,
        }
    }

    /// What the peer is told: not which rule it met.
    pub fn for_peer(&self) -> &'static str {
        match self {
            Self::UnknownPod => "not now",
            Self::OtherPod(_) => "the address is not this pod's",
            Self::Loop(_) => "the port is the tunnel's own",
            Self::Strict | Self::Policy(_) => "not allowed",
        }
    }
}

fn why(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Allowed => "allowed".to_owned(),
        Verdict::Denied { by } => format!("denied by {by}"),
        Verdict::NotAllowed => "nothing allows it".to_owned(),
        Verdict::Missing { name } => format!("{name} is not known here"),
    }
}
