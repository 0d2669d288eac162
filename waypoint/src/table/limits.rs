//! The limits of a configuration, with the buckets that they count in. Those of a limit that stays as it is stay as well, whatever
//! else a commit changes.

use super::Shared;
use crate::limit::{Limiter, Order, Room};
use fairway_config::Snapshot;
use fairway_config::model::{Limit, Limits, RateLimit, RateLimitKey, ResourceKey};
use fairway_policy::Mode;
use fairway_telemetry::{LimitLabels, RuleName, Series, Telemetry};
use std::sync::Arc;

/// The limits of a configuration. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct LimitTable {
    targets: Shared<RateLimitKey, Arc<LimitsOfTarget>>,
    room: Room,
}

/// The limits of a policy at one of its targets.
#[derive(Debug)]
pub struct LimitsOfTarget {
    /// Whether what they decide counts.
    pub mode: Mode,
    /// The limits, or that they cannot count.
    pub counting: Counting,
}

/// Limits, as far as they can be carried out.
#[derive(Debug)]
pub enum Counting {
    /// They cannot: nothing passes.
    Closed,
    /// Every one of these counts. They stand in the order in which they are asked.
    Each(Box<[Counted]>),
}

/// A limit, and where what it refuses counts.
#[derive(Debug)]
pub struct Counted {
    /// As the user named it, or its place.
    pub name: RuleName,
    /// When it is asked.
    pub order: Order,
    /// What it counts in.
    pub limiter: Arc<Limiter>,
    /// Where what it refuses counts.
    pub series: Series<LimitLabels>,
}

// === impl LimitTable ===

impl LimitTable {
    /// The limits of this name; none if they are not known, and then nothing passes.
    pub fn get(&self, key: &RateLimitKey) -> Option<&LimitsOfTarget> {
        self.targets.get(key).map(|it| &**it)
    }

    /// Those of the next configuration.
    pub(super) fn next<'a>(
        &self,
        snapshot: &Snapshot,
        changed: impl Iterator<Item = &'a ResourceKey>,
        telemetry: &Telemetry,
    ) -> Self {
        let mut next = self.clone();
        let targets = Arc::make_mut(&mut next.targets);
        for key in changed {
            let Some(new) = snapshot.rate_limits.get(&*key.name) else {
                targets.remove(&*key.name);
                continue;
            };
            let key = RateLimitKey::from(key.name.clone());
            let before = targets.get(&key).map(|it| it.counted()).unwrap_or_default();
            let compiled = LimitsOfTarget::new(new, &key, before, &self.room, telemetry);
            targets.insert(key, Arc::new(compiled));
        }
        next
    }
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
            Limits::Closed => Counting::Closed,
            Limits::Each(limits) => {
                let policy: Arc<str> = key.policy().into();
                let counted = limits.iter().enumerate().map(|(index, limit)| {
                    let name = RuleName::new(limit.name.as_ref(), index);
                    let labels = LimitLabels { policy: policy.clone(), limit: name.clone() };
                    let limiter = limiter(&name, limit, before, room);
                    Counted {
                        name,
                        order: limiter.order(),
                        limiter,
                        series: telemetry.limits().series(labels),
                    }
                });
                let mut counted: Vec<Counted> = counted.collect();
                counted.sort_by_key(|it| it.order);
                Counting::Each(counted.into())
            }
        };
        Self { mode: written.mode, counting }
    }

    /// Its limits; none where it is closed.
    pub fn counted(&self) -> &[Counted] {
        match &self.counting {
            Counting::Closed => &[],
            Counting::Each(counted) => counted,
        }
    }

    /// Whether nothing passes there.
    pub fn is_closed(&self) -> bool {
        matches!((self.mode, &self.counting), (Mode::Enforce, Counting::Closed))
    }
}

/// The limiter of a limit: the one that it had, if it has not changed.
fn limiter(name: &RuleName, limit: &Limit, before: &[Counted], room: &Room) -> Arc<Limiter> {
    let had = before.iter().find(|it| it.name == *name && it.limiter.limit() == limit);
    had.map_or_else(|| Arc::new(Limiter::new(limit.clone(), room)), |it| it.limiter.clone())
}
