//! What a proxy has of each listener: a listener that it refuses must not be as one that is not there. What is for it would fall to a
//! wider listener of the port, which has other routes and other guards. So where the proxy has no earlier version of it, it is sent
//! closed, with the port and the hostname that it would have.

use super::entry::Entry;
use fairway_config::model::{Resource, ResourceKey, ResourceKind};
use fairway_config::wire::{self, ContentHash, Encoded};
use std::collections::HashMap;
use std::sync::Arc;

/// What a proxy has of the listeners.
#[derive(Debug, Default)]
pub(super) struct ListenersHeld(HashMap<ResourceKey, HeldListener, ahash::RandomState>);

/// What a proxy has of one listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeldListener {
    /// A version that it took.
    Taken,
    /// A closed one in the place of a version that it refused.
    Closed(ContentHash),
}

// === impl ListenersHeld ===

impl ListenersHeld {
    /// Those that the proxy says it holds. They are in force there, in whatever version.
    pub(super) fn new<'a>(held: impl Iterator<Item = &'a ResourceKey>) -> Self {
        let listeners = held.filter(|it| it.kind == ResourceKind::Listener);
        Self(listeners.map(|it| (it.clone(), HeldListener::Taken)).collect())
    }

    /// The proxy has taken this.
    pub(super) fn insert(&mut self, key: &ResourceKey, held: HeldListener) {
        if key.kind == ResourceKind::Listener {
            self.0.insert(key.clone(), held);
        }
    }

    /// The proxy has it no more.
    pub(super) fn remove(&mut self, key: &ResourceKey) {
        self.0.remove(key);
    }

    /// Whether what it has of a listener is closed in the place of what it refused.
    pub(super) fn is_closed(&self, key: &ResourceKey) -> bool {
        matches!(self.0.get(key), Some(HeldListener::Closed(_)))
    }

    /// What is sent in the place of a listener that the proxy refuses for this reason: nothing where it has an earlier version, has this
    /// already, or no listener is wider.
    pub(super) fn in_place_of(&self, entry: &Entry, reason: &str) -> Option<Arc<Encoded>> {
        let Resource::Listener(listener) = &entry.resource else { return None };
        let held = self.0.get(&entry.encoded.key);
        if held == Some(&HeldListener::Taken) {
            return None;
        }
        let closed = listener.close(format!("the proxy refuses the listener: {reason}"))?;
        let encoded = wire::encode(&Resource::Listener(Arc::new(closed)));
        (held != Some(&HeldListener::Closed(encoded.hash))).then(|| Arc::new(encoded))
    }
}
