//! The endpoints that one connection may go to.

use fairway_balance::locality::{Locality, candidates};
use fairway_balance::{EndpointRecord, HashKey};
use fairway_config::model::{Endpoints, Family, SessionAffinity};
use fairway_identity::SpiffeId;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;

/// An endpoint that a connection may go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CandidateEndpoint {
    /// The address and port at which it listens.
    pub address: SocketAddr,
    /// Its identity. `None` outside the mesh.
    pub identity: Option<SpiffeId>,
    hash_key: HashKey,
}

/// The candidates of one connection: those of the backend that have the right address family. Never empty.
#[derive(Clone, Debug, PartialEq)]
pub struct CandidateSet {
    backend: Arc<BackendCandidates>,
    range: Range<usize>,
}

/// The candidates of a backend for clients on this node: IPv4 first, then IPv6.
#[derive(Debug, PartialEq)]
pub(super) struct BackendCandidates {
    endpoints: Box<[CandidateEndpoint]>,
    has_affinity: bool,
}

/// Candidates together with what a worker knows about some of them.
#[derive(Debug)]
pub(crate) struct KnownCandidates<'a, S> {
    pub(crate) endpoints: &'a [CandidateEndpoint],
    pub(crate) records: &'a HashMap<SocketAddr, Arc<EndpointRecord>, S>,
}

// === impl CandidateEndpoint ===

impl CandidateEndpoint {
    pub(super) fn new(address: SocketAddr, identity: Option<SpiffeId>) -> Self {
        Self { address, identity, hash_key: HashKey::of_endpoint(address) }
    }
}

// === impl BackendCandidates ===

impl BackendCandidates {
    pub(super) fn new(endpoints: &Endpoints, locality: &Locality) -> Self {
        let of_family = |family| candidates(endpoints, family, locality).into_iter();
        let both = of_family(Family::V4).chain(of_family(Family::V6));
        Self {
            endpoints: both.map(|it| CandidateEndpoint::new(it.address, it.identity.clone())).collect(),
            has_affinity: endpoints.session_affinity == SessionAffinity::ClientIp,
        }
    }
}

// === impl CandidateSet ===

impl CandidateSet {
    /// A set of exactly one endpoint.
    pub(super) fn only(endpoint: CandidateEndpoint) -> Self {
        let backend = BackendCandidates { endpoints: Box::new([endpoint]), has_affinity: false };
        Self { backend: Arc::new(backend), range: 0..1 }
    }

    /// The candidates of a family, or of both. `None` if there are none.
    pub(super) fn of_family(backend: &Arc<BackendCandidates>, family: Option<Family>) -> Option<Self> {
        let all = &backend.endpoints;
        let first_v6 = all.partition_point(|endpoint| endpoint.address.is_ipv4());
        let range = match family {
            Some(Family::V4) => 0..first_v6,
            Some(Family::V6) => first_v6..all.len(),
            None => 0..all.len(),
        };
        (!range.is_empty()).then(|| Self { backend: backend.clone(), range })
    }

    /// The candidates, at least one.
    pub fn endpoints(&self) -> &[CandidateEndpoint] {
        self.backend.endpoints.get(self.range.clone()).unwrap_or_default()
    }

    /// Whether the Service has `sessionAffinity: ClientIP`.
    pub fn has_affinity(&self) -> bool {
        self.backend.has_affinity
    }
}

// === impl KnownCandidates ===

impl<S: BuildHasher> fairway_balance::Candidates for KnownCandidates<'_, S> {
    fn len(&self) -> usize {
        self.endpoints.len()
    }

    fn record(&self, index: usize) -> Option<&EndpointRecord> {
        let endpoint = self.endpoints.get(index)?;
        self.records.get(&endpoint.address).map(|record| &**record)
    }

    fn hash_key(&self, index: usize) -> HashKey {
        self.endpoints
            .get(index)
            .map_or(HashKey::of_client([0, 0, 0, 0].into()), |endpoint| endpoint.hash_key)
    }
}
