//! The connections of one thread, by who connects to whom.

use super::connection::{Connection, Load, Watch};
use super::entry::{Entry, Key, MOST_CONNECTIONS, Slot};
use super::{Connect, OpenError, Settings, Target};
use crate::windows::{self, Role, WindowBudget, Windows, Wire};
use crate::{ConnectRequest, Tunnel, http2};
use ahash::RandomState;
use bytes::Bytes;
use fairway_identity::TlsIdentity;
use fairway_runtime::http2::Watched;
use h2::Reason;
use http::StatusCode;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::Poll;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

/// The connections of one thread; a clone is the same pool. Must be used inside a `LocalSet`.
///
/// Nothing is locked while a connection is made: whoever needs it waits in line, and the task that makes it hands out
/// its slots. A rotated identity makes new connections; those of the old one finish what they carry.
pub struct Pool<C> {
    shared: Rc<Shared<C>>,
}

struct Shared<C> {
    connector: C,
    settings: Settings,
    budget: WindowBudget,
    entries: RefCell<HashMap<Key, Entry, RandomState>>,
    sweeping: Cell<bool>,
}

/// What came of a CONNECT.
enum Sent {
    Opened(Tunnel),
    /// The connection was closing and the peer has not looked at the request: it can be sent again.
    NotTaken(OpenError),
    Failed(OpenError),
}

/// How often a request may meet a connection that is just closing.
const TRIES: usize = 3;

impl<C: Connect> Pool<C> {
    /// An empty pool with a budget for windows of its own.
    pub fn new(connector: C, settings: Settings) -> Self {
        Self::with_budget(connector, settings, WindowBudget::new())
    }

    /// An empty pool. `budget` is what the windows of its tunnels may grow by, together with those of whoever shares it.
    pub fn with_budget(connector: C, settings: Settings, budget: WindowBudget) -> Self {
        Self {
            shared: Rc::new(Shared {
                connector,
                settings,
                budget,
                entries: RefCell::default(),
                sweeping: Cell::new(false),
            }),
        }
    }

    /// Opens a tunnel as `tls` to `target`, on a connection that is there or on a new one.
    pub async fn open(
        &self,
        tls: &Arc<TlsIdentity>,
        target: &Target,
        request: &ConnectRequest,
    ) -> Result<Tunnel, OpenError> {
        let message = request.to_http().ok_or(OpenError::Authority)?;
        let key = Key { tls: tls.clone(), target: target.clone() };
        let mut tries = 1;
        loop {
            let slot = self.shared.slot(&key).await?;
            match self.shared.send(slot, message.clone(), target).await {
                Sent::Opened(tunnel) => return Ok(tunnel),
                Sent::NotTaken(_) if tries < TRIES => tries += 1,
                Sent::NotTaken(error) | Sent::Failed(error) => return Err(error),
            }
        }
    }

    /// How many connections there are, and how many tunnels on them.
    pub fn size(&self) -> (usize, usize) {
        let entries = self.shared.entries.borrow();
        let connections = entries.values().flat_map(|entry| &entry.ready).filter(|it| !it.load.is_closed());
        connections.fold((0, 0), |(count, tunnels), it| (count + 1, tunnels + it.load.tunnels() as usize))
    }
}

impl<C> Clone for Pool<C> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<C: Connect> Shared<C> {
    async fn slot(self: &Rc<Self>, key: &Key) -> Result<Slot, OpenError> {
        let (sender, receiver) = oneshot::channel();
        {
            let mut entries = self.entries.borrow_mut();
            let entry = match entries.get_mut(key) {
                Some(entry) => entry,
                None => entries.entry(key.clone()).or_default(),
            };
            if let Some(slot) = entry.slot(self.settings.streams_per_connection) {
                return Ok(slot);
            }
            entry.waiting.push_back(sender);
        }
        self.settle(key);
        receiver.await.unwrap_or(Err(OpenError::Closed))
    }

    /// Brings an entry up to date: hands slots to those who wait, makes connections when they are not enough, forgets
    /// what is closed.
    fn settle(self: &Rc<Self>, key: &Key) {
        let per_connection = self.settings.streams_per_connection;
        let mut entries = self.entries.borrow_mut();
        let Some(entry) = entries.get_mut(key) else { return };
        entry.ready.retain(|connection| !connection.load.is_closed());
        entry.waiting.retain(|waiter| !waiter.is_closed());
        entry.serve(per_connection);
        let is_full = entry.connecting == 0 && entry.ready.len() >= MOST_CONNECTIONS;
        if entry.is_shut() || is_full {
            let address = key.target.address;
            entry.waiting.drain(..).for_each(|it| drop(it.send(Err(OpenError::NoStreams { address }))));
        }
        let missing = entry.missing(per_connection);
        for _ in 0..missing {
            entry.connecting += 1;
            tokio::task::spawn_local(self.clone().add_connection(key.clone()));
        }
        if entry.is_empty() {
            entries.remove(key);
        }
    }

    async fn add_connection(self: Rc<Self>, key: Key) {
        let made = timeout(self.settings.connect_timeout, self.connect(&key)).await;
        let made = made.unwrap_or_else(|_| Err(OpenError::ConnectTimeout { address: key.target.address }));
        if let Some(entry) = self.entries.borrow_mut().get_mut(&key) {
            entry.connecting -= 1;
            match made {
                Ok(connection) => entry.ready.push(connection),
                // Those who still wait for another connection go on waiting.
                Err(error) if entry.connecting == 0 => {
                    for waiter in entry.waiting.drain(..) {
                        let _ = waiter.send(Err(error.clone()));
                    }
                }
                Err(_) => {}
            }
        }
        self.settle(&key);
        self.start_sweep();
    }

    async fn connect(self: &Rc<Self>, key: &Key) -> Result<Connection, OpenError> {
        let address = key.target.address;
        let io = self
            .connector
            .connect(address)
            .await
            .map_err(|error| OpenError::Connect { address, source: Arc::new(error) })?;
        // Nothing but the handshake is sent before the far end has proved who it is.
        let handshake = |error| OpenError::Handshake { address, source: Arc::new(error) };
        let (tls, _) = fairway_identity::connect(&key.tls, io, std::slice::from_ref(&key.target.identity))
            .await
            .map_err(handshake)?;
        let expires = fairway_identity::peer_expires(tls.get_ref().1.peer_certificates())
            .map_err(|error| handshake(error.into()))?;
        let windows = Windows::new(&self.budget);
        let wire = Wire::new(Watched::server(tls), Role::Client, windows.updates.clone());
        let (send, mut driver) = h2::client::Builder::new()
            .initial_window_size(windows::UNLIMITED)
            .initial_connection_window_size(windows::of_connection(self.settings.streams_per_connection))
            .data_frame_budget(windows::SMALL_FRAMES)
            .max_frame_size(http2::FRAME)
            .max_header_list_size(16 << 10)
            .max_send_buffer_size(http2::SEND_BUFFER)
            .enable_push(false)
            .handshake(wire)
            .await
            .map_err(|error| OpenError::Broken { address, source: Arc::new(error) })?;
        let connection = Connection::new(send, windows);
        let (load, pool, key) = (connection.load.clone(), Rc::downgrade(self), key.clone());
        let (confirmed, watch) = (load.clone(), connection.watch());
        let alive =
            http2::until_dead(driver.ping_pong(), self.settings.keepalive, move || confirmed.confirm());
        tokio::task::spawn_local(async move {
            let expired = fairway_identity::reached(&**key.tls.clock(), expires);
            drive(driver, alive, expired, &watch, &load, &pool, &key).await;
            load.close();
            if let Some(pool) = pool.upgrade() {
                pool.settle(&key);
            }
        });
        Ok(connection)
    }

    async fn send(&self, slot: Slot, message: http::Request<()>, target: &Target) -> Sent {
        let address = target.address;
        let Slot { send, windows, permit } = slot;
        let exchange = async {
            let mut send = send.ready().await?;
            let (response, stream) = send.send_request(message, false)?;
            drop(send);
            Ok::<_, h2::Error>((response.await?, stream))
        };
        let (response, stream) = match timeout(self.settings.answer_timeout, exchange).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                let taken = !(error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM));
                if !taken || error.is_io() {
                    permit.close_connection();
                }
                let error = OpenError::Broken { address, source: Arc::new(error) };
                return if taken { Sent::Failed(error) } else { Sent::NotTaken(error) };
            }
            Err(_) => return Sent::Failed(OpenError::AnswerTimeout { address }),
        };
        if response.status() != StatusCode::OK {
            let reason = response.headers().get(crate::server::REASON).and_then(|it| it.to_str().ok());
            let (status, reason) = (response.status(), reason.map(Arc::from));
            return Sent::Failed(OpenError::Refused { address, status, reason });
        }
        Sent::Opened(Tunnel::new(stream, response.into_body(), windows, Some(permit)))
    }

    /// One task for all connections of the pool, there only while there are any.
    fn start_sweep(self: &Rc<Self>) {
        if self.sweeping.replace(true) {
            return;
        }
        let (pool, idle) = (Rc::downgrade(self), self.settings.idle);
        tokio::task::spawn_local(async move {
            loop {
                sleep(idle / 10).await;
                let Some(pool) = pool.upgrade() else { return };
                pool.sweep();
                if pool.entries.borrow().is_empty() {
                    pool.sweeping.set(false);
                    return;
                }
            }
        });
    }

    fn sweep(&self) {
        let (now, idle) = (Instant::now(), self.settings.idle);
        self.entries.borrow_mut().retain(|_, entry| {
            entry.ready.retain(|connection| !connection.load.is_closed() && !connection.is_idle(now, idle));
            !entry.is_empty()
        });
    }
}

/// Moves a connection's bytes until it ends, and hands its slots on as they become free.
async fn drive<C, Io>(
    mut driver: h2::client::Connection<Io, Bytes>,
    alive: impl Future<Output = ()>,
    expired: impl Future<Output = ()>,
    watch: &Watch,
    load: &Load,
    pool: &Weak<Shared<C>>,
    key: &Key,
) where
    C: Connect,
    Io: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    tokio::pin!(alive, expired);
    loop {
        // A peer that drains says GOAWAY and waits for its tunnels to end: whoever keeps an idle one has to hear of it.
        let moved = poll_fn(|cx| match Pin::new(&mut driver).poll(cx) {
            Poll::Ready(ended) => Poll::Ready(Some(ended)),
            Poll::Pending if !load.is_closed() && watch.sees_goaway(cx) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        tokio::select! {
            moved = moved => match moved {
                Some(ended) => {
                    if let Err(error) = ended {
                        tracing::debug!(peer = %key.target.address, %error, "tunnel connection ended");
                    }
                    return;
                }
                None => {
                    load.close();
                    if let Some(pool) = pool.upgrade() {
                        pool.settle(key);
                    }
                }
            },
            () = &mut alive => {
                tracing::debug!(peer = %key.target.address, "tunnel connection: no answer to PING");
                return;
            }
            // The peer's certificate has ended: it has to show another one before a tunnel is opened to it again.
            () = &mut expired, if !load.is_closed() => {
                load.close();
                if let Some(pool) = pool.upgrade() {
                    pool.settle(key);
                }
            }
            () = load.room.notified() => {
                if let Some(pool) = pool.upgrade() {
                    pool.settle(key);
                }
            }
        }
    }
}
