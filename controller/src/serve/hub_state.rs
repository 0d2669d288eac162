//! What the hub knows: the configuration, and how far each subscriber has come. No I/O, no waiting.

mod entry;
mod listeners_held;
mod refused;
mod subscriber;

use super::scope::{Graph, View, edges};
use super::states::ProxyState;
use entry::Entry;
use fairway_config::model::{Capabilities, Generation, ListenerKey, Resource, ResourceKey, ResourceKind};
use fairway_config::stream::{Proxy, Subscription};
use fairway_config::wire::{ContentHash, Encoded};
use listeners_held::ListenersHeld;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use subscriber::{Subscriber, Wanted, is_followed};
use tokio::sync::Notify;

pub(super) use listeners_held::HeldListener;
pub(super) use refused::RefusedResource;
pub(super) use subscriber::{Difference, WrongAnswer};

/// Resources by their hashes, as a proxy says it holds them.
pub(super) type Held = HashMap<ResourceKey, ContentHash, ahash::RandomState>;

/// Resources by their keys, with what proxies get of them.
type Entries = HashMap<ResourceKey, Entry, ahash::RandomState>;

/// What a listener asks of a proxy; nothing if there is no such listener.
fn asked(entries: &Entries, listener: &ListenerKey) -> Capabilities {
    let key = ResourceKey::new(ResourceKind::Listener, listener.as_arc());
    entries.get(&key).map(Entry::required).unwrap_or_default()
}

/// Names one subscriber among all that there ever were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct SubscriberId(u64);

#[derive(Debug, Default)]
pub(super) struct HubState {
    generation: Generation,
    entries: Entries,
    graph: Graph,
    /// One for all subscribers that need the same: replicas of a gateway, say.
    views: HashMap<Proxy, View, ahash::RandomState>,
    subscribers: BTreeMap<SubscriberId, Subscriber>,
    last_id: u64,
}

impl HubState {
    /// Enters a change; subscribers that it concerns are woken.
    pub(super) fn commit(
        &mut self,
        upserts: Vec<(Resource, Arc<Encoded>)>,
        removals: Vec<ResourceKey>,
    ) -> Generation {
        let mut changed = HashSet::<ResourceKey, ahash::RandomState>::default();
        // Listeners that ask for something else than before.
        let mut asking = Vec::new();
        for key in removals {
            if let Some(old) = self.entries.remove(&key) {
                self.relink(Some(&old.resource), None);
                changed.insert(key);
            }
        }
        for (resource, encoded) in upserts {
            let key = encoded.key.clone();
            if self.entries.get(&key).is_some_and(|held| held.encoded.hash == encoded.hash) {
                continue;
            }
            let new = Entry::new(resource.clone(), encoded);
            let required = new.required();
            let old = self.entries.insert(key.clone(), new);
            let before = old.as_ref().map(Entry::required).unwrap_or_default();
            if key.kind == ResourceKind::Listener && before != required {
                asking.push(key.clone());
            }
            self.relink(old.as_ref().map(|it| &it.resource), Some(&resource));
            changed.insert(key);
        }
        self.generation.0 += 1;
        self.spread(&changed);
        self.spread_to_routes(&asking);
        self.generation
    }

    /// Moves the graph and all views from what one version of a resource says to what the next one says.
    fn relink(&mut self, old: Option<&Resource>, new: Option<&Resource>) {
        let old = old.map(edges).unwrap_or_default();
        let new = new.map(edges).unwrap_or_default();
        let Self { graph, views, subscribers, .. } = self;
        let mut each = |step: &dyn Fn(&mut View)| {
            views.values_mut().for_each(step);
            subscribers.values_mut().filter_map(Subscriber::retained_mut).for_each(step);
        };
        // Edge by edge: each view is right after each single step.
        for edge in old.iter().filter(|edge| new.binary_search(edge).is_err()) {
            graph.remove(edge);
            each(&|view| view.removed(edge, graph));
        }
        for edge in new.iter().filter(|edge| old.binary_search(edge).is_err()) {
            graph.add(edge);
            each(&|view| view.added(edge, graph));
        }
    }

    /// Tells each subscriber which of its resources are not any more what it was told last.
    fn spread(&mut self, changed: &HashSet<ResourceKey, ahash::RandomState>) {
        let mut touched =
            HashMap::<&Proxy, HashSet<ResourceKey, ahash::RandomState>, ahash::RandomState>::default();
        for (proxy, view) in &mut self.views {
            let mut keys = view.take_flipped();
            keys.extend(changed.iter().filter(|key| view.wants(key)).cloned());
            touched.insert(proxy, keys);
        }
        for subscriber in self.subscribers.values_mut() {
            if let Some(keys) = touched.get(subscriber.proxy()).filter(|keys| !keys.is_empty()) {
                subscriber.touch(keys.iter().cloned());
            }
            let Some(retained) = subscriber.retained_mut() else { continue };
            let mut keys = retained.take_flipped();
            keys.extend(changed.iter().filter(|key| retained.wants(key)).cloned());
            if !keys.is_empty() {
                subscriber.touch(keys.into_iter());
            }
        }
    }

    /// Tells the subscribers of older versions that routes are to be bound anew: these listeners are closed there now, or were.
    fn spread_to_routes(&mut self, listeners: &[ResourceKey]) {
        for listener in listeners {
            let routes = self.graph.resources_of(listener);
            for subscriber in self.subscribers.values_mut().filter(|it| it.is_older()) {
                let Some(view) = self.views.get(subscriber.proxy()) else { continue };
                subscriber.touch(routes.iter().filter(|it| view.wants(it)).cloned());
            }
        }
    }

    /// Enters a subscriber with what it holds.
    pub(super) fn subscribe(
        &mut self,
        subscription: Subscription,
        held: &Held,
        wake: Arc<Notify>,
    ) -> SubscriberId {
        let view = self
            .views
            .entry(subscription.proxy.clone())
            .or_insert_with(|| View::new(subscription.proxy.clone(), &self.graph));
        let stale = held.iter().filter(|(key, hash)| {
            let wanted = self.entries.get(key).filter(|_| view.wants(key));
            wanted.is_none_or(|entry| entry.encoded.hash != **hash)
        });
        // What the proxy cannot carry out is fitted and said again, whatever it holds.
        let missing = self.entries.iter().filter(|(key, entry)| {
            let suits = || entry.suits(&subscription, |it| asked(&self.entries, it));
            (!held.contains_key(*key) || !suits()) && view.wants(key)
        });
        let unproven = held.iter().filter(|(key, hash)| {
            !view.wants(key) && self.entries.get(*key).is_none_or(|entry| entry.encoded.hash != **hash)
        });
        let unproven = unproven.map(|(key, _)| key.clone()).collect();
        let difference = stale.map(|(key, _)| key).chain(missing.map(|(key, _)| key)).cloned().collect();
        self.last_id += 1;
        let id = SubscriberId(self.last_id);
        let listeners = ListenersHeld::new(held, &self.entries);
        let subscriber =
            Subscriber::new(subscription, difference, unproven, listeners, held.is_empty(), wake);
        self.subscribers.insert(id, subscriber);
        id
    }

    pub(super) fn unsubscribe(&mut self, id: SubscriberId) {
        let Some(gone) = self.subscribers.remove(&id) else {
            return;
        };
        if !self.subscribers.values().any(|it| it.proxy() == gone.proxy()) {
            self.views.remove(gone.proxy());
        }
    }

    /// What is to be sent to a subscriber now; none when it has all it needs or has not answered the last one yet.
    pub(super) fn difference(&mut self, id: SubscriberId) -> Option<Difference> {
        let subscriber = self.subscribers.get_mut(&id)?;
        let view = self.views.get(subscriber.proxy())?;
        let entries = &self.entries;
        let wanted = |key: &ResourceKey, retained: Option<&View>| {
            let Some(entry) = entries.get(key) else { return Wanted::Nothing };
            match (view.wants(key), retained.is_some_and(|it| it.wants(key))) {
                (true, _) => Wanted::Version(entry),
                (false, true) if is_followed(key.kind) => Wanted::Version(entry),
                (false, true) => Wanted::AsItIs,
                (false, false) => Wanted::Nothing,
            }
        };
        subscriber.difference(self.generation, wanted, |it| asked(entries, it))
    }

    /// The subscriber has put a difference in force.
    pub(super) fn acked(&mut self, id: SubscriberId, generation: Generation) -> Result<(), WrongAnswer> {
        let Some(subscriber) = self.subscribers.get_mut(&id) else { return Ok(()) };
        subscriber.acked(generation)?;
        Self::retain(subscriber, &self.graph);
        Ok(())
    }

    /// The subscriber has refused a difference. Returned is what is left out of it though the proxy does not name it.
    pub(super) fn nacked(
        &mut self,
        id: SubscriberId,
        generation: Generation,
        refused: Vec<RefusedResource>,
    ) -> Result<Vec<ResourceKey>, WrongAnswer> {
        let Some(subscriber) = self.subscribers.get_mut(&id) else { return Ok(Vec::new()) };
        let view = self.views.get(subscriber.proxy());
        let in_scope = |key: &ResourceKey| view.is_some_and(|it| it.wants(key));
        let beside = subscriber.named_beside_what_was_sent(&refused);
        let reached = View::of_resources(beside.iter().cloned(), &self.graph);
        let names = |entry: &Entry| entry.resource.references().iter().any(|it| beside.contains(it));
        let is_related = |key: &ResourceKey| reached.wants(key) || self.entries.get(key).is_some_and(names);
        let left_out = subscriber.nacked(generation, refused, in_scope, is_related)?;
        Self::retain(subscriber, &self.graph);
        Ok(left_out)
    }

    /// Keeps for a subscriber what its older versions of refused resources need, and nothing else.
    fn retain(subscriber: &mut Subscriber, graph: &Graph) {
        let needs: HashSet<_, ahash::RandomState> = subscriber.needs().cloned().collect();
        if needs.is_empty() && subscriber.retained().is_none() {
            return;
        }
        subscriber.retain((!needs.is_empty()).then(|| View::of_resources(needs, graph)));
    }

    /// Has what was refused sent once more with the next difference.
    pub(super) fn offer_again(&mut self, id: SubscriberId) {
        if let Some(subscriber) = self.subscribers.get_mut(&id) {
            subscriber.offer_again();
        }
    }

    /// Whether a subscriber does not have all it should because it refused something.
    pub(super) fn has_refused(&self, id: SubscriberId) -> bool {
        self.subscribers.get(&id).is_some_and(Subscriber::has_refused)
    }

    /// How far each subscriber has come.
    pub(super) fn states(&self) -> Vec<ProxyState> {
        self.subscribers.values().map(|it| it.state(self.generation)).collect()
    }

    /// The resources of a scope, as a subscriber's view has them, or one that is made for this.
    #[cfg(test)]
    pub(super) fn scope(&self, proxy: &Proxy) -> BTreeMap<ResourceKey, Resource> {
        let scratch = View::new(proxy.clone(), &self.graph);
        let view = self.views.get(proxy).unwrap_or(&scratch);
        let wanted = self.entries.iter().filter(|(key, _)| view.wants(key));
        wanted.map(|(key, entry)| (key.clone(), entry.resource.clone())).collect()
    }

    /// Whether a subscriber's view is what it would be if it were made now.
    #[cfg(test)]
    pub(super) fn view_is_as_from_scratch(&self, proxy: &Proxy) -> bool {
        self.views.get(proxy).is_some_and(|view| *view == View::new(proxy.clone(), &self.graph))
    }
}
