//! A backend and the candidates among its endpoints.

use super::caller::Caller;
use super::tls::{Security, Shown, TlsClient, TlsClients, Unusable};
use ahash::HashMap;
use fairway_balance::locality::{candidates, candidates_by_node, primary_family};
use fairway_balance::{EndpointRecord, HashKey, Locality, Moment, Readmission, Request};
use fairway_config::model::{
    AppProtocol, AuthenticationKey, AuthorizationKey, Backend, BackendKey, BackendSecurity, CertificateKey,
    Endpoint, EndpointState, Endpoints, InternalTrafficPolicy, RateLimitKey, ServiceKey, SessionAffinity,
    SpiffeId,
};
use fairway_telemetry::{ConnectionLabels, RequestLabels, Series};
use rand::Rng;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

/// A backend and its endpoints. Immutable; load and health are in the records, which all clusters share.
#[derive(Debug)]
pub struct Cluster {
    /// Where requests count that come here without a rule.
    series: Option<Series<RequestLabels>>,
    /// Where connections count that come here without a route.
    connections: Option<Series<ConnectionLabels>>,
    key: BackendKey,
    backend: Option<Arc<Backend>>,
    security: Security,
    has_affinity: bool,
    /// The endpoints for every caller of this backend.
    open: EndpointSet,
    /// The endpoints for callers that have asked for a Service which guards some of them. Mostly none.
    guarded: Box<[(ServiceKey, EndpointSet)]>,
}

/// The endpoints that a caller may be sent to, as far as guards are concerned.
#[derive(Debug)]
struct EndpointSet {
    /// All that serve. The first `candidates` are the candidates of a caller on the proxy's own node.
    serving: Records,
    candidates: usize,
    /// For a Service with `internalTrafficPolicy: Local`.
    by_node: Option<Box<NodeCandidates>>,
}

type Records = Box<[Arc<EndpointRecord>]>;

/// The candidates on each node.
#[derive(Debug)]
struct NodeCandidates {
    /// The node of the proxy, for callers whose node is not known.
    own: Option<Arc<str>>,
    nodes: HashMap<Arc<str>, Records>,
}

/// What all clusters share: the record of each endpoint, so that its load and health are the same for all routes and survive
/// commits, and the TLS clients.
#[derive(Debug, Default)]
pub struct Registry {
    /// The locality of the proxy.
    locality: Locality,
    records: HashMap<(SocketAddr, Option<SpiffeId>), Weak<EndpointRecord>>,
    /// Number of records at which the next sweep happens.
    sweep_at: usize,
    tls: TlsClients,
}

// === impl Cluster ===

impl Cluster {
    /// The same; requests that come here without a rule count in `series`, and connections without a route in `connections`.
    pub fn counted_by(
        self,
        series: Series<RequestLabels>,
        connections: Option<Series<ConnectionLabels>>,
    ) -> Self {
        Self { series: Some(series), connections, ..self }
    }

    /// Where connections count that come here without a route.
    pub fn connections(&self) -> Option<&Series<ConnectionLabels>> {
        self.connections.as_ref()
    }

    /// Where requests count that come here without a rule.
    pub fn series(&self) -> Option<&Series<RequestLabels>> {
        self.series.as_ref()
    }

    /// Combines a backend with its endpoints. Either may be missing: the endpoints of a waypoint have no backend, and a Service may
    /// have no EndpointSlice.
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
        let own: Vec<&ServiceKey> = backend.iter().map(|backend| &backend.service).collect();
        let open = endpoints.map(|endpoints| endpoints.open_to(&own));
        let open_set = EndpointSet::new(open.as_deref(), registry);
        let mut guarded = Vec::new();
        let guards = endpoints.iter().flat_map(|endpoints| &endpoints.guards);
        for guard in guards.filter(|guard| !own.contains(&&guard.service)) {
            let asked: Vec<&ServiceKey> = own.iter().copied().chain([&guard.service]).collect();
            let opened = endpoints.map(|endpoints| endpoints.open_to(&asked));
            if opened != open {
                guarded.push((guard.service.clone(), EndpointSet::new(opened.as_deref(), registry)));
            }
        }
        Self {
            series: None,
            connections: None,
            key,
            security,
            has_affinity: endpoints
                .is_some_and(|endpoints| endpoints.session_affinity == SessionAffinity::ClientIp),
            open: open_set,
            guarded: guarded.into(),
            backend,
        }
    }

    /// `<namespace>/<service>:<port>`, as the configuration names it.
    pub fn key(&self) -> &BackendKey {
        &self.key
    }

    /// The application protocol of the endpoints. [`AppProtocol::Unspecified`] without a backend.
    pub fn protocol(&self) -> AppProtocol {
        self.backend.as_ref().map_or(AppProtocol::Unspecified, |it| it.protocol)
    }

    /// The TLS client for connections from a listener that presents the certificate `shown`. `Ok(None)` if the backend is plain.
    pub fn tls(&self, shown: Option<&CertificateKey>) -> Result<Option<&Arc<TlsClient>>, Unusable> {
        self.security.client(shown)
    }

    /// Whether connections use TLS, so that the listeners' certificates matter.
    pub fn is_secured(&self) -> bool {
        self.backend.as_ref().is_some_and(|it| matches!(it.security, BackendSecurity::Tls(_)))
    }

    /// The waypoint that the Service requires, and the Service's address for the tunnel's authority.
    pub fn via(&self) -> Option<&(BackendKey, SocketAddr)> {
        self.backend.as_ref().and_then(|it| it.via.as_ref())
    }

    /// The authorizations that judge what is asked of the backend's Service or routed to it.
    pub fn authorizations(&self) -> &[AuthorizationKey] {
        self.backend.as_ref().map(|it| &*it.authorizations).unwrap_or_default()
    }

    /// The limits that count what is asked of the backend's Service or routed to it.
    pub fn limits(&self) -> &[RateLimitKey] {
        self.backend.as_ref().map(|it| &*it.limits).unwrap_or_default()
    }

    /// The authentications of what is asked of the backend's Service or routed to it.
    pub fn authentications(&self) -> &[AuthenticationKey] {
        self.backend.as_ref().map(|it| &*it.authentications).unwrap_or_default()
    }

    /// Whether anything authenticates, judges or counts it.
    pub fn is_guarded(&self) -> bool {
        !self.authentications().is_empty() || !self.authorizations().is_empty() || !self.limits().is_empty()
    }

    /// The port of the Service; none for endpoints of which nothing else is known.
    pub fn port(&self) -> Option<u16> {
        self.backend.as_ref().map(|it| it.port)
    }

    /// The namespace of the Service; none for endpoints of which nothing else is known.
    pub fn namespace(&self) -> Option<&str> {
        let service = self.backend.as_ref().map(|it| it.service.as_str());
        service.and_then(|it| it.split_once('/')).map(|(namespace, _)| namespace)
    }

    /// Whether the configuration has its endpoints and nothing else: a waypoint, or a backend that this proxy has refused.
    pub fn is_unknown(&self) -> bool {
        self.backend.is_none()
    }

    /// The candidates of a caller, by guards ([`Endpoints::open_to`]) and by locality ([`candidates`]).
    pub fn candidates(&self, caller: &Caller) -> &[Arc<EndpointRecord>] {
        let set = match &caller.service {
            Some(asked) if !self.guarded.is_empty() => {
                let guarded = self.guarded.iter().find(|(service, _)| service == asked);
                guarded.map_or(&self.open, |(_, set)| set)
            }
            _ => &self.open,
        };
        set.candidates(caller)
    }

    /// Chooses an endpoint for a caller; see [`fairway_balance::pick`]. `tried` are the endpoints that the request has tried.
    /// `start_check` gets each endpoint for which an active health check is due. `None` only if the caller has no candidate.
    pub fn pick(
        &self,
        caller: &Caller,
        now: Moment,
        readmission: Readmission,
        tried: &[Arc<EndpointRecord>],
        rng: &mut impl Rng,
        mut start_check: impl FnMut(&Arc<EndpointRecord>),
    ) -> Option<&Arc<EndpointRecord>> {
        let candidates = self.candidates(caller);
        let client = caller.address.filter(|_| self.has_affinity).map(HashKey::of_client);
        let is_tried = |index: usize| {
            candidates
                .get(index)
                .is_some_and(|candidate| tried.iter().any(|tried| Arc::ptr_eq(tried, candidate)))
        };
        let start_check = |index: usize| candidates.get(index).into_iter().for_each(&mut start_check);
        let request = Request { now, client, readmission };
        let index = fairway_balance::pick(candidates, &request, rng, is_tried, start_check)?;
        candidates.get(index)
    }

    /// Whether `endpoint` still belongs to the backend, so that a session with it may go on.
    pub fn holds(&self, endpoint: &Arc<EndpointRecord>) -> bool {
        self.records().any(|record| Arc::ptr_eq(record, endpoint))
    }

    /// Whether an endpoint of the backend has one of these addresses.
    pub fn reaches(&self, addresses: &HashSet<SocketAddr>) -> bool {
        self.records().any(|record| addresses.contains(&record.address()))
    }

    /// The endpoints that serve.
    pub fn endpoints(&self) -> impl Iterator<Item = &Arc<EndpointRecord>> {
        self.open.serving.iter()
    }

    fn records(&self) -> impl Iterator<Item = &Arc<EndpointRecord>> {
        let sets = std::iter::once(&self.open).chain(self.guarded.iter().map(|(_, set)| set));
        sets.flat_map(|set| &set.serving)
    }
}

// === impl EndpointSet ===

impl EndpointSet {
    fn new(endpoints: Option<&Endpoints>, registry: &mut Registry) -> Self {
        let Some(endpoints) = endpoints else {
            return Self { serving: Box::default(), candidates: 0, by_node: None };
        };
        let chosen = candidates(endpoints, primary_family(endpoints), &registry.locality);
        let mut serving: Vec<_> = chosen.iter().map(|endpoint| registry.record(endpoint)).collect();
        // The rest of those that serve. `chosen` has the order of `endpoints`.
        let mut next_chosen = chosen.iter().copied().peekable();
        for endpoint in &endpoints.endpoints {
            let is_chosen = next_chosen.next_if(|next| std::ptr::eq(*next, endpoint)).is_some();
            if !is_chosen && endpoint.state != EndpointState::Unready {
                serving.push(registry.record(endpoint));
            }
        }
        let by_node = NodeCandidates::new(endpoints, registry).map(Box::new);
        Self { serving: serving.into(), candidates: chosen.len(), by_node }
    }

    fn candidates(&self, caller: &Caller) -> &[Arc<EndpointRecord>] {
        let on_node = self.by_node.as_ref().and_then(|by_node| by_node.candidates(caller));
        on_node.unwrap_or_else(|| self.serving.get(..self.candidates).unwrap_or_default())
    }
}

// === impl NodeCandidates ===

impl NodeCandidates {
    fn new(endpoints: &Endpoints, registry: &mut Registry) -> Option<Self> {
        if endpoints.internal_traffic_policy != InternalTrafficPolicy::Local {
            return None;
        }
        let mut nodes = HashMap::default();
        for (node, candidates) in candidates_by_node(endpoints, primary_family(endpoints)) {
            let records = candidates.into_iter().map(|endpoint| registry.record(endpoint)).collect();
            nodes.insert(node.clone(), records);
        }
        Some(Self { nodes, own: registry.locality.node.clone() })
    }

    /// `None` if nodes are not known at all.
    fn candidates(&self, caller: &Caller) -> Option<&[Arc<EndpointRecord>]> {
        let node = caller.node.as_ref().or(self.own.as_ref())?;
        Some(self.nodes.get(node).map(|records| &**records).unwrap_or_default())
    }
}

// === impl Registry ===

impl Registry {
    /// An empty registry for a proxy of this locality.
    pub fn new(locality: Locality) -> Self {
        Self { locality, ..Self::default() }
    }

    /// The record of an endpoint. A new one if no cluster has it.
    pub fn record(&mut self, endpoint: &Endpoint) -> Arc<EndpointRecord> {
        let key = (endpoint.address, endpoint.identity.clone());
        if let Some(record) = self.records.get(&key).and_then(Weak::upgrade) {
            return record;
        }
        let record = Arc::new(EndpointRecord::new(endpoint.address, endpoint.identity.clone()));
        self.records.insert(key, Arc::downgrade(&record));
        record
    }

    /// Removes records that no cluster has any more. Runs when the number of records has doubled since the last time.
    pub fn sweep(&mut self) {
        if self.records.len() > self.sweep_at {
            self.records.retain(|_, it| it.strong_count() > 0);
            self.sweep_at = (self.records.len() * 2).max(64);
        }
        self.tls.sweep();
    }

    /// The number of records, including those that the next sweep removes.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are no records.
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
        all.internal_traffic_policy = InternalTrafficPolicy::Local;
        let mut registry = Registry::new(Locality::new(Some("n2".to_owned()), None));
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
            let mut registry = Registry::new(Locality::new(None, Some(zone.to_owned())));
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
