//! How many control frames a peer may send.

use super::{FrameHead, FrameHeads};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::AsyncWrite;
use tokio::time::Instant;

/// What a peer has at the beginning, and has saved at the most.
const START: u32 = 1024;
const MOST: u32 = 4096;
/// What it gets each second: keepalives, settings, reprioritization of an old browser.
const EACH_SECOND: u32 = 64;
/// What it gets for a request or a response that passes, and for a piece of a body that it sends.
const FOR_HEADERS: u32 = 8;
const FOR_DATA: u32 = 1;
/// What it gets for a piece of a body that it is sent, and for each so many bytes of it: some peers measure the round trip
/// with a PING for each piece (gRPC), some give back the window in steps of 4 KiB, of the stream and of the connection.
const FOR_DATA_SENT: u32 = 4;
const BYTES_SENT: u32 = 1024;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
/// RFC 9113 §6.10: the libraries have limits of their own for it.
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const PADDED: u8 = 8;
/// The longest padding, and the octet that says how long it is.
const PADDING: u32 = 256;

/// GOAWAY with ENHANCE_YOUR_CALM (RFC 9113 §6.8, §7). It names the highest stream there can be: none is said to be safe to
/// repeat.
const CALM_DOWN: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 11];

/// Counts the control frames of a peer against what passes between the two. A frame that carries a request or a body gives
/// the peer more of them; those that carry nothing use them up.
#[derive(Clone, Debug)]
pub struct ControlFrames {
    received: FrameHeads,
    sent: FrameHeads,
    left: u32,
    refilled: Instant,
}

/// A peer sends more control frames than what it asks for or sends explains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("the peer sends too many HTTP/2 control frames")]
pub struct TooManyControlFrames;

// === impl ControlFrames ===

impl ControlFrames {
    /// Of a client, from its first byte.
    pub fn of_client(now: Instant) -> Self {
        Self { received: FrameHeads::of_client(), sent: FrameHeads::of_server(), left: START, refilled: now }
    }

    /// Of a server, from its first byte.
    pub fn of_server(now: Instant) -> Self {
        Self { received: FrameHeads::of_server(), sent: FrameHeads::of_client(), left: START, refilled: now }
    }

    /// Looks at bytes from the peer. `now` is asked only when the budget is used up.
    pub fn received(
        &mut self,
        bytes: &[u8],
        now: impl FnOnce() -> Instant,
    ) -> Result<(), TooManyControlFrames> {
        let (mut left, mut over) = (self.left, 0u32);
        self.received.watch(bytes, |head| match worth(head) {
            Worth::Gives(count) => left = (left + count).min(MOST),
            Worth::Costs => match left.checked_sub(1) {
                Some(rest) => left = rest,
                None => over = over.saturating_add(1),
            },
            Worth::Nothing => {}
        });
        self.left = left;
        if over == 0 { Ok(()) } else { self.refill(over, now()) }
    }

    /// Looks at bytes that were sent to the peer.
    pub fn sent(&mut self, bytes: &[u8]) {
        let mut left = self.left;
        self.sent.watch(bytes, |head| match head.kind {
            DATA if head.length > 0 => left = left.saturating_add(FOR_DATA_SENT + head.length / BYTES_SENT),
            HEADERS => left = left.saturating_add(FOR_HEADERS),
            _ => {}
        });
        self.left = left.min(MOST);
    }

    /// The same for a vectored write of which so many bytes were taken.
    pub fn sent_vectored(&mut self, bufs: &[io::IoSlice<'_>], mut written: usize) {
        for buf in bufs {
            let count = written.min(buf.len());
            self.sent(buf.get(..count).unwrap_or_default());
            written -= count;
            if written == 0 {
                return;
            }
        }
    }

    fn refill(&mut self, over: u32, now: Instant) -> Result<(), TooManyControlFrames> {
        let since = now.saturating_duration_since(self.refilled);
        let seconds = u32::try_from(since.as_secs()).unwrap_or(u32::MAX);
        let credit = seconds.saturating_mul(EACH_SECOND).min(MOST);
        self.left = credit.checked_sub(over).ok_or(TooManyControlFrames)?;
        // A part of a second is not lost.
        self.refilled += Duration::from_secs(since.as_secs());
        Ok(())
    }

    /// Tells the peer why the connection ends, as far as it can be told at once.
    pub fn calm_down<Io: AsyncWrite + Unpin>(&self, io: &mut Io, cx: &mut Context<'_>) -> io::Error {
        // In the middle of a frame it would be taken for a part of that.
        if self.sent.is_between_frames()
            && let Poll::Ready(Ok(_)) = Pin::new(&mut *io).poll_write(cx, &CALM_DOWN)
        {
            let _ = Pin::new(io).poll_flush(cx);
        }
        TooManyControlFrames.into()
    }
}

// === impl TooManyControlFrames ===

impl TooManyControlFrames {
    /// The kind of error that a connection ends with. The libraries keep the kind and lose the rest.
    pub const KIND: io::ErrorKind = io::ErrorKind::QuotaExceeded;
}

impl From<TooManyControlFrames> for io::Error {
    fn from(error: TooManyControlFrames) -> Self {
        Self::new(TooManyControlFrames::KIND, error)
    }
}

enum Worth {
    Gives(u32),
    Costs,
    Nothing,
}

fn worth(head: FrameHead) -> Worth {
    match head.kind {
        // The end of a body, often empty.
        DATA if head.flags & END_STREAM != 0 => Worth::Nothing,
        DATA if head.length == 0 || head.flags & PADDED != 0 && head.length <= PADDING => Worth::Costs,
        DATA => Worth::Gives(FOR_DATA),
        HEADERS => Worth::Gives(FOR_HEADERS),
        CONTINUATION => Worth::Nothing,
        _ => Worth::Costs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: u8 = 6;
    const WINDOW_UPDATE: u8 = 8;

    fn frame(kind: u8, flags: u8, length: u16) -> Vec<u8> {
        let [high, low] = length.to_be_bytes();
        let mut bytes = vec![0, high, low, kind, flags, 0, 0, 0, 1];
        bytes.resize(9 + usize::from(length), 0);
        bytes
    }

    struct Peer {
        frames: ControlFrames,
        now: Instant,
    }

    impl Peer {
        fn new() -> Self {
            let mut frames = ControlFrames::of_client(Instant::now());
            frames.received(&[b'P'; 24], Instant::now).unwrap();
            Self { frames, now: Instant::now() }
        }

        fn sends(&mut self, frame: &[u8]) -> Result<(), TooManyControlFrames> {
            let now = self.now;
            self.frames.received(frame, || now)
        }

        /// How many of a frame it may send until it is too many; none if there is no end.
        fn until_refused(&mut self, frame: &[u8]) -> Option<usize> {
            (0..100_000).find(|_| self.sends(frame).is_err())
        }
    }

    #[test]
    fn a_flood_of_any_frame_that_carries_nothing_is_refused() {
        for (kind, flags, length) in [
            (2, 0, 5),             // PRIORITY
            (3, 0, 4),             // RST_STREAM
            (4, 0, 0),             // SETTINGS, empty
            (4, 0, 6),             // SETTINGS
            (4, 1, 0),             // SETTINGS ACK nobody waits for
            (PING, 0, 8),          // PING
            (PING, 1, 8),          // PING ACK nobody waits for
            (7, 0, 8),             // GOAWAY
            (WINDOW_UPDATE, 0, 4), // WINDOW_UPDATE
            (16, 0, 30),           // PRIORITY_UPDATE (RFC 9218)
            (0xfa, 0, 0),          // unknown
            (0xfa, 0xff, 16_000),  // unknown and large
            (DATA, 0, 0),          // DATA without data
            (DATA, PADDED, 1),     // DATA with nothing but the length of its padding
            (DATA, PADDED, 200),   // DATA with padding
        ] {
            let refused = Peer::new().until_refused(&frame(kind, flags, length));
            assert_eq!(refused, Some(START as usize), "type {kind}, flags {flags}, {length} octets");
        }
    }

    #[test]
    fn what_a_server_sends_is_counted_from_its_first_frame() {
        let mut frames = ControlFrames::of_server(Instant::now());
        frames.sent(&[b'P'; 24]);
        let now = Instant::now();
        let refused = (0..100_000).find(|_| frames.received(&frame(PING, 0, 8), || now).is_err());
        assert_eq!(refused, Some(START as usize));
        // What it is sent pays for what it says of that.
        frames.sent(&frame(HEADERS, 4, 20));
        for _ in 0..FOR_HEADERS {
            assert_eq!(frames.received(&frame(WINDOW_UPDATE, 0, 4), || now), Ok(()));
        }
    }

    #[test]
    fn a_flood_that_is_cut_to_a_second_rate_is_borne() {
        let mut peer = Peer::new();
        for second in 0..3600 {
            peer.now += Duration::from_secs(1);
            for _ in 0..EACH_SECOND {
                assert_eq!(peer.sends(&frame(PING, 0, 8)), Ok(()), "second {second}");
            }
        }
        assert!(peer.until_refused(&frame(PING, 0, 8)).is_some());
    }

    #[test]
    fn requests_and_bodies_pass_without_end() {
        for (kind, flags, length) in
            [(HEADERS, 4, 20), (HEADERS, 5, 20), (DATA, 0, 1000), (DATA, END_STREAM, 0)]
        {
            assert_eq!(Peer::new().until_refused(&frame(kind, flags, length)), None, "{kind} {flags}");
        }
    }

    #[test]
    fn a_download_pays_for_the_windows_and_pings_that_come_with_it() {
        // Stream and connection for each 4 KiB; a window and a PING for each small message; a megabyte at once.
        for (length, frames) in [(16_384, 8), (20, 3), (4096, 2)] {
            let mut peer = Peer::new();
            for piece in 0..20_000 {
                peer.frames.sent(&frame(DATA, 0, length));
                for _ in 0..frames {
                    assert_eq!(peer.sends(&frame(WINDOW_UPDATE, 0, 4)), Ok(()), "{length}: piece {piece}");
                }
            }
        }
    }

    #[test]
    fn answers_to_a_flood_do_not_pay_for_it() {
        let mut peer = Peer::new();
        let refused = (0..100_000).find(|_| {
            peer.frames.sent(&frame(PING, 1, 8));
            peer.sends(&frame(PING, 0, 8)).is_err()
        });
        assert_eq!(refused, Some(START as usize));
    }

    #[tokio::test]
    async fn the_peer_hears_why_unless_a_frame_is_half_sent() {
        for (sent, told) in [(frame(DATA, 0, 10), true), (frame(DATA, 0, 10)[..12].to_vec(), false)] {
            let mut frames = ControlFrames::of_client(Instant::now());
            frames.sent(&sent);
            let mut out = Vec::new();
            std::future::poll_fn(|cx| {
                frames.calm_down(&mut out, cx);
                Poll::Ready(())
            })
            .await;
            assert_eq!(out == CALM_DOWN, told, "{out:?}");
        }
    }
}
