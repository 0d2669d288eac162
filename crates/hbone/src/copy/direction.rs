//! One direction of a transfer.

use super::{ByteStream, ReadBuffer};
use bytes::Bytes;
use std::io;
use std::task::{Context, Poll, ready};

/// Chunks moved in one poll: then the other tasks of the thread get their turn.
const TURN: usize = 16;

#[derive(Default)]
pub(super) struct Direction {
    buffer: ReadBuffer,
    /// Read, not yet written.
    pending: Bytes,
    moved: u64,
    stage: Stage,
}

#[derive(Default)]
enum Stage {
    #[default]
    Moving,
    /// The reading side has ended; the writing side is being told.
    Closing,
    Closed,
}

/// Which end of the direction broke.
pub(super) enum Fault {
    Reading(io::Error),
    Writing(io::Error),
}

impl Direction {
    pub(super) fn moved(&self) -> u64 {
        self.moved
    }

    /// Ready when the end was read and passed on.
    pub(super) fn poll_move<R: ByteStream, W: ByteStream>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
        to: &mut W,
    ) -> Poll<Result<(), Fault>> {
        for _ in 0..TURN {
            match self.stage {
                Stage::Moving => ready!(self.poll_chunk(cx, from, to))?,
                Stage::Closing => {
                    ready!(to.poll_shutdown(cx)).map_err(Fault::Writing)?;
                    self.stage = Stage::Closed;
                }
                Stage::Closed => return Poll::Ready(Ok(())),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_chunk<R: ByteStream, W: ByteStream>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
        to: &mut W,
    ) -> Poll<Result<(), Fault>> {
        if self.pending.is_empty() {
            self.pending = match from.poll_read_bytes(cx, &mut self.buffer) {
                Poll::Ready(bytes) => bytes.map_err(Fault::Reading)?,
                Poll::Pending => {
                    from.wait_for_more(|| to.reader_room());
                    // Nothing more to come for now: what was written must not wait in a buffer.
                    ready!(to.poll_flush(cx)).map_err(Fault::Writing)?;
                    return Poll::Pending;
                }
            };
            if self.pending.is_empty() {
                self.stage = Stage::Closing;
                return Poll::Ready(Ok(()));
            }
        }
        let Poll::Ready(written) = to.poll_write_bytes(cx, &mut self.pending) else {
            from.poll_gather(cx);
            return Poll::Pending;
        };
        let written = written.map_err(Fault::Writing)?;
        if written == 0 {
            return Poll::Ready(Err(Fault::Writing(io::ErrorKind::WriteZero.into())));
        }
        self.moved += written as u64;
        Poll::Ready(Ok(()))
    }
}
