//! Where the listeners are that a proxy has. What is for a listener that it refuses must not fall to another listener of the port, which
//! has other routes and other guards. So the last good version of a listener stays only where the refused one would be: at its port and
//! hostname, and of a protocol that shares the port alike. Anywhere else the proxy is sent the refused one closed, which moves it there;
//! where the proxy refuses that as well, it is not to have the listener at all, so that it stands in nobody's way.

use super::entry::Entry;
use super::{Entries, Held};
use fairway_config::model::{Listener, Resource, ResourceKey, ResourceKind};
use fairway_config::wire::{self, ContentHash, Encoded};
use std::collections::HashMap;
use std::sync::Arc;

/// What a proxy has of the listeners.
#[derive(Debug, Default)]
pub(super) struct ListenersHeld(HashMap<ResourceKey, HeldListener, ahash::RandomState>);

/// What a proxy has of one listener.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::serve) enum HeldListener {
    /// A version that is not known here: the proxy had it when it subscribed.
    Unknown,
    /// One that is known.
    At {
        /// Its [`Listener::place`], without what says whether it is closed.
        place: Arc<Listener>,
        is_closed: bool,
    },
}

/// What a proxy is to have in the place of a listener that it refuses.
#[derive(Debug)]
pub(super) enum InPlace {
    /// What it has stays as it is.
    AsItIs,
    /// The same listener, closed.
    Closed(Arc<Encoded>),
    /// Nothing: the listener goes.
    Nothing,
}

// === impl HeldListener ===

impl HeldListener {
    /// What a proxy has that has this version; none for listeners than which none is wider.
    pub(in crate::serve) fn of(listener: &Listener) -> Option<Self> {
        let place = Listener { closed: None, ..listener.place()? };
        Some(Self::At { place: Arc::new(place), is_closed: listener.closed.is_some() })
    }

    /// The same listener, if it is closed there.
    pub(super) fn closed(self) -> Self {
        match self {
            Self::Unknown => Self::Unknown,
            Self::At { place, .. } => Self::At { place, is_closed: true },
        }
    }

    fn is_at(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::At { place, .. }, Self::At { place: other, .. }) => place == other,
            _ => false,
        }
    }
}

// === impl ListenersHeld ===

impl ListenersHeld {
    /// Those that the proxy says it holds. They are in force there, in whatever version.
    pub(super) fn new(held: &Held, entries: &Entries) -> Self {
        let listeners = held.iter().filter(|(key, _)| key.kind == ResourceKind::Listener);
        let known = |(key, hash): (&ResourceKey, &ContentHash)| {
            let entry = entries.get(key).filter(|it| it.encoded.hash == *hash);
            let at = entry.and_then(|it| listener(&it.resource)).and_then(HeldListener::of);
            (key.clone(), at.unwrap_or(HeldListener::Unknown))
        };
        Self(listeners.map(known).collect())
    }

    /// The proxy has this of a listener.
    pub(super) fn set(&mut self, key: &ResourceKey, held: Option<HeldListener>) {
        match held {
            Some(held) => drop(self.0.insert(key.clone(), held)),
            None => drop(self.0.remove(key)),
        }
    }

    /// Whether what it has of a listener is closed.
    pub(super) fn is_closed(&self, key: &ResourceKey) -> bool {
        matches!(self.0.get(key), Some(HeldListener::At { is_closed: true, .. }))
    }

    /// What a proxy is to have of a listener that it refuses for this reason.
    pub(super) fn in_place_of(&self, entry: &Entry, reason: &str, refuses_closed: bool) -> InPlace {
        let Some(listener) = listener(&entry.resource) else { return InPlace::AsItIs };
        let Some(refused) = HeldListener::of(listener) else { return InPlace::AsItIs };
        let held = self.0.get(&entry.encoded.key);
        match held {
            Some(held) if held.is_at(&refused) => InPlace::AsItIs,
            _ if !refuses_closed => {
                let closed = listener.close(format!("the proxy refuses the listener: {reason}"));
                let encoded = closed.map(|it| wire::encode(&Resource::Listener(Arc::new(it))));
                encoded.map_or(InPlace::AsItIs, |it| InPlace::Closed(Arc::new(it)))
            }
            Some(_) => InPlace::Nothing,
            None => InPlace::AsItIs,
        }
    }
}

fn listener(resource: &Resource) -> Option<&Listener> {
    match resource {
        Resource::Listener(listener) => Some(listener),
        _ => None,
    }
}
