//! The generic cell rate algorithm: how a bucket decides. Pure.
//!
//! A bucket is one number: the moment at which it will be full again if nobody asks. Each request that passes moves that moment on by
//! one interval. One passes if it does not move it further than the burst from now.

use fairway_config::model::Limit;
use std::num::NonZeroU32;
use std::time::Duration;

/// A moment, in nanoseconds since the proxy began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nanos(u64);

/// How long it takes until a request can pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wait(u64);

/// How fast requests pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The time between two requests that come evenly, in nanoseconds.
    interval: u64,
    /// How far a bucket may be from full, in nanoseconds.
    burst: u64,
}

/// 146 years. No moment and no span is further, so that sums of three fit.
const FURTHEST: u64 = 1 << 62;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

// === impl Nanos ===

impl Nanos {
    /// The moment so long after the beginning.
    pub fn after(since: Duration) -> Self {
        Self(u64::try_from(since.as_nanos()).unwrap_or(FURTHEST).min(FURTHEST))
    }

    pub(super) fn get(self) -> u64 {
        self.0
    }

    pub(super) fn from_raw(nanos: u64) -> Self {
        Self(nanos.min(FURTHEST))
    }
}

// === impl Wait ===

impl Wait {
    /// In whole seconds, rounded up; at least one.
    pub fn whole_seconds(self) -> u64 {
        self.0.div_ceil(NANOS_PER_SECOND).max(1)
    }

    /// The same to the nanosecond.
    pub fn duration(self) -> Duration {
        Duration::from_nanos(self.0)
    }
}

// === impl Rate ===

impl Rate {
    /// So many requests in a time, and so many at once.
    pub fn new(requests: NonZeroU32, per: Duration, burst: NonZeroU32) -> Self {
        // Rounded up: never more than was written.
        let interval = per.as_nanos().div_ceil(u128::from(requests.get())).max(1);
        let interval = u64::try_from(interval).unwrap_or(FURTHEST).min(FURTHEST);
        let burst = interval.saturating_mul(u64::from(burst.get())).min(FURTHEST);
        Self { interval, burst }
    }

    /// That of a limit.
    pub fn of(limit: &Limit) -> Self {
        Self::new(limit.requests, limit.per, limit.burst)
    }

    /// When a full bucket is full again behind its first request, which always passes: the burst is one request at least.
    pub(super) fn begin(self, now: Nanos) -> u64 {
        now.0 + self.interval
    }

    /// Whether a request passes that comes `now` to a bucket which is full again at `full_at`: when the bucket is full again
    /// behind it, or how long the request would have to wait.
    pub(super) fn admit(self, full_at: u64, now: Nanos) -> Result<u64, Wait> {
        let next = full_at.max(now.0) + self.interval;
        match next.saturating_sub(now.0 + self.burst) {
            0 => Ok(next),
            over => Err(Wait(over)),
        }
    }
}
