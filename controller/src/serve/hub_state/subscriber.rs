//! How far one subscriber has come.
//!
//! What the proxy holds is not kept: it is what it was sent, but for the keys that are `stale` (changed since) and those
//! it refused. So a subscriber costs what it is behind, not what it has. Of listeners it is kept which it has.

use super::entry::{Entry, Fitted};
use super::listeners_held::{HeldListener, ListenersHeld};
use crate::serve::scope::View;
use crate::serve::states::ProxyState;
use fairway_config::Rejected;
use fairway_config::model::{Capabilities, Generation, ListenerKey, ResourceKey, ResourceKind};
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
    /// Those of `upserts` that are closed in the place of what the proxy refused.
    in_place: BTreeSet<ResourceKey>,
}

#[derive(Debug)]
struct RefusedVersion {
    hash: ContentHash,
    reason: String,
    /// What the version that stays in force names.
    needs: Vec<ResourceKey>,
    /// Whether the proxy refuses the listener also where it is closed.
    refuses_closed: bool,
}

/// A resource that a proxy refused.
#[derive(Debug)]
pub(in crate::serve) struct RefusedResource {
    pub(in crate::serve) rejected: Rejected,
    /// What the version that stays in force there names.
    pub(in crate::serve) needs: Vec<ResourceKey>,
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

/// Bytes that are kept of what a proxy refuses, and those of each name beside its text.
const MOST_REFUSED: usize = 32 * 1024 * 1024;
const EACH_REFUSED: usize = 96;

impl Subscriber {
    pub(super) fn new(
        subscription: Subscription,
        stale: HashSet<ResourceKey, ahash::RandomState>,
        unproven: HashSet<ResourceKey, ahash::RandomState>,
        listeners: ListenersHeld,
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
        let mut in_place = BTreeSet::new();
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
            match encoded {
                Some(encoded)
                    if !again && self.refused.get(&key).is_some_and(|it| it.hash == encoded.hash) =>
                {
                    if let Some(closed) = self.closed_in_place(&key, wanted) {
                        in_place.insert(key);
                        difference.upserts.push(closed);
                    }
                }
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
            in_place,
        });
        Some(difference)
    }

    /// What is sent in the place of what the proxy refuses. One of an older version may not know closed listeners, and would serve it.
    fn closed_in_place(&self, key: &ResourceKey, wanted: Wanted<'_>) -> Option<Arc<Encoded>> {
        let refused = self.refused.get(key).filter(|it| !it.refuses_closed && !self.is_older())?;
        let Wanted::Version(entry) = wanted else { return None };
        self.listeners.in_place_of(entry, &refused.reason)
    }

    fn answered(&mut self, generation: Generation) -> Result<InFlight, WrongAnswer> {
        self.in_flight.take_if(|it| it.generation == generation).ok_or(WrongAnswer::Generation(generation))
    }

    pub(super) fn acked(&mut self, generation: Generation) -> Result<(), WrongAnswer> {
        let answered = self.answered(generation)?;
        self.acked = generation;
        self.has_first = true;
        for (key, hash) in &answered.upserts {
            self.unproven.remove(key);
            if answered.in_place.contains(key) {
                self.listeners.insert(key, HeldListener::Closed(*hash));
            } else {
                self.refused.remove(key);
                self.listeners.insert(key, HeldListener::Taken);
            }
        }
        for key in &answered.removals {
            self.refused.remove(key);
            self.unproven.remove(key);
            self.listeners.remove(key);
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

    pub(super) fn nacked(
        &mut self,
        generation: Generation,
        refused: Vec<RefusedResource>,
        in_scope: impl Fn(&ResourceKey) -> bool,
    ) -> Result<(), WrongAnswer> {
        let answered = self.answered(generation)?;
        let (of_this, others): (Vec<_>, Vec<_>) =
            refused.into_iter().partition(|it| answered.upserts.contains_key(&it.rejected.key));
        // A refusal that names nothing of what was sent tells nothing that could be left out: then all of it waits.
        self.stalled = of_this.is_empty().then(|| others.into_iter().map(|it| it.rejected).collect());
        for RefusedResource { rejected: Rejected { key, reason }, needs } in of_this {
            if answered.in_place.contains(&key) {
                self.refused.entry(key).and_modify(|it| it.refuses_closed = true);
            } else if let Some(hash) = answered.upserts.get(&key) {
                let may_keep = |need: &ResourceKey| {
                    is_named(need.kind) && (in_scope(need) || self.may_keep(need, &key, &answered))
                };
                let needs = needs.into_iter().filter(may_keep).collect();
                let before = self.refused.get(&key).filter(|it| it.hash == *hash);
                let refuses_closed = before.is_some_and(|it| it.refuses_closed);
                let version = RefusedVersion { hash: *hash, reason, needs, refuses_closed };
                self.refused.insert(key, version);
            }
        }
        self.stale.extend(answered.upserts.into_keys().chain(answered.removals));
        let kept = self
            .refused
            .values()
            .map(RefusedVersion::size)
            .chain(self.stalled.iter().flatten().map(size_of_rejected));
        if kept.sum::<usize>() > MOST_REFUSED { Err(WrongAnswer::TooLarge) } else { Ok(()) }
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
                true => "; it had none, so the listener is closed there",
                false => "",
            };
            Rejected { key: key.clone(), reason: format!("{}{closed}", it.reason) }
        });
        ProxyState {
            proxy: self.subscription.proxy.clone(),
            version: self.subscription.version.clone(),
            acked: if up_to_date { generation } else { self.acked },
            rejected: refused.chain(self.stalled.iter().flatten().cloned()).collect(),
            closed: self.closed.iter().map(|(key, reason)| (key.clone(), reason.clone())).collect(),
        }
    }
}

// === impl RefusedVersion ===

impl RefusedVersion {
    fn size(&self) -> usize {
        let needs = self.needs.iter().map(|it| it.name.len() + EACH_REFUSED);
        self.reason.len() + EACH_REFUSED + needs.sum::<usize>()
    }
}

fn size_of_rejected(rejected: &Rejected) -> usize {
    rejected.key.name.len() + rejected.reason.len() + EACH_REFUSED
}

/// Whether resources name others of this kind. Of the other kinds nothing is kept: what they lead to is not what a refused one needs.
fn is_named(kind: ResourceKind) -> bool {
    match kind {
        ResourceKind::Backend
        | ResourceKind::Endpoints
        | ResourceKind::Certificate
        | ResourceKind::Authorization
        | ResourceKind::RateLimit
        | ResourceKind::Authentication => true,
        ResourceKind::Listener
        | ResourceKind::Route
        | ResourceKind::L4Route
        | ResourceKind::Service
        | ResourceKind::Workload => false,
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
