//! The decision about an inbound connection to a local pod.

use super::{Index, is_own_port};
use fairway_config::model::{Mesh, MutualTls, Workload};
use fairway_identity::SpiffeId;
use fairway_policy::{Attached, Attributes, Level, PolicyRefusal};
use fairway_telemetry::describe_denial;
use std::net::{IpAddr, SocketAddr};

/// The client of an inbound connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client<'a> {
    /// A peer that is authenticated by mTLS.
    Peer(&'a SpiffeId),
    /// A process of the pod's node, without mTLS.
    Node,
    /// Any other client without mTLS.
    Plaintext,
}

/// A connection to a local pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incoming<'a> {
    /// Who connects, as far as that is proved.
    pub client: Client<'a>,
    /// The address that the connection comes from; in a tunnel, the address that the tunnel comes from.
    pub address: IpAddr,
    /// What is to be reached.
    pub destination: SocketAddr,
}

/// The decision about an inbound connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inbound {
    /// Connect it to the application.
    Admit {
        /// Why it would be refused if the authorizations that are only observed counted.
        observed: Option<PolicyRefusal>,
    },
    /// Let only a probe of the pod's spec through to the application.
    AdmitProbe,
    /// Reset it, or refuse the tunnel with [`InboundRefusal::status`].
    Refuse(InboundRefusal),
}

/// Why an inbound connection is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InboundRefusal {
    /// The configuration in force does not know the pod.
    #[error("the configuration does not know the pod")]
    UnknownPod,
    /// The destination is not an address of the pod.
    #[error("{0} is not an address of this pod")]
    OtherPod(SocketAddr),
    /// The connection would come back to the tunnel.
    #[error("{0} is a port of the tunnel itself")]
    Loop(SocketAddr),
    /// The pod is strict, and the client has no mTLS.
    #[error("this pod takes mTLS only")]
    Strict,
    /// A connection that is more than a probe, where only probes are let in now.
    #[error("only the probes of the pod are let in")]
    ProbesOnly,
    /// An authorization matched, did not match, or is not known.
    #[error("denied by {}", describe_denial(.0))]
    Policy(PolicyRefusal),
}

impl InboundRefusal {
    /// The word for the access log.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::UnknownPod => "unknown_pod",
            Self::OtherPod(_) => "other_pod",
            Self::Loop(_) => "loop",
            Self::Strict => "strict",
            Self::ProbesOnly => "probes_only",
            Self::Policy(_) => "denied",
        }
    }
}

/// Decides. `addresses` are those of the pod, which the configuration may not know yet.
///
/// ```
/// use fairway_balance::Locality;
/// use fairway_config::Snapshot;
/// use fairway_config::model::{Mesh, MutualTls, Probe, ProbeAction, Workload};
/// use fairway_ztunnel::decide::{Client, Inbound, InboundRefusal, Incoming, Index, inbound};
///
/// let pod = Workload {
///     key: "shop/web".into(),
///     uid: "1234".into(),
///     addresses: vec!["10.0.0.1".parse()?],
///     identity: "spiffe://cluster.local/ns/shop/sa/web".parse()?,
///     node: "node-1".into(),
///     node_uid: None,
///     mesh: Mesh::Captured(MutualTls::Strict),
///     aside: None,
///     probes: vec![Probe { port: 8081, action: ProbeAction::Connect }],
///     authorizations: vec![],
/// };
/// let index = Index::build(Locality::default(), &Snapshot::default());
/// let from = |client: Client<'_>, port: u16| {
///     let (address, destination) = ([192, 0, 2, 1].into(), ([10, 0, 0, 1], port).into());
///     inbound(&index, &pod, &pod.addresses, Incoming { client, address, destination })
/// };
///
/// // Kubelet has no identity, and a pod whose probes fail is restarted. So probes pass a strict pod, and nothing else does.
/// assert_eq!(from(Client::Node, 8081), Inbound::AdmitProbe);
/// assert_eq!(from(Client::Node, 8080), Inbound::Refuse(InboundRefusal::Strict));
/// assert_eq!(from(Client::Plaintext, 8081), Inbound::Refuse(InboundRefusal::Strict));
/// // No authorization names the pod: mTLS is enough.
/// assert_eq!(from(Client::Peer(&pod.identity), 8080), Inbound::Admit { observed: None });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn inbound(index: &Index, pod: &Workload, addresses: &[IpAddr], incoming: Incoming<'_>) -> Inbound {
    let Incoming { client, destination, .. } = incoming;
    if !addresses.contains(&destination.ip()) {
        return Inbound::Refuse(InboundRefusal::OtherPod(destination));
    }
    if is_own_port(destination.port()) {
        return Inbound::Refuse(InboundRefusal::Loop(destination));
    }
    match (authorize(index, pod, incoming), client) {
        // Kubelet restarts a pod whose probes fail, so its probes pass strict mode and authorization. Nothing else from the
        // node does: whoever writes a pod's spec can make kubelet send requests to another pod.
        (Err(_), Client::Node) if is_probed(pod, destination.port()) => Inbound::AdmitProbe,
        (Err(refusal), _) => Inbound::Refuse(refusal),
        // Enforced, the policy would let the probe pass, so there is nothing to observe.
        (Ok(_), Client::Node) if is_probed(pod, destination.port()) => Inbound::Admit { observed: None },
        (Ok(observed), _) => Inbound::Admit { observed },
    }
}

/// Whether the pod's spec has a probe at this port.
pub fn is_probed(pod: &Workload, port: u16) -> bool {
    pod.probes.iter().any(|it| it.port == port)
}

/// Checks the pod's mTLS mode and its authorizations. Returns why those that are only observed would refuse.
fn authorize(
    index: &Index,
    pod: &Workload,
    incoming: Incoming<'_>,
) -> Result<Option<PolicyRefusal>, InboundRefusal> {
    let peer = match incoming.client {
        Client::Peer(peer) => Some(peer),
        Client::Node | Client::Plaintext => None,
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
    let decision = fairway_policy::evaluate(attached, &attributes);
    decision.verdict.into_result().map_err(InboundRefusal::Policy)?;
    Ok(decision.observed)
}

// === impl InboundRefusal ===

impl InboundRefusal {
    /// The status of the CONNECT response: 400 for an impossible destination, 401 for a refused client, 503 for an unknown pod.
    pub fn status(&self) -> http::StatusCode {
        match self {
            Self::UnknownPod => http::StatusCode::SERVICE_UNAVAILABLE,
            Self::OtherPod(_) | Self::Loop(_) => http::StatusCode::BAD_REQUEST,
            Self::Strict | Self::ProbesOnly | Self::Policy(_) => http::StatusCode::UNAUTHORIZED,
        }
    }

    /// The message for the peer. It does not name the authorization that refused it.
    pub fn for_peer(&self) -> &'static str {
        match self {
            Self::UnknownPod => "not now",
            Self::OtherPod(_) => "the address is not this pod's",
            Self::Loop(_) => "the port is the tunnel's own",
            Self::Strict | Self::ProbesOnly | Self::Policy(_) => "not allowed",
        }
    }
}
