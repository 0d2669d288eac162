//! Objects that are there and cannot be read. What they would open stays shut, as if they were not there; who refers to one is told why.

use super::{Kind, Meta, ObjectRef};
use std::sync::Arc;

/// An object of which no version was ever understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Unread {
    /// Its kind. It has no other type: whoever asks for an object of this kind finds none.
    pub kind: Kind,
    /// Its name and namespace, and why it cannot be read.
    pub meta: Meta,
}

// === impl Unread ===

impl Unread {
    /// The object that is not understood.
    pub fn new(object: &ObjectRef) -> Self {
        let (namespace, name) = (object.namespace.clone(), object.name.clone());
        let meta = Meta { namespace, name, generation: 1, ..Meta::default() };
        Self { kind: object.kind, meta }
    }

    /// The same, with the reason.
    pub fn because(mut self, why: Option<Arc<str>>) -> Self {
        self.meta.unreadable = why;
        self
    }
}
