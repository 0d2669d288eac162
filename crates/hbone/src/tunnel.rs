//! An open tunnel: bytes both ways over one HTTP/2 stream.

#[cfg(test)]
mod tests;

use crate::client::{Carrier, StreamPermit};
use crate::windows::{Overrun, StreamWindow, Windows};
use bytes::{Buf, Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream};
use std::collections::VecDeque;
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
    /// Received while the reader could take nothing; there from the first time on.
    gathered: Option<Box<Gathered>>,
    /// Handed over last: read as soon as more is asked for.
    handed: usize,
    /// Its receive window, where that is ours and not h2's.
    windows: Option<(StreamWindow, Windows)>,
    writing: Writing,
    /// The peer has sent more than it was allowed to, and the tunnel is reset.
    overrun: bool,
    // Held until the tunnel ends: counts it on its connection.
    permit: Option<StreamPermit>,
}

/// Frames out of h2's hands, where each costs hundreds of bytes beside its own. Small ones are put together.
#[derive(Default)]
struct Gathered {
    whole: VecDeque<Bytes>,
    small: BytesMut,
}

/// Frames below are put together.
const SMALL: usize = 1024;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Writing {
    Open,
    Finished,
}

impl Tunnel {
    pub(crate) fn new(
        send: SendStream<Bytes>,
        recv: RecvStream,
        windows: Windows,
        permit: Option<StreamPermit>,
    ) -> Self {
        Self::with(send, recv, Some((windows.of_stream(), windows)), permit)
    }

    fn with(
        send: SendStream<Bytes>,
        recv: RecvStream,
        windows: Option<(StreamWindow, Windows)>,
        permit: Option<StreamPermit>,
    ) -> Self {
        Self {
            send,
            recv,
            unread: Bytes::new(),
            gathered: None,
            handed: 0,
            windows,
            writing: Writing::Open,
            overrun: false,
            permit,
        }
    }

    /// Of a stream that was answered to elsewhere, on a connection with windows of h2's own.
    pub fn from_streams(send: SendStream<Bytes>, recv: RecvStream) -> Self {
        Self::with(send, recv, None, None)
    }

    /// The connection that carries it, if it was opened here and not accepted.
    pub fn carrier(&self) -> Option<Carrier> {
        self.permit.as_ref().map(StreamPermit::carrier)
    }

    /// The next bytes, as they came, without a copy; empty at the end. Asking again says that the reader is done with those
    /// before, and opens the window for more.
    pub fn poll_read_bytes(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let next = self.poll_next(cx);
        if next.is_pending() {
            self.grow_window(|| None);
        }
        next
    }

    /// [`Self::poll_read_bytes`] without a larger window where nothing has come: who asks can say more of the reader.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        if !self.unread.is_empty() {
            return Poll::Ready(Ok(std::mem::take(&mut self.unread)));
        }
        let handed = std::mem::take(&mut self.handed);
        if handed > 0 {
            self.done_with(handed)?;
        }
        if let Some(bytes) = self.gathered.as_mut().and_then(|it| it.take()) {
            self.handed = bytes.len();
            return Poll::Ready(Ok(bytes));
        }
        if self.overrun {
            return Poll::Ready(Err(overrun()));
        }
        loop {
            match ready!(self.recv.poll_data(cx)) {
                // A DATA frame without data that does not end the stream.
                Some(Ok(bytes)) if bytes.is_empty() => {}
                Some(Ok(bytes)) => {
                    if let Err(overrun) = self.received(bytes.len()) {
                        return Poll::Ready(Err(overrun));
                    }
                    self.handed = bytes.len();
                    return Poll::Ready(Ok(bytes));
                }
                Some(Err(error)) if is_end(&error) => return Poll::Ready(Ok(Bytes::new())),
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                None => return Poll::Ready(Ok(Bytes::new())),
            }
        }
    }

    /// The reader waits; `room` is what its kernel has room for, where somebody can say.
    pub(crate) fn grow_window(&mut self, room: impl FnOnce() -> Option<u32>) {
        let more = self.windows.as_mut().and_then(|(window, _)| window.wait(room));
        self.open_window(more);
    }

    /// Takes out of h2's hands what has come, while the reader can take nothing: so many small frames would otherwise cost the
    /// connection its life. The window stays as it is, and with it how much there can be: a peer that sends more is reset.
    pub fn poll_gather(&mut self, cx: &mut Context<'_>) {
        if self.windows.is_none() || self.overrun {
            return;
        }
        while let Poll::Ready(Some(Ok(bytes))) = self.recv.poll_data(cx) {
            // An error comes again when the bytes before it are read.
            if self.received(bytes.len()).is_err() {
                return;
            }
            self.gathered.get_or_insert_default().put(bytes);
        }
    }

    /// So many bytes have come out of h2's hands. To h2 they are read: the peer is told by the stream's own window, and has to keep to it.
    fn received(&mut self, bytes: usize) -> io::Result<()> {
        let Some((window, _)) = &mut self.windows else { return Ok(()) };
        if let Err(Overrun) = window.receive(bytes) {
            self.overrun = true;
            self.writing = Writing::Finished;
            self.send.send_reset(Reason::FLOW_CONTROL_ERROR);
            return Err(overrun());
        }
        self.recv.flow_control().release_capacity(bytes).map_err(broken)
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

    /// The reader is done with so many bytes.
    fn done_with(&mut self, bytes: usize) -> io::Result<()> {
        match &mut self.windows {
            Some((window, _)) => {
                let more = window.read(bytes);
                self.open_window(more);
                Ok(())
            }
            None => self.recv.flow_control().release_capacity(bytes).map_err(broken),
        }
    }

    fn open_window(&self, more: Option<u32>) {
        // Whoever has sent all has no use for it.
        if let (Some(more), Some((_, windows))) = (more, &self.windows)
            && !self.recv.is_end_stream()
        {
            windows.updates.push(self.send.stream_id().as_u32(), more);
        }
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

impl Gathered {
    fn put(&mut self, bytes: Bytes) {
        if bytes.len() < SMALL {
            self.small.extend_from_slice(&bytes);
            return;
        }
        if !self.small.is_empty() {
            self.whole.push_back(self.small.split().freeze());
        }
        self.whole.push_back(bytes);
    }

    fn take(&mut self) -> Option<Bytes> {
        if let Some(bytes) = self.whole.pop_front() {
            return Some(bytes);
        }
        (!self.small.is_empty()).then(|| std::mem::take(&mut self.small).freeze())
    }
}

/// The peer does not want the rest, or has nothing more to say: the end, not an error.
fn is_end(error: &h2::Error) -> bool {
    error.is_reset() && error.is_remote() && matches!(error.reason(), Some(Reason::NO_ERROR | Reason::CANCEL))
}

fn overrun() -> io::Error {
    io::Error::new(
        io::ErrorKind::ConnectionAborted,
        "the peer sent more than its window allows (FLOW_CONTROL_ERROR)",
    )
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
        if let Some((_, windows)) = &self.windows {
            windows.updates.forget(self.send.stream_id().as_u32());
        }
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
