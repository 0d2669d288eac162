//! One bucket, for all who are counted together.

use super::rate::{Nanos, Rate, Wait};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// A bucket. Full when it is made.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    /// When it is full again, in nanoseconds.
    full_at: AtomicU64,
}

// === impl Bucket ===

impl Bucket {
    /// Whether a request would pass, or how long it would have to wait. Nothing is counted.
    pub fn check(&self, rate: Rate, now: Nanos) -> Result<(), Wait> {
        rate.admit(self.full_at.load(Relaxed), now).map(|_| ())
    }

    /// Lets a request pass, or says how long it would have to wait.
    pub fn take(&self, rate: Rate, now: Nanos) -> Result<(), Wait> {
        let mut full_at = self.full_at.load(Relaxed);
        loop {
            let next = rate.admit(full_at, now)?;
            match self.full_at.compare_exchange_weak(full_at, next, Relaxed, Relaxed) {
                Ok(_) => return Ok(()),
                Err(newer) => full_at = newer,
            }
        }
    }
}
