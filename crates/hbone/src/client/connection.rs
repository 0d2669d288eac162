//! One connection of a pool, and how many tunnels it carries.

use crate::windows::Windows;
use bytes::Bytes;
use h2::client::SendRequest;
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll};
use tokio::sync::Notify;
use tokio::time::Instant;

/// A connection that can take tunnels.
pub(crate) struct Connection {
    pub(super) send: SendRequest<Bytes>,
    /// Another handle of the same, for [`Watch`]: its time ends with this connection's place in the pool.
    watched: Rc<RefCell<SendRequest<Bytes>>>,
    pub(super) load: Arc<Load>,
    pub(super) windows: Windows,
    /// Since when the sweep has seen it without tunnels.
    idle_since: Cell<Option<Instant>>,
}

/// Tunnels on a connection before its peer's settings are known. HTTP/2 would queue what is too many, without a word and
/// for as long as the others last.
const UNCONFIRMED: u32 = 10;

/// What the tunnels of a connection and its pool tell each other. Atomic only so that a tunnel is `Send`.
#[derive(Debug, Default)]
pub(super) struct Load {
    tunnels: AtomicU32,
    /// No new tunnels: the peer said GOAWAY, or it is gone.
    closed: AtomicBool,
    /// The peer's settings are known.
    confirmed: AtomicBool,
    /// Somebody waits for room.
    awaited: AtomicBool,
    pub(super) room: Notify,
}

/// Tells whether a peer takes no more tunnels. Does not keep the connection open.
pub(super) struct Watch(Weak<RefCell<SendRequest<Bytes>>>);

/// The connection that carries a tunnel, to ask whether it is about to end. Does not keep it open.
#[derive(Clone, Debug)]
pub struct Carrier(Arc<Load>);

/// A tunnel's place on its connection, given back when dropped.
#[derive(Debug)]
pub(crate) struct StreamPermit(Arc<Load>);

// === impl Connection ===

impl Connection {
    pub(super) fn new(send: SendRequest<Bytes>, windows: Windows) -> Self {
        let watched = Rc::new(RefCell::new(send.clone()));
        Self { send, watched, load: Arc::default(), windows, idle_since: Cell::new(None) }
    }

    pub(super) fn watch(&self) -> Watch {
        Watch(Rc::downgrade(&self.watched))
    }

    /// How many more tunnels it takes now.
    pub(super) fn room(&self, limit: u32) -> u32 {
        if self.load.is_closed() {
            return 0;
        }
        let allowed = match self.load.confirmed.load(Relaxed) {
            true => u32::try_from(self.send.current_max_send_streams()).unwrap_or(u32::MAX),
            false => UNCONFIRMED,
        };
        limit.min(allowed).saturating_sub(self.load.tunnels())
    }

    /// Whether its peer lets nobody open a tunnel (SETTINGS_MAX_CONCURRENT_STREAMS of 0).
    pub(super) fn allows_none(&self) -> bool {
        self.load.confirmed.load(Relaxed) && self.send.current_max_send_streams() == 0
    }

    /// How many more it will take once its peer's settings are known, as far as one can tell.
    pub(super) fn coming_room(&self, limit: u32) -> u32 {
        match self.load.confirmed.load(Relaxed) || self.load.is_closed() {
            true => 0,
            false => limit.saturating_sub(self.load.tunnels().max(UNCONFIRMED)),
        }
    }

    /// A place for a tunnel.
    pub(super) fn permit(&self) -> StreamPermit {
        self.idle_since.set(None);
        self.load.tunnels.fetch_add(1, Relaxed);
        StreamPermit(self.load.clone())
    }

    /// Whether it has carried nothing for so long, or carries nothing and cannot. Called by the sweep, which also starts the count.
    pub(super) fn is_idle(&self, now: Instant, limit: std::time::Duration) -> bool {
        if self.load.tunnels() > 0 {
            self.idle_since.set(None);
            return false;
        }
        let since = self.idle_since.get().unwrap_or(now);
        self.idle_since.set(Some(since));
        now.duration_since(since) >= limit || self.allows_none()
    }
}

// === impl Watch ===

impl Watch {
    /// Whether the peer said GOAWAY. To be asked when the connection has read something.
    pub(super) fn sees_goaway(&self, cx: &mut Context<'_>) -> bool {
        let Some(send) = self.0.upgrade() else { return false };
        matches!(send.borrow_mut().poll_ready(cx), Poll::Ready(Err(_)))
    }
}

// === impl Load ===

impl Load {
    pub(super) fn tunnels(&self) -> u32 {
        self.tunnels.load(Relaxed)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Relaxed);
    }

    /// The peer's settings have come.
    pub(super) fn confirm(&self) {
        if !self.confirmed.swap(true, Relaxed) {
            self.room.notify_one();
        }
    }

    pub(super) fn set_awaited(&self, awaited: bool) {
        self.awaited.store(awaited, Relaxed);
    }
}

// === impl Carrier ===

impl Carrier {
    /// Whether its peer said GOAWAY or is gone. Who keeps a tunnel on it idle does well to end it: the peer waits for it.
    pub fn is_closing(&self) -> bool {
        self.0.is_closed()
    }
}

// === impl StreamPermit ===

impl StreamPermit {
    pub(crate) fn carrier(&self) -> Carrier {
        Carrier(self.0.clone())
    }

    /// Marks the connection: it takes no more tunnels.
    pub(super) fn close_connection(&self) {
        self.0.close();
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        self.0.tunnels.fetch_sub(1, Relaxed);
        if self.0.awaited.load(Relaxed) {
            self.0.room.notify_one();
        }
    }
}
