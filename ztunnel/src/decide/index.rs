//! A snapshot with what decisions look up: who has an address, and which endpoints may be chosen.

use ahash::RandomState;
use fairway_config::model::{
    BackendKey, EndpointState, Endpoints, Generation, ResourceKind, Service, ServiceKey, Workload,
    WorkloadKey,
};
use fairway_config::{Changes, Snapshot};
use fairway_identity::SpiffeId;
use fairway_policy::Authorization;
use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// A snapshot, ready to be decided over. Immutable; the next one shares what has not changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Index {
    snapshot: Snapshot,
    pub(super) services: Addresses<ServiceKey>,
    pub(super) workloads: Addresses<WorkloadKey>,
    reachable: Arc<HashMap<BackendKey, Arc<[Reachable]>, RandomState>>,
}

/// Who has an address. Two can for a moment, when a pod takes over the address of one that ended: then the first by name
/// counts, and if that is the wrong one its identity will not fit.
type Addresses<K> = Arc<HashMap<IpAddr, BTreeSet<K>, RandomState>>;

/// An endpoint that may be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reachable {
    /// Where it listens.
    pub address: SocketAddr,
    /// Who it is, if it is in the mesh.
    pub identity: Option<SpiffeId>,
}

impl Index {
    /// Builds it from nothing.
    pub fn build(snapshot: &Snapshot) -> Self {
        Self::default().update(snapshot, &snapshot.resources().map(|it| it.key()).collect())
    }

    /// The index after a commit. `changes` names everything that differs from the snapshot of this one.
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
                    let reachable = Arc::make_mut(&mut index.reachable);
                    match next.endpoints.get(name) {
                        Some(endpoints) => reachable.insert(endpoints.backend.clone(), choosable(endpoints)),
                        None => reachable.remove(name),
                    };
                }
                ResourceKind::Listener
                | ResourceKind::Route
                | ResourceKind::Backend
                | ResourceKind::Certificate
                | ResourceKind::Authorization
                | ResourceKind::L4Route => {}
            }
        }
        index.snapshot = next.clone();
        index
    }

    /// The number of the snapshot.
    pub fn generation(&self) -> Generation {
        self.snapshot.generation
    }

    /// The snapshot itself.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The pod of this name.
    pub fn workload(&self, key: &WorkloadKey) -> Option<&Arc<Workload>> {
        self.snapshot.workloads.get(key)
    }

    /// The pod with this address.
    pub fn workload_at(&self, ip: IpAddr) -> Option<&Arc<Workload>> {
        self.snapshot.workloads.get(self.workloads.get(&ip)?.first()?)
    }

    /// The Service with this address.
    pub fn service_at(&self, ip: IpAddr) -> Option<&Arc<Service>> {
        self.snapshot.services.get(self.services.get(&ip)?.first()?)
    }

    /// The endpoints that may be chosen: the ready ones, or when there are none those that are just ending (KEP-1669).
    pub fn reachable(&self, backend: &BackendKey) -> Option<&Arc<[Reachable]>> {
        self.reachable.get(backend).filter(|endpoints| !endpoints.is_empty())
    }

    /// Each authorization that a pod names, with what is known under the name.
    pub fn authorizations<'a>(
        &'a self,
        workload: &'a Workload,
    ) -> impl Iterator<Item = (Arc<str>, Option<&'a Authorization>)> {
        let known = &self.snapshot.authorizations;
        workload.authorizations.iter().map(|key| (key.as_arc(), known.get(key).map(|it| &**it)))
    }
}

fn choosable(endpoints: &Endpoints) -> Arc<[Reachable]> {
    let in_state = |state| -> Vec<Reachable> {
        let matching = endpoints.endpoints.iter().filter(|it| it.state == state);
        matching.map(|it| Reachable { address: it.address, identity: it.identity.clone() }).collect()
    };
    let ready = in_state(EndpointState::Ready);
    if ready.is_empty() { in_state(EndpointState::Draining).into() } else { ready.into() }
}

trait Replace<K> {
    fn replace(&mut self, key: K, old: Option<Vec<IpAddr>>, new: Option<Vec<IpAddr>>);
}

impl<K: Ord + Clone> Replace<K> for Addresses<K> {
    fn replace(&mut self, key: K, old: Option<Vec<IpAddr>>, new: Option<Vec<IpAddr>>) {
        // Most changes of a pod leave its addresses: then the table stays shared with the index before.
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
