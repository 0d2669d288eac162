//! How durations are put into buckets.

use crate::count::Count;
use std::time::Duration;

/// Upper bounds of the buckets in microseconds: from 100 µs to 10 s, three for each power of ten. One more bucket holds what
/// took longer. Every histogram of Fairway's proxies has these, so that they can be added up.
pub(crate) const BOUNDS: [u64; 16] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];

/// The durations that one worker has seen, by bucket, and their sum.
#[derive(Debug, Default)]
pub(crate) struct Durations {
    buckets: [Count; BOUNDS.len() + 1],
    nanoseconds: Count,
}

/// The sum of several workers' durations.
#[derive(Debug, Default)]
pub(crate) struct DurationSum {
    buckets: [u64; BOUNDS.len() + 1],
    nanoseconds: u64,
}

// === impl Durations ===

impl Durations {
    pub(crate) fn observe(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        // A bucket holds what took at most its bound, so what is counted in whole microseconds must not be rounded down.
        let micros = micros.saturating_add(u64::from(!took.subsec_nanos().is_multiple_of(1_000)));
        if let Some(bucket) = self.buckets.get(BOUNDS.partition_point(|bound| *bound < micros)) {
            bucket.increment();
        }
        self.nanoseconds.add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }
}

// === impl DurationSum ===

impl DurationSum {
    pub(crate) fn add(&mut self, durations: &Durations) {
        for (sum, count) in self.buckets.iter_mut().zip(&durations.buckets) {
            *sum += count.get();
        }
        self.nanoseconds = self.nanoseconds.wrapping_add(durations.nanoseconds.get());
    }

    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    pub(crate) fn seconds(&self) -> f64 {
        Duration::from_nanos(self.nanoseconds).as_secs_f64()
    }

    /// Upper bounds in seconds, each with what lies between it and the one before.
    pub(crate) fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = BOUNDS.iter().map(|micros| Duration::from_micros(*micros).as_secs_f64());
        bounds.chain([f64::INFINITY]).zip(self.buckets).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_what_took_at_most_its_bound() {
        let durations = Durations::default();
        for micros in [0, 99, 100, 101, 10_000_000, 10_000_001] {
            durations.observe(Duration::from_micros(micros));
        }
        durations.observe(Duration::from_nanos(100_001));
        let mut sum = DurationSum::default();
        sum.add(&durations);
        let filled: Vec<_> = sum.buckets().into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(0.0001, 3), (0.000_25, 2), (10.0, 1), (f64::INFINITY, 1)]);
        assert_eq!(sum.count(), 7);
    }
}
