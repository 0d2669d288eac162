//! A backend's endpoints, ready to choose from.

use super::caller::Caller;
use super::endpoint::EndpointRecord;
use super::tls::{Security, Shown, TlsClient, TlsClients, Unusable};
use ahash::HashMap;
use fairway_config::model::{
    Affinity, AppProtocol, Backend, BackendKey, BackendSecurity, CertificateKey, Endpoint, EndpointState,
    Endpoints, Locality, Reach, ServiceKey, SpiffeId,
};
use fairway_telemetry::{RequestLabels, Series};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

/// A backend and the endpoints that may be chosen. Immutable; load and health live in the shared records.
#[derive(Debug)]
pub struct Cluster {
    /// Where requests count that come here without a rule.
    series: Option<Series<RequestLabels>>,
    key: BackendKey,
    backend: Option<Arc<Backend>>,
    security: Security,
    is_sticky: bool,
    /// What is open to everybody who is sent to this backend.
    offer: Offer,
    /// What else is guarded, and open to those who have asked for a Service that guards it. Few, and mostly none.
    guarded: Box<[(ServiceKey, Offer)]>,
}

/// Endpoints that may be chosen.
#[derive(Debug)]
struct Offer {
    /// All that serve; first those to choose from.
    serving: Records,
    chosen: usize,
    /// Of a Service that is reached on the client's node only.
    of_nodes: Option<Box<OfNodes>>,
}

type Records = Box<[Arc<EndpointRecord>]>;

/// The endpoints to choose from on each node.
#[derive(Debug)]
struct OfNodes {
    /// The proxy's own node.
    own: Option<Arc<str>>,
    nodes: HashMap<Arc<str>, Records>,
}

/// What all clusters share: every endpoint's record, so that its load and health are the same for all routes and survive
/// commits, and every TLS client.
#[derive(Debug, Default)]
pub struct Registry {
    /// Where the proxy is.
    locality: Locality,
    records: HashMap<(SocketAddr, Option<SpiffeId>), Weak<EndpointRecord>>,
    /// Size after which dead entries are looked for.
    sweep_at: usize,
    tls: TlsClients,
}

// === impl Cluster ===

impl Cluster {
    /// The same; requests that come here without a rule count in `series`.
    pub fn counted_by(self, series: Series<RequestLabels>) -> Self {
        Self { series: Some(series), ..self }
    }

    /// Where requests count that come here without a rule.
    pub fn series(&self) -> Option<&Series<RequestLabels>> {
        self.series.as_ref()
    }

    /// Puts a backend and its endpoints together. Either may be missing: a waypoint's own endpoints have no backend, and a
    /// Service may have no EndpointSlice.
    pub fn new(
        key: BackendKey,
        backend: Option<Arc<Backend>>,
        endpoints: Option<&Endpoints>,
        shown: &Shown,
        registry: &mut Registry,
    ) -> Self {
        let security = match &backend {
            Some(backend) => registry.tls.security(&backend.security, shown),
            None => Security::Plain,
        };
        let own: Vec<&ServiceKey> = backend.iter().map(|it| &it.service).collect();
        let open = endpoints.map(|it| it.open_to(&own));
        let offer = Offer::new(open.as_deref(), registry);
        let mut guarded = Vec::new();
        for guard in endpoints.iter().flat_map(|it| &it.guards).filter(|it| !own.contains(&&it.service)) {
            let asked: Vec<&ServiceKey> = own.iter().copied().chain([&guard.service]).collect();
            let opened = endpoints.map(|it| it.open_to(&asked));
            if opened != open {
                guarded.push((guard.service.clone(), Offer::new(opened.as_deref(), registry)));
            }
        }
        Self {
            series: None,
            key,
            security,
            is_sticky: endpoints.is_some_and(|it| it.affinity == Affinity::Client),
            offer,
            guarded: guarded.into(),
            backend,
        }
    }

    /// Whose endpoints they are.
    pub fn key(&self) -> &BackendKey {
        &self.key
    }

    /// What they speak.
    pub fn protocol(&self) -> AppProtocol {
        self.backend.as_ref().map_or(AppProtocol::Unspecified, |it| it.protocol)
    }

    /// How it is connected to from a listener that shows this certificate; none stands for plain bytes.
    pub fn tls(&self, shown: Option<&CertificateKey>) -> Result<Option<&Arc<TlsClient>>, Unusable> {
        self.security.client(shown)
    }

    /// Whether the certificates that listeners show matter to it.
    pub fn is_secured(&self) -> bool {
        self.backend.as_ref().is_some_and(|it| matches!(it.security, BackendSecurity::Tls(_)))
    }

    /// The waypoint through which alone they are reached, and the Service's address to name in the tunnel.
    pub fn via(&self) -> Option<&(BackendKey, SocketAddr)> {
        self.backend.as_ref().and_then(|it| it.via.as_ref())
    }

    /// The endpoints to choose from: see [`Endpoints::open_to`] and [`Endpoints::choosable`].
    pub fn candidates(&self, caller: &Caller) -> &[Arc<EndpointRecord>] {
        let offer = match &caller.service {
            Some(asked) if !self.guarded.is_empty() => {
                let guarded = self.guarded.iter().find(|(service, _)| service == asked);
                guarded.map_or(&self.offer, |(_, offer)| offer)
            }
            _ => &self.offer,
        };
        offer.to(caller)
    }

    /// Whether a caller meets the same endpoint again.
    pub fn is_sticky(&self) -> bool {
        self.is_sticky
    }

    /// Whether this is still one of its endpoints, so that what goes there may go on.
    pub fn holds(&self, endpoint: &Arc<EndpointRecord>) -> bool {
        self.records().any(|it| Arc::ptr_eq(it, endpoint))
    }

    /// Whether one of its endpoints has one of these addresses.
    pub fn reaches(&self, addresses: &HashSet<SocketAddr>) -> bool {
        self.records().any(|it| addresses.contains(&it.address()))
    }

    /// The endpoints that serve.
    pub fn endpoints(&self) -> impl Iterator<Item = &Arc<EndpointRecord>> {
        self.offer.serving.iter()
    }

    fn records(&self) -> impl Iterator<Item = &Arc<EndpointRecord>> {
        let offers = std::iter::once(&self.offer).chain(self.guarded.iter().map(|(_, offer)| offer));
        offers.flat_map(|it| &it.serving)
    }
}

// === impl Offer ===

impl Offer {
    fn new(endpoints: Option<&Endpoints>, registry: &mut Registry) -> Self {
        let chosen = endpoints.map(|it| it.choosable(it.family(), &registry.locality)).unwrap_or_default();
        let all = endpoints.map(|it| it.endpoints.as_slice()).unwrap_or_default();
        let mut serving: Vec<_> = chosen.iter().map(|it| registry.record(it)).collect();
        // Those that are left out; `chosen` has the order of `all`.
        let mut chosen_next = chosen.iter().copied().peekable();
        for it in all {
            let is_chosen = chosen_next.next_if(|next| std::ptr::eq(*next, it)).is_some();
            if !is_chosen && it.state != EndpointState::Unready {
                serving.push(registry.record(it));
            }
        }
        let of_nodes = endpoints.and_then(|it| OfNodes::new(it, registry)).map(Box::new);
        Self { serving: serving.into(), chosen: chosen.len(), of_nodes }
    }

    fn to(&self, caller: &Caller) -> &[Arc<EndpointRecord>] {
        let of_node = self.of_nodes.as_ref().and_then(|it| it.of(caller));
        of_node.unwrap_or_else(|| self.serving.get(..self.chosen).unwrap_or_default())
    }
}

// === impl OfNodes ===

impl OfNodes {
    fn new(endpoints: &Endpoints, registry: &mut Registry) -> Option<Self> {
        if endpoints.reach != Reach::Node {
            return None;
        }
        let nodes = endpoints.choosable_by_node(endpoints.family()).into_iter();
        let nodes =
            nodes.map(|(node, all)| (node.clone(), all.into_iter().map(|it| registry.record(it)).collect()));
        Some(Self { nodes: nodes.collect(), own: registry.locality.node.clone() })
    }

    /// None where nodes are not known at all.
    fn of(&self, caller: &Caller) -> Option<&[Arc<EndpointRecord>]> {
        let node = caller.node.as_ref().or(self.own.as_ref())?;
        Some(self.nodes.get(node).map(|it| &**it).unwrap_or_default())
    }
}

// === impl Registry ===

impl Registry {
    /// For a proxy there.
    pub fn of_proxy(locality: Locality) -> Self {
        Self { locality, ..Self::default() }
    }

    /// The record of an endpoint, made if nobody holds one.
    pub fn record(&mut self, endpoint: &Endpoint) -> Arc<EndpointRecord> {
        let key = (endpoint.address, endpoint.identity.clone());
        if let Some(record) = self.records.get(&key).and_then(Weak::upgrade) {
            return record;
        }
        let record = Arc::new(EndpointRecord::new(endpoint.address, endpoint.identity.clone()));
        self.records.insert(key, Arc::downgrade(&record));
        record
    }

    /// Forgets what no cluster holds any more. Endpoints cost nothing until they have doubled since the last time.
    pub fn sweep(&mut self) {
        if self.records.len() > self.sweep_at {
            self.records.retain(|_, it| it.strong_count() > 0);
            self.sweep_at = (self.records.len() * 2).max(64);
        }
        self.tls.sweep();
    }

    /// How many endpoints are kept, dead ones included.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairway_config::model::Hints;

    fn endpoints(list: &[(u8, EndpointState)]) -> Endpoints {
        let endpoint = |&(host, state): &(u8, EndpointState)| Endpoint {
            address: ([10, 0, 0, host], 80).into(),
            state,
            identity: None,
            node: None,
            hints: None,
        };
        Endpoints::of_anybody("shop/web:80".into(), list.iter().map(endpoint).collect())
    }

    fn hosts(cluster: &Cluster) -> Vec<u8> {
        hosts_of(cluster.candidates(&Caller::default()))
    }

    fn hosts_of(records: &[Arc<EndpointRecord>]) -> Vec<u8> {
        records.iter().map(|it| it.address().to_string().as_bytes()[7] - b'0').collect()
    }

    #[test]
    fn draining_endpoints_are_chosen_only_when_none_is_ready() {
        use EndpointState::{Draining, Ready, Unready};
        for (all, expected) in [
            (vec![(1, Ready), (2, Draining), (3, Unready)], vec![1]),
            (vec![(2, Draining), (3, Unready)], vec![2]),
            (vec![(3, Unready)], vec![]),
        ] {
            let cluster = Cluster::new(
                "shop/web:80".into(),
                None,
                Some(&endpoints(&all)),
                &Shown::default(),
                &mut Registry::default(),
            );
            assert_eq!(hosts(&cluster), expected, "{all:?}");
        }
    }

    #[test]
    fn of_a_service_that_is_local_each_caller_is_offered_the_endpoints_of_its_own_node() {
        use EndpointState::{Draining, Ready, Unready};
        let mut all = endpoints(&[(1, Ready), (2, Draining), (3, Draining), (4, Unready), (5, Ready)]);
        for (it, node) in all.endpoints.iter_mut().zip(["n1", "n1", "n2", "n3"]) {
            it.node = Some(node.into());
        }
        all.reach = Reach::Node;
        let mut registry = Registry::of_proxy(Locality::new(Some("n2".to_owned()), None));
        let cluster = Cluster::new("shop/web:80".into(), None, Some(&all), &Shown::default(), &mut registry);
        for (node, expected) in [
            (Some("n1"), vec![1]),
            (Some("n2"), vec![3]),
            (None, vec![3]),
            (Some("n3"), vec![]),
            (Some("n4"), vec![]),
        ] {
            let caller = Caller { node: node.map(Arc::from), ..Caller::default() };
            assert_eq!(hosts_of(cluster.candidates(&caller)), expected, "{node:?}");
        }
    }

    #[test]
    fn hints_are_for_the_proxy_and_what_is_not_near_goes_on_with_what_it_has() {
        let mut all = endpoints(&[(1, EndpointState::Ready), (2, EndpointState::Ready)]);
        for (it, zone) in all.endpoints.iter_mut().zip(["z1", "z2"]) {
            it.hints = Some(Arc::new(Hints { nodes: vec![], zones: vec![zone.into()] }));
        }
        for (zone, expected) in [("z1", vec![1]), ("z2", vec![2]), ("z3", vec![1, 2])] {
            let mut registry = Registry::of_proxy(Locality::new(None, Some(zone.to_owned())));
            let cluster =
                Cluster::new("shop/web:80".into(), None, Some(&all), &Shown::default(), &mut registry);
            assert_eq!(hosts(&cluster), expected, "{zone}");
            assert!(all.endpoints.iter().all(|it| cluster.holds(&registry.record(it))));
        }
    }

    #[test]
    fn one_endpoint_has_one_record_in_every_cluster_as_long_as_one_holds_it() {
        let mut registry = Registry::default();
        let list = endpoints(&[(1, EndpointState::Ready)]);
        let first = Cluster::new("a/a:80".into(), None, Some(&list), &Shown::default(), &mut registry);
        let second = Cluster::new("b/b:80".into(), None, Some(&list), &Shown::default(), &mut registry);
        assert!(Arc::ptr_eq(
            &first.candidates(&Caller::default())[0],
            &second.candidates(&Caller::default())[0]
        ));
        drop((first, second));
        registry.sweep();
        assert!(registry.is_empty());
    }

    #[test]
    fn another_identity_at_the_same_address_is_another_endpoint() {
        let mut registry = Registry::default();
        let mut endpoint = endpoints(&[(1, EndpointState::Ready)]).endpoints.remove(0);
        let plain = registry.record(&endpoint);
        endpoint.identity = Some("spiffe://cluster.local/ns/shop/sa/web".parse().unwrap());
        assert!(!Arc::ptr_eq(&plain, &registry.record(&endpoint)));
    }
}
