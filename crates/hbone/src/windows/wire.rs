//! Between h2 and the peer: what h2 says of its windows is taken out, and ours is put in.
//!
//! Everything else passes as it is, in the same writes. Only what h2 writes is looked at, never what the peer does.

#[cfg(test)]
mod tests;

use super::{BASE, UNLIMITED, Updates};
use bytes::{Buf, BytesMut};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The stream below h2.
#[derive(Debug)]
pub(crate) struct Wire<Io> {
    io: Io,
    updates: Updates,
    position: Position,
    /// Of a frame that is to be looked at: what has come of it so far.
    held: BytesMut,
    /// To be written before anything else.
    own: BytesMut,
}

/// The end of the connection whose frames are read; it decides how they begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Begins with the preface (RFC 9113 §3.4).
    Client,
    /// A server's first frame is SETTINGS.
    Server,
}

/// Where in the stream of frames the next byte to be written is.
#[derive(Clone, Copy, Debug)]
struct Position {
    /// Bytes until the next frame head.
    until_head: usize,
    /// Of a head of which a part is written.
    head: [u8; HEAD],
    filled: usize,
    /// Inside a field block, where no other frame may stand (RFC 9113 §6.10).
    in_block: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A frame that changes no window.
    Other,
    /// h2's settings: our initial window takes the place of h2's.
    Settings,
    /// h2's update of a stream's window: left out.
    StreamUpdate,
}

const PREFACE: usize = 24;
const HEAD: usize = 9;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const CONTINUATION: u8 = 9;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
const INITIAL_WINDOW_SIZE: [u8; 2] = [0, 4];
/// h2 writes no more at once.
const SLICES: usize = 8;

impl<Io> Wire<Io> {
    pub(crate) fn new(io: Io, role: Role, updates: Updates) -> Self {
        let until_head = match role {
            Role::Client => PREFACE,
            Role::Server => 0,
        };
        let position = Position { until_head, head: [0; HEAD], filled: 0, in_block: false };
        Self { io, updates, position, held: BytesMut::new(), own: BytesMut::new() }
    }
}

impl<Io: AsyncWrite + Unpin> Wire<Io> {
    /// Writes what is our own; between two frames, the updates that wait.
    fn poll_own(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.position.is_between_frames() {
            self.updates.take_into(&mut self.own);
        }
        while !self.own.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.own))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.own.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_frames(&mut self, cx: &mut Context<'_>, frames: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        ready!(self.poll_own(cx))?;
        let frames = &frames[..frames.len().min(SLICES)];
        let passing = if self.held.is_empty() { self.position.passing(frames) } else { 0 };
        if passing == 0 {
            return Poll::Ready(Ok(self.take(frames)));
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut left = passing;
        let mut count = 0;
        for (slice, frame) in slices.iter_mut().zip(frames) {
            let part = frame.len().min(left);
            *slice = IoSlice::new(&frame[..part]);
            left -= part;
            count += 1;
            if left == 0 {
                break;
            }
        }
        let written = ready!(match &slices[..count] {
            [one] => Pin::new(&mut self.io).poll_write(cx, one),
            several => Pin::new(&mut self.io).poll_write_vectored(cx, several),
        })?;
        self.position.advance(frames, written);
        Poll::Ready(Ok(written))
    }

    /// Takes what is to be looked at, up to the end of its frame or of what there is.
    fn take(&mut self, frames: &[IoSlice<'_>]) -> usize {
        let mut taken = 0;
        for mut rest in frames.iter().map(|it| &**it) {
            while !rest.is_empty() {
                let wanted = match head_of(&self.held) {
                    None => HEAD - self.held.len(),
                    Some((length, _)) => HEAD + length - self.held.len(),
                };
                let part = wanted.min(rest.len());
                self.held.extend_from_slice(&rest[..part]);
                (taken, rest) = (taken + part, &rest[part..]);
                if self.settle() {
                    return taken;
                }
            }
        }
        taken
    }

    /// Whether enough is held to know what becomes of it.
    fn settle(&mut self) -> bool {
        let Some((length, kind)) = head_of(&self.held) else { return false };
        if kind == Kind::Other {
            // Its head came in pieces; the rest passes.
            self.position.step(&self.held);
            self.position.enter();
            self.own.unsplit(self.held.split());
            return true;
        }
        if self.held.len() < HEAD + length {
            return false;
        }
        if kind == Kind::Settings {
            for setting in self.held[HEAD..].chunks_exact_mut(6) {
                if setting.starts_with(&INITIAL_WINDOW_SIZE) && setting.ends_with(&UNLIMITED.to_be_bytes()) {
                    setting[2..].copy_from_slice(&BASE.to_be_bytes());
                }
            }
            self.own.unsplit(self.held.split());
        }
        self.held.clear();
        true
    }
}

// === impl Position ===

impl Position {
    fn is_between_frames(&self) -> bool {
        self.until_head == 0 && self.filled == 0 && !self.in_block
    }

    /// How many bytes from here on pass as they are.
    fn passing(mut self, frames: &[IoSlice<'_>]) -> usize {
        let (mut passed, mut here) = (0, 0);
        // A head that is written in part passes: it was looked at when it was whole.
        let mut begun = self.filled > 0;
        for mut rest in frames.iter().map(|it| &**it) {
            while !rest.is_empty() {
                let part = self.step(rest);
                (here, rest) = (here + part, &rest[part..]);
                match self.kind() {
                    None if self.filled == 0 || begun => passed = here,
                    None => {}
                    Some(Kind::Other) => passed = here,
                    Some(_) => return passed,
                }
                if self.enter() {
                    begun = false;
                }
            }
        }
        passed
    }

    fn advance(&mut self, frames: &[IoSlice<'_>], bytes: usize) {
        let mut left = bytes;
        for frame in frames {
            let mut rest = &frame[..frame.len().min(left)];
            left -= rest.len();
            while !rest.is_empty() {
                let part = self.step(rest);
                rest = &rest[part..];
                self.enter();
            }
        }
    }

    /// Moves on, to the end of the payload or of the head at most.
    fn step(&mut self, rest: &[u8]) -> usize {
        if self.until_head > 0 {
            let part = self.until_head.min(rest.len());
            self.until_head -= part;
            return part;
        }
        let part = (HEAD - self.filled).min(rest.len());
        self.head[self.filled..self.filled + part].copy_from_slice(&rest[..part]);
        self.filled += part;
        part
    }

    /// What frame this is the end of the head of.
    fn kind(&self) -> Option<Kind> {
        head_of(&self.head[..self.filled]).map(|(_, kind)| kind)
    }

    /// From the end of a head into its payload, if it is there.
    fn enter(&mut self) -> bool {
        let Some((length, _)) = head_of(&self.head[..self.filled]) else { return false };
        self.in_block = matches!(self.head, [_, _, _, HEADERS | PUSH_PROMISE | CONTINUATION, flags, ..] if flags & END_HEADERS == 0);
        (self.until_head, self.filled) = (length, 0);
        true
    }
}

/// A frame's length and kind (RFC 9113 §4.1).
fn head_of(bytes: &[u8]) -> Option<(usize, Kind)> {
    let [a, b, c, kind, flags, stream @ ..] = bytes.first_chunk::<HEAD>()?;
    let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
    let kind = match *kind {
        SETTINGS if flags & ACK == 0 => Kind::Settings,
        WINDOW_UPDATE if *stream != [0; 4] => Kind::StreamUpdate,
        _ => Kind::Other,
    };
    Some((length, kind))
}

impl<Io: AsyncRead + Unpin> AsyncRead for Wire<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Wire<Io> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, frames: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_frames(cx, &[IoSlice::new(frames)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        frames: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_frames(cx, frames)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Before looking: what is pushed in between wakes.
        self.updates.wake_for_next(cx.waker());
        ready!(self.poll_own(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_own(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
