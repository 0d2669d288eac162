//! WINDOW_UPDATEs on their way from the tunnels of a connection to its wire.

use bytes::{BufMut, BytesMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// WINDOW_UPDATEs that are to be sent; a clone is the same queue.
#[derive(Clone, Debug, Default)]
pub(crate) struct Updates(Arc<Mutex<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    /// Streams, and how much more each may be sent.
    waiting: Vec<(u32, u32)>,
    /// Of the task that writes.
    writer: Option<Waker>,
}

/// A WINDOW_UPDATE frame (RFC 9113 §6.9).
const LENGTH: u32 = 4;
const WINDOW_UPDATE: u8 = 8;

impl Updates {
    /// The peer may send so many bytes more on this stream.
    pub(crate) fn push(&self, stream: u32, bytes: u32) {
        let writer = {
            let mut queue = self.lock();
            match queue.waiting.iter_mut().find(|(other, _)| *other == stream) {
                Some((_, waiting)) => *waiting = waiting.saturating_add(bytes),
                None => queue.waiting.push((stream, bytes)),
            }
            queue.writer.take()
        };
        if let Some(writer) = writer {
            writer.wake();
        }
    }

    /// This stream has ended: it needs none.
    pub(crate) fn forget(&self, stream: u32) {
        self.lock().waiting.retain(|(other, _)| *other != stream);
    }

    /// Writes the frames of all that wait.
    pub(super) fn take_into(&self, frames: &mut BytesMut) {
        for (stream, bytes) in self.lock().waiting.drain(..) {
            frames.put_uint(LENGTH.into(), 3);
            frames.put_slice(&[WINDOW_UPDATE, 0]);
            frames.put_u32(stream);
            frames.put_u32(bytes);
        }
    }

    /// Wakes this task for the next.
    pub(super) fn wake_for_next(&self, waker: &Waker) {
        let mut queue = self.lock();
        if !queue.writer.as_ref().is_some_and(|it| it.will_wake(waker)) {
            queue.writer = Some(waker.clone());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
