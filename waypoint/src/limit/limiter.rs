//! One limit, and the buckets in which it counts.

use super::bucket::Bucket;
use super::client_key::{ClientKey, Who};
use super::keyed::KeyedBuckets;
use super::rate::{Nanos, Rate, Wait};
use super::room::Room;
use ahash::RandomState;
use fairway_config::model::{Limit, LimitKeyPart};
use std::num::NonZeroU32;
use std::time::Duration;

/// One limit, and the buckets in which it counts.
#[derive(Debug)]
pub struct Limiter {
    requests: NonZeroU32,
    per: Duration,
    burst: NonZeroU32,
    key: Box<[LimitKeyPart]>,
    rate: Rate,
    buckets: Buckets,
}

/// When a limit is asked among those of one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Order {
    /// By address alone, before it is known who asks.
    ByAddress,
    /// By what else tells clients apart.
    Keyed,
    /// All requests together, last.
    Shared,
}

/// A limit has no place for a request: how long it takes until it has, and what the limit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Seconds until one more passes, rounded up.
    pub wait: u32,
    /// So many requests pass…
    pub requests: NonZeroU32,
    /// …in so many seconds.
    pub seconds: u32,
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
    /// Nobody has come yet. What it keeps of clients takes memory from `room`.
    pub fn new(limit: &Limit, room: &Room) -> Self {
        Self {
            requests: limit.requests,
            per: limit.per,
            burst: limit.burst,
            key: limit.key.clone().into(),
            rate: Rate::of(limit),
            buckets: match limit.key.as_slice() {
                [] => Buckets::One(Bucket::default()),
                _ => Buckets::Each(KeyedBuckets::new(room.clone()), RandomState::new()),
            },
        }
    }

    /// Whether it takes its memory from this room. Where all are counted together it takes none.
    pub fn is_in(&self, room: &Room) -> bool {
        match &self.buckets {
            Buckets::One(_) => true,
            Buckets::Each(buckets, _) => buckets.is_in(room),
        }
    }

    /// The same in another room, where it has counted nothing yet. None where all are counted together.
    pub fn anew_in(&self, room: &Room) -> Option<Self> {
        let Buckets::Each(_, hashes) = &self.buckets else { return None };
        let buckets = Buckets::Each(KeyedBuckets::new(room.clone()), hashes.clone());
        let (requests, per, burst) = (self.requests, self.per, self.burst);
        Some(Self { requests, per, burst, key: self.key.clone(), rate: self.rate, buckets })
    }

    /// Takes over what the one has counted that it was made of, as far as there is room.
    pub fn take_over(&self, from: &Self) {
        if let (Buckets::Each(buckets, _), Buckets::Each(from, _)) = (&self.buckets, &from.buckets) {
            buckets.take_over(from);
        }
    }

    /// Whether there is memory to tell clients apart, if it has to.
    pub fn is_reserved(&self) -> bool {
        match &self.buckets {
            Buckets::One(_) => true,
            Buckets::Each(buckets, _) => buckets.is_reserved(),
        }
    }

    /// Whether it has taken more memory than every limit has.
    pub fn has_grown(&self) -> bool {
        match &self.buckets {
            Buckets::One(_) => false,
            Buckets::Each(buckets, _) => buckets.has_grown(),
        }
    }

    /// Whether it counts as a limit says, so that what it has counted holds for that. What the limit is about may be another matter.
    pub fn counts_as(&self, limit: &Limit) -> bool {
        (self.requests, self.per, self.burst) == (limit.requests, limit.per, limit.burst)
            && *self.key == *limit.key
    }

    /// When it is asked.
    pub fn order(&self) -> Order {
        match self.buckets {
            _ if self.is_by_address() => Order::ByAddress,
            Buckets::Each(..) => Order::Keyed,
            Buckets::One(_) => Order::Shared,
        }
    }

    /// Whether it looks at nothing of whoever asks but the address.
    pub fn is_by_address(&self) -> bool {
        *self.key == [LimitKeyPart::ClientAddress]
    }

    /// So many requests pass…
    pub fn requests(&self) -> NonZeroU32 {
        self.requests
    }

    /// …in this time, evenly spread…
    pub fn per(&self) -> Duration {
        self.per
    }

    /// …and so many at once.
    pub fn burst(&self) -> NonZeroU32 {
        self.burst
    }

    /// What tells clients apart.
    pub fn key(&self) -> &[LimitKeyPart] {
        &self.key
    }

    /// Which client asks, where they are told apart.
    pub fn client(&self, who: &Who<'_>) -> Option<ClientKey> {
        match &self.buckets {
            Buckets::One(_) => None,
            Buckets::Each(_, hashes) => Some(ClientKey::of(&self.key, who, hashes)),
        }
    }

    /// Whether a request of a client would pass now. Nothing is counted.
    pub fn check(&self, client: Option<ClientKey>, now: Nanos) -> Result<(), Refused> {
        let decided = match (&self.buckets, client) {
            (Buckets::One(bucket), _) => bucket.check(self.rate, now),
            (Buckets::Each(buckets, _), Some(client)) => buckets.check(client, self.rate, now),
            (Buckets::Each(buckets, _), None) => buckets.rest().check(self.rate, now),
        };
        decided.map_err(|wait| self.refused(wait))
    }

    /// Lets a request of a client pass that it counts, or says how long it would have to wait.
    pub fn take(&self, client: Option<ClientKey>, now: Nanos) -> Result<(), Refused> {
        let decided = match (&self.buckets, client) {
            (Buckets::One(bucket), _) => bucket.take(self.rate, now),
            (Buckets::Each(buckets, _), Some(client)) => buckets.take(client, self.rate, now),
            (Buckets::Each(buckets, _), None) => buckets.rest().take(self.rate, now),
        };
        decided.map_err(|wait| self.refused(wait))
    }

    fn refused(&self, wait: Wait) -> Refused {
        let whole = |seconds: u64| u32::try_from(seconds).unwrap_or(u32::MAX);
        let (wait, seconds) = (whole(wait.whole_seconds()), whole(self.per.as_secs().max(1)));
        Refused { wait, requests: self.requests, seconds }
    }
}
