//! What is true of each object and what the cluster says of it: the two sides that the status writer compares.
//!
//! Every replica keeps it; the one that leads writes.

use super::{ObjectStatus, Record};
use crate::resources::{Kind, ObjectRef};
use fairway_config::model::{Generation, ObjectName};
use fairway_runtime::metrics::Outcomes;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// What is true of each object and what the cluster says of it.
#[derive(Debug, Default)]
pub struct StatusCache {
    /// Held for moments, never while anything waits.
    entries: Mutex<Entries>,
    touched: Notify,
    writes: Outcomes,
}

#[derive(Debug, Default)]
struct Entries {
    objects: HashMap<ObjectRef, CachedStatus, ahash::RandomState>,
    /// The commit in which a Gateway's listeners last changed.
    changed_in: HashMap<ObjectName, Generation, ahash::RandomState>,
    /// The Gateways that ListenerSets belong to.
    belongs_to: HashMap<ObjectRef, ObjectName, ahash::RandomState>,
    /// Routes that waypoints have to enforce.
    enforced: HashMap<ObjectRef, Enforced, ahash::RandomState>,
    touched: BTreeSet<ObjectRef>,
}

/// A route that waypoints have to enforce.
#[derive(Debug, Default)]
struct Enforced {
    by: BTreeSet<ObjectName>,
    /// The commit in which it last changed.
    changed_in: Generation,
}

#[derive(Clone, Debug, Default)]
pub struct CachedStatus {
    /// What the cluster says; none for an object that is not (yet) in the cluster.
    pub record: Option<Arc<Record>>,
    /// What is true; none when it is no concern of ours.
    pub status: Option<Arc<ObjectStatus>>,
}

/// What a step of the pipeline changed.
#[derive(Debug, Default)]
pub struct StatusChanges {
    /// What the cluster says; none for an object that is gone.
    pub records: Vec<(ObjectRef, Option<Arc<Record>>)>,
    /// What is true; none for an object that has no status of ours any more.
    pub statuses: Vec<(ObjectRef, Option<ObjectStatus>)>,
    /// The Gateways whose listeners changed, and the commit that has it.
    pub gateways: Vec<ObjectName>,
    /// ListenerSets and the Gateways they belong to.
    pub listener_sets: Vec<(ObjectRef, ObjectName)>,
    /// The routes that changed, as proxies have them.
    pub routes: Vec<ObjectRef>,
    pub generation: Generation,
}

// === impl StatusCache ===

impl StatusCache {
    /// What became of the writes of statuses.
    pub(crate) fn writes(&self) -> &Outcomes {
        &self.writes
    }

    pub fn apply(&self, changes: StatusChanges) {
        let StatusChanges { records, statuses, gateways, listener_sets, routes, generation } = changes;
        let mut entries = self.entries();
        entries.belongs_to.extend(listener_sets);
        for gateway in gateways {
            let served = entries.served_by(&gateway);
            entries.touched.extend(served);
            entries.changed_in.insert(gateway, generation);
        }
        for (object, record) in records {
            let cached = entries.objects.entry(object.clone()).or_default();
            cached.record = record;
            entries.settle(object);
        }
        for (object, status) in statuses {
            entries.note_waypoints(&object, status.as_ref(), generation);
            let cached = entries.objects.entry(object.clone()).or_default();
            cached.status = status.map(Arc::new);
            entries.settle(object);
        }
        for route in routes {
            if let Some(it) = entries.enforced.get_mut(&route) {
                it.changed_in = generation;
                entries.touched.insert(route);
            }
        }
        let any = !entries.touched.is_empty();
        drop(entries);
        if any {
            self.touched.notify_one();
        }
    }

    /// Waits until an object has been touched.
    pub async fn touched(&self) {
        self.touched.notified().await;
    }

    /// The objects that were touched since the last call.
    pub fn take_touched(&self) -> BTreeSet<ObjectRef> {
        std::mem::take(&mut self.entries().touched)
    }

    pub fn objects(&self) -> Vec<ObjectRef> {
        self.entries().objects.keys().cloned().collect()
    }

    pub fn cached(&self, object: &ObjectRef) -> CachedStatus {
        self.entries().objects.get(object).cloned().unwrap_or_default()
    }

    /// The Gateway whose proxies serve what an object says, if it is a Gateway or a ListenerSet.
    pub fn gateway_of(&self, object: &ObjectRef) -> Option<ObjectName> {
        match object.kind {
            Kind::Gateway => Some(object.object_name()),
            Kind::ListenerSet => self.entries().belongs_to.get(object).cloned(),
            _ => None,
        }
    }

    /// The commit in which a route that waypoints have to enforce last changed.
    pub fn route_changed_in(&self, route: &ObjectRef) -> Generation {
        self.entries().enforced.get(route).map(|it| it.changed_in).unwrap_or_default()
    }

    /// The Gateway itself, its ListenerSets, and the routes it has to enforce as a waypoint.
    pub fn served_by(&self, gateway: &ObjectName) -> Vec<ObjectRef> {
        self.entries().served_by(gateway)
    }

    /// The commit in which a Gateway's listeners last changed.
    pub fn changed_in(&self, gateway: &ObjectName) -> Generation {
        self.entries().changed_in.get(gateway).copied().unwrap_or_default()
    }

    /// For an admin page: every status, as compiled.
    pub fn describe(&self) -> serde_json::Value {
        let entries = self.entries();
        let statuses = entries.objects.iter().filter_map(|(object, cached)| {
            Some((object.to_string(), serde_json::to_value(cached.status.as_deref()?).ok()?))
        });
        statuses.collect::<serde_json::Map<_, _>>().into()
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Entries ===

impl Entries {
    fn served_by(&self, gateway: &ObjectName) -> Vec<ObjectRef> {
        let sets = self.belongs_to.iter().filter(|(_, it)| *it == gateway).map(|(set, _)| set.clone());
        let enforced = self.enforced.iter().filter(|(_, it)| it.by.contains(gateway));
        let routes = enforced.map(|(route, _)| route.clone());
        std::iter::once(ObjectRef::of(Kind::Gateway, gateway)).chain(sets).chain(routes).collect()
    }

    fn note_waypoints(&mut self, object: &ObjectRef, status: Option<&ObjectStatus>, generation: Generation) {
        let by: BTreeSet<ObjectName> =
            status.map(ObjectStatus::waypoints).unwrap_or_default().into_iter().cloned().collect();
        if by.is_empty() {
            self.enforced.remove(object);
            return;
        }
        let known = self.enforced.entry(object.clone()).or_default();
        if known.by != by {
            // A waypoint that has it only now has to be sent it first.
            *known = Enforced { by, changed_in: generation };
        }
    }

    /// An entry without content goes, any other is to be looked at.
    fn settle(&mut self, object: ObjectRef) {
        let empty = self.objects.get(&object).is_none_or(|it| it.record.is_none() && it.status.is_none());
        if empty {
            self.objects.remove(&object);
            self.belongs_to.remove(&object);
            self.touched.remove(&object);
            if object.kind == Kind::Gateway {
                self.changed_in.remove(&object.object_name());
            }
        } else {
            self.touched.insert(object);
        }
    }
}
