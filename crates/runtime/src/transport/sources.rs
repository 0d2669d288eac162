//! What one address may have at a server that everybody can reach: handshakes that are not done, and connections.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Handshakes under way, of all addresses and of one.
const HANDSHAKES: usize = 256;
const HANDSHAKES_EACH: usize = 16;
/// Connections, of all addresses and of one. A node whose network hides its pods behind one address has that many proxies.
const CONNECTIONS: usize = 16 * 1024;
const CONNECTIONS_EACH: usize = 256;

/// Handshakes under way, the oldest first. A new one is never refused: another gives way.
#[derive(Debug)]
pub(super) struct Handshakes<H>(VecDeque<(IpAddr, H)>);

/// Connections by address. Clones are of the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Connections(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    each: HashMap<IpAddr, usize>,
}

/// One connection. It is given back when it is dropped.
#[derive(Debug)]
pub(super) struct Counted {
    connections: Connections,
    source: IpAddr,
}

// === impl Handshakes ===

impl<H> Default for Handshakes<H> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<H: PartialEq> Handshakes<H> {
    /// Which one has to give way to a new one from an address: the oldest of the same address, or of the one that has the
    /// most. Whoever says nothing is the oldest soon.
    pub(super) fn make_room(&mut self, source: IpAddr) -> Option<H> {
        let from = |source: IpAddr| self.0.iter().filter(|it| it.0 == source).count();
        let source = if from(source) >= HANDSHAKES_EACH {
            source
        } else if self.0.len() >= HANDSHAKES {
            let mut counts: HashMap<IpAddr, usize> = HashMap::new();
            self.0.iter().for_each(|it| *counts.entry(it.0).or_default() += 1);
            let most = counts.values().max()?;
            // Of those that have as many, the one whose is the oldest.
            self.0.iter().find(|it| counts.get(&it.0) == Some(most))?.0
        } else {
            return None;
        };
        let oldest = self.0.iter().position(|it| it.0 == source)?;
        self.0.remove(oldest).map(|it| it.1)
    }

    pub(super) fn began(&mut self, source: IpAddr, handshake: H) {
        self.0.push_back((source, handshake));
    }

    pub(super) fn ended(&mut self, handshake: &H) {
        self.0.retain(|it| it.1 != *handshake);
    }
}

// === impl Connections ===

impl Connections {
    /// One more connection of an address, if it may have one.
    pub(super) fn admit(&self, source: IpAddr) -> Option<Counted> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let each = counts.each.get(&source).copied().unwrap_or_default();
        if counts.all >= CONNECTIONS || each >= CONNECTIONS_EACH {
            return None;
        }
        counts.all += 1;
        counts.each.insert(source, each + 1);
        Some(Counted { connections: self.clone(), source })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.connections.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all -= 1;
        if let Some(each) = counts.each.get_mut(&self.source) {
            *each -= 1;
            if *each == 0 {
                counts.each.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(number: u32) -> IpAddr {
        IpAddr::V4((0x0a00_0000 + number).into())
    }

    #[test]
    fn one_address_that_says_nothing_gives_way_to_itself() {
        let mut handshakes = Handshakes::default();
        handshakes.began(source(2), 1000);
        for number in 0..HANDSHAKES_EACH {
            assert_eq!(handshakes.make_room(source(1)), None);
            handshakes.began(source(1), number);
        }
        for number in 0..1000 {
            assert_eq!(handshakes.make_room(source(1)), Some(number));
            handshakes.began(source(1), number + HANDSHAKES_EACH);
        }
        assert!(handshakes.0.iter().any(|it| it.1 == 1000), "the other goes on");
    }

    #[test]
    fn many_addresses_give_way_where_most_are_and_the_newest_goes_on() {
        let mut handshakes = Handshakes::default();
        handshakes.began(source(0), 0);
        for number in 1..HANDSHAKES {
            handshakes.began(source(number as u32 / 8 + 1), number);
        }
        assert_ne!(handshakes.make_room(source(5000)), None);
        handshakes.began(source(5000), 5000);
        for number in 0..200 {
            let gone = handshakes.make_room(source(6000 + number)).unwrap();
            assert!(gone != 0 && gone != 5000, "{gone}");
            handshakes.began(source(6000 + number), 6000 + number as usize);
        }
        assert_eq!(handshakes.0.len(), HANDSHAKES);
    }

    #[test]
    fn an_address_has_so_many_connections_and_gets_them_back() {
        let connections = Connections::default();
        let held: Vec<_> = (0..CONNECTIONS_EACH).map(|_| connections.admit(source(1)).unwrap()).collect();
        assert!(connections.admit(source(1)).is_none());
        assert!(connections.admit(source(2)).is_some());
        drop(held);
        assert!(connections.admit(source(1)).is_some());
        let all: Vec<_> = (0..70).flat_map(|it| (0..256).map_while(move |_| Some(it))).collect();
        let held: Vec<_> = all.iter().filter_map(|it| connections.admit(source(100 + it))).collect();
        assert_eq!(held.len(), CONNECTIONS);
        drop(held);
        assert!(connections.0.lock().unwrap().each.is_empty());
    }
}
