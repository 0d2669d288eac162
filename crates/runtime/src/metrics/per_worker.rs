//! A value of one's own for each worker, summed when somebody looks.
//!
//! One counter for all would have its cache line travel between the cores with every request.

use crate::workers::WorkerId;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};
use std::fmt::{self, Debug};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// A `T` for each worker, made when the worker first asks for it, so that what sees no traffic costs no memory.
///
/// Put what one place counts into one struct: then it also lies in one cache line.
#[derive(Debug)]
pub struct PerWorker<T>(Box<[OnceLock<Box<Apart<T>>>]>);

/// Two cache lines, as processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Apart<T>(T);

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

/// A counter to register with [`Metrics`](super::Metrics).
#[derive(Clone, Debug)]
pub struct WorkerCounter(Arc<PerWorker<Count>>);

/// How often something took how long, in buckets that suit requests and handshakes.
#[derive(Debug, Default)]
pub struct Durations {
    counts: [Count; BOUNDS.len() + 1],
    nanoseconds: Count,
}

/// A histogram of durations to register with [`Metrics`](super::Metrics).
#[derive(Clone, Debug)]
pub struct WorkerDurations(Arc<PerWorker<Durations>>);

/// Upper bounds in microseconds; one more bucket holds what is above them.
const BOUNDS: [u64; 15] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    10_000_000, 30_000_000,
];

// === impl PerWorker ===

impl<T> PerWorker<T> {
    /// Room for this many workers, empty.
    pub fn new(workers: NonZeroUsize) -> Self {
        Self((0..workers.get()).map(|_| OnceLock::new()).collect())
    }

    /// All that were made.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().filter_map(OnceLock::get).map(|it| &it.0)
    }
}

impl<T: Default> PerWorker<T> {
    /// The worker's own. More workers than there is room for share; that costs time, not correctness.
    pub fn of(&self, worker: WorkerId) -> &T {
        // `NonZeroUsize` in `new`: there is a first one, so the modulus is not 0 and the index is in it.
        #[allow(clippy::indexing_slicing, reason = "the index is taken modulo the length")]
        let slot = &self.0[worker.0 % self.0.len()];
        &slot.get_or_init(Box::default).0
    }
}

// === impl Count ===

impl Count {
    /// One more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// `more` more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

// === impl WorkerCounter ===

impl WorkerCounter {
    /// A counter for this many workers.
    pub fn new(workers: NonZeroUsize) -> Self {
        Self(Arc::new(PerWorker::new(workers)))
    }

    /// The worker's own.
    pub fn of(&self, worker: WorkerId) -> &Count {
        self.0.of(worker)
    }

    /// The sum of all workers'.
    pub fn sum(&self) -> u64 {
        self.0.iter().map(Count::get).sum()
    }
}

impl TypedMetric for WorkerCounter {
    const TYPE: MetricType = MetricType::Counter;
}

impl EncodeMetric for WorkerCounter {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        encoder.encode_counter::<NoLabelSet, _, u64>(&self.sum(), None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

// === impl Durations ===

impl Durations {
    /// It took this long.
    pub fn observe(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|bound| *bound < micros);
        if let Some(count) = self.counts.get(bucket) {
            count.increment();
        }
        self.nanoseconds.add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }
}

// === impl WorkerDurations ===

impl WorkerDurations {
    /// A histogram for this many workers.
    pub fn new(workers: NonZeroUsize) -> Self {
        Self(Arc::new(PerWorker::new(workers)))
    }

    /// The worker's own.
    pub fn of(&self, worker: WorkerId) -> &Durations {
        self.0.of(worker)
    }
}

impl TypedMetric for WorkerDurations {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for WorkerDurations {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let bounds = BOUNDS.iter().map(|micros| Duration::from_micros(*micros).as_secs_f64());
        let mut buckets: Vec<(f64, u64)> = bounds.chain([f64::INFINITY]).map(|bound| (bound, 0)).collect();
        let mut nanoseconds = 0u64;
        for durations in self.0.iter() {
            for ((_, sum), count) in buckets.iter_mut().zip(&durations.counts) {
                *sum += count.get();
            }
            nanoseconds = nanoseconds.wrapping_add(durations.nanoseconds.get());
        }
        let count = buckets.iter().map(|(_, count)| count).sum();
        let seconds = Duration::from_nanos(nanoseconds).as_secs_f64();
        encoder.encode_histogram::<NoLabelSet>(seconds, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}
