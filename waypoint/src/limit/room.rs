//! The memory that the limits of a proxy may take for clients that are counted each by itself.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

/// The memory that all limits of a proxy may take together. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Room(Arc<Bounds>);

#[derive(Debug)]
struct Bounds {
    limit: usize,
    used: AtomicUsize,
}

/// Bytes for all limits of a proxy.
const MOST: usize = 64 << 20;

// === impl Room ===

impl Room {
    /// Room for so many bytes.
    pub fn of(limit: usize) -> Self {
        Self(Arc::new(Bounds { limit, used: AtomicUsize::new(0) }))
    }

    /// Takes so many bytes, if there are that many.
    pub(super) fn take(&self, bytes: usize) -> bool {
        let Bounds { limit, used } = &*self.0;
        let more = |used: usize| used.checked_add(bytes).filter(|it| it <= limit);
        used.fetch_update(Relaxed, Relaxed, more).is_ok()
    }

    /// Gives back what was taken.
    pub(super) fn give(&self, bytes: usize) {
        self.0.used.fetch_sub(bytes, Relaxed);
    }

    /// The bytes that are taken.
    pub fn used(&self) -> usize {
        self.0.used.load(Relaxed)
    }
}

impl Default for Room {
    fn default() -> Self {
        Self::of(MOST)
    }
}
