//! A client's byte stream under watch: bytes read ahead are given back, and HTTP/1 framing is checked as it passes.

use super::framing::{Framing, Refused};
use crate::transport::Transport;
use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is seen on the wire; shared with those who serve the connection.
#[derive(Debug, Default)]
pub struct Sight {
    in_head: Cell<bool>,
    refused: Cell<Option<Refused>>,
}

/// A client's byte stream under watch.
pub struct Wire {
    io: Transport,
    ahead: Ahead,
    framing: Option<Framing>,
    sight: Rc<Sight>,
}

/// Bytes that were read to find out what is spoken.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ahead {
    bytes: [u8; Ahead::MOST],
    start: usize,
    end: usize,
}

// === impl Sight ===

impl Sight {
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
}

// === impl Ahead ===

impl Ahead {
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
    /// Watches HTTP/1 framing.
    pub fn http1(io: Transport, ahead: Ahead, sight: Rc<Sight>) -> Self {
        Self { io, ahead, framing: Some(Framing::new()), sight }
    }

    /// Only gives the bytes back that were read ahead.
    pub fn unwatched(io: Transport, ahead: Ahead, sight: Rc<Sight>) -> Self {
        Self { io, ahead, framing: None, sight }
    }

    /// Closing it tells the client that it broke, not that it is done.
    pub fn reset_on_close(&self) {
        self.io.reset_on_close();
    }

    /// Stops watching: what follows is not HTTP.
    pub fn unwatch(mut self) -> Self {
        self.framing = None;
        self.sight.in_head.set(false);
        self
    }

    fn look(&mut self, bytes: &[u8]) {
        let Some(framing) = &mut self.framing else { return };
        framing.watch(bytes);
        self.sight.in_head.set(framing.in_head());
        if let Some(refused) = framing.verdict() {
            self.sight.refused.set(Some(refused));
            self.framing = None;
        }
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
        this.look(buf.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
