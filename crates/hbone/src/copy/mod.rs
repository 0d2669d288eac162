//! Moving bytes both ways until both sides have ended.

mod buffer;
mod direction;
mod stream;
#[cfg(test)]
mod tests;

pub use buffer::ReadBuffer;
pub use stream::{ByteStream, Plain};

use direction::{Direction, Fault};
use std::future::poll_fn;
use std::io;
use std::task::Poll;

/// One of the two streams that bytes are moved between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The first argument of [`bidirectional`].
    Near,
    /// The second argument of [`bidirectional`].
    Far,
}

/// What was moved, and how it ended.
#[derive(Debug)]
pub struct Transfer {
    /// Bytes from near to far.
    pub sent: u64,
    /// Bytes from far to near.
    pub received: u64,
    /// Which end finished or failed, and how.
    pub ended: Ended,
}

/// How a transfer ended.
#[derive(Debug)]
pub enum Ended {
    /// Both sides said that they were done; all bytes were delivered.
    Closed {
        /// Who was done first.
        first: Side,
    },
    /// One side broke; the other is to be told so, not to be closed as if nothing had happened.
    Broken {
        /// The side whose read or write failed.
        by: Side,
        /// The error of that read or write.
        error: io::Error,
    },
}

/// Moves bytes both ways until both sides have ended or one breaks. A side that ends is passed on as a half-close, so
/// that the other can go on. An idle pair holds no buffers and no timer.
pub async fn bidirectional<N: ByteStream, F: ByteStream>(near: &mut N, far: &mut F) -> Transfer {
    let (mut sending, mut receiving) = (Direction::default(), Direction::default());
    let mut first = None;
    let ended = poll_fn(|cx| {
        let sent = match sending.poll_move(cx, near, far) {
            Poll::Ready(Err(fault)) => return Poll::Ready(broken(fault, Side::Near, Side::Far)),
            moved => moved.is_ready(),
        };
        if sent && first.is_none() {
            first = Some(Side::Near);
        }
        let received = match receiving.poll_move(cx, far, near) {
            Poll::Ready(Err(fault)) => return Poll::Ready(broken(fault, Side::Far, Side::Near)),
            moved => moved.is_ready(),
        };
        if received && first.is_none() {
            first = Some(Side::Far);
        }
        match (sent, received, first) {
            (true, true, Some(first)) => Poll::Ready(Ended::Closed { first }),
            // A side that has ended, and is known to take nothing more either, is gone: what the other might still say
            // has no reader. (One that has not ended tells so itself, after its last bytes.)
            (true, false, _) if near.poll_broken(cx).is_ready() => Poll::Ready(gone(Side::Near)),
            (false, true, _) if far.poll_broken(cx).is_ready() => Poll::Ready(gone(Side::Far)),
            _ => Poll::Pending,
        }
    })
    .await;
    Transfer { sent: sending.moved(), received: receiving.moved(), ended }
}

fn gone(side: Side) -> Ended {
    Ended::Broken { by: side, error: io::ErrorKind::BrokenPipe.into() }
}

fn broken(fault: Fault, from: Side, to: Side) -> Ended {
    match fault {
        Fault::Reading(error) => Ended::Broken { by: from, error },
        Fault::Writing(error) => Ended::Broken { by: to, error },
    }
}
