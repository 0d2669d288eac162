//! An HTTP/2 connection to an endpoint.

use super::connect::Link;
use super::lease::Http2Lease;
use crate::body::RequestBody;
use fairway_hbone::Carrier;
use fairway_runtime::http2::Watched;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::timeout;

/// A connection whose streams are shared by requests.
#[derive(Debug)]
pub struct Http2Connection {
    sender: http2::SendRequest<RequestBody>,
    load: Rc<Load>,
    carrier: Option<Carrier>,
    ticks: u32,
}

/// The number of open streams, and the limit.
#[derive(Debug)]
pub struct Load {
    streams: Cell<usize>,
    allowed: Cell<usize>,
    /// The endpoint's SETTINGS have arrived, or the connection has ended.
    confirmed: Cell<bool>,
    confirming: Notify,
}

/// An executor for hyper that spawns on the worker's thread.
#[derive(Clone, Copy, Debug)]
pub struct LocalExecutor;

/// Streams on one connection at most, even if the endpoint allows more.
const STREAMS: usize = 100;
/// Receive window of a stream in bytes: the memory that a client costs which does not read its response.
pub const STREAM_WINDOW: u32 = 256 * 1024;
/// Receive window of streams on connections that are opened while many streams are open.
pub const SMALL_STREAM_WINDOW: u32 = 64 * 1024;
/// Open streams of a worker from which on new connections get the small window.
pub const MANY_STREAMS: usize = 256;
/// Receive window of a connection in bytes. It exceeds what all its streams may have outstanding together, so that clients that do not
/// read never block the streams of others (RFC 9113 §5.2.1). It is larger still because h2 closes a connection when the overhead of
/// unread small DATA frames exceeds half of the window: unread messages of a few bytes must not end the streams of others.
pub const CONNECTION_WINDOW: u32 = 256 * 1024 * 1024;
/// The limit that hyper reports before the SETTINGS have arrived. No endpoint allows exactly this number.
const UNKNOWN: usize = usize::MAX - 1;
/// The limit before the SETTINGS have arrived. The endpoint may refuse further streams.
const UNCONFIRMED: usize = 1;
/// Time before the first look for the SETTINGS. It doubles with each look.
const LOOK: Duration = Duration::from_millis(1);
/// Time that waiting requests give the SETTINGS to arrive.
const TIMEOUT: Duration = Duration::from_secs(1);

// === impl Http2Connection ===

impl Http2Connection {
    /// Starts HTTP/2 with prior knowledge. `elsewhere` is the number of streams that the worker has open on other connections.
    pub(super) async fn handshake(link: Link, elsewhere: usize) -> hyper::Result<Self> {
        let Link { io, carrier } = link;
        let (sender, mut connection) = http2::Builder::new(LocalExecutor)
            .timer(TokioTimer::new())
            .initial_stream_window_size(stream_window(elsewhere))
            .initial_connection_window_size(CONNECTION_WINDOW)
            .initial_max_send_streams(UNKNOWN)
            .max_header_list_size(64 * 1024)
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(20))
            .handshake::<_, RequestBody>(TokioIo::new(Watched::server(io)))
            .await?;
        let load = Rc::new(Load::new());
        let told = load.clone();
        tokio::task::spawn_local(async move {
            let mut running = async || {
                poll_fn(|cx| {
                    let ended = Pin::new(&mut connection).poll(cx);
                    told.learn(connection.current_max_send_streams());
                    ended
                })
                .await
            };
            // h2 reads in a task of its own, which does not wake this one when the SETTINGS arrive.
            let mut look = LOOK;
            while !told.confirmed.get() && look < TIMEOUT {
                if timeout(look, running()).await.is_ok() {
                    return told.confirm();
                }
                look *= 2;
            }
            let _ = running().await;
            told.confirm();
        });
        Ok(Self { sender, load, carrier, ticks: 0 })
    }

    /// Takes a stream of the connection.
    pub(super) fn lease(&self, reused: bool) -> Http2Lease {
        Http2Lease::new(self.sender.clone(), self.load.clone(), reused)
    }

    /// The state that tells when the connection may be shared.
    pub(super) fn load(&self) -> Rc<Load> {
        self.load.clone()
    }

    /// The number of open streams.
    pub fn streams(&self) -> usize {
        self.load.streams.get()
    }

    /// Whether the endpoint allows one more stream.
    pub fn has_room(&self) -> bool {
        self.load.streams.get() < self.load.allowed.get()
    }

    /// Whether the connection has ended, accepts no more streams, or the HBONE connection that carries it is draining.
    pub fn is_closing(&self) -> bool {
        self.sender.is_closed() || self.carrier.as_ref().is_some_and(Carrier::is_closing)
    }

    /// Counts one second. Returns the seconds since the last stream ended.
    pub(super) fn tick(&mut self) -> u32 {
        self.ticks = if self.streams() == 0 { self.ticks + 1 } else { 0 };
        self.ticks
    }
}

/// The receive window for the streams of a new connection, if `open` streams exist.
fn stream_window(open: usize) -> u32 {
    if open < MANY_STREAMS { STREAM_WINDOW } else { SMALL_STREAM_WINDOW }
}

// === impl Load ===

impl Load {
    fn new() -> Self {
        Self {
            streams: Cell::new(0),
            allowed: Cell::new(UNCONFIRMED),
            confirmed: Cell::new(false),
            confirming: Notify::new(),
        }
    }

    /// Takes over the limit that hyper reports.
    fn learn(&self, allowed: usize) {
        if allowed != UNKNOWN {
            self.allowed.set(allowed.min(STREAMS));
            self.confirm();
        }
    }

    fn confirm(&self) {
        if !self.confirmed.replace(true) {
            self.confirming.notify_one();
        }
    }

    /// Waits until the endpoint's limit is known, at most one second. Only one task may wait.
    pub(super) async fn confirmed(&self) {
        if !self.confirmed.get() {
            let _ = timeout(TIMEOUT, self.confirming.notified()).await;
        }
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    /// h2 opens a connection's window when a third of it was read.
    #[test]
    fn the_windows_of_all_streams_together_are_never_the_connections() {
        assert!(STREAMS as u64 * u64::from(STREAM_WINDOW) * 3 / 2 <= u64::from(CONNECTION_WINDOW));
    }

    #[test]
    fn many_clients_that_do_not_read_cost_less_each() {
        let cost: u64 =
            (0..1000).step_by(STREAMS).map(|open| STREAMS as u64 * u64::from(stream_window(open))).sum();
        assert!(cost <= 128 << 20, "{cost}");
    }

    #[test]
    fn until_the_endpoint_has_said_how_many_it_allows_there_is_one_stream() {
        let load = Load::new();
        assert_eq!(load.allowed.get(), 1);
        for (said, allowed) in [(UNKNOWN, 1), (3, 3), (usize::MAX, STREAMS), (0, 0)] {
            load.learn(said);
            assert_eq!(load.allowed.get(), allowed, "{said}");
        }
        assert!(load.confirmed.get());
    }
}
