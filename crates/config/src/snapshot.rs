//! One committed configuration: immutable, shared, replaced as a whole.

use crate::model::{
    Authorization, AuthorizationKey, Backend, BackendKey, Certificate, CertificateKey, Endpoints, Generation,
    L4Route, Listener, ListenerKey, Resource, ResourceKey, ResourceKind, Route, RouteKey, Service,
    ServiceKey, Workload, WorkloadKey,
};
use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::hash::Hash;
use std::sync::Arc;

/// The resources of one kind. A clone shares them; an edit copies the map only if somebody else holds it.
pub type Table<K, V> = Arc<std::collections::HashMap<K, Arc<V>, ahash::RandomState>>;

/// A committed configuration. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Its number; 0 before the first commit.
    pub generation: Generation,
    /// Where to accept.
    pub listeners: Table<ListenerKey, Listener>,
    /// Rules.
    pub routes: Table<RouteKey, Route>,
    /// How to speak to a destination.
    pub backends: Table<BackendKey, Backend>,
    /// Where a destination is.
    pub endpoints: Table<BackendKey, Endpoints>,
    /// Certificates of listeners.
    pub certificates: Table<CertificateKey, Certificate>,
    /// Destinations that clients dial.
    pub services: Table<ServiceKey, Service>,
    /// Pods.
    pub workloads: Table<WorkloadKey, Workload>,
    /// Who may connect.
    pub authorizations: Table<AuthorizationKey, Authorization>,
    /// Rules for bytes and datagrams.
    pub l4_routes: Table<RouteKey, L4Route>,
}

/// A change from one configuration to the next; nothing of it is visible before all of it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Delta {
    /// The generation it leads to.
    pub generation: Generation,
    /// New or replaced resources.
    pub upserts: Vec<Resource>,
    /// Resources to forget.
    pub removals: Vec<ResourceKey>,
}

/// Which resources differ between two snapshots.
pub type Changes = BTreeSet<ResourceKey>;

impl Snapshot {
    /// The configuration after a delta, and what really changed (equal upserts and unknown removals do not count).
    pub fn apply(&self, delta: Delta) -> (Self, Changes) {
        let mut next = Self { generation: delta.generation, ..self.clone() };
        let mut changes = Changes::new();
        for key in delta.removals {
            if next.remove(&key) {
                changes.insert(key);
            }
        }
        for resource in delta.upserts {
            let key = resource.key();
            if next.upsert(resource) {
                changes.insert(key);
            }
        }
        (next, changes)
    }

    /// Every resource, in no particular order.
    pub fn resources(&self) -> impl Iterator<Item = Resource> {
        let listeners = self.listeners.values().cloned().map(Resource::Listener);
        let routes = self.routes.values().cloned().map(Resource::Route);
        let backends = self.backends.values().cloned().map(Resource::Backend);
        let endpoints = self.endpoints.values().cloned().map(Resource::Endpoints);
        let certificates = self.certificates.values().cloned().map(Resource::Certificate);
        let services = self.services.values().cloned().map(Resource::Service);
        let workloads = self.workloads.values().cloned().map(Resource::Workload);
        let authorizations = self.authorizations.values().cloned().map(Resource::Authorization);
        let l4_routes = self.l4_routes.values().cloned().map(Resource::L4Route);
        listeners
            .chain(routes)
            .chain(backends)
            .chain(endpoints)
            .chain(certificates)
            .chain(services)
            .chain(workloads)
            .chain(authorizations)
            .chain(l4_routes)
    }

    /// The resource under this key.
    pub fn resource(&self, key: &ResourceKey) -> Option<Resource> {
        let name = &*key.name;
        match key.kind {
            ResourceKind::Listener => self.listeners.get(name).cloned().map(Resource::Listener),
            ResourceKind::Route => self.routes.get(name).cloned().map(Resource::Route),
            ResourceKind::Backend => self.backends.get(name).cloned().map(Resource::Backend),
            ResourceKind::Endpoints => self.endpoints.get(name).cloned().map(Resource::Endpoints),
            ResourceKind::Certificate => self.certificates.get(name).cloned().map(Resource::Certificate),
            ResourceKind::Service => self.services.get(name).cloned().map(Resource::Service),
            ResourceKind::Workload => self.workloads.get(name).cloned().map(Resource::Workload),
            ResourceKind::Authorization => {
                self.authorizations.get(name).cloned().map(Resource::Authorization)
            }
            ResourceKind::L4Route => self.l4_routes.get(name).cloned().map(Resource::L4Route),
        }
    }

    fn upsert(&mut self, resource: Resource) -> bool {
        match resource {
            Resource::Listener(it) => put(&mut self.listeners, it.key.clone(), it),
            Resource::Route(it) => put(&mut self.routes, it.key.clone(), it),
            Resource::Backend(it) => put(&mut self.backends, it.key.clone(), it),
            Resource::Endpoints(it) => put(&mut self.endpoints, it.backend.clone(), it),
            Resource::Certificate(it) => put(&mut self.certificates, it.key.clone(), it),
            Resource::Service(it) => put(&mut self.services, it.key.clone(), it),
            Resource::Workload(it) => put(&mut self.workloads, it.key.clone(), it),
            Resource::Authorization(it) => {
                put(&mut self.authorizations, AuthorizationKey::from(it.name.clone()), it)
            }
            Resource::L4Route(it) => put(&mut self.l4_routes, it.key.clone(), it),
        }
    }

    fn remove(&mut self, key: &ResourceKey) -> bool {
        let name = &*key.name;
        match key.kind {
            ResourceKind::Listener => take(&mut self.listeners, name),
            ResourceKind::Route => take(&mut self.routes, name),
            ResourceKind::Backend => take(&mut self.backends, name),
            ResourceKind::Endpoints => take(&mut self.endpoints, name),
            ResourceKind::Certificate => take(&mut self.certificates, name),
            ResourceKind::Service => take(&mut self.services, name),
            ResourceKind::Workload => take(&mut self.workloads, name),
            ResourceKind::Authorization => take(&mut self.authorizations, name),
            ResourceKind::L4Route => take(&mut self.l4_routes, name),
        }
    }
}

fn put<K: Eq + Hash + Clone, V: PartialEq>(table: &mut Table<K, V>, key: K, value: Arc<V>) -> bool {
    if table.get(&key).is_some_and(|held| *held == value) {
        return false;
    }
    Arc::make_mut(table).insert(key, value);
    true
}

fn take<K: Eq + Hash + Clone + Borrow<str>, V>(table: &mut Table<K, V>, name: &str) -> bool {
    table.contains_key(name) && Arc::make_mut(table).remove(name).is_some()
}
