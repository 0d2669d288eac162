//! The pauses between attempts that fail.

use std::time::Duration;

/// Doubles with each failure, up to a last. Pure: `chance` is a number from 0 to 1 that the caller draws.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    pub(crate) first: Duration,
    pub(crate) last: Duration,
}

impl Backoff {
    /// Between half of the pause and the whole, so that a thousand proxies that failed together do not come back together.
    pub(crate) fn pause(&self, failures: u32, chance: f64) -> Duration {
        let doubled = self.first.saturating_mul(1u32.checked_shl(failures).unwrap_or(u32::MAX));
        doubled.min(self.last).mul_f64(0.5 + 0.5 * chance.clamp(0.0, 1.0))
    }
}
