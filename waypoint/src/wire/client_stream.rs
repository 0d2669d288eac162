//! A client's byte stream under watch: bytes read ahead are given back, and HTTP/1 framing is checked as it passes.

use super::{Framing, Refused};
use crate::transport::Transport;
use fairway_runtime::http2::{ControlFrames, TooManyControlFrames};
use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// What is seen on the wire; shared with those who serve the connection.
#[derive(Debug, Default)]
pub struct WireState {
    in_head: Cell<bool>,
    refused: Cell<Option<Refused>>,
    blocked: Cell<bool>,
    taken: Cell<u64>,
}

/// A client's byte stream. It observes the framing that hyper does not show.
pub struct Wire {
    io: Transport,
    ahead: ReadAhead,
    watch: Watch,
    wire_state: Rc<WireState>,
}

enum Watch {
    /// The framing of HTTP/1 requests.
    Http1(Framing),
    /// The control frames of an HTTP/2 client.
    Http2(Box<ControlFrames>),
    /// Nothing: after an upgrade.
    Nothing,
}

/// Bytes that were read to detect the protocol.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadAhead {
    bytes: [u8; ReadAhead::MOST],
    start: usize,
    end: usize,
}

// === impl WireState ===

impl WireState {
    /// Whether a request's head has begun and not ended.
    pub fn in_head(&self) -> bool {
        self.in_head.get()
    }

    /// Says that a head (or the bytes that tell the protocol) has begun or ended.
    pub fn set_in_head(&self, in_head: bool) {
        self.in_head.set(in_head);
    }

    /// Why the connection's request of this number (from 0) is refused, if it is.
    pub fn refusal(&self, request: u64) -> Option<Refused> {
        self.refused.get().filter(|refused| refused.request <= request)
    }

    /// Whether bytes wait that the client does not take. Where it does not, everything that was written so far is with the
    /// kernel: none of it waits above.
    pub fn is_blocked(&self) -> bool {
        self.blocked.get()
    }

    /// Bytes that the client has taken, or the kernel for it.
    pub fn taken(&self) -> u64 {
        self.taken.get()
    }

    fn wrote<T>(&self, written: Poll<io::Result<T>>, count: impl FnOnce(&T) -> usize) -> Poll<io::Result<T>> {
        self.blocked.set(written.is_pending());
        if let Poll::Ready(Ok(it)) = &written {
            self.taken.set(self.taken.get() + count(it) as u64);
        }
        written
    }
}

// === impl ReadAhead ===

impl ReadAhead {
    /// As many bytes as the longest preface has.
    pub const MOST: usize = 24;

    /// What has been read.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Room for more; empty when full.
    pub fn room(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.end..).unwrap_or_default()
    }

    /// Counts what was put into the room.
    pub fn add(&mut self, count: usize) {
        self.end = (self.end + count).min(Self::MOST);
    }

    fn give_back(&mut self, buf: &mut ReadBuf<'_>) {
        let count = (self.end - self.start).min(buf.remaining());
        if let Some(bytes) = self.bytes.get(self.start..self.start + count) {
            buf.put_slice(bytes);
        }
        self.start += count;
    }
}

// === impl Wire ===

impl Wire {
    /// Observes the framing of HTTP/1 requests.
    pub fn http1(io: Transport, ahead: ReadAhead, wire_state: Rc<WireState>) -> Self {
        Self { io, ahead, watch: Watch::Http1(Framing::new()), wire_state }
    }

    /// Counts the control frames of HTTP/2.
    pub fn http2(io: Transport, ahead: ReadAhead, wire_state: Rc<WireState>) -> Self {
        let frames = Box::new(ControlFrames::of_client(Instant::now()));
        Self { io, ahead, watch: Watch::Http2(frames), wire_state }
    }

    /// Closing it tells the client that it broke, not that it is done.
    pub fn reset_on_close(&self) {
        self.io.reset_on_close();
    }

    /// Stops watching: what follows is not HTTP.
    pub fn unwatch(mut self) -> Self {
        self.watch = Watch::Nothing;
        self.wire_state.in_head.set(false);
        self
    }

    fn look(&mut self, bytes: &[u8]) -> Result<(), TooManyControlFrames> {
        match &mut self.watch {
            Watch::Nothing => {}
            Watch::Http2(frames) => return frames.received(bytes, Instant::now),
            Watch::Http1(framing) => {
                framing.watch(bytes);
                self.wire_state.in_head.set(framing.in_head());
                if let Some(refused) = framing.verdict() {
                    self.wire_state.refused.set(Some(refused));
                    self.watch = Watch::Nothing;
                }
            }
        }
        Ok(())
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        if this.ahead.start < this.ahead.end {
            this.ahead.give_back(buf);
        } else {
            std::task::ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        }
        if this.look(buf.filled().get(before..).unwrap_or_default()).is_err()
            && let Watch::Http2(frames) = &this.watch
        {
            return Poll::Ready(Err(frames.calm_down(&mut this.io, cx)));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = this.wire_state.wrote(Pin::new(&mut this.io).poll_write(cx, buf), |count| *count);
        if let (Watch::Http2(frames), Poll::Ready(Ok(count))) = (&mut this.watch, &written) {
            frames.sent(buf.get(..*count).unwrap_or_default());
        }
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written =
            this.wire_state.wrote(Pin::new(&mut this.io).poll_write_vectored(cx, bufs), |count| *count);
        if let (Watch::Http2(frames), Poll::Ready(Ok(count))) = (&mut this.watch, &written) {
            frames.sent_vectored(bufs, *count);
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.wire_state.wrote(Pin::new(&mut this.io).poll_flush(cx), |()| 0)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.wire_state.wrote(Pin::new(&mut this.io).poll_shutdown(cx), |()| 0)
    }
}
