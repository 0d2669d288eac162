//! The set of objects that is compiled.

use super::{Kind, Object, ObjectRef};
use std::collections::{BTreeMap, HashMap};

/// A change to the set of objects.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    /// A new or changed object.
    Upsert(Object),
    /// An object that is gone.
    Remove(ObjectRef),
}

/// The objects by their reference.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    objects: HashMap<ObjectRef, Object, ahash::RandomState>,
    by_kind: BTreeMap<Kind, usize>,
}

// === impl Edit ===

impl Edit {
    /// The object that changes.
    pub fn object(&self) -> ObjectRef {
        match self {
            Self::Upsert(object) => object.reference(),
            Self::Remove(reference) => reference.clone(),
        }
    }
}

// === impl Resources ===

impl Resources {
    /// The object as it was last inserted; none if it was removed or never there.
    pub fn get(&self, reference: &ObjectRef) -> Option<&Object> {
        self.objects.get(reference)
    }

    /// Puts an object in; gives back what was there.
    pub fn insert(&mut self, object: Object) -> Option<Object> {
        let reference = object.reference();
        let (kind, counts) = (reference.kind, counts(&reference));
        let before = self.objects.insert(reference, object);
        if before.is_none() && counts {
            *self.by_kind.entry(kind).or_default() += 1;
        }
        before
    }

    /// Takes an object out.
    pub fn remove(&mut self, reference: &ObjectRef) -> Option<Object> {
        let removed = self.objects.remove(reference);
        if removed.is_some() && counts(reference) {
            self.by_kind.entry(reference.kind).and_modify(|it| *it -= 1);
        }
        removed
    }

    /// Every object, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Object> {
        self.objects.values()
    }

    /// How many there are of a kind.
    pub fn count(&self, kind: Kind) -> usize {
        self.by_kind.get(&kind).copied().unwrap_or_default()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_kind.values().sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Whether it names an object of its kind. What stands for a kind has no name (see [`ClusterTrustBundle::KIND`]).
///
/// [`ClusterTrustBundle::KIND`]: super::ClusterTrustBundle::KIND
fn counts(reference: &ObjectRef) -> bool {
    !reference.name.is_empty()
}
