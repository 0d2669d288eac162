//! The receive window of one stream: a pure state machine over how far its reader is.

use super::{BASE, LARGEST, WindowBudget};

/// The receive window of one stream.
#[derive(Debug)]
pub(crate) struct StreamWindow {
    /// What the peer may have sent beyond what was read.
    size: u32,
    /// Bytes received since the stream began.
    received: u64,
    /// Bytes read since the stream began.
    read: u64,
    /// How far the peer may send, as of each of the last updates; the newest last.
    edges: [u64; EDGES],
    /// Updates since the reader last waited for the peer.
    unwaited: u8,
    budget: WindowBudget,
}

/// Updates are of half a window at least, so that a peer that has not seen the newest stands at one of these.
const EDGES: usize = 4;
/// A window grows to so many of itself at once, as far as the budget goes.
const GROWTH: [u32; 3] = [16, 4, 2];
/// More than the kernel keeps for a program that does not read, if its buffer is of the usual size: 128 KiB, and what may wait to be sent.
const KEPT_BY_KERNELS: u64 = 384 << 10;
/// Updates without the reader ever waiting, after which the window is larger than the reader is quick.
const UPDATES_TO_SHRINK: u8 = 16;

/// The peer has sent more than the window allows (RFC 9113 §6.9.1).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Overrun;

impl StreamWindow {
    pub(crate) fn new(budget: WindowBudget) -> Self {
        Self { size: BASE, received: 0, read: 0, edges: [u64::from(BASE); EDGES], unwaited: 0, budget }
    }

    /// So many bytes have come. h2 cannot judge them: it knows a window that is never used up.
    pub(crate) fn receive(&mut self, bytes: usize) -> Result<(), Overrun> {
        self.received += bytes as u64;
        if self.received > self.edge() { Err(Overrun) } else { Ok(()) }
    }

    /// The reader is done with so many bytes. What the peer is to be told.
    pub(crate) fn read(&mut self, bytes: usize) -> Option<u32> {
        self.read += bytes as u64;
        if self.due() < self.size / 2 {
            return None;
        }
        self.unwaited += 1;
        if self.unwaited == UPDATES_TO_SHRINK {
            self.unwaited = 0;
            self.shrink();
        }
        self.open()
    }

    /// The reader waits: nothing is there that it could read. If the peer cannot send because it stands at an edge, the
    /// window is what holds both up, and grows. What the peer is to be told.
    ///
    /// `room` is what the kernel of the program that reads has room for; none where nobody can say. Kernels take what comes whether their
    /// programs read or not, so the window grows only if there is room for another one, or if more was passed on than kernels keep.
    pub(crate) fn wait(&mut self, room: impl FnOnce() -> Option<u32>) -> Option<u32> {
        self.unwaited = 0;
        if !self.edges.contains(&self.read) || self.size == LARGEST {
            return None;
        }
        if self.read < KEPT_BY_KERNELS && room().is_none_or(|room| room < BASE) {
            return None;
        }
        let sizes = GROWTH.map(|it| self.size.saturating_mul(it).min(LARGEST));
        self.size = sizes.into_iter().find(|size| self.budget.take(self.size, *size))?;
        let more = self.open();
        // It has stood at this edge: what tells of the new size is beyond it.
        self.edges = [self.edge(); EDGES];
        more
    }

    /// The reader is slower than the window is large.
    fn shrink(&mut self) {
        let size = (self.size / 2).max(BASE);
        self.budget.give_back(self.size, size);
        self.size = size;
    }

    fn open(&mut self) -> Option<u32> {
        let due = self.due();
        if due == 0 {
            return None;
        }
        let edge = self.edge() + u64::from(due);
        self.edges.rotate_left(1);
        self.edges[EDGES - 1] = edge;
        Some(due)
    }

    fn edge(&self) -> u64 {
        self.edges[EDGES - 1]
    }

    fn due(&self) -> u32 {
        // Never more than the size: the edge is never behind what was read, unless the peer broke the rules.
        let due = (self.read + u64::from(self.size)).saturating_sub(self.edge());
        u32::try_from(due).unwrap_or(u32::MAX)
    }

    /// How much it is now.
    #[cfg(test)]
    pub(crate) fn size(&self) -> u32 {
        self.size
    }
}

impl Drop for StreamWindow {
    fn drop(&mut self) {
        self.budget.give_back(self.size, BASE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::windows::{BUDGET, MIDDLE};
    use proptest::prelude::*;

    fn window() -> (StreamWindow, WindowBudget) {
        let budget = WindowBudget::new();
        (StreamWindow::new(budget.clone()), budget)
    }

    #[test]
    fn a_reader_that_waits_where_the_peer_has_to_stop_gets_a_larger_window() {
        let (mut window, budget) = window();
        let mut sizes = vec![window.size()];
        for _ in 0..6 {
            // The peer stands where it could go before the last updates reached it.
            let edge = window.edges[EDGES - 1];
            while window.read < edge {
                window.read(4096);
            }
            window.wait(|| Some(BASE));
            sizes.push(window.size());
        }
        assert_eq!(sizes, [BASE, 16 * BASE, LARGEST, LARGEST, LARGEST, LARGEST, LARGEST]);
        drop(window);
        assert_eq!(budget.left(), BUDGET as usize);
    }

    #[test]
    fn who_sends_more_than_was_announced_is_found_out_at_the_first_byte() {
        let (mut window, _) = window();
        assert_eq!(window.receive(BASE as usize), Ok(()));
        assert_eq!(window.receive(0), Ok(()));
        assert_eq!(window.receive(1), Err(Overrun));
        let (mut window, _) = self::window();
        window.receive(BASE as usize).unwrap();
        let more = window.read(BASE as usize).unwrap();
        assert_eq!(window.receive(more as usize), Ok(()));
        assert_eq!(window.receive(1), Err(Overrun));
    }

    #[test]
    fn waiting_anywhere_else_or_again_changes_nothing() {
        let (mut window, _) = window();
        assert_eq!(window.wait(|| Some(BASE)), None);
        window.read(1000);
        assert_eq!(window.wait(|| Some(BASE)), None);
        window.read(BASE as usize - 1000);
        assert!(window.wait(|| Some(BASE)).is_some());
        for _ in 0..10 {
            assert_eq!(window.wait(|| Some(BASE)), None);
        }
        assert_eq!(window.size(), 16 * BASE);
    }

    #[test]
    fn a_program_that_its_kernel_may_only_keep_bytes_for_gets_no_larger_window() {
        for room in [None, Some(0), Some(BASE - 1)] {
            let (mut window, _) = window();
            let mut sizes = Vec::new();
            while window.size() == BASE {
                let edge = window.edge();
                while window.read < edge {
                    window.read(4096);
                }
                window.wait(|| room);
                sizes.push((window.read, window.size()));
            }
            // It has read more than any kernel keeps.
            assert_eq!((sizes.len(), sizes.last()), (6, Some(&(KEPT_BY_KERNELS, 16 * BASE))), "{room:?}");
        }
        let (mut window, _) = window();
        window.read(BASE as usize);
        assert!(window.wait(|| Some(BASE)).is_some(), "it has room for another window: its program reads");
    }

    #[test]
    fn a_reader_that_never_waits_loses_what_it_had() {
        let (mut window, budget) = window();
        window.read(BASE as usize);
        window.wait(|| Some(BASE));
        for _ in 0..1000 {
            window.read(BASE as usize);
        }
        assert_eq!((window.size(), budget.left()), (BASE, BUDGET as usize));
    }

    #[test]
    fn where_the_budget_is_spent_windows_stay_as_they_are() {
        let budget = WindowBudget::with_sizes(4 * BASE as usize, 0);
        let mut windows: Vec<_> = (0..3).map(|_| StreamWindow::new(budget.clone())).collect();
        for window in &mut windows {
            window.read(BASE as usize);
            window.wait(|| Some(BASE));
        }
        assert_eq!(windows.iter().map(StreamWindow::size).collect::<Vec<_>>(), [4 * BASE, 2 * BASE, BASE]);
        windows.clear();
        assert_eq!(budget.left(), 4 * BASE as usize);
    }

    #[test]
    fn readers_that_were_quick_and_stopped_leave_middling_windows_to_the_others() {
        let budget = WindowBudget::new();
        let grow = || {
            let mut window = StreamWindow::new(budget.clone());
            // The peer stands at the edge until the window does not grow any more.
            for _ in 0..8 {
                let edge = window.edge();
                while window.read < edge {
                    window.read(4096);
                }
                window.wait(|| Some(BASE));
            }
            window
        };
        let stopped: Vec<_> = (0..100).map(|_| grow()).collect();
        let sizes: Vec<u32> = stopped.iter().map(StreamWindow::size).collect();
        assert_eq!(sizes[..3], [LARGEST; 3]);
        assert!(sizes.windows(2).all(|it| it[0] >= it[1]), "{sizes:?}");
        assert!(sizes.iter().all(|it| *it >= MIDDLE), "{sizes:?}");
        drop(stopped);
        assert_eq!(budget.left(), BUDGET as usize);
    }

    proptest! {
        /// Whatever the reader does, the peer may send what the window says and no more, and can go on once all is read.
        #[test]
        fn the_peer_is_never_stuck_and_never_ahead(deeds in prop::collection::vec((1..200_000_usize, any::<bool>()), 0..200)) {
            let (mut window, budget) = window();
            let (mut allowed, mut read, mut largest) = (u64::from(BASE), 0, BASE);
            for (bytes, waits) in deeds {
                let bytes = bytes.min(usize::try_from(allowed - read).unwrap());
                prop_assert_eq!(window.receive(bytes), Ok(()));
                allowed += u64::from(window.read(bytes).unwrap_or(0));
                read += bytes as u64;
                if waits {
                    allowed += u64::from(window.wait(|| Some(BASE)).unwrap_or(0));
                }
                prop_assert!(allowed > read);
                largest = largest.max(window.size());
                prop_assert!(allowed - read <= u64::from(largest));
                prop_assert_eq!(budget.left(), (BUDGET - (window.size() - BASE)) as usize);
            }
        }
    }
}
