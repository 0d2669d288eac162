//! A resource in the hub, and what each proxy gets of it.

use fairway_config::model::{Capabilities, ListenerKey, Resource, ResourceKey, ResourceKind, reason_closed};
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

    /// Whether the proxy can carry it out as it is written, with what the listeners that it is bound to ask of a proxy.
    pub(super) fn suits(
        &self,
        subscription: &Subscription,
        of_listener: impl Fn(&ListenerKey) -> Capabilities,
    ) -> bool {
        let known = subscription.capabilities;
        known.include(Capabilities::OF_THIS_VERSION)
            || known.include(self.required)
                && self.resource.bound_listeners().all(|it| known.include(of_listener(it)))
    }

    /// What the proxy gets. Another version is encoded each time: proxies of an older version are few and soon gone.
    pub(super) fn fitted(
        &self,
        subscription: &Subscription,
        of_listener: impl Fn(&ListenerKey) -> Capabilities,
    ) -> Fitted {
        if self.suits(subscription, &of_listener) {
            return Fitted { encoded: Some(self.encoded.clone()), closed: None };
        }
        let known = subscription.capabilities;
        let at_listeners = self.resource.closed_at(|it| !known.include(of_listener(it)));
        let resource = at_listeners.as_ref().unwrap_or(&self.resource);
        let fitted = match known.include(resource.requires()) {
            true => Some(resource.clone()),
            false => resource.closed_for(known),
        };
        let closed = self.resource.bound_listeners().find(|it| !known.include(of_listener(it)));
        let (key, required) = match closed {
            Some(it) => (ResourceKey::new(ResourceKind::Listener, it.as_arc()), of_listener(it)),
            None => (self.encoded.key.clone(), self.required),
        };
        let missing = required.without(known).that_decide();
        let reason = || reason_closed(&key, missing, &subscription.version);
        Fitted {
            encoded: fitted.map(|it| Arc::new(wire::encode(&it))),
            closed: (missing != Capabilities::NONE).then(reason),
        }
    }
}
