//! Receive windows of single tunnels, so that one whose reader stops takes nothing that another needs.
//!
//! HTTP/2 has a window for each stream and one for the connection (RFC 9113 §5.2.1). Whatever a reader leaves lying is
//! taken from both, and where the windows of the streams are more than the connection's, a few readers that stop stop all.
//! Here the connection's window is larger than all that its streams may have outstanding together: it never holds anybody
//! up, and still is a limit for a peer that breaks the rules. What holds a stream back is its own window alone. That one
//! begins small, grows while its reader waits for the peer and the peer for the window, and shrinks again behind a reader
//! that is slow. What windows have grown by comes out of a [`WindowBudget`].
//!
//! h2 knows one initial window for all streams and none of a stream's own. So h2 is told of windows that are never used up,
//! and [`Wire`], between h2 and the peer, announces ours in their place. See `docs/decisions/0009-fair-windows.md`.

mod budget;
mod stream;
#[cfg(test)]
mod tests;
mod updates;
mod wire;

pub use budget::WindowBudget;
pub(crate) use stream::{Overrun, StreamWindow};
pub(crate) use updates::Updates;
pub(crate) use wire::{Role, Wire};

/// What the tunnels of one connection share; a clone is the same.
#[derive(Clone, Debug)]
pub(crate) struct Windows {
    pub(crate) updates: Updates,
    budget: WindowBudget,
}

/// The window that a stream begins with: what a tunnel costs whose reader never reads.
pub(crate) const BASE: u32 = 64 << 10;
/// The largest: one stream fills 1.3 Gbit/s at 50 ms.
pub(crate) const LARGEST: u32 = 8 << 20;
/// What h2 takes for every stream's window. It opens its window when a third of it was read, so that twice the largest of
/// ours is never used up.
pub(crate) const UNLIMITED: u32 = 2 * LARGEST;
/// A window that is enough within a cluster: 4 Gbit/s at 0.5 ms.
pub(crate) const MIDDLE: u32 = 256 << 10;
/// What all windows of a budget may have grown by up to [`MIDDLE`]: 128 windows.
pub(crate) const NEAR_BUDGET: u32 = 128 * (MIDDLE - BASE);
/// What they may have grown by beyond it.
pub(crate) const FAR_BUDGET: u32 = 32 << 20;
/// Both parts of a budget together, in bytes.
pub(crate) const BUDGET: u32 = NEAR_BUDGET + FAR_BUDGET;
/// And all of the process; tests run many nodes in one.
pub(crate) const PROCESS_NEAR_BUDGET: usize = if cfg!(test) { usize::MAX / 2 } else { 64 << 20 };
pub(crate) const PROCESS_FAR_BUDGET: usize = if cfg!(test) { usize::MAX / 2 } else { 96 << 20 };
/// What small DATA frames that nobody has read may cost on one connection, beside their bytes.
pub(crate) const SMALL_FRAMES: usize = 64 << 20;

/// The connection's window: half as much again as its streams may have outstanding, because h2 opens it when a third of it
/// was read. A peer that sends more than it was allowed to meets this limit.
pub(crate) fn of_connection(streams: u32) -> u32 {
    let outstanding = u64::from(streams) * u64::from(BASE) + u64::from(BUDGET);
    u32::try_from(outstanding / 2 * 3).unwrap_or(u32::MAX).min((1 << 31) - 1)
}

impl Windows {
    pub(crate) fn new(budget: &WindowBudget) -> Self {
        Self { updates: Updates::default(), budget: budget.clone() }
    }

    /// The window of a stream that begins.
    pub(crate) fn of_stream(&self) -> StreamWindow {
        StreamWindow::new(self.budget.clone())
    }
}
