//! What bytes are moved between: tunnels hand theirs over as they are, sockets read into a buffer.

use super::ReadBuffer;
use crate::Tunnel;
use bytes::{Buf, Bytes};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite};

/// A stream of bytes both ways, in chunks that change hands without a copy where the stream allows it.
pub trait ByteStream {
    /// The next bytes; empty at the end.
    fn poll_read_bytes(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuffer) -> Poll<io::Result<Bytes>>;
    /// Nothing more has come, and all that came was passed on. `room` says what the other side's reader has room for, as
    /// [`Self::reader_room`].
    fn wait_for_more(&mut self, room: impl FnOnce() -> Option<u32>);
    /// How many more bytes the kernel of whoever reads what is written here has room for; none where nobody can say.
    fn reader_room(&self) -> Option<u32> {
        None
    }
    /// Called while the other side takes nothing: what has come may be put where it costs less. What the kernel keeps stays
    /// there.
    fn poll_gather(&mut self, _: &mut Context<'_>) {}
    /// Takes bytes from the front; ready when at least one was taken.
    fn poll_write_bytes(&mut self, cx: &mut Context<'_>, bytes: &mut Bytes) -> Poll<io::Result<usize>>;
    /// Sends what was taken on its way.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Tells the far end that no more comes; reading goes on.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Ready when it is known, without writing, that nothing can be written any more.
    fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// A socket, or anything like it.
#[derive(Debug)]
pub struct Plain<Io>(pub Io);

impl<Io: AsyncRead + AsyncWrite + Unpin> ByteStream for Plain<Io> {
    fn poll_read_bytes(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuffer) -> Poll<io::Result<Bytes>> {
        buffer.poll_fill(cx, &mut self.0)
    }

    fn wait_for_more(&mut self, _: impl FnOnce() -> Option<u32>) {}

    fn poll_write_bytes(&mut self, cx: &mut Context<'_>, bytes: &mut Bytes) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.0).poll_write(cx, bytes))?;
        bytes.advance(written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match ready!(Pin::new(&mut self.0).poll_shutdown(cx)) {
            // The far end has closed already: it knows.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            result => Poll::Ready(result),
        }
    }

    fn poll_broken(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

impl ByteStream for Tunnel {
    fn poll_read_bytes(&mut self, cx: &mut Context<'_>, _: &mut ReadBuffer) -> Poll<io::Result<Bytes>> {
        self.poll_next(cx)
    }

    fn wait_for_more(&mut self, room: impl FnOnce() -> Option<u32>) {
        self.grow_window(room);
    }

    fn poll_gather(&mut self, cx: &mut Context<'_>) {
        Self::poll_gather(self, cx);
    }

    fn poll_write_bytes(&mut self, cx: &mut Context<'_>, bytes: &mut Bytes) -> Poll<io::Result<usize>> {
        Self::poll_write_bytes(self, cx, bytes)
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_shutdown(Pin::new(self), cx)
    }

    fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_reset(cx)
    }
}
