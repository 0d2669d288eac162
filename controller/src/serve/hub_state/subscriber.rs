//! How far one subscriber has come.
//!
//! What the proxy holds is not kept: it is what it was sent, but for the keys that are `stale` (changed since) and those
//! it refused. So a subscriber costs what it is behind, not what it has.

use super::entry::{Entry, Fitted};
use crate::serve::scope::View;
use crate::serve::states::ProxyState;
use fairway_config::Rejected;
use fairway_config::model::{Generation, ResourceKey};
use fairway_config::stream::{Proxy, Subscription};
use fairway_config::wire::{ContentHash, Encoded};
use std::collections::{BTreeMap, HashSet};
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
    refused: BTreeMap<ResourceKey, Refusal>,
    /// What the proxy cannot carry out, and got in a version that closes it: why.
    closed: BTreeMap<ResourceKey, String>,
    /// What those older versions need, which the proxy keeps and is kept up to date with.
    retained: Option<View>,
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
}

#[derive(Debug)]
struct Refusal {
    hash: ContentHash,
    reason: String,
    /// What the version that stays in force names.
    needs: Vec<ResourceKey>,
}

/// A resource that a proxy refused.
#[derive(Debug)]
pub(in crate::serve) struct Refused {
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

/// An answer to something that was not asked.
#[derive(Debug, thiserror::Error)]
#[error("the proxy answers to generation {0}, which is not the one that waits for an answer")]
pub(in crate::serve) struct WrongAnswer(Generation);

impl Subscriber {
    pub(super) fn new(
        subscription: Subscription,
        stale: HashSet<ResourceKey, ahash::RandomState>,
        wake: Arc<Notify>,
    ) -> Self {
        Self {
            subscription,
            stale,
            in_flight: None,
            refused: BTreeMap::new(),
            closed: BTreeMap::new(),
            retained: None,
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

    pub(super) fn touch(&mut self, keys: impl Iterator<Item = ResourceKey>) {
        self.stale.extend(keys);
        self.stalled = None;
        self.wake.notify_one();
    }

    pub(super) fn difference<'a>(
        &mut self,
        generation: Generation,
        wanted: impl Fn(&ResourceKey, Option<&View>) -> Option<&'a Entry>,
    ) -> Option<Difference> {
        if self.in_flight.is_some() || self.stalled.is_some() {
            return None;
        }
        let mut difference = Difference { generation, upserts: Vec::new(), removals: Vec::new() };
        let again = mem::take(&mut self.offering_again);
        for key in mem::take(&mut self.stale) {
            let entry = wanted(&key, self.retained.as_ref());
            let fitted = entry.map(|it| it.fitted(&self.subscription));
            let Fitted { encoded, closed } = fitted.unwrap_or(Fitted { encoded: None, closed: None });
            match closed {
                Some(reason) => drop(self.closed.insert(key.clone(), reason)),
                None => drop(self.closed.remove(&key)),
            }
            match encoded {
                Some(encoded)
                    if !again && self.refused.get(&key).is_some_and(|it| it.hash == encoded.hash) => {}
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
        });
        Some(difference)
    }

    fn answered(&mut self, generation: Generation) -> Result<InFlight, WrongAnswer> {
        self.in_flight.take_if(|it| it.generation == generation).ok_or(WrongAnswer(generation))
    }

    pub(super) fn acked(&mut self, generation: Generation) -> Result<(), WrongAnswer> {
        let answered = self.answered(generation)?;
        self.acked = generation;
        self.has_first = true;
        for key in answered.upserts.keys().chain(&answered.removals) {
            self.refused.remove(key);
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
        refused: Vec<Refused>,
    ) -> Result<(), WrongAnswer> {
        let answered = self.answered(generation)?;
        let (of_this, others): (Vec<_>, Vec<_>) =
            refused.into_iter().partition(|it| answered.upserts.contains_key(&it.rejected.key));
        // A refusal that names nothing of what was sent tells nothing that could be left out: then all of it waits.
        self.stalled = of_this.is_empty().then(|| others.into_iter().map(|it| it.rejected).collect());
        for Refused { rejected: Rejected { key, reason }, needs } in of_this {
            if let Some(hash) = answered.upserts.get(&key) {
                self.refused.insert(key, Refusal { hash: *hash, reason, needs });
            }
        }
        self.stale.extend(answered.upserts.into_keys().chain(answered.removals));
        Ok(())
    }

    pub(super) fn offer_again(&mut self) {
        self.stale.extend(self.refused.keys().cloned());
        self.stalled = None;
        self.offering_again = true;
    }

    pub(super) fn has_refused(&self) -> bool {
        self.stalled.is_some() || !self.refused.is_empty()
    }

    pub(super) fn state(&self, generation: Generation) -> ProxyState {
        let up_to_date =
            self.has_first && self.in_flight.is_none() && self.stalled.is_none() && self.stale.is_empty();
        let refused =
            self.refused.iter().map(|(key, it)| Rejected { key: key.clone(), reason: it.reason.clone() });
        ProxyState {
            proxy: self.subscription.proxy.clone(),
            version: self.subscription.version.clone(),
            acked: if up_to_date { generation } else { self.acked },
            rejected: refused.chain(self.stalled.iter().flatten().cloned()).collect(),
            closed: self.closed.iter().map(|(key, reason)| (key.clone(), reason.clone())).collect(),
        }
    }
}
