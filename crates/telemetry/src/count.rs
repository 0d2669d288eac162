//! Counters that one worker writes and a scrape reads.

use fairway_runtime::workers::WorkerId;
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A number that only grows. One thread writes it, so that adding is a load and a store; any thread reads it.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

/// A `T` for each worker. Each lies in cache lines of its own: one counter for all workers would have its cache line travel
/// between the processors with every request. Clones are of the same.
#[derive(Debug)]
pub struct PerWorker<T>(Arc<[Arc<Padded<T>>]>);

/// One worker's share. Two cache lines, as processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Padded<T>(T);

// === impl Count ===

impl Count {
    /// Adds one. Only the worker that owns the counter calls this.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds `amount`. Only the worker that owns the counter calls this.
    pub fn add(&self, amount: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(amount), Relaxed);
    }

    /// The number now. Any thread may read it; what another one adds at the moment may be missing.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

// === impl PerWorker ===

impl<T: Default> PerWorker<T> {
    /// One for each of this many workers.
    pub fn new(workers: NonZeroUsize) -> Self {
        Self((0..workers.get()).map(|_| Arc::default()).collect())
    }
}

impl<T> PerWorker<T> {
    /// The worker's own; none if there is no such worker.
    pub fn get(&self, worker: WorkerId) -> Option<&Arc<Padded<T>>> {
        self.0.get(worker.0)
    }

    /// Those of all workers, in the workers' order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|it| &it.0)
    }

    /// The sum of one counter over all workers.
    pub fn sum(&self, counter: impl Fn(&T) -> &Count) -> u64 {
        self.iter().map(|it| counter(it).get()).sum()
    }
}

impl<T> Clone for PerWorker<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

// === impl Padded ===

impl<T> Deref for Padded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
