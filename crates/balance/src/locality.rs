//! The candidates of a client: which endpoints of a Service it may be sent to, as kube-proxy decides it without a mesh.
//!
//! | field of the Service | effect |
//! |---|---|
//! | `internalTrafficPolicy: Local` | only endpoints on the client's node |
//! | `trafficDistribution` | the EndpointSlice controller writes hints; a client goes to endpoints with its node, else its zone, in their hints |
//!
//! Of these, the ready endpoints are candidates. If none is ready, the terminating ones that still serve are (KEP-1669).

use fairway_config::model::{Endpoint, EndpointState, Endpoints, Family, Hints, InternalTrafficPolicy};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where a client is. An unknown node or zone matches no hint.
///
/// ```
/// use fairway_balance::locality::{Locality, candidates};
/// use fairway_config::model::{Endpoint, EndpointState, Endpoints, Family, Hints, InternalTrafficPolicy};
/// use std::sync::Arc;
///
/// let endpoint = |host: u8, zone: Option<&str>| Endpoint {
///     address: ([10, 0, 0, host], 8080).into(),
///     state: EndpointState::Ready,
///     identity: None,
///     node: Some("node-1".into()),
///     hints: zone.map(|it| Arc::new(Hints { nodes: vec![], zones: vec![it.into()] })),
/// };
/// let mut endpoints = Endpoints::of_anybody("shop/web:80".into(), vec![endpoint(1, Some("a")), endpoint(2, None)]);
///
/// // One endpoint has no hint, so hints are about to be written or removed, and none of them counts (KEP-2433).
/// let in_zone_a = Locality::new(None, Some("a".to_owned()));
/// assert_eq!(candidates(&endpoints, Family::V4, &in_zone_a).len(), 2);
///
/// // `internalTrafficPolicy: Local` has no exception: a client on a node without endpoints has no candidates.
/// endpoints.internal_traffic_policy = InternalTrafficPolicy::Local;
/// let elsewhere = Locality::new(Some("node-2".to_owned()), None);
/// assert!(candidates(&endpoints, Family::V4, &elsewhere).is_empty());
///
/// // The downward API gives an empty text for a label that is missing: the node is unknown, and there is one machine.
/// let unknown = Locality::new(Some(String::new()), None);
/// assert_eq!(candidates(&endpoints, Family::V4, &unknown).len(), 2);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locality {
    /// The name of the client's node.
    pub node: Option<Arc<str>>,
    /// The zone of that node (`topology.kubernetes.io/zone`).
    pub zone: Option<Arc<str>>,
}

// === impl Locality ===

impl Locality {
    /// An empty name counts as unknown: the downward API gives one for a missing label.
    pub fn new(node: Option<String>, zone: Option<String>) -> Self {
        let known = |name: Option<String>| name.filter(|name| !name.is_empty()).map(Arc::from);
        Self { node: known(node), zone: known(zone) }
    }
}

/// The candidates of a client, in the order of `endpoints`. Empty if nothing serves, or if the Service is
/// `internalTrafficPolicy: Local` and nothing serves on the client's node.
///
/// ```
/// use fairway_balance::locality::{Locality, candidates};
/// use fairway_config::model::{Endpoint, EndpointState, Endpoints, Family, Hints};
/// use std::sync::Arc;
///
/// let endpoint = |host: u8, zone: &str| Endpoint {
///     address: ([10, 0, 0, host], 8080).into(),
///     state: EndpointState::Ready,
///     identity: None,
///     node: None,
///     hints: Some(Arc::new(Hints { nodes: vec![], zones: vec![zone.into()] })),
/// };
/// let endpoints = Endpoints::of_anybody("shop/web:80".into(), vec![endpoint(1, "a"), endpoint(2, "b")]);
///
/// let client = Locality::new(None, Some("b".to_owned()));
/// let near: Vec<_> = candidates(&endpoints, Family::V4, &client).iter().map(|endpoint| endpoint.address).collect();
/// assert_eq!(near, ["10.0.0.2:8080".parse()?]);
///
/// // Nothing has a hint for zone c: every endpoint is a candidate.
/// let client = Locality::new(None, Some("c".to_owned()));
/// assert_eq!(candidates(&endpoints, Family::V4, &client).len(), 2);
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
pub fn candidates<'a>(endpoints: &'a Endpoints, family: Family, client: &Locality) -> Vec<&'a Endpoint> {
    let of_family =
        endpoints.endpoints.iter().filter(|endpoint| Family::from_address(endpoint.address.ip()) == family);
    match (endpoints.internal_traffic_policy, &client.node) {
        (InternalTrafficPolicy::Cluster, _) => nearest(serving(of_family), client),
        // Without known nodes (`fairway run`) there is one machine, and every endpoint is on it.
        (InternalTrafficPolicy::Local, None) => serving(of_family),
        (InternalTrafficPolicy::Local, node) => serving(of_family.filter(|endpoint| endpoint.node == *node)),
    }
}

/// The candidates of the clients on each node, for a Service with `internalTrafficPolicy: Local`. A node without an entry has
/// none.
pub fn candidates_by_node(endpoints: &Endpoints, family: Family) -> BTreeMap<&Arc<str>, Vec<&Endpoint>> {
    let mut nodes: BTreeMap<_, Vec<_>> = BTreeMap::new();
    let of_family =
        endpoints.endpoints.iter().filter(|endpoint| Family::from_address(endpoint.address.ip()) == family);
    for endpoint in of_family {
        if let Some(node) = &endpoint.node {
            nodes.entry(node).or_default().push(endpoint);
        }
    }
    nodes.into_iter().map(|(node, endpoints)| (node, serving(endpoints))).collect()
}

/// The family to use for a client that has not dialled an address of one: the Service's primary family, whose endpoints come
/// first.
pub fn primary_family(endpoints: &Endpoints) -> Family {
    endpoints.endpoints.first().map_or(Family::V4, |endpoint| Family::from_address(endpoint.address.ip()))
}

/// The ready endpoints; if there are none, the terminating ones that still serve.
fn serving<'a>(endpoints: impl IntoIterator<Item = &'a Endpoint>) -> Vec<&'a Endpoint> {
    let (mut ready, mut draining) = (Vec::new(), Vec::new());
    for endpoint in endpoints {
        match endpoint.state {
            EndpointState::Ready => ready.push(endpoint),
            EndpointState::Draining => draining.push(endpoint),
            EndpointState::Unready => {}
        }
    }
    if ready.is_empty() { draining } else { ready }
}

/// The endpoints with hints for the client's node, else for its zone, else all. Hints for nodes or zones count only if every
/// endpoint has some (KEP-2433): otherwise the controller is about to write or to remove them.
fn nearest<'a>(endpoints: Vec<&'a Endpoint>, client: &Locality) -> Vec<&'a Endpoint> {
    let node_hints: fn(&Hints) -> &[Arc<str>] = |hints| &hints.nodes;
    let zone_hints: fn(&Hints) -> &[Arc<str>] = |hints| &hints.zones;
    for (own, select) in [(&client.node, node_hints), (&client.zone, zone_hints)] {
        let Some(own) = own else { continue };
        let hints = |endpoint: &'a Endpoint| endpoint.hints.as_deref().map(select).unwrap_or_default();
        let is_hinted =
            |endpoint: &'a Endpoint| endpoint.state == EndpointState::Ready && !hints(endpoint).is_empty();
        if !endpoints.iter().all(|endpoint| is_hinted(endpoint)) {
            continue;
        }
        let near: Vec<_> =
            endpoints.iter().copied().filter(|endpoint| hints(endpoint).contains(own)).collect();
        if !near.is_empty() {
            return near;
        }
    }
    endpoints
}

#[cfg(test)]
mod tests;
