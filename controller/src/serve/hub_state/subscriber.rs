//! How far one subscriber has come.
//!
//! What the proxy holds is not kept: it is what it was sent, but for the keys that are `stale` (changed since) and those
//! it refused. So a subscriber costs what it is behind, not what it has. Of listeners it is kept which it has.

use super::entry::{Entry, Fitted};
use super::listeners_held::{HeldListener, InPlace, ListenersHeld};
use super::refused::{
    MOST_REFUSED, RefusedResource, RefusedVersion, is_named, may_be_held_back, size_of_rejected,
};
use crate::serve::scope::View;
use crate::serve::states::ProxyState;
use fairway_config::Rejected;
use fairway_config::model::{
    Capabilities, Capability, Generation, ListenerKey, Resource, ResourceKey, ResourceKind,
};
use fairway_config::stream::{Proxy, Subscription};
use fairway_config::wire::{ContentHash, Encoded};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::mem;
use std::sync::Arc;
use tokio::sync::Notify;

#[derive(Debug)]
pub(super) struct Subscriber {
    subscription: Subscription,
    /// What the proxy may have in another version than it should, or have and should not.
    stale: HashSet<ResourceKey, ahash::RandomState>,
    in_flight: Option<InFlight>,
    /// What the proxy refused: that version is not sent again, its older one stays there.
    refused: BTreeMap<ResourceKey, RefusedVersion>,
    /// What the proxy cannot carry out, and got in a version that closes it: why.
    closed: BTreeMap<ResourceKey, String>,
    /// What the proxy has of listeners.
    listeners: ListenersHeld,
    /// What those older versions need, which the proxy keeps.
    retained: Option<View>,
    /// What the proxy says it held when it subscribed, outside its scope and not in the version that there is. Nothing shows that
    /// it ever had the right to it.
    unproven: HashSet<ResourceKey, ahash::RandomState>,
    stalled: Option<Vec<Rejected>>,
    /// What the proxy refused though it was not sent it. For that something of what it was sent is left out.
    beside: Vec<Rejected>,
    /// Whether it had nothing when it subscribed.
    began_empty: bool,
    offering_again: bool,
    has_first: bool,
    acked: Generation,
    wake: Arc<Notify>,
}

/// A difference that is not answered yet.
#[derive(Debug)]
struct InFlight {
    generation: Generation,
    upserts: BTreeMap<ResourceKey, ContentHash>,
    removals: Vec<ResourceKey>,
    /// The listeners of `upserts`.
    listeners: BTreeMap<ResourceKey, Option<HeldListener>>,
    /// What is sent or removed in the place of a listener that the proxy refused.
    in_place: BTreeSet<ResourceKey>,
}

/// What is to be sent.
#[derive(Debug)]
pub(in crate::serve) struct Difference {
    pub(in crate::serve) generation: Generation,
    pub(in crate::serve) upserts: Vec<Arc<Encoded>>,
    pub(in crate::serve) removals: Vec<ResourceKey>,
}

/// What a proxy is to have of a resource.
#[derive(Clone, Copy)]
pub(in crate::serve) enum Wanted<'a> {
    /// The version of this entry, fitted to what the proxy knows.
    Version(&'a Entry),
    /// What it has; nothing of it is sent.
    AsItIs,
    /// Nothing: what it has is removed.
    Nothing,
}

/// An answer that ends the stream.
#[derive(Debug, thiserror::Error)]
pub(in crate::serve) enum WrongAnswer {
    /// Nothing of this generation was asked.
    #[error("the proxy answers to generation {0}, which is not the one that waits for an answer")]
    Generation(Generation),
    /// What its refusals name is more than is kept.
    #[error("the proxy refuses more than {MOST_REFUSED} bytes of names and reasons")]
    TooLarge,
}

impl Subscriber {
    pub(super) fn new(
        subscription: Subscription,
        stale: HashSet<ResourceKey, ahash::RandomState>,
        unproven: HashSet<ResourceKey, ahash::RandomState>,
        listeners: ListenersHeld,
        began_empty: bool,
        wake: Arc<Notify>,
    ) -> Self {
        Self {
            subscription,
            stale,
            in_flight: None,
            refused: BTreeMap::new(),
            closed: BTreeMap::new(),
            listeners,
            retained: None,
            unproven,
            stalled: None,
            beside: Vec::new(),
            began_empty,
            offering_again: false,
            has_first: false,
            acked: Generation::default(),
            wake,
        }
    }

    pub(super) fn proxy(&self) -> &Proxy {
        &self.subscription.proxy
    }

    /// Whether this version of the program can carry out what the proxy cannot.
    pub(super) fn is_older(&self) -> bool {
        !self.subscription.capabilities.include(Capabilities::OF_THIS_VERSION)
    }

    pub(super) fn touch(&mut self, keys: impl Iterator<Item = ResourceKey>) {
        self.stale.extend(keys);
        self.stalled = None;
        self.wake.notify_one();
    }

    pub(super) fn difference<'a>(
        &mut self,
        generation: Generation,
        wanted: impl Fn(&ResourceKey, Option<&View>) -> Wanted<'a>,
        asked: impl Fn(&ListenerKey) -> Capabilities,
    ) -> Option<Difference> {
        if self.in_flight.is_some() || self.stalled.is_some() {
            return None;
        }
        let mut difference = Difference { generation, upserts: Vec::new(), removals: Vec::new() };
        let (mut in_place, mut listeners) = (BTreeSet::new(), BTreeMap::new());
        let again = mem::take(&mut self.offering_again);
        for key in mem::take(&mut self.stale) {
            let wanted = wanted(&key, self.retained.as_ref());
            let Fitted { encoded, closed } = match wanted {
                Wanted::Version(entry) => entry.fitted(&self.subscription, &asked),
                Wanted::AsItIs => continue,
                Wanted::Nothing => Fitted { encoded: None, closed: None },
            };
            match closed {
                Some(reason) => drop(self.closed.insert(key.clone(), reason)),
                None => drop(self.closed.remove(&key)),
            }
            let hash = encoded.as_ref().map(|it| it.hash);
            let is_refused = !again && self.refused.get(&key).is_some_and(|it| it.hash == hash);
            let encoded = match is_refused.then(|| self.in_place(&key, wanted)) {
                None => encoded,
                Some(InPlace::AsItIs) => continue,
                Some(InPlace::Closed(closed)) => {
                    in_place.insert(key.clone());
                    Some(closed)
                }
                Some(InPlace::Nothing) => {
                    in_place.insert(key.clone());
                    None
                }
            };
            if let (Some(_), Wanted::Version(Entry { resource: Resource::Listener(listener), .. })) =
                (&encoded, wanted)
            {
                let held = HeldListener::of(listener);
                let held = if in_place.contains(&key) { held.map(HeldListener::closed) } else { held };
                listeners.insert(key.clone(), held);
            }
            match encoded {
                Some(encoded) => difference.upserts.push(encoded),
                None => difference.removals.push(key),
            }
        }
        // Until one is in force there, even an empty one is sent: its commit says that this is all.
        if self.has_first && difference.upserts.is_empty() && difference.removals.is_empty() {
            return None;
        }
        difference.upserts.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        difference.removals.sort_unstable();
        self.in_flight = Some(InFlight {
            generation,
            upserts: difference.upserts.iter().map(|it| (it.key.clone(), it.hash)).collect(),
            removals: difference.removals.clone(),
            listeners,
            in_place,
        });
        Some(difference)
    }

    /// What the proxy is to have in the place of what it refuses. One that does not know closed listeners would serve them.
    fn in_place(&self, key: &ResourceKey, wanted: Wanted<'_>) -> InPlace {
        let refused = self.refused.get(key).filter(|_| self.knows_closed_listeners());
        let (Some(refused), Wanted::Version(entry)) = (refused, wanted) else { return InPlace::AsItIs };
        self.listeners.in_place_of(entry, &refused.reason, refused.refuses_closed)
    }

    fn knows_closed_listeners(&self) -> bool {
        self.subscription.capabilities.contains(Capability::ClosedListener)
    }

    fn answered(&mut self, generation: Generation) -> Result<InFlight, WrongAnswer> {
        self.in_flight.take_if(|it| it.generation == generation).ok_or(WrongAnswer::Generation(generation))
    }

    pub(super) fn acked(&mut self, generation: Generation) -> Result<(), WrongAnswer> {
        let mut answered = self.answered(generation)?;
        self.acked = generation;
        self.has_first = true;
        for key in answered.upserts.keys().chain(&answered.removals) {
            self.unproven.remove(key);
            if key.kind == ResourceKind::Listener {
                self.listeners.set(key, answered.listeners.remove(key).flatten());
            }
            if !answered.in_place.contains(key) {
                self.refused.remove(key);
            }
        }
        if self.refused.values().all(|it| it.was_named) {
            self.beside.clear();
        }
        Ok(())
    }

    /// What the versions in force of all that was refused name.
    pub(super) fn needs(&self) -> impl Iterator<Item = &ResourceKey> {
        self.refused.values().flat_map(|it| &it.needs)
    }

    /// What is kept for the versions in force of what was refused, besides what the proxy's scope has.
    pub(super) fn retained(&self) -> Option<&View> {
        self.retained.as_ref()
    }

    pub(super) fn retained_mut(&mut self) -> Option<&mut View> {
        self.retained.as_mut()
    }

    /// Replaces what is kept; what comes in or goes out by that is sent or removed next.
    pub(super) fn retain(&mut self, retained: Option<View>) {
        let before = mem::replace(&mut self.retained, retained);
        let has = |view: &Option<View>, key: &ResourceKey| view.as_ref().is_some_and(|it| it.wants(key));
        let gone = before.iter().flat_map(View::resources).filter(|key| !has(&self.retained, key));
        let new = self.retained.iter().flat_map(View::resources).filter(|key| !has(&before, key));
        self.stale.extend(gone.chain(new).cloned());
    }

    /// What the proxy refuses though it was not sent it with the difference that it answers to.
    pub(super) fn named_beside_what_was_sent(&self, refused: &[RefusedResource]) -> BTreeSet<ResourceKey> {
        let named = refused.iter().map(|it| &it.rejected.key);
        named.filter(|key| !self.in_flight.as_ref().is_some_and(|it| it.has(key))).cloned().collect()
    }

    /// Takes in a refusal. Returned is what is left out though the proxy does not name it: see [`Self::leave_out`].
    pub(super) fn nacked(
        &mut self,
        generation: Generation,
        refused: Vec<RefusedResource>,
        in_scope: impl Fn(&ResourceKey) -> bool,
        is_related: impl Fn(&ResourceKey) -> bool,
    ) -> Result<Vec<ResourceKey>, WrongAnswer> {
        let answered = self.answered(generation)?;
        let (of_this, beside): (Vec<_>, Vec<_>) =
            refused.into_iter().partition(|it| answered.has(&it.rejected.key));
        let mut is_progress = false;
        for RefusedResource { rejected: Rejected { key, reason }, needs, in_force } in of_this {
            if key.kind == ResourceKind::Listener && self.knows_closed_listeners() {
                self.listeners.set(&key, in_force);
            }
            let hash = answered.upserts.get(&key).copied();
            if answered.in_place.contains(&key) {
                is_progress |= hash.is_some();
                self.refused.entry(key).and_modify(|it| it.refuses_closed = true);
            } else if hash.is_some() || may_be_held_back(&key) {
                let may_keep = |need: &ResourceKey| {
                    is_named(need.kind) && (in_scope(need) || self.may_keep(need, &key, &answered))
                };
                let needs = needs.into_iter().filter(may_keep).collect();
                let before = self.refused.get(&key).filter(|it| it.hash == hash);
                let refuses_closed = before.is_some_and(|it| it.refuses_closed);
                let reason = reason.into();
                let version = RefusedVersion { hash, reason, was_named: true, needs, refuses_closed };
                self.refused.insert(key, version);
                is_progress = true;
            }
        }
        let beside: Vec<_> = beside.into_iter().map(|it| it.rejected).collect();
        let left_out = if is_progress { Vec::new() } else { self.leave_out(&answered, &beside, is_related) };
        match is_progress || !left_out.is_empty() {
            true => {
                self.beside.retain(|old| beside.iter().all(|it| it.key != old.key));
                self.beside.extend(beside);
            }
            false => self.stalled = Some(beside),
        }
        self.stale.extend(answered.upserts.into_keys().chain(answered.removals));
        let named = self.stalled.iter().flatten().chain(&self.beside);
        let kept = self.refused.iter().map(|(key, it)| it.size(key)).chain(named.map(size_of_rejected));
        if kept.sum::<usize>() > MOST_REFUSED { Err(WrongAnswer::TooLarge) } else { Ok(left_out) }
    }

    /// Chooses what is not sent again after a refusal that names nothing of what was sent: what has to do with the named, or all of it if
    /// nothing has. So the proxy goes on, with the last good version of that. What is removed stays with it, since that version may
    /// need it. Nothing is left out for a proxy that has no configuration at all: without a part of its first one it must not serve.
    fn leave_out(
        &mut self,
        answered: &InFlight,
        beside: &[Rejected],
        is_related: impl Fn(&ResourceKey) -> bool,
    ) -> Vec<ResourceKey> {
        if self.began_empty && !self.has_first {
            return Vec::new();
        }
        let why = match beside {
            [] => "without a reason".to_owned(),
            [Rejected { key, reason }, ..] => format!("because of {key}: {reason}"),
        };
        let reason: Arc<str> = format!("the proxy refuses what it was sent with this, {why}").into();
        let removals = || answered.removals.iter().filter(|key| may_be_held_back(key)).map(|key| (key, None));
        let upserts = || answered.upserts.iter().map(|(key, hash)| (key, Some(*hash)));
        let is_chosen = |key: &ResourceKey| !answered.in_place.contains(key);
        let finds = upserts().any(|(key, _)| is_chosen(key) && is_related(key));
        let chosen = upserts().filter(|(key, _)| is_chosen(key) && (!finds || is_related(key)));
        let mut left_out = Vec::new();
        for (key, hash) in chosen.chain(removals()) {
            let reason = reason.clone();
            let version =
                RefusedVersion { hash, reason, was_named: false, needs: Vec::new(), refuses_closed: false };
            self.refused.insert(key.clone(), version);
            left_out.push(key.clone());
        }
        if left_out.is_empty() {
            // All that is left is what is closed in the place of others.
            for key in answered.upserts.keys() {
                if let Some(refused) = self.refused.get_mut(key) {
                    refused.refuses_closed = true;
                    left_out.push(key.clone());
                }
            }
        }
        left_out
    }

    /// Whether a proxy may keep what it says that its version of a refused resource names. A refusal brings a proxy nothing that it
    /// has not had by its scope: that is what goes out of the scope now, and what is kept already.
    ///
    /// What a proxy held before this stream cannot be checked unless it has the hash of the present version. Of that it keeps what is never
    /// sent for a refusal ([`is_followed`]), and the Backends of the refused route's own namespace, which need no grant.
    fn may_keep(&self, need: &ResourceKey, refused: &ResourceKey, answered: &InFlight) -> bool {
        if self.unproven.contains(need) {
            return !is_followed(need.kind) || namespace_of(need) == namespace_of(refused);
        }
        let goes = answered.removals.contains(need) || self.stale.contains(need);
        goes || self.retained.as_ref().is_some_and(|it| it.wants(need))
    }

    pub(super) fn offer_again(&mut self) {
        self.stale.extend(self.refused.keys().cloned());
        // What stood against it may have been another listener, which may be another one by now.
        self.refused.values_mut().for_each(|it| it.refuses_closed = false);
        self.stalled = None;
        self.offering_again = true;
    }

    pub(super) fn has_refused(&self) -> bool {
        self.stalled.is_some() || !self.refused.is_empty()
    }

    pub(super) fn state(&self, generation: Generation) -> ProxyState {
        let up_to_date =
            self.has_first && self.in_flight.is_none() && self.stalled.is_none() && self.stale.is_empty();
        let refused = self.refused.iter().map(|(key, it)| {
            let closed = match self.listeners.is_closed(key) {
                true => "; it has none for this port and hostname, so the listener is closed there",
                false => "",
            };
            Rejected { key: key.clone(), reason: format!("{}{closed}", it.reason) }
        });
        let beside = self.beside.iter().chain(self.stalled.iter().flatten());
        let beside = beside.filter(|it| !self.refused.contains_key(&it.key));
        ProxyState {
            proxy: self.subscription.proxy.clone(),
            version: self.subscription.version.clone(),
            acked: if up_to_date { generation } else { self.acked },
            rejected: refused.chain(beside.cloned()).collect(),
            closed: self.closed.iter().map(|(key, reason)| (key.clone(), reason.clone())).collect(),
        }
    }
}

// === impl InFlight ===

impl InFlight {
    fn has(&self, key: &ResourceKey) -> bool {
        self.upserts.contains_key(key) || self.removals.binary_search(key).is_ok()
    }
}

/// Whether a proxy is sent the newest version of what it keeps for a refused resource: where the endpoints are, how to speak to them, and
/// who is refused, and how often. A certificate is kept as it is, so that nobody has a private key sent by refusing something.
pub(super) fn is_followed(kind: ResourceKind) -> bool {
    use ResourceKind::{Authentication, Authorization, Backend, Endpoints, RateLimit};
    matches!(kind, Backend | Endpoints | Authentication | Authorization | RateLimit)
}

/// The namespace in the name of a resource: `<namespace>/<name>…`, for routes `<kind>/<namespace>/<name>`.
fn namespace_of(key: &ResourceKey) -> Option<&str> {
    let mut parts = key.name.split('/');
    match key.kind {
        ResourceKind::Route | ResourceKind::L4Route => parts.nth(1),
        _ => parts.next(),
    }
}
