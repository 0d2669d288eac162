//! What a pool knows of one peer: its connections, and who waits for one.

use super::connection::{Connection, Lease};
use super::{OpenError, Target};
use crate::windows::Windows;
use bytes::Bytes;
use fairway_identity::TlsIdentity;
use h2::client::SendRequest;
use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Who connects to whom. The identity is compared as an object: a rotated one is another.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) tls: Arc<TlsIdentity>,
    pub(super) target: Target,
}

/// The connections of one key, and who waits for one.
#[derive(Default)]
pub(super) struct Entry {
    pub(super) ready: Vec<Connection>,
    pub(super) connecting: usize,
    pub(super) waiting: VecDeque<oneshot::Sender<Result<Place, OpenError>>>,
}

/// A place for one tunnel on a connection.
pub(super) struct Place {
    pub(super) send: SendRequest<Bytes>,
    pub(super) windows: Windows,
    pub(super) lease: Lease,
}

// === impl Entry ===

impl Entry {
    /// A place on the least loaded connection.
    pub(super) fn place(&self, per_connection: u32) -> Option<Place> {
        let with_room = self.ready.iter().filter(|connection| connection.room(per_connection) > 0);
        let connection = with_room.min_by_key(|connection| connection.load.tunnels())?;
        let (send, windows) = (connection.send.clone(), connection.windows.clone());
        Some(Place { send, windows, lease: connection.lease() })
    }

    /// Gives places to those who wait, as long as there are any.
    pub(super) fn serve(&mut self, per_connection: u32) {
        while let Some(place) = (!self.waiting.is_empty()).then(|| self.place(per_connection)).flatten() {
            // Whoever does not wait any more hands the place back by dropping it.
            if let Some(waiter) = self.waiting.pop_front() {
                let _ = waiter.send(Ok(place));
            }
        }
        for connection in &self.ready {
            connection.load.set_awaited(!self.waiting.is_empty());
        }
    }

    /// How many more connections those who wait need, beside those that are coming.
    pub(super) fn missing(&self, per_connection: u32) -> usize {
        let unconfirmed: usize = self.ready.iter().map(|it| it.coming_room(per_connection) as usize).sum();
        let coming = self.connecting.saturating_mul(per_connection as usize).saturating_add(unconfirmed);
        self.waiting.len().saturating_sub(coming).div_ceil(per_connection.max(1) as usize)
    }

    /// Whether it can be forgotten.
    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.waiting.is_empty() && self.connecting == 0
    }
}

// === impl Key ===

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.tls, &other.tls) && self.target == other.target
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.tls).hash(state);
        self.target.hash(state);
    }
}
