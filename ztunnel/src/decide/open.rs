//! Connections that are open, found by what their admission depended on, and judged again when a commit changes that.
//!
//! A connection into a pod depends on the pod (its mode, its probes, which authorizations it names) and on those
//! authorizations. A connection out of a pod depends on the pod, and in a tunnel on who is at the far end's address. Nothing
//! else of a configuration can end a connection that is open: that a Service has no ready endpoint any more, or another
//! waypoint, is about connections that are yet to be made. So a pod that is draining finishes what it has begun.

use super::{Client, Inbound, InboundRefusal, Incoming, Index, inbound};
use ahash::RandomState;
use fairway_config::model::{AuthorizationKey, ResourceKind, Workload, WorkloadKey};
use fairway_config::{Changes, Snapshot};
use fairway_identity::SpiffeId;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

/// What a commit changed of what open connections depend on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Affected {
    pods: BTreeSet<WorkloadKey>,
    authorizations: BTreeSet<AuthorizationKey>,
    /// Where somebody else may be now.
    addresses: BTreeSet<IpAddr>,
}

/// By what a connection was admitted. It is judged again by the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Established {
    /// Into a pod, from a peer that proved its identity.
    Tunnelled {
        /// The identity that the peer proved.
        peer: SpiffeId,
        /// The address that the tunnel comes from.
        address: IpAddr,
        /// The address and port of the pod.
        destination: SocketAddr,
    },
    /// Into a pod, in plaintext.
    Plaintext {
        /// Whether a process of the pod's node connected.
        from_node: bool,
        /// The address of the client.
        address: IpAddr,
        /// The address and port of the pod.
        destination: SocketAddr,
        /// Whether the pod's probes are let through and nothing else.
        probes_only: bool,
    },
    /// Out of a pod.
    Outgoing {
        /// The address and the identity of the far end of a tunnel; none outside the mesh.
        far: Option<(IpAddr, SpiffeId)>,
    },
}

/// Why a connection that was admitted is not admitted any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Revoked {
    /// A policy or the mode of the pod refuses it now.
    #[error("the configuration changed: {0}")]
    Refused(#[from] InboundRefusal),
    /// Another workload has the address of the far end.
    #[error("the configuration changed: {address} belongs to {now}, not to {was}")]
    OtherIdentity {
        /// The address of the far end.
        address: IpAddr,
        /// Who was met there.
        was: SpiffeId,
        /// Who is there now.
        now: SpiffeId,
    },
}

impl Revoked {
    /// The word for the access log.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.reason(),
            Self::OtherIdentity { .. } => "other_identity",
        }
    }
}

/// The open connections of one thread, each with a handle of whoever carries it.
#[derive(Debug)]
pub struct OpenConnections<H> {
    next: u64,
    connections: HashMap<u64, Connection<H>, RandomState>,
    by_pod: HashMap<WorkloadKey, HashSet<u64, RandomState>, RandomState>,
    by_far_address: HashMap<IpAddr, HashSet<u64, RandomState>, RandomState>,
}

#[derive(Debug)]
struct Connection<H> {
    pod: WorkloadKey,
    established: Established,
    handle: H,
}

/// Whether a connection would be admitted now. `pod` is what the configuration says of its pod, if it knows the pod;
/// `addresses` are the addresses of the pod.
pub fn is_admitted(
    index: &Index,
    pod: Option<&Workload>,
    addresses: &[IpAddr],
    established: &Established,
) -> Result<(), Revoked> {
    // A pod that the configuration does not know any more is ending, and finishes what it has begun.
    let Some(pod) = pod else { return Ok(()) };
    let (incoming, probes_only) = match established {
        Established::Outgoing { far: None } => return Ok(()),
        Established::Outgoing { far: Some((address, was)) } => return is_still_at(index, *address, was),
        Established::Tunnelled { peer, address, destination } => {
            let client = Client::Peer(peer);
            (Incoming { client, address: *address, destination: *destination }, false)
        }
        Established::Plaintext { from_node, address, destination, probes_only } => {
            let client = if *from_node { Client::Node } else { Client::Plaintext };
            (Incoming { client, address: *address, destination: *destination }, *probes_only)
        }
    };
    match inbound(index, pod, addresses, incoming) {
        Inbound::Admit { .. } => Ok(()),
        Inbound::AdmitProbe if probes_only => Ok(()),
        // It was let in for everything, and would now be let in for the probes of the pod alone.
        Inbound::AdmitProbe => Err(InboundRefusal::ProbesOnly.into()),
        Inbound::Refuse(refusal) => Err(refusal.into()),
    }
}

/// Nobody at the address: whoever was met there is ending. Two: one of them takes over from the other.
fn is_still_at(index: &Index, address: IpAddr, was: &SpiffeId) -> Result<(), Revoked> {
    let mut there = index.workloads_at(address).map(|it| &it.identity).peekable();
    match there.peek().copied() {
        Some(now) if there.all(|it| it != was) => {
            Err(Revoked::OtherIdentity { address, was: was.clone(), now: now.clone() })
        }
        _ => Ok(()),
    }
}

// === impl Affected ===

impl Affected {
    /// What open connections have to be judged again for after a commit.
    pub fn by(before: &Snapshot, after: &Snapshot, changes: &Changes) -> Self {
        let mut affected = Self::default();
        for key in changes {
            match key.kind {
                ResourceKind::Workload => {
                    let versions = [before, after].map(|it| it.workloads.get(&*key.name));
                    let [old, new] = versions;
                    if !is_judged_alike(old.map(|it| &**it), new.map(|it| &**it)) {
                        affected.pods.insert(key.name.clone().into());
                        affected.addresses.extend(versions.iter().flatten().flat_map(|it| &it.addresses));
                    }
                }
                ResourceKind::Authorization => {
                    affected.authorizations.insert(key.name.clone().into());
                }
                _ => {}
            }
        }
        affected
    }

    /// Whether no connection has to be judged again.
    pub fn is_empty(&self) -> bool {
        self.pods.is_empty() && self.authorizations.is_empty()
    }
}

/// Whether two versions of a pod differ in nothing that a connection is judged by.
fn is_judged_alike(old: Option<&Workload>, new: Option<&Workload>) -> bool {
    let (Some(old), Some(new)) = (old, new) else { return false };
    old.uid == new.uid
        && old.addresses == new.addresses
        && old.identity == new.identity
        && old.mesh == new.mesh
        && old.probes == new.probes
        && old.authorizations == new.authorizations
}

// === impl OpenConnections ===

impl<H> Default for OpenConnections<H> {
    fn default() -> Self {
        Self {
            next: 0,
            connections: HashMap::default(),
            by_pod: HashMap::default(),
            by_far_address: HashMap::default(),
        }
    }
}

impl<H> OpenConnections<H> {
    /// Enters a connection of a pod; gives the number by which it is removed.
    pub fn insert(&mut self, pod: WorkloadKey, established: Established, handle: H) -> u64 {
        let number = self.next;
        self.next += 1;
        self.by_pod.entry(pod.clone()).or_default().insert(number);
        if let Established::Outgoing { far: Some((address, _)) } = &established {
            self.by_far_address.entry(*address).or_default().insert(number);
        }
        self.connections.insert(number, Connection { pod, established, handle });
        number
    }

    /// Removes a connection that has ended, if it is still there.
    pub fn remove(&mut self, number: u64) -> Option<H> {
        let Connection { pod, established, handle } = self.connections.remove(&number)?;
        remove_from(&mut self.by_pod, &pod, number);
        if let Established::Outgoing { far: Some((address, _)) } = &established {
            remove_from(&mut self.by_far_address, address, number);
        }
        Some(handle)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Judges again what a commit affects, and removes what is not admitted any more. Looks at nothing else: the cost does
    /// not grow with the number of connections, but with the pods that have some, and only if an authorization changed.
    pub fn review(
        &mut self,
        index: &Index,
        affected: &Affected,
        is_admitted: impl Fn(&H, &Established) -> Result<(), Revoked>,
    ) -> Vec<(H, Revoked)> {
        let names_changed = |pod: &WorkloadKey| {
            let named = index.workload(pod).map(|it| &it.authorizations[..]).unwrap_or_default();
            named.iter().any(|it| affected.authorizations.contains(it))
        };
        let by_authorization =
            self.by_pod.iter().filter(|(pod, _)| !affected.authorizations.is_empty() && names_changed(pod));
        let numbers: HashSet<u64, RandomState> = by_authorization
            .map(|(_, numbers)| numbers)
            .chain(affected.pods.iter().filter_map(|it| self.by_pod.get(it)))
            .chain(affected.addresses.iter().filter_map(|it| self.by_far_address.get(it)))
            .flatten()
            .copied()
            .collect();
        let refused = numbers.into_iter().filter_map(|number| {
            let it = self.connections.get(&number)?;
            Some((number, is_admitted(&it.handle, &it.established).err()?))
        });
        let refused: Vec<_> = refused.collect();
        refused.into_iter().filter_map(|(number, why)| Some((self.remove(number)?, why))).collect()
    }
}

fn remove_from<K: std::hash::Hash + Eq>(
    table: &mut HashMap<K, HashSet<u64, RandomState>, RandomState>,
    key: &K,
    number: u64,
) {
    if let Some(numbers) = table.get_mut(key) {
        numbers.remove(&number);
        if numbers.is_empty() {
            table.remove(key);
        }
    }
}
