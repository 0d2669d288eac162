//! The limits of a configuration, with the buckets that they count in. What a limit has counted stays for as long as its rate, its key
//! and its target stay, whatever else a commit changes.

#[cfg(test)]
mod tests;

use super::Shared;
use crate::limit::{Limiter, Room, Rooms};
use ahash::HashMap;
use fairway_config::Snapshot;
use fairway_config::model::{Limit, LimitKeyPart, Limits, RateLimit, RateLimitKey, ResourceKey};
use fairway_policy::{Action, Attributes, Mode, Rule};
use fairway_telemetry::{LimitLabels, RuleName, Series, Telemetry};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// The limits of a configuration. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct LimitTable {
    targets: Shared<RateLimitKey, Arc<LimitsOfTarget>>,
    /// Those of Services that a waypoint stood before and does no more, as they were then.
    departed: Shared<RateLimitKey, Arc<LimitsOfTarget>>,
    rooms: Rooms,
}

/// The limits of a policy at one of its targets.
#[derive(Clone, Debug)]
pub struct LimitsOfTarget {
    /// Whether what they decide counts.
    pub mode: Mode,
    /// The limits, or that they cannot count.
    pub counting: Counting,
}

/// Limits, as far as they can be carried out.
#[derive(Clone, Debug)]
pub enum Counting {
    /// They cannot: nothing passes. What they counted before is kept for when they can again.
    Closed(Box<[Counted]>),
    /// Every one of these counts. They stand in the order in which they are asked.
    Each(Box<[Counted]>),
}

/// A limit, and where what it refuses counts.
#[derive(Clone, Debug)]
pub struct Counted {
    /// As the user named it, or its place.
    pub name: RuleName,
    /// What is counted; none is everything.
    matches: Option<Arc<[Rule]>>,
    /// What it counts in.
    pub limiter: Arc<Limiter>,
    /// Where what it refuses counts.
    pub series: Series<LimitLabels>,
}

// === impl LimitTable ===

impl LimitTable {
    /// The limits of this name; none if they are not known, and then nothing passes.
    pub fn get(&self, key: &RateLimitKey) -> Option<&LimitsOfTarget> {
        self.targets.get(key).or_else(|| self.departed.get(key)).map(|it| &**it)
    }

    /// Whether there is nothing to forget.
    pub(super) fn has_no_departed(&self) -> bool {
        self.departed.is_empty()
    }

    /// Keeps what backends that have gone name, as it was before: whoever is still sent here for them is counted by that.
    pub(super) fn keep_departed<'a>(&mut self, before: &Self, named: impl Iterator<Item = &'a RateLimitKey>) {
        let gone = named.filter(|it| !self.targets.contains_key(*it));
        let kept = gone.filter_map(|key| {
            let target = before.targets.get(key).or_else(|| before.departed.get(key))?;
            Some((key.clone(), target.clone()))
        });
        self.departed = Arc::new(kept.collect());
    }

    /// Those of the next configuration.
    pub(super) fn next<'a>(
        &self,
        snapshot: &Snapshot,
        changed: impl Iterator<Item = &'a ResourceKey>,
        telemetry: &Telemetry,
    ) -> Self {
        let mut next = Self { rooms: self.rooms.shared_by(&namespaces(snapshot)), ..self.clone() };
        let targets = Arc::make_mut(&mut next.targets);
        for key in changed {
            let Some(new) = snapshot.rate_limits.get(&*key.name) else {
                targets.remove(&*key.name);
                continue;
            };
            let key = RateLimitKey::from(key.name.clone());
            let before = targets.get(&key).map(|it| it.kept()).unwrap_or_default();
            let room = next.rooms.of(key.namespace()).cloned().unwrap_or_else(|| Room::of(0));
            let compiled = LimitsOfTarget::new(new, &key, before, &room, telemetry);
            targets.insert(key, Arc::new(compiled));
        }
        // Who has taken the room of a limit that was made since makes room for it.
        next.rooms = next.rooms.renewed(&crowded(targets));
        let mut moved = Vec::new();
        for (key, target) in targets.iter_mut() {
            if let Some(room) = next.rooms.of(key.namespace()) {
                move_to(room, target, &mut moved);
            }
        }
        // First each of them has its place, and then what is left goes to what they have counted.
        moved.iter().for_each(|(before, now)| now.take_over(before));
        next
    }
}

/// Namespaces of which a limit has no memory, because others have grown.
fn crowded(targets: &HashMap<RateLimitKey, Arc<LimitsOfTarget>>) -> BTreeSet<&str> {
    let namespaces = |is: fn(&Limiter) -> bool| -> BTreeSet<&str> {
        let fit = targets.iter().filter(|(_, it)| it.kept().iter().any(|it| is(&it.limiter)));
        fit.map(|(key, _)| key.namespace()).collect()
    };
    let lacking = namespaces(|it| !it.is_reserved());
    if lacking.is_empty() {
        return lacking;
    }
    &lacking & &namespaces(Limiter::has_grown)
}

/// Moves the limits of a target to a room where they are not yet. Says which ones that are, before and now.
fn move_to(room: &Room, target: &mut Arc<LimitsOfTarget>, moved: &mut Vec<(Arc<Limiter>, Arc<Limiter>)>) {
    if target.kept().iter().all(|it| it.limiter.is_in(room)) {
        return;
    }
    let (Counting::Closed(counted) | Counting::Each(counted)) = &mut Arc::make_mut(target).counting;
    for it in counted.iter_mut().filter(|it| !it.limiter.is_in(room)) {
        if let Some(now) = it.limiter.anew_in(room).map(Arc::new) {
            moved.push((std::mem::replace(&mut it.limiter, now.clone()), now));
        }
    }
}

/// Those that have limits, also closed ones: these keep what they have counted.
fn namespaces(snapshot: &Snapshot) -> BTreeSet<&str> {
    snapshot.rate_limits.keys().map(RateLimitKey::namespace).collect()
}

// === impl LimitsOfTarget ===

impl LimitsOfTarget {
    fn new(
        written: &RateLimit,
        key: &RateLimitKey,
        before: &[Counted],
        room: &Room,
        telemetry: &Telemetry,
    ) -> Self {
        let counting = match &written.limits {
            Limits::Closed => Counting::Closed(before.into()),
            Limits::Each(limits) => {
                let policy: Arc<str> = key.policy().into();
                let names: Vec<RuleName> = limits
                    .iter()
                    .enumerate()
                    .map(|(index, it)| RuleName::new(it.name.as_ref(), index))
                    .collect();
                let limiters = limiters(limits, &names, before, room);
                let counted = limits.iter().zip(names).zip(limiters).map(|((limit, name), limiter)| {
                    let labels = LimitLabels { policy: policy.clone(), limit: name.clone() };
                    let rule = |conditions: &Vec<_>| Rule::when(conditions.clone());
                    Counted {
                        name,
                        matches: limit.matches.as_ref().map(|lists| lists.iter().map(rule).collect()),
                        limiter,
                        series: telemetry.limits().series(labels),
                    }
                });
                let mut counted: Vec<Counted> = counted.collect();
                counted.sort_by_key(|it| it.limiter.order());
                Counting::Each(counted.into())
            }
        };
        Self { mode: written.mode, counting }
    }

    /// Its limits; none where it is closed.
    pub fn counted(&self) -> &[Counted] {
        match &self.counting {
            Counting::Closed(_) => &[],
            Counting::Each(counted) => counted,
        }
    }

    /// Whether nothing passes there.
    pub fn is_closed(&self) -> bool {
        matches!((self.mode, &self.counting), (Mode::Enforce, Counting::Closed(_)))
    }

    /// What has been counted, also where it is closed by now.
    fn kept(&self) -> &[Counted] {
        let (Counting::Closed(counted) | Counting::Each(counted)) = &self.counting;
        counted
    }
}

/// The limiter of each limit: the one that counted for it before, if there is one. The limit of the same name goes first; one that has
/// another name or place by now counts on as well.
fn limiters(limits: &[Limit], names: &[RuleName], before: &[Counted], room: &Room) -> Vec<Arc<Limiter>> {
    let mut left: Vec<&Counted> = before.iter().collect();
    let mut take = |fits: &dyn Fn(&Counted) -> bool| {
        let index = left.iter().position(|it| fits(it))?;
        Some(left.remove(index).limiter.clone())
    };
    let named =
        |(limit, name): (&Limit, &RuleName)| take(&|it| it.name == *name && it.limiter.counts_as(limit));
    let found: Vec<_> = limits.iter().zip(names).map(named).collect();
    let or_another = |(limit, found): (&Limit, Option<Arc<Limiter>>)| {
        let found = found.or_else(|| take(&|it| it.limiter.counts_as(limit)));
        found.unwrap_or_else(|| Arc::new(Limiter::new(limit, room)))
    };
    limits.iter().zip(found).map(or_another).collect()
}

// === impl Counted ===

impl Counted {
    /// Whether it looks at more of a request than who asks.
    pub fn has_conditions(&self) -> bool {
        self.matches.is_some()
    }

    /// Whether it counts a request, or bytes of which no request is known. In doubt it does, as in a Deny.
    pub fn counts(&self, attributes: &Attributes<'_>) -> bool {
        let matches = |it: &Rule| it.matches(attributes, Action::Deny);
        self.matches.as_ref().is_none_or(|rules| rules.iter().any(matches))
    }
}

/// What it limits, in words; without what it is compared with.
impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let it = &self.limiter;
        write!(f, "{} requests in {:?}, {} at once", it.requests(), it.per(), it.burst())?;
        for (index, part) in it.key().iter().enumerate() {
            f.write_str(if index == 0 { ", for each " } else { " and " })?;
            match part {
                LimitKeyPart::ClientAddress => f.write_str("client address")?,
                LimitKeyPart::Identity => f.write_str("client identity")?,
                LimitKeyPart::Header(name) => write!(f, "value of header {name}")?,
            }
        }
        if self.has_conditions() { f.write_str(", of some requests") } else { Ok(()) }
    }
}
