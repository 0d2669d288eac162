//! The sessions of one socket on one worker.

use super::admission::{Admission, Admitted, SessionId, Talk};
use super::session::Session;
use super::socket::ClientKey;
use crate::l4::Carried;
use crate::shares::Shares;
use ahash::HashMap;
use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use tokio::task::AbortHandle;

/// The sessions of one socket on one worker.
#[derive(Debug)]
pub(super) struct Sessions {
    by_client: HashMap<ClientKey, Held>,
    admission: Admission,
    opened: u64,
}

/// A session and the task that carries its answers, which ends with it.
#[derive(Debug)]
struct Held {
    session: Rc<Session>,
    task: AbortHandle,
    _admitted: Admitted,
}

// === impl Sessions ===

impl Sessions {
    /// None, and room for as many as `limit`, of which `open` and `shares` count those of other sockets too.
    pub fn new(open: Rc<Cell<usize>>, shares: Shares<IpAddr>, limit: usize) -> Self {
        Self { by_client: HashMap::default(), admission: Admission::new(open, shares, limit), opened: 0 }
    }

    pub fn get(&self, key: &ClientKey) -> Option<&Rc<Session>> {
        self.by_client.get(key).map(|it| &it.session)
    }

    pub fn is_empty(&self) -> bool {
        self.by_client.is_empty()
    }

    /// The number of the next session.
    pub fn next_number(&self) -> u64 {
        self.opened
    }

    pub fn insert(&mut self, key: ClientKey, session: Rc<Session>, task: AbortHandle, admitted: Admitted) {
        self.opened += 1;
        self.admission.advance(&session.id(&key), Talk::Asked);
        self.by_client.insert(key, Held { session, task, _admitted: admitted });
    }

    /// Takes note how far the talk of a session has come, if it is still there.
    pub fn advance(&mut self, id: &SessionId, talk: Talk) {
        if self.holds(id) {
            self.admission.advance(id, talk);
        }
    }

    /// Ends a session, unless the client has another one by now.
    pub fn end(&mut self, id: &SessionId, carried: Carried) {
        if self.holds(id)
            && let Some(held) = self.by_client.remove(&id.key)
        {
            self.admission.leave(id);
            held.session.ended(carried);
        }
    }

    fn holds(&self, id: &SessionId) -> bool {
        self.by_client.get(&id.key).is_some_and(|it| it.session.number == id.number)
    }

    /// Makes room for one more of a client; none if there is none.
    pub fn make_room(&mut self, client: IpAddr) -> Option<Admitted> {
        let (admitted, displaced) = self.admission.admit(client)?;
        if let Some(displaced) = displaced {
            self.end(&displaced, Carried::Displaced);
        }
        Some(admitted)
    }

    /// Once a second: calls with each session; those for which there is an end then end that way.
    pub fn sweep(&mut self, mut visit: impl FnMut(&ClientKey, &Session) -> Option<Carried>) {
        self.by_client.retain(|key, held| match visit(key, &held.session) {
            None => true,
            Some(carried) => {
                self.admission.leave(&held.session.id(key));
                held.session.ended(carried);
                false
            }
        });
        self.admission.begin_second();
    }

    /// Ends all sessions with this outcome.
    pub fn clear(&mut self, carried: Carried) {
        self.sweep(|_, _| Some(carried));
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.task.abort();
    }
}
