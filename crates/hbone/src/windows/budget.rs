//! How much all windows together may have grown.

use super::{BUDGET, PROCESS_BUDGET};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// What the windows of tunnels may have grown by, all together; a clone is the same budget. One for each pod of a node, so
/// that a pod whose peers do not read leaves the others theirs.
///
/// Where it is spent, windows stay as small as they begin: tunnels go on, and memory does not grow.
#[derive(Clone, Debug)]
pub struct WindowBudget(Arc<AtomicUsize>);

/// Taken from last, by all budgets.
static PROCESS: AtomicUsize = AtomicUsize::new(PROCESS_BUDGET);

impl WindowBudget {
    /// All of it to be had.
    pub fn new() -> Self {
        Self::of(BUDGET as usize)
    }

    pub(super) fn of(bytes: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(bytes)))
    }

    /// Takes all of it or nothing.
    pub(super) fn take(&self, bytes: u32) -> bool {
        let bytes = bytes as usize;
        if !take(&self.0, bytes) {
            return false;
        }
        if !take(&PROCESS, bytes) {
            self.0.fetch_add(bytes, Relaxed);
            return false;
        }
        true
    }

    pub(super) fn give_back(&self, bytes: u32) {
        self.0.fetch_add(bytes as usize, Relaxed);
        PROCESS.fetch_add(bytes as usize, Relaxed);
    }

    /// Bytes by which windows may still grow.
    #[cfg(test)]
    pub(crate) fn left(&self) -> usize {
        self.0.load(Relaxed)
    }
}

fn take(from: &AtomicUsize, bytes: usize) -> bool {
    from.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(bytes)).is_ok()
}

impl Default for WindowBudget {
    fn default() -> Self {
        Self::new()
    }
}
