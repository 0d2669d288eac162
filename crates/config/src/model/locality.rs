//! Which endpoints are for whom, as kube-proxy decides it for those who have no mesh.

use super::{BackendKey, Endpoint, EndpointState, Endpoints};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Where a client is. What is not known is near nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locality {
    /// The name of its node.
    pub node: Option<Arc<str>>,
    /// The zone of that.
    pub zone: Option<Arc<str>>,
}

/// Which endpoints a Service may be reached at (`internalTrafficPolicy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Reach {
    /// All of them.
    #[default]
    Cluster,
    /// Those on the client's node.
    Node,
}

/// Whether a client meets the same endpoint again (`sessionAffinity`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Affinity {
    /// Any will do.
    #[default]
    None,
    /// By its address: see [`Imprint`].
    Client,
}

/// A family of addresses. A program may listen on one alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// For whose clients an endpoint is rather than for others (the hints of an EndpointSlice).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Hints {
    /// Those on these nodes.
    pub nodes: Vec<Arc<str>>,
    /// Those in these zones.
    pub zones: Vec<Arc<str>>,
}

/// A number that stands for an address, the same in every process and every version. A client's endpoint is the one with
/// the greatest [`affinity`](Self::affinity) (rendezvous hashing), so that all proxies agree on it without a table, and an
/// endpoint that goes moves nobody else's clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Imprint(u64);

// === impl Locality ===

impl Locality {
    /// Empty names, which the downward API gives for what is not there, are names that are not known.
    pub fn new(node: Option<String>, zone: Option<String>) -> Self {
        let known = |it: Option<String>| it.filter(|it| !it.is_empty()).map(Arc::from);
        Self { node: known(node), zone: known(zone) }
    }
}

// === impl Endpoints ===

impl Endpoints {
    /// Endpoints of which any will do for anybody.
    pub fn of_anybody(backend: BackendKey, endpoints: Vec<Endpoint>) -> Self {
        Self {
            backend,
            reach: Reach::Cluster,
            affinity: Affinity::None,
            endpoints,
            guards: Vec::new(),
            proxies: Vec::new(),
        }
    }

    /// The endpoints of a family that clients there are sent to: the ready ones that are near, or all that are ready, or
    /// those that are just ending (KEP-1669, KEP-3015). None if a Service of [`Reach::Node`] has none on that node.
    pub fn choosable(&self, family: Family, client: &Locality) -> Vec<&Endpoint> {
        let mine = self.endpoints.iter().filter(|it| Family::of(it.address.ip()) == family);
        match (self.reach, &client.node) {
            (Reach::Cluster, _) => nearest(serving(mine), client),
            // Without nodes (standalone) there is one machine, and all are on it.
            (Reach::Node, None) => serving(mine),
            (Reach::Node, node) => serving(mine.filter(|it| it.node == *node)),
        }
    }

    /// What [`Self::choosable`] gives on each node for a Service of [`Reach::Node`].
    pub fn choosable_by_node(&self, family: Family) -> BTreeMap<&Arc<str>, Vec<&Endpoint>> {
        let mut nodes: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for it in self.endpoints.iter().filter(|it| Family::of(it.address.ip()) == family) {
            if let Some(node) = &it.node {
                nodes.entry(node).or_default().push(it);
            }
        }
        nodes.into_iter().map(|(node, all)| (node, serving(all))).collect()
    }

    /// The family to use where no client has dialled one: the Service's own, whose endpoints stand first.
    pub fn family(&self) -> Family {
        self.endpoints.first().map_or(Family::V4, |it| Family::of(it.address.ip()))
    }
}

// === impl Family ===

impl Family {
    /// An address's.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

/// Those that are ready, or if none is, those that end and still serve.
fn serving<'a>(endpoints: impl IntoIterator<Item = &'a Endpoint>) -> Vec<&'a Endpoint> {
    let (mut ready, mut draining) = (Vec::new(), Vec::new());
    for it in endpoints {
        match it.state {
            EndpointState::Ready => ready.push(it),
            EndpointState::Draining => draining.push(it),
            EndpointState::Unready => {}
        }
    }
    if ready.is_empty() { draining } else { ready }
}

/// Hints count only if every endpoint has some: else they are being written, or withdrawn.
fn nearest<'a>(all: Vec<&'a Endpoint>, client: &Locality) -> Vec<&'a Endpoint> {
    let of_nodes: fn(&Hints) -> &[Arc<str>] = |it| &it.nodes;
    let of_zones: fn(&Hints) -> &[Arc<str>] = |it| &it.zones;
    for (own, of) in [(&client.node, of_nodes), (&client.zone, of_zones)] {
        let Some(own) = own else { continue };
        let hints = |it: &'a Endpoint| it.hints.as_deref().map(of).unwrap_or_default();
        if all.iter().any(|it| it.state != EndpointState::Ready || hints(it).is_empty()) {
            continue;
        }
        let near: Vec<_> = all.iter().copied().filter(|it| hints(it).contains(own)).collect();
        if !near.is_empty() {
            return near;
        }
    }
    all
}

// === impl Imprint ===

impl Imprint {
    /// A client's: its port is another with each connection.
    pub fn of_client(address: IpAddr) -> Self {
        Self::of(address, 0)
    }

    /// An endpoint's.
    pub fn of_endpoint(address: SocketAddr) -> Self {
        Self::of(address.ip(), address.port())
    }

    /// How much an endpoint of this imprint and a client of that one are for each other.
    pub fn affinity(self, client: Self) -> u64 {
        mixed(self.0 ^ client.0.rotate_left(32))
    }

    fn of(address: IpAddr, port: u16) -> Self {
        let bits = match address.to_canonical() {
            IpAddr::V4(it) => u128::from(it.to_bits()),
            IpAddr::V6(it) => it.to_bits(),
        };
        let halves = [bits, bits >> 64].map(|it| (it & u128::from(u64::MAX)) as u64);
        Self(halves.into_iter().fold(mixed(u64::from(port)), |sum, it| mixed(sum ^ it)))
    }
}

/// The finalizer of SplitMix64: each bit of the input turns half of those of the output.
fn mixed(number: u64) -> u64 {
    let mut it = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    it = (it ^ (it >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    it ^ (it >> 31)
}

#[cfg(test)]
mod tests;
