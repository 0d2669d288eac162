//! The sessions of one socket on one worker, and who has to go when there is no room.

use super::session::Session;
use super::socket::ClientKey;
use crate::l4::Carried;
use crate::shares::{EACH, Share, Shares, subscriber};
use ahash::HashMap;
use std::cell::Cell;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::rc::Rc;
use tokio::task::AbortHandle;

/// The sessions of one socket on one worker.
#[derive(Debug)]
pub(super) struct Sessions {
    by_client: HashMap<ClientKey, Held>,
    queue: Queue,
    /// The same for each subscriber.
    by_subscriber: HashMap<IpAddr, Subscriber>,
    opened: u64,
    /// Open sessions of all sockets of the worker.
    open: Rc<Cell<usize>>,
    /// The same by client address.
    shares: Shares<IpAddr>,
    limit: usize,
}

/// Sessions in the order they were opened; with some that have ended since.
type Queue = VecDeque<(ClientKey, u64)>;

/// The sessions of one subscriber.
#[derive(Debug, Default)]
struct Subscriber {
    queue: Queue,
    /// Those without an answer that have made room for others of it in this second.
    given_up: usize,
}

/// A session and the task that carries its answers, which ends with it.
#[derive(Debug)]
struct Held {
    session: Rc<Session>,
    task: AbortHandle,
    open: Rc<Cell<usize>>,
    _share: Share<IpAddr>,
}

// === impl Sessions ===

impl Sessions {
    /// None, and room for as many as `limit`, of which `open` and `shares` count those of other sockets too.
    pub fn new(open: Rc<Cell<usize>>, shares: Shares<IpAddr>, limit: usize) -> Self {
        let (by_client, by_subscriber) = (HashMap::default(), HashMap::default());
        Self { by_client, queue: Queue::new(), by_subscriber, opened: 0, open, shares, limit }
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

    pub fn insert(&mut self, key: ClientKey, session: Rc<Session>, task: AbortHandle, share: Share<IpAddr>) {
        self.opened += 1;
        let subscriber = subscriber(key.client.ip());
        for queue in [&mut self.queue, &mut self.by_subscriber.entry(subscriber).or_default().queue] {
            // Amortised: those that have ended go when the queue would have to grow.
            if queue.len() == queue.capacity() {
                forget_ended(queue, &self.by_client);
            }
            queue.push_back((key, session.number));
        }
        self.open.set(self.open.get() + 1);
        let open = self.open.clone();
        self.by_client.insert(key, Held { session, task, open, _share: share });
    }

    /// Ends a session, unless the client has another one by now.
    pub fn end(&mut self, key: &ClientKey, number: u64, carried: Carried) {
        if self.by_client.get(key).is_some_and(|it| it.session.number == number)
            && let Some(held) = self.by_client.remove(key)
        {
            held.session.ended(carried);
        }
    }

    /// Makes room for one more of a client; none if there is none. At the limit, the oldest session of this socket goes whose client
    /// has not spoken again after an answer: so forged source addresses push out each other, and whoever asks once and is
    /// answered at once (DNS) loses nothing, but no talk that is under way. A client that has its share already makes room itself. Of
    /// sessions that were not answered it gives up so many in a second as its share is: a datagram that goes round through several
    /// proxies comes by a new port each time and is never answered, and so has an end.
    pub fn make_room(&mut self, client: IpAddr) -> Option<Share<IpAddr>> {
        let Some(share) = self.shares.admit(client, self.open.get(), self.limit) else {
            let subscriber = subscriber(client);
            let given_up = self.by_subscriber.get(&subscriber).map_or(0, |it| it.given_up);
            let may_give_up = given_up < (self.limit / EACH).max(1);
            let gone = self.displace(Some(subscriber), |it| it.is_answered() || may_give_up)?;
            if !gone.is_answered() {
                self.by_subscriber.entry(subscriber).or_default().given_up += 1;
            }
            return self.shares.take(subscriber, usize::MAX);
        };
        (self.open.get() < self.limit || self.displace(None, |_| true).is_some()).then_some(share)
    }

    /// Ends the oldest session, of a subscriber or of all, whose client has not spoken again after an answer; none if that one may not go.
    fn displace(&mut self, of: Option<IpAddr>, may_go: impl Fn(&Session) -> bool) -> Option<Rc<Session>> {
        loop {
            let queue = match of {
                None => &mut self.queue,
                Some(subscriber) => &mut self.by_subscriber.get_mut(&subscriber)?.queue,
            };
            let (key, number) = *queue.front()?;
            let held = self.by_client.get(&key).map(|it| &it.session);
            let oldest = held.filter(|it| it.number == number && !it.is_assured()).cloned();
            if oldest.as_ref().is_some_and(|it| !may_go(it)) {
                return None;
            }
            queue.pop_front();
            if oldest.is_some() {
                self.end(&key, number, Carried::Displaced);
                return oldest;
            }
        }
    }

    /// Once a second: calls with each session; those for which there is an end then end that way.
    pub fn sweep(&mut self, mut visit: impl FnMut(&ClientKey, &Session) -> Option<Carried>) {
        self.by_client.retain(|key, held| match visit(key, &held.session) {
            None => true,
            Some(carried) => {
                held.session.ended(carried);
                false
            }
        });
        self.by_subscriber.retain(|_, subscriber| {
            forget_ended(&mut subscriber.queue, &self.by_client);
            subscriber.given_up = 0;
            !subscriber.queue.is_empty()
        });
    }

    /// Ends all sessions with this outcome.
    pub fn clear(&mut self, carried: Carried) {
        self.sweep(|_, _| Some(carried));
    }
}

fn forget_ended(queue: &mut Queue, by_client: &HashMap<ClientKey, Held>) {
    queue.retain(|(key, number)| by_client.get(key).is_some_and(|it| it.session.number == *number));
}

impl Drop for Held {
    fn drop(&mut self) {
        self.open.set(self.open.get().saturating_sub(1));
        self.task.abort();
    }
}
