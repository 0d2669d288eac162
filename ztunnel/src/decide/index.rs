//! A snapshot with what decisions look up: who has an address, and which endpoints may be chosen.

use super::choice::{self, Choice, Reachable};
use ahash::RandomState;
use fairway_config::model::{
    BackendKey, Family, Generation, Imprint, Locality, Reach, ResourceKind, Service, ServiceKey, Workload,
    WorkloadKey,
};
use fairway_config::{Changes, Snapshot};
use fairway_policy::Authorization;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

/// A snapshot, ready to be decided over. Immutable; the next one shares what has not changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Index {
    locality: Locality,
    snapshot: Snapshot,
    pub(super) services: Addresses<ServiceKey>,
    pub(super) workloads: Addresses<WorkloadKey>,
    reachable: Backends<Arc<[Reachable]>>,
    /// Of those with session affinity, which are few.
    imprints: Backends<Arc<[Imprint]>>,
}

type Backends<T> = Arc<HashMap<BackendKey, T, RandomState>>;

/// Who has an address. Two can for a moment, when a pod takes over the address of one that ended: then the first by name
/// counts, and if that is the wrong one its identity will not fit.
type Addresses<K> = Arc<HashMap<IpAddr, BTreeSet<K>, RandomState>>;

impl Index {
    /// One of an empty snapshot, for the pods of a node.
    pub fn empty(locality: Locality) -> Self {
        Self { locality, ..Self::default() }
    }

    /// Builds it from nothing.
    pub fn build(locality: Locality, snapshot: &Snapshot) -> Self {
        Self::empty(locality).update(snapshot, &snapshot.resources().map(|it| it.key()).collect())
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
                    let endpoints = next.endpoints.get(name);
                    let all = endpoints.map(|it| choice::choosable(it, &self.locality));
                    let imprints = endpoints.and_then(|it| choice::imprints(it, all.as_deref()?));
                    put(&mut index.reachable, key.name.clone(), all);
                    put(&mut index.imprints, key.name.clone(), imprints);
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

    /// Every pod with this address.
    pub fn workloads_at(&self, ip: IpAddr) -> impl Iterator<Item = &Arc<Workload>> {
        let keys = self.workloads.get(&ip).into_iter().flatten();
        keys.filter_map(|key| self.snapshot.workloads.get(key))
    }

    /// The Service with this address.
    pub fn service_at(&self, ip: IpAddr) -> Option<&Arc<Service>> {
        self.snapshot.services.get(self.services.get(&ip)?.first()?)
    }

    /// The endpoints that may be chosen by a client that has dialled an address of this family, or to whom the family is
    /// the same.
    pub fn choice(&self, backend: &BackendKey, family: Option<Family>) -> Option<Choice> {
        Choice::among(self.reachable.get(backend)?, self.imprints.get(backend), family)
    }

    /// Whether clients reach a backend on their own node only.
    pub fn is_local(&self, backend: &BackendKey) -> bool {
        self.snapshot.endpoints.get(backend).is_some_and(|it| it.reach == Reach::Node)
    }

    /// Each authorization that a pod names, with what is known under the name.
    pub fn authorizations<'a>(
        &'a self,
        workload: &'a Workload,
    ) -> impl Iterator<Item = (&'a Arc<str>, Option<&'a Authorization>)> {
        let known = &self.snapshot.authorizations;
        workload.authorizations.iter().map(|key| (key.shared(), known.get(key).map(|it| &**it)))
    }
}

fn put<T: Clone>(table: &mut Backends<T>, key: Arc<str>, value: Option<T>) {
    // Most have nothing there, before and after: then the table stays shared with the index before.
    match value {
        Some(value) => drop(Arc::make_mut(table).insert(key.into(), value)),
        None if table.contains_key(&*key) => drop(Arc::make_mut(table).remove(&*key)),
        None => {}
    }
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
