//! Relays bytes between a client and an endpoint until both have closed, one fails, or the drain ends.
//!
//! There is no idle timeout: an idle connection holds no buffers, and many protocols (databases, brokers) are silent for hours. TCP
//! keepalive detects a peer that is gone.

use crate::connection::{Connection, Order};
use crate::l4::{Carried, Moved};
use crate::telemetry::StreamCounters;
use crate::transport::Transport;
use bytes::Bytes;
use fairway_hbone::copy::{ByteStream, Ended, Plain, ReadBuffer, Side, bidirectional};
use std::io;
use std::task::{Context, Poll};

/// Relays bytes in both directions. `ahead` are the bytes that were already read from the client.
pub(super) async fn carry(
    connection: &Connection,
    client: Transport,
    ahead: Bytes,
    endpoint: Transport,
    counters: &StreamCounters,
    moved: &Moved,
) -> Carried {
    let mut near = Near { io: Plain(client), ahead, counters, moved };
    let mut far = Plain(endpoint);
    let carried = tokio::select! {
        transfer = bidirectional(&mut near, &mut far) => match transfer.ended {
            Ended::Closed { .. } => Carried::Whole,
            Ended::Broken { by: Side::Near, .. } => Carried::ClientBroke,
            Ended::Broken { by: Side::Far, .. } => Carried::EndpointBroke,
        },
        _ = connection.ordered(Order::TooSlow) => Carried::CutOff,
    };
    if carried != Carried::Whole {
        // RST instead of FIN: the peer must not take a truncated stream for a complete one.
        near.io.0.reset_on_close();
        far.0.reset_on_close();
    }
    carried
}

/// The client's side: returns the bytes that were read ahead, and counts.
struct Near<'a> {
    io: Plain<Transport>,
    ahead: Bytes,
    counters: &'a StreamCounters,
    moved: &'a Moved,
}

impl ByteStream for Near<'_> {
    fn poll_read_bytes(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuffer) -> Poll<io::Result<Bytes>> {
        let bytes = if self.ahead.is_empty() {
            std::task::ready!(self.io.poll_read_bytes(cx, buffer))?
        } else {
            std::mem::take(&mut self.ahead)
        };
        self.counters.received(bytes.len());
        self.moved.received.set(self.moved.received.get() + bytes.len() as u64);
        Poll::Ready(Ok(bytes))
    }

    fn wait_for_more(&mut self, room: impl FnOnce() -> Option<u32>) {
        self.io.wait_for_more(room);
    }

    fn poll_write_bytes(&mut self, cx: &mut Context<'_>, bytes: &mut Bytes) -> Poll<io::Result<usize>> {
        let written = std::task::ready!(self.io.poll_write_bytes(cx, bytes))?;
        self.counters.sent(written);
        self.moved.sent.set(self.moved.sent.get() + written as u64);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_shutdown(cx)
    }

    fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.io.poll_broken(cx)
    }
}
