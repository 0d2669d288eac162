//! A backend's endpoints, ready to choose from.

use super::endpoint::EndpointRecord;
use super::tls::{Security, Shown, TlsClient, TlsClients, Unusable};
use ahash::HashMap;
use fairway_config::model::{
    AppProtocol, Backend, BackendKey, BackendSecurity, CertificateKey, Endpoint, EndpointState, Endpoints,
    SpiffeId,
};
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

/// A backend and the endpoints that may be chosen. Immutable; load and health live in the shared records.
#[derive(Debug)]
pub struct Cluster {
    key: BackendKey,
    backend: Option<Arc<Backend>>,
    security: Security,
    ready: Box<[Arc<EndpointRecord>]>,
    draining: Box<[Arc<EndpointRecord>]>,
}

/// What all clusters share: every endpoint's record, so that its load and health are the same for all routes and survive
/// commits, and every TLS client.
#[derive(Debug, Default)]
pub struct Registry {
    records: HashMap<(SocketAddr, Option<SpiffeId>), Weak<EndpointRecord>>,
    /// Size after which dead entries are looked for.
    sweep_at: usize,
    tls: TlsClients,
}

// === impl Cluster ===

impl Cluster {
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
        let mut of = |state: EndpointState| -> Box<[_]> {
            let all = endpoints.map(|it| it.endpoints.as_slice()).unwrap_or_default();
            all.iter().filter(|it| it.state == state).map(|it| registry.record(it)).collect()
        };
        let (ready, draining) = (of(EndpointState::Ready), of(EndpointState::Draining));
        Self { key, backend, security, ready, draining }
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

    /// The endpoints to choose from: the ready ones; if there are none, those that are terminating but still serve
    /// (KEP-1669).
    pub fn candidates(&self) -> &[Arc<EndpointRecord>] {
        if self.ready.is_empty() { &self.draining } else { &self.ready }
    }

    /// Whether this is still one of its endpoints, so that what goes there may go on.
    pub fn holds(&self, endpoint: &Arc<EndpointRecord>) -> bool {
        self.ready.iter().chain(&self.draining).any(|it| Arc::ptr_eq(it, endpoint))
    }
}

// === impl Registry ===

impl Registry {
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

    fn endpoints(list: &[(u8, EndpointState)]) -> Endpoints {
        let endpoint = |&(host, state): &(u8, EndpointState)| Endpoint {
            address: ([10, 0, 0, host], 80).into(),
            state,
            identity: None,
            node: None,
            zone: None,
        };
        Endpoints { backend: "shop/web:80".into(), endpoints: list.iter().map(endpoint).collect() }
    }

    fn hosts(cluster: &Cluster) -> Vec<u8> {
        cluster.candidates().iter().map(|it| it.address().to_string().as_bytes()[7] - b'0').collect()
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
    fn one_endpoint_has_one_record_in_every_cluster_as_long_as_one_holds_it() {
        let mut registry = Registry::default();
        let list = endpoints(&[(1, EndpointState::Ready)]);
        let first = Cluster::new("a/a:80".into(), None, Some(&list), &Shown::default(), &mut registry);
        let second = Cluster::new("b/b:80".into(), None, Some(&list), &Shown::default(), &mut registry);
        assert!(Arc::ptr_eq(&first.candidates()[0], &second.candidates()[0]));
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
