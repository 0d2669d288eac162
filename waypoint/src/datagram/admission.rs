//! How many sessions there may be, and which one has to go for another. Pure.
//!
//! At the limit, the oldest session of the socket goes whose client has not spoken again after an answer: so forged source addresses
//! push out each other, and whoever asks once and is answered at once (DNS) loses nothing, but no talk that is under way. A client that
//! has its share already gives up its own, and nobody else's. Of sessions that were not answered it gives up so many in a second as its
//! share is: a datagram that goes round through several proxies comes by a new port each time and is never answered, and so has an end.

use super::socket::ClientKey;
use crate::shares::{EACH, Share, Shares, subscriber};
use ahash::HashMap;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;

/// Which sessions of a socket may be displaced, and how many there are of all sockets of the worker.
#[derive(Debug)]
pub(super) struct Admission {
    displaceable: Queue,
    /// The same for each subscriber.
    by_subscriber: HashMap<IpAddr, Subscriber>,
    /// Open sessions of all sockets of the worker.
    open: Rc<Cell<usize>>,
    /// The same by client address.
    shares: Shares<IpAddr>,
    limit: usize,
}

/// Clients of sessions in the order in which these were opened. To find the oldest and to take out any costs the logarithm of their number.
type Queue = BTreeMap<u64, ClientKey>;

/// The sessions of one subscriber that may be displaced. The two kinds stand apart: where one kind has to stay, the oldest of the other is
/// at the front all the same.
#[derive(Debug, Default)]
struct Subscriber {
    asked: Queue,
    answered: Queue,
    /// Those without an answer that have made room for others of it in this second.
    given_up: usize,
}

/// Tells a session apart from all others of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SessionId {
    /// They are numbered as they are opened.
    pub number: u64,
    pub key: ClientKey,
}

/// How far the talk of a session has come. Only who gets the answers can speak again after one, so that a forged source address never
/// gets beyond the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Talk {
    /// The client has spoken.
    Asked,
    /// The endpoint has answered.
    Answered,
    /// The client has spoken again.
    Assured,
}

/// Counts a session as long as it is there.
#[derive(Debug)]
pub(super) struct Admitted {
    open: Rc<Cell<usize>>,
    _share: Share<IpAddr>,
}

// === impl Admission ===

impl Admission {
    /// For a socket without sessions. There is room for as many as `limit`, of which `open` and `shares` count those of other sockets too.
    pub fn new(open: Rc<Cell<usize>>, shares: Shares<IpAddr>, limit: usize) -> Self {
        Self { displaceable: Queue::new(), by_subscriber: HashMap::default(), open, shares, limit }
    }

    /// Admits one more session of a client, and says which one has to end for it; none if there is no room.
    pub fn admit(&mut self, client: IpAddr) -> Option<(Admitted, Option<SessionId>)> {
        let subscriber = subscriber(client);
        let (share, displaced) = match self.shares.admit(client, self.open.get(), self.limit) {
            None => {
                let displaced = self.give_up(subscriber)?;
                (self.shares.take(subscriber, usize::MAX)?, Some(displaced))
            }
            Some(share) if self.open.get() < self.limit => (share, None),
            Some(share) => (share, Some(oldest(&self.displaceable)?)),
        };
        if let Some(displaced) = &displaced {
            self.leave(displaced);
        }
        Some((Admitted::new(share, &self.open), displaced))
    }

    /// The oldest session of a subscriber that it may give up.
    fn give_up(&mut self, subscriber: IpAddr) -> Option<SessionId> {
        let most = (self.limit / EACH).max(1);
        let own = self.by_subscriber.get_mut(&subscriber)?;
        let asked = oldest(&own.asked).filter(|_| own.given_up < most);
        let answered = oldest(&own.answered);
        let displaced = asked.into_iter().chain(answered).min_by_key(|it| it.number)?;
        own.given_up += usize::from(asked == Some(displaced));
        Some(displaced)
    }

    /// Takes note how far the talk of a session has come.
    pub fn advance(&mut self, id: &SessionId, talk: Talk) {
        self.leave(id);
        if talk == Talk::Assured {
            return;
        }
        self.displaceable.insert(id.number, id.key);
        let own = self.by_subscriber.entry(subscriber(id.key.client.ip())).or_default();
        let queue = if talk == Talk::Asked { &mut own.asked } else { &mut own.answered };
        queue.insert(id.number, id.key);
    }

    /// Forgets a session, which has ended.
    pub fn leave(&mut self, id: &SessionId) {
        self.displaceable.remove(&id.number);
        if let Some(own) = self.by_subscriber.get_mut(&subscriber(id.key.client.ip())) {
            own.asked.remove(&id.number);
            own.answered.remove(&id.number);
        }
    }

    /// Once a second: who has given up sessions may give up others.
    pub fn begin_second(&mut self) {
        self.by_subscriber.retain(|_, it| {
            it.given_up = 0;
            !it.asked.is_empty() || !it.answered.is_empty()
        });
    }
}

fn oldest(queue: &Queue) -> Option<SessionId> {
    queue.first_key_value().map(|(number, key)| SessionId { number: *number, key: *key })
}

// === impl Admitted ===

impl Admitted {
    fn new(share: Share<IpAddr>, open: &Rc<Cell<usize>>) -> Self {
        open.set(open.get() + 1);
        Self { open: open.clone(), _share: share }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.open.set(self.open.get().saturating_sub(1));
    }
}

#[cfg(test)]
mod tests;
