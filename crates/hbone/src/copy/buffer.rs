//! A buffer that is as large as the traffic needs, and not there while there is none.

use bytes::{Bytes, BytesMut};
use std::future::Future;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt};

const SMALLEST: usize = 4 << 10;
const LARGEST: usize = 256 << 10;
/// Reads in a row that would have fitted a buffer of a quarter, before it becomes one.
const READS_BEFORE_SHRINK: u8 = 32;

/// What a socket is read into.
#[derive(Debug)]
pub struct ReadBuffer {
    held: BytesMut,
    size: usize,
    too_large: u8,
}

impl Default for ReadBuffer {
    fn default() -> Self {
        Self { held: BytesMut::new(), size: SMALLEST, too_large: 0 }
    }
}

impl ReadBuffer {
    /// Reads once; empty at the end. While nothing comes, no memory is held.
    pub(super) fn poll_fill<R: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
    ) -> Poll<io::Result<Bytes>> {
        if self.held.capacity() < self.size {
            self.held = BytesMut::with_capacity(self.size);
        }
        let filled = {
            // `read_buf` keeps nothing between polls, so that its future can be made anew for each.
            let reading = pin!(from.read_buf(&mut self.held));
            reading.poll(cx)
        };
        let Poll::Ready(filled) = filled else {
            self.held = BytesMut::new();
            return Poll::Pending;
        };
        let length = filled?;
        Poll::Ready(Ok(self.take(length)))
    }

    fn take(&mut self, length: usize) -> Bytes {
        let capacity = self.held.capacity();
        let bytes = if length <= capacity / 4 {
            // A few bytes must not keep a large buffer alive while they wait to be sent: copy them, keep the buffer.
            let bytes = Bytes::copy_from_slice(&self.held);
            self.held.clear();
            bytes
        } else {
            std::mem::take(&mut self.held).freeze()
        };
        self.adapt(length);
        bytes
    }

    fn adapt(&mut self, length: usize) {
        if length >= self.size {
            self.size = (self.size * 4).min(LARGEST);
            self.too_large = 0;
        } else if length > self.size / 4 {
            self.too_large = 0;
        } else if self.size > SMALLEST {
            self.too_large += 1;
            if self.too_large == READS_BEFORE_SHRINK {
                self.size /= 4;
                self.too_large = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_test::{assert_pending, assert_ready};

    fn fill(buffer: &mut ReadBuffer, mut from: impl AsyncRead + Unpin) -> Poll<io::Result<Bytes>> {
        tokio_test::task::spawn(()).enter(|cx, _| buffer.poll_fill(cx, &mut from))
    }

    #[test]
    fn it_grows_under_throughput_and_shrinks_after_it() {
        let (mut buffer, much) = (ReadBuffer::default(), vec![1; 1 << 20]);
        let lengths: Vec<usize> =
            (0..5).map(|_| assert_ready!(fill(&mut buffer, &much[..])).unwrap().len()).collect();
        assert_eq!(lengths, [4 << 10, 16 << 10, 64 << 10, 256 << 10, 256 << 10]);
        for _ in 0..3 * usize::from(READS_BEFORE_SHRINK) {
            assert_eq!(assert_ready!(fill(&mut buffer, &much[..10])).unwrap().len(), 10);
        }
        assert_eq!(buffer.size, SMALLEST);
    }

    #[test]
    fn while_nothing_comes_nothing_is_held() {
        let mut buffer = ReadBuffer::default();
        let (quiet, _peer) = tokio::io::duplex(16);
        assert_eq!(assert_ready!(fill(&mut buffer, &b"hello"[..])).unwrap(), "hello");
        assert_ne!(buffer.held.capacity(), 0);
        assert_pending!(fill(&mut buffer, quiet));
        assert_eq!(buffer.held.capacity(), 0);
    }
}
