//! The memory that the limits of a proxy may take for clients that are counted each by itself.
//!
//! Each namespace that has such limits has a room of its own, and all rooms are of one size: what one namespace fills, another does not
//! lack. When namespaces come the rooms become smaller, and what is in a room that is too small by then moves into a new one.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};

/// The memory that the limits of one namespace may take together. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Room(Arc<Bounds>);

#[derive(Debug)]
struct Bounds {
    limit: AtomicUsize,
    used: AtomicUsize,
}

/// The rooms of namespaces. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Rooms {
    rooms: Arc<HashMap<Arc<str>, Room>>,
    /// Rooms that namespaces had before. A request under way holds the configuration that it began with, and what is counted in it.
    left: Arc<[(Arc<str>, Weak<Bounds>)]>,
}

/// Bytes for all limits of a proxy.
const MOST: usize = 64 << 20;
/// A namespace has no more than such a part of it, also where it is alone: the first ones that come take nothing from it.
const PARTS: usize = 4;

// === impl Room ===

impl Room {
    /// Room for so many bytes.
    pub fn of(limit: usize) -> Self {
        Self(Arc::new(Bounds { limit: limit.into(), used: AtomicUsize::new(0) }))
    }

    /// Takes so many bytes, if there are that many.
    pub(super) fn take(&self, bytes: usize) -> bool {
        let limit = self.0.limit.load(Relaxed);
        let more = |used: usize| used.checked_add(bytes).filter(|it| *it <= limit);
        self.0.used.fetch_update(Relaxed, Relaxed, more).is_ok()
    }

    /// Whether there are that many.
    pub(super) fn has(&self, bytes: usize) -> bool {
        self.used().saturating_add(bytes) <= self.0.limit.load(Relaxed)
    }

    /// Gives back what was taken.
    pub(super) fn give(&self, bytes: usize) {
        self.0.used.fetch_sub(bytes, Relaxed);
    }

    /// The bytes that are taken.
    pub fn used(&self) -> usize {
        self.0.used.load(Relaxed)
    }

    /// Whether they are the same.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Default for Room {
    fn default() -> Self {
        Self::of(MOST / PARTS)
    }
}

// === impl Rooms ===

impl Rooms {
    /// The room of a namespace. One that has none is not in the configuration.
    pub fn of(&self, namespace: &str) -> Option<&Room> {
        self.rooms.get(namespace)
    }

    /// The rooms of these namespaces. A room in which there is more than it may hold from now on is a new one. What is still in rooms that a
    /// namespace had before is taken from its share: who removes a policy and writes it again would have another share each time.
    #[must_use]
    pub fn shared_by(&self, namespaces: &BTreeSet<&str>) -> Self {
        let share = MOST / namespaces.len().max(PARTS);
        let mut held: HashMap<&str, usize> = HashMap::new();
        for (namespace, bounds) in &*self.left {
            let used = bounds.upgrade().map_or(0, |it| it.used.load(Relaxed));
            *held.entry(namespace).or_default() += used;
        }
        let room = |namespace: &&str| {
            let had = self.rooms.get(*namespace).filter(|it| it.used() <= share);
            let room = had.cloned().unwrap_or_else(|| Room::of(share));
            let left = held.get(namespace).copied().unwrap_or_default();
            room.0.limit.store(share.saturating_sub(left), Relaxed);
            (Arc::from(*namespace), room)
        };
        self.replaced(namespaces.iter().map(room).collect())
    }

    /// The same with new rooms for these namespaces: for one whose limits have taken so much that another one of it has nothing.
    #[must_use]
    pub fn renewed(&self, namespaces: &BTreeSet<&str>) -> Self {
        let room = |(namespace, room): (&Arc<str>, &Room)| {
            let is_renewed = namespaces.contains(&**namespace);
            let room = if is_renewed { Room::of(room.0.limit.load(Relaxed)) } else { room.clone() };
            (namespace.clone(), room)
        };
        self.replaced(self.rooms.iter().map(room).collect())
    }

    /// These from now on; what is still in others is remembered.
    fn replaced(&self, rooms: HashMap<Arc<str>, Room>) -> Self {
        let is_left =
            |(namespace, room): &(&Arc<str>, &Room)| rooms.get(*namespace).is_none_or(|it| !it.is(room));
        let leaves = self.rooms.iter().filter(is_left);
        let leaves = leaves.map(|(namespace, room)| (namespace.clone(), Arc::downgrade(&room.0)));
        let before = self.left.iter().filter(|(_, bounds)| bounds.strong_count() > 0).cloned();
        let left = before.chain(leaves).collect();
        Self { rooms: Arc::new(rooms), left }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &[String]) -> BTreeSet<&str> {
        names.iter().map(String::as_str).collect()
    }

    #[test]
    fn what_one_namespace_fills_another_does_not_lack() {
        let names: Vec<String> = (0..1000).map(|it| format!("n{it:03}")).collect();
        let mut rooms = Rooms::default();
        for number in 1..=names.len() {
            rooms = rooms.shared_by(&of(&names[..number]));
            // Everybody takes all that there is, the one that has just come as well.
            let taken: usize = names[..number]
                .iter()
                .map(|name| {
                    let room = rooms.of(name).unwrap();
                    while room.take(1 << 10) {}
                    room.used()
                })
                .sum();
            assert!(taken <= MOST, "{number}: {taken}");
            for name in &names[..number] {
                let share = MOST / number.max(PARTS);
                assert!(rooms.of(name).unwrap().used() > share - (1 << 10), "{name} of {number}");
            }
        }
    }

    #[test]
    fn what_is_still_held_is_taken_from_the_share_however_often_a_namespace_goes_and_comes() {
        let (names, nobody) = (["a".to_owned(), "b".to_owned()], BTreeSet::new());
        let (mut rooms, mut held) = (Rooms::default(), Vec::new());
        for _ in 0..20 {
            rooms = rooms.shared_by(&of(&names));
            let room = rooms.of("a").unwrap();
            while room.take(1 << 20) {}
            // By a request that is under way.
            held.push(room.clone());
            rooms = rooms.shared_by(&nobody);
        }
        assert_eq!(held.iter().map(Room::used).sum::<usize>(), MOST / PARTS);
        rooms = rooms.shared_by(&of(&names));
        assert!(!rooms.of("a").unwrap().take(1));
        assert!(rooms.of("b").unwrap().take(MOST / PARTS), "another namespace lacks nothing");
        drop(held);
        rooms = rooms.shared_by(&of(&names));
        assert!(rooms.of("a").unwrap().take(MOST / PARTS));
        assert!(rooms.left.iter().all(|(_, it)| it.strong_count() == 0));
        rooms = rooms.shared_by(&of(&names));
        assert!(rooms.left.is_empty(), "what nobody holds is forgotten");
    }

    #[test]
    fn all_have_64_mib_and_nobody_more_than_a_quarter() {
        const MIB: usize = 1 << 20;
        let names: Vec<String> = (0..64).map(|it| it.to_string()).collect();
        for (namespaces, each) in [(1, 16 * MIB), (4, 16 * MIB), (5, 64 * MIB / 5), (64, MIB)] {
            let rooms = Rooms::default().shared_by(&of(&names[..namespaces]));
            let room = rooms.of("0").unwrap();
            assert!(room.has(each) && !room.has(each + 1), "{namespaces}");
            assert!(!room.take(each + 1) && room.take(each) && !room.take(1), "{namespaces}");
            assert!(!room.has(1) && room.has(0) && !room.has(usize::MAX));
            room.give(1);
            assert_eq!(room.used(), each - 1);
        }
        assert!(Room::default().has(16 * MIB) && !Room::default().has(16 * MIB + 1));
        assert!(Rooms::default().of("0").is_none());
    }

    #[test]
    fn a_room_that_is_made_anew_is_as_large_and_what_is_held_in_the_old_one_counts_from_then_on() {
        let names: Vec<String> = (0..8).map(|it| it.to_string()).collect();
        let before = Rooms::default().shared_by(&of(&names));
        let (old, other) = (before.of("0").unwrap(), before.of("1").unwrap());
        assert!(old.take(MOST / 8));
        let renewed = before.renewed(&of(&names[..1]));
        let new = renewed.of("0").unwrap();
        assert!(!new.is(old) && renewed.of("1").unwrap().is(other));
        assert!(new.has(MOST / 8) && !new.has(MOST / 8 + 1));
        let after = renewed.shared_by(&of(&names));
        assert!(after.of("0").unwrap().is(new) && !new.has(1), "a request under way may hold it");
        old.give(MOST / 8);
        assert!(after.shared_by(&of(&names)).of("0").unwrap().has(MOST / 8));
        assert!(before.renewed(&BTreeSet::new()).of("0").unwrap().is(old));
    }

    #[test]
    fn a_room_that_is_large_enough_stays() {
        let names: Vec<String> = (0..8).map(|it| it.to_string()).collect();
        let few = Rooms::default().shared_by(&of(&names[..2]));
        assert!(few.of("0").unwrap().take(MOST / 8) && few.of("1").unwrap().take(MOST / 8 + 1));
        let many = few.shared_by(&of(&names));
        assert!(many.of("0").unwrap().is(few.of("0").unwrap()));
        assert!(!many.of("0").unwrap().take(1), "its share is smaller now");
        assert!(!many.of("1").unwrap().is(few.of("1").unwrap()), "it held more than its share");
        assert_eq!(many.of("1").unwrap().used(), 0);
        let few = many.shared_by(&of(&names[..2]));
        assert!(few.of("0").unwrap().take(1), "and larger again");
    }
}
