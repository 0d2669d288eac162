//! An open tunnel: bytes both ways over one HTTP/2 stream.

#[cfg(test)]
mod tests;

use crate::client::{Carrier, Lease};
use bytes::{Buf, Bytes};
use h2::{Reason, RecvStream, SendStream};
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// An open tunnel. END_STREAM is the end of what is read, and what `shutdown` sends; a reset with another reason than
/// NO_ERROR or CANCEL is an error, so that a broken connection is never taken for a complete one.
///
/// Dropped before it was shut down, it is reset: the far end sees a broken connection.
pub struct Tunnel {
    send: SendStream<Bytes>,
    recv: RecvStream,
    /// Received, but not yet taken by a reader whose buffer was smaller.
    unread: Bytes,
    writing: Writing,
    // Held until the tunnel ends: counts it on its connection.
    lease: Option<Lease>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Writing {
    Open,
    Finished,
}

impl Tunnel {
    pub(crate) fn new(send: SendStream<Bytes>, recv: RecvStream, lease: Option<Lease>) -> Self {
        Self { send, recv, unread: Bytes::new(), writing: Writing::Open, lease }
    }

    /// Of a stream that was answered to elsewhere.
    pub fn from_streams(send: SendStream<Bytes>, recv: RecvStream) -> Self {
        Self::new(send, recv, None)
    }

    /// The connection that carries it, if it was opened here and not accepted.
    pub fn carrier(&self) -> Option<Carrier> {
        self.lease.as_ref().map(Lease::carrier)
    }

    /// The next bytes, as they came, without a copy; empty at the end. Taking them opens the window for more.
    pub fn poll_read_bytes(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        if !self.unread.is_empty() {
            return Poll::Ready(Ok(std::mem::take(&mut self.unread)));
        }
        loop {
            match ready!(self.recv.poll_data(cx)) {
                // A DATA frame without data that does not end the stream.
                Some(Ok(bytes)) if bytes.is_empty() => {}
                Some(Ok(bytes)) => {
                    self.recv.flow_control().release_capacity(bytes.len()).map_err(broken)?;
                    return Poll::Ready(Ok(bytes));
                }
                Some(Err(error)) if is_end(&error) => return Poll::Ready(Ok(Bytes::new())),
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                None => return Poll::Ready(Ok(Bytes::new())),
            }
        }
    }

    /// Hands over as much from the front of `bytes` as the peer and the buffer have room for, without a copy.
    /// Ready when at least one byte was taken, or `bytes` is empty.
    pub fn poll_write_bytes(&mut self, cx: &mut Context<'_>, bytes: &mut Bytes) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let room = ready!(self.poll_room(cx, bytes.len()))?;
        let part = bytes.split_to(room);
        self.send.send_data(part, false).map_err(broken)?;
        Poll::Ready(Ok(room))
    }

    /// Waits until the peer has reset the tunnel or its connection ended: nothing can be written any more.
    pub fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.send.poll_reset(cx).map(|_| ())
    }

    /// Breaks the tunnel: the far end sees a broken connection (RFC 9113 §8.5), not the end of the bytes.
    pub fn reset(mut self) {
        self.send.send_reset(Reason::CONNECT_ERROR);
        self.writing = Writing::Finished;
    }

    fn poll_room(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<io::Result<usize>> {
        if self.writing == Writing::Finished {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        self.send.reserve_capacity(wanted);
        loop {
            let room = self.send.capacity().min(wanted);
            if room > 0 {
                return Poll::Ready(Ok(room));
            }
            match ready!(self.send.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                None => return Poll::Ready(Err(self.why_closed(cx))),
            }
        }
    }

    fn why_closed(&mut self, cx: &mut Context<'_>) -> io::Error {
        match self.send.poll_reset(cx) {
            Poll::Ready(Ok(Reason::NO_ERROR | Reason::CANCEL)) | Poll::Pending => {
                io::ErrorKind::BrokenPipe.into()
            }
            Poll::Ready(Ok(reason)) => broken(reason.into()),
            Poll::Ready(Err(error)) => broken(error),
        }
    }
}

/// The peer does not want the rest, or has nothing more to say: the end, not an error.
fn is_end(error: &h2::Error) -> bool {
    error.is_reset() && error.is_remote() && matches!(error.reason(), Some(Reason::NO_ERROR | Reason::CANCEL))
}

fn broken(error: h2::Error) -> io::Error {
    match error.reason() {
        Some(Reason::CONNECT_ERROR) => io::Error::new(io::ErrorKind::ConnectionReset, error),
        _ if error.is_io() => error.into_io().unwrap_or_else(|| io::ErrorKind::ConnectionAborted.into()),
        _ => io::Error::new(io::ErrorKind::ConnectionAborted, error),
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let mut bytes = ready!(self.poll_read_bytes(cx))?;
        let taken = bytes.len().min(buffer.remaining());
        buffer.put_slice(&bytes[..taken]);
        bytes.advance(taken);
        self.unread = bytes;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        if data.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let room = ready!(self.poll_room(cx, data.len()))?;
        self.send.send_data(Bytes::copy_from_slice(&data[..room]), false).map_err(broken)?;
        Poll::Ready(Ok(room))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The connection's own task writes what was handed over.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.writing == Writing::Open {
            self.writing = Writing::Finished;
            self.send.send_data(Bytes::new(), true).map_err(broken)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        if self.writing == Writing::Open {
            self.send.send_reset(Reason::CONNECT_ERROR);
        }
    }
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel").field("stream", &self.send.stream_id()).finish_non_exhaustive()
    }
}
