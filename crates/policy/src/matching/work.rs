//! What the expressions that one request is compared with may take together.

use std::cell::Cell;

/// What the comparisons of one request with expressions may still take, in steps: bytes of text, times the states of a program that can be
/// at work at each of them.
///
/// One comparison is bounded by [`Pattern::takes`](super::Pattern::takes). A table may have many expressions, and a request is compared
/// with each until one matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work(Cell<u64>);

// === impl Work ===

impl Work {
    /// What one request may take: at worst two tenths of a second.
    pub const LIMIT: u64 = 1 << 23;

    /// Takes these steps, if they are left. If they are not, nothing is left: who asks refuses the request.
    pub(super) fn take(&self, steps: u64) -> bool {
        let left = self.0.get().checked_sub(steps);
        self.0.set(left.unwrap_or_default());
        left.is_some()
    }

    /// The steps that were taken.
    pub fn taken(&self) -> u64 {
        Self::LIMIT - self.0.get()
    }
}

impl Default for Work {
    fn default() -> Self {
        Self(Cell::new(Self::LIMIT))
    }
}
