//! What a pool knows of one peer: its connections, and who waits for one.

use super::connection::{Connection, StreamPermit};
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
    pub(super) waiting: VecDeque<oneshot::Sender<Result<Slot, OpenError>>>,
}

/// Connections of one identity to one peer. They carry 51,200 tunnels to a peer that allows what ours does. A peer that allows few on each
/// has no more of them.
pub(super) const MOST_CONNECTIONS: usize = 256;

/// A slot for one tunnel on a connection.
pub(super) struct Slot {
    pub(super) send: SendRequest<Bytes>,
    pub(super) windows: Windows,
    pub(super) permit: StreamPermit,
}

// === impl Entry ===

impl Entry {
    /// A slot on the least loaded connection.
    pub(super) fn slot(&self, per_connection: u32) -> Option<Slot> {
        let with_room = self.ready.iter().filter(|connection| connection.room(per_connection) > 0);
        let connection = with_room.min_by_key(|connection| connection.load.tunnels())?;
        let (send, windows) = (connection.send.clone(), connection.windows.clone());
        Some(Slot { send, windows, permit: connection.permit() })
    }

    /// Gives slots to those who wait, as long as there are any.
    pub(super) fn serve(&mut self, per_connection: u32) {
        while let Some(slot) = (!self.waiting.is_empty()).then(|| self.slot(per_connection)).flatten() {
            // Whoever does not wait any more hands the slot back by dropping it.
            if let Some(waiter) = self.waiting.pop_front() {
                let _ = waiter.send(Ok(slot));
            }
        }
        for connection in &self.ready {
            connection.load.set_awaited(!self.waiting.is_empty());
        }
    }

    /// Whether the peer has had its say and lets nobody in: another connection would bring nothing.
    pub(super) fn is_shut(&self) -> bool {
        self.ready.iter().any(Connection::allows_none)
    }

    /// How many more connections those who wait need, beside those that are coming.
    pub(super) fn missing(&self, per_connection: u32) -> usize {
        let room = MOST_CONNECTIONS.saturating_sub(self.ready.len() + self.connecting);
        let unconfirmed: usize = self.ready.iter().map(|it| it.coming_room(per_connection) as usize).sum();
        let coming = self.connecting.saturating_mul(per_connection as usize).saturating_add(unconfirmed);
        self.waiting.len().saturating_sub(coming).div_ceil(per_connection.max(1) as usize).min(room)
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
