//! A resource in the hub, and what each proxy gets of it.

use fairway_config::model::{Capabilities, Resource, reason_closed};
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

    /// Whether the proxy can carry it out as it is written.
    pub(super) fn suits(&self, subscription: &Subscription) -> bool {
        subscription.capabilities.include(self.required)
    }

    /// What the proxy gets. Another version is encoded each time: proxies of an older version are few and soon gone.
    pub(super) fn fitted(&self, subscription: &Subscription) -> Fitted {
        if self.suits(subscription) {
            return Fitted { encoded: Some(self.encoded.clone()), closed: None };
        }
        let closed = self.resource.closed_for(subscription.capabilities);
        let missing = self.required.without(subscription.capabilities).that_decide();
        let reason = || reason_closed(&self.encoded.key, missing, &subscription.version);
        Fitted {
            encoded: closed.map(|it| Arc::new(wire::encode(&it))),
            closed: (missing != Capabilities::NONE).then(reason),
        }
    }
}
