//! A resource in the hub, and what each proxy gets of it.

use fairway_config::model::{Capabilities, ListenerKey, Resource, reason_closed};
use fairway_config::stream::Subscription;
use fairway_config::wire::{self, Encoded};
use std::sync::Arc;

/// A resource, and its one encoding for all proxies that can carry it out.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) resource: Resource,
    pub(super) encoded: Arc<Encoded>,
    required: Capabilities,
}

/// What a proxy gets of a resource.
#[derive(Debug)]
pub(super) struct Fitted {
    /// What is sent; `None`: the proxy must not have it.
    pub(super) encoded: Option<Arc<Encoded>>,
    /// Why it is not what was written, in words for its author.
    pub(super) closed: Option<String>,
}

impl Entry {
    pub(super) fn new(resource: Resource, encoded: Arc<Encoded>) -> Self {
        let required = resource.requires();
        Self { resource, encoded, required }
    }

    /// What it asks of a proxy.
    pub(super) fn required(&self) -> Capabilities {
        self.required
    }

    /// Whether the proxy can carry it out as it is written, and serves the listeners that it is bound to. `asked` says what a
    /// listener asks of a proxy.
    pub(super) fn suits(
        &self,
        subscription: &Subscription,
        asked: impl Fn(&ListenerKey) -> Capabilities,
    ) -> bool {
        let known = subscription.capabilities;
        known.include(Capabilities::OF_THIS_VERSION)
            || known.include(self.required) && self.resource.listeners().all(|it| known.include(asked(it)))
    }

    /// What the proxy gets. Another version is encoded each time: proxies of an older version are few and soon gone.
    pub(super) fn fitted(
        &self,
        subscription: &Subscription,
        asked: impl Fn(&ListenerKey) -> Capabilities,
    ) -> Fitted {
        if self.suits(subscription, &asked) {
            return Fitted { encoded: Some(self.encoded.clone()), closed: None };
        }
        let known = subscription.capabilities;
        // A listener says itself that it is closed there.
        let bound = self.resource.detached(|it| !known.include(asked(it)));
        let fitted =
            bound.and_then(|it| if known.include(it.requires()) { Some(it) } else { it.closed_for(known) });
        let missing = self.required.without(known).that_decide();
        let reason = || reason_closed(&self.encoded.key, missing, &subscription.version);
        Fitted {
            encoded: fitted.map(|it| Arc::new(wire::encode(&it))),
            closed: (missing != Capabilities::NONE).then(reason),
        }
    }
}
