//! The configuration as decisions need it: workloads and Services by address, and the candidates of each backend.

use super::candidates::{BackendCandidates, CandidateSet};
use ahash::RandomState;
use fairway_balance::Locality;
use fairway_config::model::{
    BackendKey, Family, Generation, InternalTrafficPolicy, Mesh, ResourceKind, Service, ServiceKey, Workload,
    WorkloadKey,
};
use fairway_config::{Changes, Snapshot};
use fairway_policy::Authorization;
use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// A snapshot with its lookup tables. Immutable; the next index shares the tables that have not changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Index {
    locality: Locality,
    snapshot: Snapshot,
    pub(super) services: Addresses<ServiceKey>,
    pub(super) workloads: Addresses<WorkloadKey>,
    candidates: Arc<HashMap<BackendKey, Arc<BackendCandidates>, RandomState>>,
}

/// Holders of each address. An address can have two holders for a moment, when a new pod gets the address of one that has ended.
/// A captured one is used then, the first by name: if it is the wrong one, the TLS handshake fails, because its identity does not
/// match, or nobody listens. With one outside the mesh the connection would go on in plaintext.
type Addresses<K> = Arc<HashMap<IpAddr, BTreeSet<K>, RandomState>>;

impl Index {
    /// The index of an empty snapshot, for pods of this locality.
    pub fn empty(locality: Locality) -> Self {
        Self { locality, ..Self::default() }
    }

    /// The index of a snapshot for the pods of a node.
    pub fn of_node(node: &str, snapshot: &Snapshot) -> Self {
        let node = Some(node).filter(|it| !it.is_empty()).map(Arc::from);
        Self::build(Locality { node, ..Locality::default() }, snapshot)
    }

    /// Builds the index of a snapshot from scratch. Equals any sequence of [`Self::update`] that leads to the same snapshot.
    pub fn build(locality: Locality, snapshot: &Snapshot) -> Self {
        Self::empty(locality).update(snapshot, &snapshot.resources().map(|it| it.key()).collect())
    }

    /// The index after a commit. `changes` must name every resource that differs between the two snapshots.
    pub fn update(&self, next: &Snapshot, changes: &Changes) -> Self {
        let mut index = self.clone();
        for key in changes {
            let name = &*key.name;
            match key.kind {
                ResourceKind::Service => {
                    let (old, new) = (self.snapshot.services.get(name), next.services.get(name));
                    let addresses = |it: &Arc<Service>| it.addresses.clone();
                    index.services.replace(
                        ServiceKey::from(key.name.clone()),
                        old.map(addresses),
                        new.map(addresses),
                    );
                }
                ResourceKind::Workload => {
                    let (old, new) = (self.snapshot.workloads.get(name), next.workloads.get(name));
                    let addresses = |it: &Arc<Workload>| it.addresses.clone();
                    index.workloads.replace(
                        WorkloadKey::from(key.name.clone()),
                        old.map(addresses),
                        new.map(addresses),
                    );
                }
                ResourceKind::Endpoints => {
                    let candidates = Arc::make_mut(&mut index.candidates);
                    match next.endpoints.get(name) {
                        Some(endpoints) => {
                            let of_backend = Arc::new(BackendCandidates::new(endpoints, &self.locality));
                            candidates.insert(key.name.clone().into(), of_backend);
                        }
                        None => drop(candidates.remove(name)),
                    }
                }
                ResourceKind::Listener
                | ResourceKind::Route
                | ResourceKind::Backend
                | ResourceKind::Certificate
                | ResourceKind::Authorization
                | ResourceKind::RateLimit
                | ResourceKind::Authentication
                | ResourceKind::L4Route => {}
            }
        }
        index.snapshot = next.clone();
        index
    }

    /// The generation of the snapshot.
    pub fn generation(&self) -> Generation {
        self.snapshot.generation
    }

    /// The snapshot that the index was built from.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The workload of this key, if the configuration has it.
    pub fn workload(&self, key: &WorkloadKey) -> Option<&Arc<Workload>> {
        self.snapshot.workloads.get(key)
    }

    /// The workload that has this address; of several a captured one.
    pub fn workload_at(&self, ip: IpAddr) -> Option<&Arc<Workload>> {
        // The first of those that are equal in this.
        self.workloads_at(ip).min_by_key(|it| it.mesh == Mesh::Outside)
    }

    /// Every pod with this address.
    pub fn workloads_at(&self, ip: IpAddr) -> impl Iterator<Item = &Arc<Workload>> {
        let keys = self.workloads.get(&ip).into_iter().flatten();
        keys.filter_map(|key| self.snapshot.workloads.get(key))
    }

    /// The Service that has this address.
    pub fn service_at(&self, ip: IpAddr) -> Option<&Arc<Service>> {
        self.snapshot.services.get(self.services.get(&ip)?.first()?)
    }

    /// The Service port that a connection to this address is for.
    pub fn backend_at(&self, dialled: SocketAddr) -> Option<&BackendKey> {
        let service = self.service_at(dialled.ip())?;
        service.ports.iter().find(|it| it.port == dialled.port()).map(|it| &it.backend)
    }

    /// The candidates of a backend for a client that has dialled an address of `family`; of both families without one. `None`
    /// if there are none.
    pub fn candidates(&self, backend: &BackendKey, family: Option<Family>) -> Option<CandidateSet> {
        CandidateSet::of_family(self.candidates.get(backend)?, family)
    }

    /// Whether the backend's Service has `internalTrafficPolicy: Local`.
    pub fn is_local(&self, backend: &BackendKey) -> bool {
        self.snapshot
            .endpoints
            .get(backend)
            .is_some_and(|it| it.internal_traffic_policy == InternalTrafficPolicy::Local)
    }

    /// The authorizations that a workload names. `None` for a name that the configuration does not have.
    pub fn authorizations<'a>(
        &'a self,
        workload: &'a Workload,
    ) -> impl Iterator<Item = (&'a Arc<str>, Option<&'a Authorization>)> {
        let known = &self.snapshot.authorizations;
        workload.authorizations.iter().map(|key| (key.shared(), known.get(key).map(|it| &**it)))
    }
}

trait Replace<K> {
    fn replace(&mut self, key: K, old: Option<Vec<IpAddr>>, new: Option<Vec<IpAddr>>);
}

impl<K: Ord + Clone> Replace<K> for Addresses<K> {
    fn replace(&mut self, key: K, old: Option<Vec<IpAddr>>, new: Option<Vec<IpAddr>>) {
        // Most changes of a workload keep its addresses. The table then stays shared with the previous index.
        if old == new {
            return;
        }
        let table = Arc::make_mut(self);
        for ip in old.into_iter().flatten() {
            if let Some(holders) = table.get_mut(&ip) {
                holders.remove(&key);
                if holders.is_empty() {
                    table.remove(&ip);
                }
            }
        }
        for ip in new.into_iter().flatten() {
            table.entry(ip).or_default().insert(key.clone());
        }
    }
}
