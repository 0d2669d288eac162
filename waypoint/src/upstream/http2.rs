//! An HTTP/2 connection to an endpoint.

use super::connect::Link;
use super::lease::Http2Lease;
use crate::body::RequestBody;
use fairway_hbone::Carrier;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

/// A connection whose streams requests share.
#[derive(Debug)]
pub struct Http2Connection {
    sender: http2::SendRequest<RequestBody>,
    load: Rc<Load>,
    carrier: Option<Carrier>,
    ticks: u32,
}

/// How many streams are open, and how many may be.
#[derive(Debug)]
pub struct Load {
    streams: Cell<usize>,
    allowed: Cell<usize>,
}

/// Runs hyper's tasks on the worker's thread.
#[derive(Clone, Copy, Debug)]
pub struct LocalExecutor;

/// What an endpoint may send for one stream before the client takes it.
pub const STREAM_WINDOW: u32 = 256 * 1024;
/// And for all streams of a connection: so many that slow clients do not stop the quick ones.
pub const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;

// === impl Http2Connection ===

impl Http2Connection {
    /// Begins to speak HTTP/2 with prior knowledge.
    pub(super) async fn handshake(link: Link) -> hyper::Result<Self> {
        let Link { io, carrier } = link;
        let (sender, mut connection) = http2::Builder::new(LocalExecutor)
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(64 * 1024)
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(20))
            .handshake::<_, RequestBody>(TokioIo::new(io))
            .await?;
        let load = Rc::new(Load { streams: Cell::new(0), allowed: Cell::new(100) });
        let told = load.clone();
        tokio::task::spawn_local(async move {
            let _ = poll_fn(|cx| {
                let ended = Pin::new(&mut connection).poll(cx);
                told.allowed.set(connection.current_max_send_streams());
                ended
            })
            .await;
        });
        Ok(Self { sender, load, carrier, ticks: 0 })
    }

    /// A stream on it.
    pub(super) fn lease(&self, reused: bool) -> Http2Lease {
        Http2Lease::new(self.sender.clone(), self.load.clone(), reused)
    }

    /// Streams that are open.
    pub fn streams(&self) -> usize {
        self.load.streams.get()
    }

    /// Whether the endpoint allows one more stream.
    pub fn has_room(&self) -> bool {
        self.load.streams.get() < self.load.allowed.get()
    }

    /// Whether it has ended, takes no more streams, or the tunnel's connection under it is about to end.
    pub fn is_closing(&self) -> bool {
        self.sender.is_closed() || self.carrier.as_ref().is_some_and(Carrier::is_closing)
    }

    /// Counts a second; how many it has been without streams.
    pub(super) fn tick(&mut self) -> u32 {
        self.ticks = if self.streams() == 0 { self.ticks + 1 } else { 0 };
        self.ticks
    }
}

// === impl Load ===

impl Load {
    pub(super) fn begin(&self) {
        self.streams.set(self.streams.get() + 1);
    }

    pub(super) fn end(&self) {
        self.streams.set(self.streams.get().saturating_sub(1));
    }
}

// === impl LocalExecutor ===

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
