//! A smoothed latency that ages.

use crate::Moment;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// An exponentially weighted moving average (EWMA) of response times, which decays while there are no samples.
#[derive(Debug, Default)]
pub(crate) struct SmoothedLatency {
    /// Upper half: the average in microseconds. Lower half: the moment of the last sample in milliseconds, wrapping.
    packed: AtomicU64,
}

/// The average halves in this many milliseconds without a sample. Otherwise an endpoint that was slow, and therefore is not
/// chosen, would stay slow forever.
const HALF_LIFE: u32 = 1_000;

/// Microseconds that are added to every latency. Smaller differences are noise: they must not outweigh the number of open
/// requests.
pub(crate) const FLOOR: u64 = 5_000;

/// A sample counts at most this many times the expected latency. A single slow response must not cost an endpoint its share
/// for seconds; an endpoint that stays slow is recognized within a few responses.
const SAMPLE_LIMIT: u64 = 4;

// === impl SmoothedLatency ===

impl SmoothedLatency {
    /// Adds a sample with the weight 1/4. Two threads that add one at the same moment may lose one of them.
    pub(crate) fn add(&self, now: Moment, sample: Duration) {
        let sample = u64::try_from(sample.as_micros()).unwrap_or(u64::MAX).min(u64::from(u32::MAX));
        let before = self.at(now);
        let sample = sample.min((before + FLOOR) * SAMPLE_LIMIT);
        let smoothed = if before == 0 { sample } else { (before * 3 + sample) / 4 };
        self.packed.store(smoothed.max(1) << 32 | u64::from(now.0 as u32), Relaxed);
    }

    /// The average in microseconds; 0 without samples or long after the last one.
    pub(crate) fn at(&self, now: Moment) -> u64 {
        let packed = self.packed.load(Relaxed);
        // The clock of another thread may be slightly ahead.
        let age = (now.0 as u32).wrapping_sub(packed as u32).cast_signed().max(0).cast_unsigned();
        (packed >> 32) >> (age / HALF_LIFE).min(32)
    }
}
