//! One committed configuration: immutable, shared, replaced as a whole.

use crate::kinds::for_each_kind;
use crate::model::{Generation, Keyed, Resource, ResourceKey, ResourceKind};
use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::hash::Hash;
use std::sync::Arc;

/// The resources of one kind. A clone shares them; an edit copies the map only if somebody else holds it.
pub type Table<K, V> = Arc<std::collections::HashMap<K, Arc<V>, ahash::RandomState>>;

macro_rules! snapshot {
    ($($(#[$doc:meta])* $kind:ident { table: $table:ident, key: $key:ident = $key_of:expr, wire: $wire:ident })+) => {
        /// A committed configuration. Cheap to clone.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct Snapshot {
            /// The number of the commit; 0 before the first one.
            pub generation: Generation,
            $($(#[$doc])* pub $table: Table<crate::model::$key, crate::model::$kind>,)+
        }

        impl Snapshot {
            /// Every resource, in no particular order.
            pub fn resources(&self) -> impl Iterator<Item = Resource> {
                let all = std::iter::empty();
                $(let all = all.chain(self.$table.values().cloned().map(Resource::$kind));)+
                all
            }

            /// The resource under this key.
            pub fn resource(&self, key: &ResourceKey) -> Option<Resource> {
                match key.kind {
                    $(ResourceKind::$kind => self.$table.get(&*key.name).cloned().map(Resource::$kind),)+
                }
            }

            fn upsert(&mut self, resource: Resource) -> bool {
                match resource {
                    $(Resource::$kind(it) => put(&mut self.$table, it.key(), it),)+
                }
            }

            fn remove(&mut self, key: &ResourceKey) -> bool {
                match key.kind {
                    $(ResourceKind::$kind => take(&mut self.$table, &key.name),)+
                }
            }
        }
    };
}

for_each_kind!(snapshot);

/// A change from one configuration to the next; nothing of it is visible before all of it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Delta {
    /// The generation it leads to.
    pub generation: Generation,
    /// New or replaced resources.
    pub upserts: Vec<Resource>,
    /// Resources that are no more; one that is not there is no error.
    pub removals: Vec<ResourceKey>,
}

/// Which resources differ between two snapshots.
pub type Changes = BTreeSet<ResourceKey>;

impl Snapshot {
    /// The configuration after a delta, and what really changed (equal upserts and unknown removals do not count).
    ///
    /// Removals come first, so that a key which a delta removes and brings is there afterwards.
    ///
    /// ```
    /// use fairway_config::model::{Authorization, Generation, Resource};
    /// use fairway_config::{Delta, Snapshot};
    /// use fairway_policy::Action;
    /// use std::sync::Arc;
    ///
    /// let deny = |name: &str| Resource::Authorization(Arc::new(Authorization::new(name, Action::Deny, vec![])));
    /// let delta = |number, removals| Delta { generation: Generation(number), upserts: vec![deny("shop/a")], removals };
    /// let (first, changes) = Snapshot::default().apply(delta(1, vec![]));
    /// assert_eq!(changes.len(), 1);
    ///
    /// // The same again, and a removal of what is not there: a new generation without a change.
    /// let (second, changes) = first.apply(delta(2, vec![deny("shop/b").key()]));
    /// assert_eq!((second.generation, changes.len()), (Generation(2), 0));
    ///
    /// let (third, _) = second.apply(delta(3, vec![deny("shop/a").key()]));
    /// assert_eq!(third.resources().count(), 1);
    /// assert_eq!(first.generation, Generation(1), "whoever holds a snapshot keeps what it was");
    /// ```
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
