//! What is true of each object and what the cluster says of it: the two sides that the status writer compares.
//!
//! Every replica keeps it; the one that leads writes.

use super::{Enforcer, ObjectStatus, Record};
use crate::resources::{Kind, ObjectRef};
use fairway_config::model::{Generation, ObjectName, ResourceKey};
use fairway_runtime::metrics::Outcomes;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
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
    /// The ListenerSets that are or were a Gateway's of ours.
    own_sets: HashSet<ObjectRef, ahash::RandomState>,
    /// The routes and policies that proxies have to enforce.
    enforced: HashMap<ObjectRef, Enforced, ahash::RandomState>,
    /// By resource, those of `enforced` that take effect by it.
    carried: HashMap<ResourceKey, BTreeSet<ObjectRef>, ahash::RandomState>,
    touched: BTreeSet<ObjectRef>,
}

/// A route or a policy that proxies have to enforce.
#[derive(Debug, Default)]
struct Enforced {
    /// By whom, and the commit since which they have to have it as it is.
    by: BTreeMap<Enforcer, Generation>,
    /// The resources by which it takes effect.
    carriers: BTreeSet<ResourceKey>,
    /// The generation of the object. A new one can take effect by other resources than these: another selector does by the pods' own.
    observed: Option<i64>,
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
    /// The Gateways whose listeners changed.
    pub gateways: Vec<ObjectName>,
    /// ListenerSets and the Gateways they belong to.
    pub listener_sets: Vec<(ObjectRef, ObjectName)>,
    /// The resources of proxies that changed or are gone.
    pub resources: Vec<ResourceKey>,
    /// The commit that has these changes.
    pub generation: Generation,
}

// === impl StatusCache ===

impl StatusCache {
    /// What became of the writes of statuses.
    pub(crate) fn writes(&self) -> &Outcomes {
        &self.writes
    }

    pub fn apply(&self, changes: StatusChanges) {
        let StatusChanges { records, statuses, gateways, listener_sets, resources, generation } = changes;
        let mut entries = self.entries();
        entries.belongs_to.extend(listener_sets);
        for gateway in gateways {
            let served = entries.served_by(&Enforcer::Gateway(gateway.clone()));
            entries.touched.extend(served);
            entries.changed_in.insert(gateway, generation);
        }
        for (object, record) in records {
            let cached = entries.objects.entry(object.clone()).or_default();
            cached.record = record;
            entries.settle(object);
        }
        for (object, status) in statuses {
            entries.note_enforcement(&object, status.as_ref(), generation);
            let is_own_set = match &status {
                Some(ObjectStatus::ListenerSet(it)) => !it.is_orphan,
                Some(ObjectStatus::Held) => object.kind == Kind::ListenerSet,
                _ => false,
            };
            if is_own_set {
                entries.own_sets.insert(object.clone());
            }
            let cached = entries.objects.entry(object.clone()).or_default();
            cached.status = status.map(Arc::new);
            entries.settle(object);
        }
        for resource in resources {
            entries.note_change(&resource, generation);
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
        let entries = self.entries();
        let mut cached = entries.objects.get(object).cloned().unwrap_or_default();
        // A ListenerSet without a Gateway is ours if it was.
        let is_orphan =
            matches!(cached.status.as_deref(), Some(ObjectStatus::ListenerSet(it)) if it.is_orphan);
        if is_orphan && !entries.own_sets.contains(object) {
            cached.status = None;
        }
        cached
    }

    /// The Gateway whose proxies serve what an object says, if it is a Gateway or a ListenerSet.
    pub fn gateway_of(&self, object: &ObjectRef) -> Option<ObjectName> {
        match object.kind {
            Kind::Gateway => Some(object.object_name()),
            Kind::ListenerSet => self.entries().belongs_to.get(object).cloned(),
            _ => None,
        }
    }

    /// Whether proxies have to enforce an object.
    pub fn is_enforced(&self, object: &ObjectRef) -> bool {
        self.entries().enforced.contains_key(object)
    }

    /// The commit that an enforcer has to have acknowledged before it enforces an object.
    pub fn required_of(&self, enforcer: &Enforcer, object: &ObjectRef) -> Generation {
        let entries = self.entries();
        entries.enforced.get(object).and_then(|it| it.by.get(enforcer)).copied().unwrap_or_default()
    }

    /// The routes and policies that take effect by a resource.
    pub fn carried_by(&self, resource: &ResourceKey) -> BTreeSet<ObjectRef> {
        self.entries().carried.get(resource).cloned().unwrap_or_default()
    }

    /// What an enforcer's proxies serve: the Gateway itself, its ListenerSets, and what they enforce.
    pub fn served_by(&self, enforcer: &Enforcer) -> Vec<ObjectRef> {
        self.entries().served_by(enforcer)
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
    fn served_by(&self, enforcer: &Enforcer) -> Vec<ObjectRef> {
        let enforced = self.enforced.iter().filter(|(_, it)| it.by.contains_key(enforcer));
        let mut served: Vec<ObjectRef> = enforced.map(|(object, _)| object.clone()).collect();
        if let Some(gateway) = enforcer.gateway() {
            served.push(ObjectRef::from_name(Kind::Gateway, gateway));
            let sets = self.belongs_to.iter().filter(|(_, it)| *it == gateway);
            served.extend(sets.map(|(set, _)| set.clone()));
        }
        served
    }

    /// Notes who has to enforce an object. Who is new has to be sent it first; so has everybody when it takes effect by other
    /// resources than before.
    fn note_enforcement(
        &mut self,
        object: &ObjectRef,
        status: Option<&ObjectStatus>,
        generation: Generation,
    ) {
        let before = self.enforced.remove(object).unwrap_or_default();
        for resource in &before.carriers {
            if let Some(objects) = self.carried.get_mut(resource) {
                objects.remove(object);
                if objects.is_empty() {
                    self.carried.remove(resource);
                }
            }
        }
        let (mut by, mut carriers) = (BTreeSet::new(), BTreeSet::new());
        for (_, enforcement) in status.map(|it| it.enforcements(object)).unwrap_or_default() {
            by.extend(enforcement.by);
            carriers.extend(enforcement.carriers);
        }
        if by.is_empty() {
            return;
        }
        for resource in &carriers {
            self.carried.entry(resource.clone()).or_default().insert(object.clone());
        }
        let observed = status.and_then(ObjectStatus::observed_generation);
        let is_as_before = carriers == before.carriers && observed == before.observed;
        let since = |it: &Enforcer| before.by.get(it).copied().filter(|_| is_as_before).unwrap_or(generation);
        let by = by.into_iter().map(|it| (it.clone(), since(&it))).collect();
        self.enforced.insert(object.clone(), Enforced { by, carriers, observed });
    }

    /// Notes that a resource has changed: what takes effect by it has to be acknowledged again.
    fn note_change(&mut self, resource: &ResourceKey, generation: Generation) {
        for object in self.carried.get(resource).into_iter().flatten() {
            if let Some(enforced) = self.enforced.get_mut(object) {
                enforced.by.values_mut().for_each(|since| *since = generation);
                self.touched.insert(object.clone());
            }
        }
    }

    /// An entry without content goes, any other is to be looked at.
    fn settle(&mut self, object: ObjectRef) {
        let empty = self.objects.get(&object).is_none_or(|it| it.record.is_none() && it.status.is_none());
        if empty {
            self.objects.remove(&object);
            self.belongs_to.remove(&object);
            self.own_sets.remove(&object);
            self.touched.remove(&object);
            if object.kind == Kind::Gateway {
                self.changed_in.remove(&object.object_name());
            }
        } else {
            self.touched.insert(object);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{AncestorStatus, Enforcement, ParentRef, PolicyStatus};
    use fairway_config::model::ResourceKind;

    fn carrier(port: u16) -> ResourceKey {
        ResourceKey::new(ResourceKind::Backend, format!("shop/web:{port}"))
    }

    fn gateway(name: &str) -> Enforcer {
        Enforcer::Gateway(ObjectName::new("edge", name))
    }

    fn policy(carriers: &[u16], gateways: &[&str]) -> ObjectStatus {
        let ancestor = |name: &&str| AncestorStatus {
            ancestor_ref: ParentRef { name: (*name).into(), ..ParentRef::default() },
            controller_name: "fairway.dev/controller".into(),
            conditions: Vec::new(),
            enforcement: Enforcement {
                carriers: carriers.iter().map(|it| carrier(*it)).collect(),
                by: BTreeSet::from([gateway(name)]),
            },
        };
        ObjectStatus::Policy(PolicyStatus {
            ancestors: gateways.iter().map(ancestor).collect(),
            ..PolicyStatus::default()
        })
    }

    #[test]
    fn what_has_to_be_acknowledged_is_the_last_change_of_a_carrier_by_each_enforcer() {
        let object = ObjectRef::new(Kind::BackendTlsPolicy, "shop", "p");
        let cache = StatusCache::default();
        // Each step is a commit: the status if it changed, the carriers that changed, and what is required of a, b and c then.
        let steps = [
            (Some(policy(&[80], &["a", "b"])), vec![80], [1, 1, 0]),
            (None, vec![81], [1, 1, 0]),
            (Some(policy(&[80], &["a", "b"])), vec![], [1, 1, 0]),
            (Some(policy(&[80], &["a", "b", "c"])), vec![], [1, 1, 4]),
            (None, vec![80], [5, 5, 5]),
            (Some(policy(&[80, 81], &["a", "b"])), vec![], [6, 6, 0]),
            (None, vec![81], [7, 7, 0]),
            (Some(policy(&[81], &["a"])), vec![], [8, 0, 0]),
            (None, vec![80], [8, 0, 0]),
        ];
        for (index, (status, changed, expected)) in steps.into_iter().enumerate() {
            let generation = Generation(index as u64 + 1);
            cache.apply(StatusChanges {
                statuses: status.map(|it| (object.clone(), Some(it))).into_iter().collect(),
                resources: changed.into_iter().map(carrier).collect(),
                generation,
                ..StatusChanges::default()
            });
            let required = ["a", "b", "c"].map(|it| cache.required_of(&gateway(it), &object).0);
            assert_eq!(required, expected, "after commit {generation}");
        }
        cache.apply(StatusChanges { statuses: vec![(object.clone(), None)], ..StatusChanges::default() });
        assert!(!cache.is_enforced(&object) && cache.entries().carried.is_empty());
    }
}
