//! The sessions of one socket on one worker, and who has to go when there is no room.

use super::session::Session;
use super::socket::ClientKey;
use crate::stream::Carried;
use ahash::HashMap;
use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use tokio::task::AbortHandle;

/// The sessions of one socket on one worker.
#[derive(Debug)]
pub(super) struct Sessions {
    by_client: HashMap<ClientKey, Held>,
    /// In the order they were opened; with some that have ended since.
    queue: VecDeque<(ClientKey, u64)>,
    opened: u64,
    /// Open sessions of all sockets of the worker.
    open: Rc<Cell<usize>>,
    limit: usize,
}

/// A session and the task that carries its answers, which ends with it.
#[derive(Debug)]
struct Held {
    session: Rc<Session>,
    task: AbortHandle,
    open: Rc<Cell<usize>>,
}

// === impl Sessions ===

impl Sessions {
    /// None, and room for as many as `limit`, of which `open` counts those of other sockets too.
    pub fn new(open: Rc<Cell<usize>>, limit: usize) -> Self {
        Self { by_client: HashMap::default(), queue: VecDeque::new(), opened: 0, open, limit }
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

    pub fn insert(&mut self, key: ClientKey, session: Rc<Session>, task: AbortHandle) {
        self.opened += 1;
        // Amortised: those that have ended go when the queue would have to grow.
        if self.queue.len() == self.queue.capacity() {
            let by_client = &self.by_client;
            self.queue
                .retain(|(key, number)| by_client.get(key).is_some_and(|it| it.session.number == *number));
        }
        self.queue.push_back((key, session.number));
        self.open.set(self.open.get() + 1);
        let open = self.open.clone();
        self.by_client.insert(key, Held { session, task, open });
    }

    /// Ends a session, unless the client has another one by now.
    pub fn end(&mut self, key: &ClientKey, number: u64, carried: Carried) {
        if self.by_client.get(key).is_some_and(|it| it.session.number == number)
            && let Some(held) = self.by_client.remove(key)
        {
            held.session.ended(carried);
        }
    }

    /// Makes room for one more; `false` if there is none. At the limit, the oldest session of this socket goes whose client
    /// has not spoken again after an answer: so forged source addresses push out each other, and whoever asks once and is
    /// answered at once (DNS) loses nothing, but no talk that is under way.
    pub fn make_room(&mut self) -> bool {
        if self.open.get() < self.limit {
            return true;
        }
        while let Some((key, number)) = self.queue.pop_front() {
            let held = self.by_client.get(&key);
            if held.is_some_and(|it| it.session.number == number && !it.session.is_assured()) {
                self.end(&key, number, Carried::Displaced);
                return true;
            }
        }
        false
    }

    /// Calls with each session; those for which there is an end then end that way.
    pub fn sweep(&mut self, mut visit: impl FnMut(&ClientKey, &Session) -> Option<Carried>) {
        self.by_client.retain(|key, held| match visit(key, &held.session) {
            None => true,
            Some(carried) => {
                held.session.ended(carried);
                false
            }
        });
    }

    /// Ends all sessions with this outcome.
    pub fn clear(&mut self, carried: Carried) {
        self.sweep(|_, _| Some(carried));
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.open.set(self.open.get().saturating_sub(1));
        self.task.abort();
    }
}
