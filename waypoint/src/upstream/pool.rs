//! The connection pool of one worker. Nothing in it is shared with another thread.
//!
//! HTTP/1: the connection that was used last is used next, so that connections beyond the current load fall idle and are closed.
//! HTTP/2: requests share a connection, up to the number of streams that the endpoint allows.

use super::connect::{ConnectError, Connector, Route};
use super::http1::{self, Http1Sender};
use super::http2::Http2Connection;
use super::lease::{Http1Lease, Lease};
use super::tls::{Protocol, TlsClient, TlsClientId};
use crate::wire::Version;
use ahash::HashMap;
use fairway_balance::EndpointRecord;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use tokio::sync::watch;

/// A pool of connections to endpoints.
#[derive(Debug)]
pub struct Pool {
    connector: Connector,
    idle_per_endpoint: usize,
    entries: RefCell<HashMap<Key, Entry>>,
}

/// Which requests can share connections. The entry holds the record, so that its address is not reused meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    record: usize,
    version: Version,
    /// The address of the Service, if the endpoint is its waypoint.
    through: Option<SocketAddr>,
    /// A connection never serves a request that requires another TLS configuration.
    tls: Option<TlsClientId>,
}

#[derive(Debug)]
struct Entry {
    _record: Arc<EndpointRecord>,
    tls: Option<Weak<TlsClient>>,
    idle: Vec<Idle>,
    shared: Vec<Http2Connection>,
    /// Present while an HTTP/2 connection is being opened: whether the time for that has passed. It closes when that has succeeded
    /// or failed.
    connecting: Option<watch::Receiver<bool>>,
    ticks: u32,
}

#[derive(Debug)]
struct Idle {
    sender: Http1Sender,
    ticks: u32,
}

// === impl Pool ===

impl Pool {
    /// An empty pool. Keeps at most `idle_per_endpoint` idle HTTP/1 connections for each endpoint.
    pub fn new(connector: Connector, idle_per_endpoint: usize) -> Rc<Self> {
        Rc::new(Self { connector, idle_per_endpoint, entries: RefCell::default() })
    }

    /// What opens the connections of this pool.
    pub fn connector(&self) -> &Connector {
        &self.connector
    }

    /// Takes a connection that is open and has room for one more request. Never waits.
    pub fn open_lease(self: &Rc<Self>, route: &Route<'_>, version: Version) -> Option<Lease> {
        let key = Key::new(route, version);
        let mut entries = self.entries.borrow_mut();
        let entry = entries.get_mut(&key)?;
        match version {
            Version::Http1 => {
                entry.pop().map(|sender| Lease::Http1(Http1Lease::new(sender, self, key, true)))
            }
            Version::Http2 => entry.least_busy().map(Lease::Http2),
        }
    }

    /// Opens a connection. For HTTP/2, waits for one that another request is opening, and shares it.
    pub async fn new_lease(
        self: &Rc<Self>,
        route: &Route<'_>,
        version: Version,
    ) -> Result<Lease, ConnectError> {
        match version {
            Version::Http1 => {
                let link = self.connector.connect(route, Protocol::Http(version)).await?;
                let sender = http1::handshake(link).await.map_err(ConnectError::Handshake)?;
                let key = Key::new(route, version);
                // The entry to which the connection is returned.
                self.with_entry(key, route, |_| ());
                Ok(Lease::Http1(Http1Lease::new(sender, self, key, false)))
            }
            Version::Http2 => self.new_stream(route).await,
        }
    }

    async fn new_stream(self: &Rc<Self>, route: &Route<'_>) -> Result<Lease, ConnectError> {
        let key = Key::new(route, Version::Http2);
        loop {
            let somebody = self.entries.borrow().get(&key).and_then(|entry| entry.connecting.clone());
            let Some(mut somebody) = somebody else { break };
            let _ = somebody.changed().await;
            if let Some(lease) = self.open_lease(route, Version::Http2) {
                return Ok(lease);
            }
            // Whoever has waited for a connection that was not established does not wait as long once more: behind it others wait.
            if *somebody.borrow() {
                return Err(ConnectError::Timeout);
            }
        }
        let (timed_out, connecting) = watch::channel(false);
        self.with_entry(key, route, |entry| entry.connecting = Some(connecting));
        // Dropped with this future, so that waiting requests wake up even if it is cancelled.
        let connecting = Connecting { pool: self.clone(), key, timed_out };
        let link = match self.connector.connect(route, Protocol::Http(Version::Http2)).await {
            Ok(link) => link,
            Err(error) => {
                connecting.timed_out.send_replace(error.is_timeout());
                return Err(error);
            }
        };
        let connection =
            Http2Connection::handshake(link, self.streams()).await.map_err(ConnectError::Handshake)?;
        let (lease, load) = (Lease::Http2(connection.lease(false)), connection.load());
        self.with_entry(key, route, |entry| entry.shared.push(connection));
        // Waiting requests get their streams when the endpoint's SETTINGS have said how many it allows (RFC 9113 §5.1.2).
        // Streams beyond that would be refused, and the requests sent again.
        tokio::task::spawn_local(async move {
            load.confirmed().await;
            drop(connecting);
        });
        Ok(lease)
    }

    /// Returns an HTTP/1 connection whose last response was read to its end.
    pub(super) fn give_back(&self, key: Key, sender: Http1Sender) {
        if let Some(entry) = self.entries.borrow_mut().get_mut(&key)
            && entry.idle.len() < self.idle_per_endpoint
            && !sender.is_closing()
        {
            entry.idle.push(Idle { sender, ticks: 0 });
        }
    }

    /// Called once a second. Closes connections that have been idle for `idle_ticks`, that belong to a replaced TLS client, or whose
    /// tunnel drains. Removes endpoints without connections.
    pub fn tick(&self, idle_ticks: u32) {
        self.entries.borrow_mut().retain(|_, entry| {
            if entry.is_outdated() {
                entry.idle.clear();
                entry.shared.clear();
            }
            entry.idle.retain_mut(|it| {
                it.ticks += 1;
                it.ticks <= idle_ticks && !it.sender.is_closing()
            });
            entry.shared.retain_mut(|it| it.tick() <= idle_ticks && !it.is_closing());
            entry.ticks = if entry.is_empty() { entry.ticks + 1 } else { 0 };
            entry.ticks <= idle_ticks
        });
    }

    /// The number of idle HTTP/1 connections, and of open HTTP/2 connections.
    pub fn size(&self) -> (usize, usize) {
        let entries = self.entries.borrow();
        entries.values().fold((0, 0), |(idle, shared), it| (idle + it.idle.len(), shared + it.shared.len()))
    }

    /// The number of open streams on all HTTP/2 connections.
    fn streams(&self) -> usize {
        self.entries.borrow().values().flat_map(|it| &it.shared).map(Http2Connection::streams).sum()
    }

    fn with_entry<T>(&self, key: Key, route: &Route<'_>, act: impl FnOnce(&mut Entry) -> T) -> T {
        let mut entries = self.entries.borrow_mut();
        let entry = entries.entry(key).or_insert_with(|| Entry {
            _record: route.endpoint.clone(),
            tls: route.tls.map(Arc::downgrade),
            idle: Vec::new(),
            shared: Vec::new(),
            connecting: None,
            ticks: 0,
        });
        entry.ticks = 0;
        act(entry)
    }
}

struct Connecting {
    pool: Rc<Pool>,
    key: Key,
    timed_out: watch::Sender<bool>,
}

impl Drop for Connecting {
    fn drop(&mut self) {
        if let Some(entry) = self.pool.entries.borrow_mut().get_mut(&self.key) {
            entry.connecting = None;
        }
    }
}

// === impl Key ===

impl Key {
    fn new(route: &Route<'_>, version: Version) -> Self {
        Self {
            record: Arc::as_ptr(route.endpoint) as usize,
            version,
            through: route.through,
            tls: route.tls.map(|it| it.id()),
        }
    }
}

// === impl Entry ===

impl Entry {
    fn pop(&mut self) -> Option<Http1Sender> {
        // Closed connections are dropped on the way. Those that still end their last exchange stay.
        let mut at = self.idle.len();
        while at > 0 {
            at -= 1;
            let idle = self.idle.get(at)?;
            if idle.sender.is_closing() {
                self.idle.swap_remove(at);
            } else if idle.sender.is_ready() {
                return Some(self.idle.remove(at).sender);
            }
        }
        None
    }

    fn least_busy(&mut self) -> Option<super::lease::Http2Lease> {
        self.shared.retain(|it| !it.is_closing());
        self.shared.iter().filter(|it| it.has_room()).min_by_key(|it| it.streams()).map(|it| it.lease(true))
    }

    fn is_outdated(&self) -> bool {
        self.tls.as_ref().is_some_and(|it| it.strong_count() == 0)
    }

    fn is_empty(&self) -> bool {
        self.idle.is_empty() && self.shared.is_empty() && self.connecting.is_none()
    }
}
