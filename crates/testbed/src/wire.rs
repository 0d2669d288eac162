//! What goes over the wire, seen raw.

use crate::Sandbox;
use fairway_netns::NetnsError;
use fairway_netns::socket::{PacketTap, TapCounts};
use memchr::memmem::{Finder, find};
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How much of what was seen is kept to be searched later.
const KEPT_BYTES: usize = 64 * 1024 * 1024;
/// The longest frame: segmentation offload makes veth frames of up to 64 KiB.
const LONGEST_FRAME: usize = 128 * 1024;
const READ_TIMEOUT: Duration = Duration::from_millis(20);

/// A capture of every frame on every link of the node: the bridge and the node's end of each pod's cable. A frame from one
/// pod to another is thus seen twice, and one between the node and a pod at least once; none is missed but those counted as
/// dropped. What stays within a pod is not on the wire.
#[derive(Debug)]
pub struct Wire {
    shared: Arc<Shared>,
    tap: Arc<PacketTap>,
    thread: Option<JoinHandle<Result<(), NetnsError>>>,
}

/// How much was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The number of frames.
    pub frames: u64,
    /// The bytes of those frames, headers included.
    pub bytes: u64,
    /// Frames that the kernel had no room to keep until they were looked at: a claim that something was not on the wire
    /// holds only if this is 0.
    pub dropped: u64,
    /// Frames no longer searched by [`Wire::contains`], for want of memory.
    pub forgotten: u64,
}

/// Something to look for in every frame from now on, however many there are.
#[derive(Clone, Debug)]
pub struct Needle {
    inner: Arc<NeedleCount>,
}

#[derive(Debug)]
struct NeedleCount {
    finder: Finder<'static>,
    frames: AtomicU64,
}

#[derive(Debug, Default)]
struct Shared {
    is_stopping: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    seen: Seen,
    /// Frames that the kernel has put into the tap's queue, as last asked.
    queued: u64,
    kept: VecDeque<Box<[u8]>>,
    kept_bytes: usize,
    needles: Vec<Arc<NeedleCount>>,
    failure: Option<String>,
}

// === impl Wire ===

impl Wire {
    /// Starts to capture frames on the node.
    pub fn start(sandbox: &Sandbox) -> Result<Self, NetnsError> {
        let shared = Arc::new(Shared::default());
        let opened = sandbox.node().run_blocking(|| PacketTap::open(READ_TIMEOUT))?;
        let tap = Arc::new(opened.map_err(NetnsError::NoThread)?);
        let (their_shared, their_tap) = (Arc::clone(&shared), Arc::clone(&tap));
        let thread = sandbox.node().thread("wire", move || their_shared.capture(&their_tap))?;
        Ok(Self { shared, tap, thread: Some(thread) })
    }

    /// Looks for something in every frame from now on.
    pub fn look_for(&self, bytes: &[u8]) -> Needle {
        let inner =
            Arc::new(NeedleCount { finder: Finder::new(bytes).into_owned(), frames: AtomicU64::new(0) });
        self.shared.lock(|state| state.needles.push(Arc::clone(&inner)));
        Needle { inner }
    }

    /// How many of the frames seen so far contain these bytes.
    pub async fn contains(&self, bytes: &[u8]) -> usize {
        self.settle().await;
        self.shared.lock(|state| state.kept.iter().filter(|frame| find(frame, bytes).is_some()).count())
    }

    /// How much was seen so far.
    pub async fn seen(&self) -> Seen {
        self.settle().await;
        self.shared.lock(|state| state.seen)
    }

    /// Waits until all that was on the wire when this was called has been looked at.
    pub async fn settle(&self) {
        let queued = self.shared.lock(|state| {
            if let Ok(TapCounts { frames, dropped }) = self.tap.counts() {
                state.queued += frames - dropped;
                state.seen.dropped += dropped;
            }
            state.queued
        });
        while self.shared.lock(|state| state.seen.frames) < queued && !self.has_ended() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Why the capture ended, if it did.
    pub fn failure(&self) -> Option<String> {
        self.shared.lock(|state| state.failure.clone())
    }

    fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.shared.is_stopping.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

// === impl Needle ===

impl Needle {
    /// In how many frames it was. Call [`Wire::settle`] first, to be sure that those are all until now.
    pub fn frames(&self) -> u64 {
        self.inner.frames.load(Ordering::Acquire)
    }
}

// === impl Shared ===

impl Shared {
    fn capture(&self, tap: &PacketTap) {
        if let Err(error) = self.read_all(tap) {
            self.lock(|state| state.failure = Some(error.to_string()));
        }
    }

    fn read_all(&self, tap: &PacketTap) -> io::Result<()> {
        let mut buffer = vec![0; LONGEST_FRAME];
        while !self.is_stopping.load(Ordering::Acquire) {
            if let Some(length) = tap.read(&mut buffer)? {
                self.lock(|state| state.take(buffer.get(..length).unwrap_or(&buffer)));
            }
        }
        Ok(())
    }

    fn lock<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

// === impl State ===

impl State {
    fn take(&mut self, frame: &[u8]) {
        self.seen.frames += 1;
        self.seen.bytes += frame.len() as u64;
        for needle in &self.needles {
            if needle.finder.find(frame).is_some() {
                needle.frames.fetch_add(1, Ordering::Release);
            }
        }
        self.kept_bytes += frame.len();
        self.kept.push_back(frame.into());
        while self.kept_bytes > KEPT_BYTES {
            let Some(oldest) = self.kept.pop_front() else {
                break;
            };
            self.kept_bytes -= oldest.len();
            self.seen.forgotten += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_but_needles_are_counted_for_ever() {
        let mut state = State::default();
        let needle =
            Arc::new(NeedleCount { finder: Finder::new(b"secret").into_owned(), frames: AtomicU64::new(0) });
        state.needles.push(Arc::clone(&needle));
        let mut frame = vec![0; 1024 * 1024];
        frame[77..83].copy_from_slice(b"secret");
        state.take(&frame);
        frame[77] = 0;
        for _ in 0..70 {
            state.take(&frame);
        }
        assert_eq!(needle.frames.load(Ordering::Relaxed), 1);
        assert_eq!((state.seen.frames, state.seen.forgotten), (71, 7));
        assert!(state.kept_bytes <= KEPT_BYTES);
    }
}
