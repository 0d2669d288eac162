//! The endpoints that one connection may go to.

use fairway_config::model::{Affinity, Endpoints, Family, Imprint, Locality};
use fairway_identity::SpiffeId;
use std::cmp::Reverse;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;

/// An endpoint that may be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reachable {
    /// Where it listens.
    pub address: SocketAddr,
    /// Who it is, if it is in the mesh.
    pub identity: Option<SpiffeId>,
}

/// The endpoints that one connection may go to; never empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    all: Arc<[Reachable]>,
    of: Range<usize>,
    /// Of a Service with session affinity, in the order of `all`.
    imprints: Option<Arc<[Imprint]>>,
}

/// Those that clients of this node may be sent to: of IPv4, then of IPv6.
pub(super) fn choosable(endpoints: &Endpoints, locality: &Locality) -> Arc<[Reachable]> {
    let of = |family| endpoints.choosable(family, locality);
    let both = of(Family::V4).into_iter().chain(of(Family::V6));
    both.map(|it| Reachable { address: it.address, identity: it.identity.clone() }).collect()
}

/// The imprints of those, if it matters which client gets which.
pub(super) fn imprints(endpoints: &Endpoints, choosable: &[Reachable]) -> Option<Arc<[Imprint]>> {
    let imprints = || choosable.iter().map(|it| Imprint::of_endpoint(it.address)).collect();
    (endpoints.affinity == Affinity::Client).then(imprints)
}

// === impl Choice ===

impl Choice {
    /// Exactly this one.
    pub(super) fn only(it: Reachable) -> Self {
        Self { all: Arc::new([it]), of: 0..1, imprints: None }
    }

    /// Those of a family, or of both; none if there are none.
    pub(super) fn among(
        all: &Arc<[Reachable]>,
        imprints: Option<&Arc<[Imprint]>>,
        family: Option<Family>,
    ) -> Option<Self> {
        let first_of_6 = all.partition_point(|it| it.address.is_ipv4());
        let of = match family {
            Some(Family::V4) => 0..first_of_6,
            Some(Family::V6) => first_of_6..all.len(),
            None => 0..all.len(),
        };
        (!of.is_empty()).then(|| Self { all: all.clone(), of, imprints: imprints.cloned() })
    }

    /// All of them.
    pub fn endpoints(&self) -> &[Reachable] {
        self.all.get(self.of.clone()).unwrap_or_default()
    }

    /// In the order in which a client has to try them, if that matters: then it always meets the same.
    pub fn in_order_for(&self, client: IpAddr) -> Option<Vec<&Reachable>> {
        let client = Imprint::of_client(client);
        let imprints = self.imprints.as_ref()?.get(self.of.clone())?;
        let mut order: Vec<_> = imprints.iter().map(|it| it.affinity(client)).zip(self.endpoints()).collect();
        order.sort_unstable_by_key(|(affinity, _)| Reverse(*affinity));
        Some(order.into_iter().map(|(_, it)| it).collect())
    }
}
