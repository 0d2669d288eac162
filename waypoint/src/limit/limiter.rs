//! One limit, and the buckets in which it counts.

use super::bucket::Bucket;
use super::client_key::{ClientKey, Who};
use super::keyed::KeyedBuckets;
use super::rate::{Nanos, Rate, Wait};
use super::room::Room;
use ahash::RandomState;
use fairway_config::model::{Limit, LimitKeyPart};
use fairway_policy::{Action, Attributes, Rule};
use std::fmt;

/// One limit, and the buckets in which it counts.
#[derive(Debug)]
pub struct Limiter {
    limit: Limit,
    rate: Rate,
    /// What is counted; none is everything.
    matches: Option<Box<[Rule]>>,
    buckets: Buckets,
}

/// When a limit is asked among those that count a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Order {
    /// Before it is known who asks: by address alone.
    Coarse,
    /// By key. Whom it refuses takes nothing from those that come behind.
    Keyed,
    /// All requests together, last.
    Shared,
}

#[derive(Debug)]
enum Buckets {
    /// One for all clients.
    One(Bucket),
    /// One for each client, and how these are hashed.
    Each(KeyedBuckets, RandomState),
}

// === impl Limiter ===

impl Limiter {
    /// Nobody has come yet.
    pub fn new(limit: Limit, room: &Room) -> Self {
        let rule = |conditions: &Vec<_>| Rule::when(conditions.clone());
        Self {
            rate: Rate::of(&limit),
            matches: limit.matches.as_ref().map(|lists| lists.iter().map(rule).collect()),
            buckets: match limit.key.as_slice() {
                [] => Buckets::One(Bucket::default()),
                _ => Buckets::Each(KeyedBuckets::new(room.clone()), RandomState::new()),
            },
            limit,
        }
    }

    /// As it stands in the configuration.
    pub fn limit(&self) -> &Limit {
        &self.limit
    }

    /// When it is asked.
    pub fn order(&self) -> Order {
        match self.buckets {
            _ if self.limit.is_coarse() => Order::Coarse,
            Buckets::Each(..) => Order::Keyed,
            Buckets::One(_) => Order::Shared,
        }
    }

    /// Whether it looks at more of a request than who asks.
    pub fn has_conditions(&self) -> bool {
        self.matches.is_some()
    }

    /// Whether it counts a request. In doubt it does, as in a Deny.
    pub fn counts(&self, attributes: &Attributes<'_>) -> bool {
        let matches = |it: &Rule| it.matches(attributes, Action::Deny);
        self.matches.as_ref().is_none_or(|rules| rules.iter().any(matches))
    }

    /// Lets a request pass that it counts, or says how long it would have to wait.
    pub fn take(&self, who: &Who<'_>, now: Nanos) -> Result<(), Wait> {
        match &self.buckets {
            Buckets::One(bucket) => bucket.take(self.rate, now),
            Buckets::Each(buckets, hashes) => {
                buckets.take(ClientKey::of(&self.limit.key, who, hashes), self.rate, now)
            }
        }
    }
}

/// What it limits, in words; without what it is compared with.
impl fmt::Display for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Limit { requests, per, burst, key, .. } = &self.limit;
        write!(f, "{requests} requests in {per:?}, {burst} at once")?;
        for (index, part) in key.iter().enumerate() {
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
