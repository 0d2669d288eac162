//! A bucket for each client, in memory that is bounded.
//!
//! Places stand in sets of [`WAYS`], and the hash of a client says which set. There are three levels. The first is made when the first
//! client comes; its memory is reserved when the limit is made, so that others cannot take it. Each further one is made when a client finds
//! no place in those before, if the namespace has room. A client is looked for in its set of each level, so what a request costs does
//! not grow with the clients. A bucket that is full again is as one that was never used: its place is free.
//!
//! Where no place is free, the client of the set whose bucket is the nearest to full gives its place up, and is a new one when it comes
//! again. So nobody waits for others to go, and who has asked most is the last to go. Only where there was no room when the limit was
//! made are all counted in one bucket.
//!
//! # How workers share a place
//!
//! A place is two numbers, its owner and its bucket. Who counts in it reads the bucket, then the owner, and puts the new bucket in the
//! place of the one that it has read. Who gives the place to another first puts [`MOVING`] into the bucket, then writes the owner,
//! then the bucket. So nobody counts for an owner that has gone, unless both buckets are the same to the nanosecond; then the new owner
//! has one request less.
//!
//! The same client may come to two workers for the first time at once. So only one worker at a time gives away places of a set. Others
//! that want to look again and again, and if that does not end (the first may be interrupted), count in the one bucket. Memory is never
//! asked for meanwhile, since that takes long.

use super::bucket::Bucket;
use super::client_key::ClientKey;
use super::rate::{Nanos, Rate, Wait};
use super::room::Room;
use std::cmp::Reverse;
use std::fmt;
use std::hint;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};

/// Places in a set: so many that it fills two cache lines.
const WAYS: usize = 7;
/// Sets of each level: together they have 61,376 places.
const LEVELS: [usize; 3] = [64, 512, 8192];
/// A bucket while its place changes hands. None is ever full so late.
const MOVING: u64 = u64::MAX;
/// How often a worker looks whether another one has given a place away.
const PATIENCE: usize = 32;
/// How often a client is looked for anew: because its place changes hands, or another worker gives away what it could have.
const ATTEMPTS: usize = 8;
/// Bytes of the first level, without which a limit can tell no clients apart.
const FIRST: usize = LEVELS[0] * size_of::<Set>();

/// A bucket for each client.
pub struct KeyedBuckets {
    levels: [OnceLock<Box<[Set]>>; LEVELS.len()],
    /// For those that have no place.
    rest: Bucket,
    /// The latest moment at which a place was given away. A worker that looked at the clock before goes by it.
    latest: AtomicU64,
    room: Room,
    /// Whether memory for the first level was taken from the room.
    is_reserved: AtomicBool,
}

/// Places that a client may have on one level.
#[repr(align(128))]
#[derive(Default)]
struct Set {
    /// Whether somebody gives a place to a client of this set; only that of the first level counts.
    busy: AtomicBool,
    /// The client whose place it is; 0 is nobody.
    owners: [AtomicU64; WAYS],
    /// When the bucket is full again, in nanoseconds.
    buckets: [AtomicU64; WAYS],
}

/// A place of a client.
struct Place<'s> {
    owner: &'s AtomicU64,
    bucket: &'s AtomicU64,
}

/// What came of giving a place to a client.
enum Given {
    /// It has one now, in which its first request is counted.
    Counted,
    /// It may be there by now, or have a place at the next attempt.
    Again,
    /// There is no room.
    Nowhere,
}

/// Holds a set while a place is given away.
struct Held<'s>(&'s AtomicBool);

// === impl KeyedBuckets ===

impl KeyedBuckets {
    /// The most clients that have buckets of their own.
    pub const PLACES: usize = WAYS * (LEVELS[0] + LEVELS[1] + LEVELS[2]);

    /// Without clients. What they take comes from `room`.
    pub fn new(room: Room) -> Self {
        let is_reserved = room.take(FIRST).into();
        Self {
            levels: [const { OnceLock::new() }; LEVELS.len()],
            rest: Bucket::default(),
            latest: AtomicU64::new(0),
            room,
            is_reserved,
        }
    }

    /// Whether it takes its memory from this room.
    pub(super) fn is_in(&self, room: &Room) -> bool {
        self.room.is(room)
    }

    /// Whether there is memory for the first level.
    pub(super) fn is_reserved(&self) -> bool {
        self.is_reserved.load(Relaxed)
    }

    /// Whether it has taken more than that.
    pub(super) fn has_grown(&self) -> bool {
        self.made().count() > 1
    }

    /// Takes over the clients of another one, as far as there is room, while nobody else looks. Those that are furthest from full go first,
    /// and who is full again needs no place. What the other one counts meanwhile may be lost.
    pub(super) fn take_over(&self, from: &Self) {
        let latest = from.latest.load(Acquire);
        self.latest.fetch_max(latest, AcqRel);
        let mut clients: Vec<(u64, ClientKey)> = from
            .made()
            .flatten()
            .flat_map(Set::places)
            .filter_map(|place| {
                let (owner, bucket) = (place.owner.load(Acquire), place.bucket.load(Acquire));
                let client = ClientKey::from_raw(owner)?;
                (bucket >= latest && bucket != MOVING).then_some((bucket, client))
            })
            .collect();
        clients.sort_unstable_by_key(|(bucket, _)| Reverse(*bucket));
        for (bucket, client) in clients {
            let is_put = |level| {
                self.level(level).and_then(|it| set_of(it, client)).is_some_and(|it| it.put(client, bucket))
            };
            let _ = (0..LEVELS.len()).any(is_put);
        }
    }

    /// The bucket of those that have no place.
    pub(super) fn rest(&self) -> &Bucket {
        &self.rest
    }

    /// Whether a request of a client would pass, or how long it would have to wait. Nothing is counted, and nobody gets a place.
    pub fn check(&self, client: ClientKey, rate: Rate, now: Nanos) -> Result<(), Wait> {
        match self.find(client).and_then(|place| place.check(client, rate, now)) {
            Some(decision) => decision,
            // A new client has a full bucket.
            None => Ok(()),
        }
    }

    /// Lets a request of a client pass, or says how long it would have to wait.
    pub fn take(&self, client: ClientKey, rate: Rate, now: Nanos) -> Result<(), Wait> {
        for _ in 0..ATTEMPTS {
            if let Some(place) = self.find(client) {
                match place.take(client, rate, now) {
                    Some(decision) => return decision,
                    // It has changed hands.
                    None => continue,
                }
            }
            match self.give(client, rate, now) {
                Given::Counted => return Ok(()),
                Given::Again => {}
                Given::Nowhere => break,
            }
        }
        self.rest.take(rate, now)
    }

    fn find(&self, client: ClientKey) -> Option<Place<'_>> {
        self.made().find_map(|level| set_of(level, client)?.find(client))
    }

    /// The levels that there are.
    fn made(&self) -> impl Iterator<Item = &[Set]> {
        self.levels.iter().map_while(|it| it.get().map(|it| &**it))
    }

    /// Gives a client a place, and counts its first request, which always passes.
    fn give(&self, client: ClientKey, rate: Rate, now: Nanos) -> Given {
        let Some(first) = self.level(0).and_then(|first| set_of(first, client)) else {
            return Given::Nowhere;
        };
        let Some(held) = first.hold() else { return Given::Again };
        if self.find(client).is_some() {
            return Given::Again;
        }
        let now = Nanos::from_raw(self.latest.fetch_max(now.get(), AcqRel).max(now.get()));
        let bucket = rate.begin(now);
        let mut of_client = self.made().filter_map(|level| set_of(level, client));
        if of_client.any(|it| it.give(client, bucket, now)) {
            return Given::Counted;
        }
        let made = self.made().count();
        if made < LEVELS.len() && self.room.has(bytes_of(made)) {
            drop(held);
            self.level(made);
            return Given::Again;
        }
        match self.nearest_to_full(client) {
            Some((place, there)) if place.give(there, client, bucket) => Given::Counted,
            // Its owner has just been counted.
            _ => Given::Again,
        }
    }

    /// Of the places that a client may have, the one whose owner loses least, and the bucket that is there.
    fn nearest_to_full(&self, client: ClientKey) -> Option<(Place<'_>, u64)> {
        let places = self.made().filter_map(|level| set_of(level, client)).flat_map(Set::places);
        let there = places.map(|place| {
            let there = place.bucket.load(Acquire);
            (place, there)
        });
        there.filter(|(_, there)| *there != MOVING).min_by_key(|(_, there)| *there)
    }

    /// A level, which is made if there is room.
    fn level(&self, number: usize) -> Option<&[Set]> {
        let level = self.levels.get(number)?;
        if level.get().is_none() {
            let is_first = number == 0;
            let bytes = bytes_of(number);
            let has_room = if is_first { self.reserve() } else { self.room.take(bytes) };
            // Another worker may be faster.
            if has_room && level.set(sets(number)).is_err() && !is_first {
                self.room.give(bytes);
            }
        }
        level.get().map(|it| &**it)
    }

    /// Whether there is memory for the first level, which is taken once.
    fn reserve(&self) -> bool {
        if !self.is_reserved() && self.room.take(FIRST) && self.is_reserved.swap(true, Relaxed) {
            self.room.give(FIRST);
        }
        self.is_reserved()
    }
}

impl Drop for KeyedBuckets {
    fn drop(&mut self) {
        let grown: usize = self.made().skip(1).map(size_of_val).sum();
        self.room.give(grown + if self.is_reserved() { FIRST } else { 0 });
    }
}

impl fmt::Debug for KeyedBuckets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedBuckets").field("levels", &self.made().count()).finish_non_exhaustive()
    }
}

fn sets(level: usize) -> Box<[Set]> {
    let size = LEVELS.get(level).copied().unwrap_or_default();
    (0..size).map(|_| Set::default()).collect()
}

fn bytes_of(level: usize) -> usize {
    LEVELS.get(level).map_or(0, |size| size * size_of::<Set>())
}

/// The set of a client. The sizes of levels are powers of two; each level goes by other bits of the hash.
fn set_of(level: &[Set], client: ClientKey) -> Option<&Set> {
    let hash = client.get().rotate_right(level.len().trailing_zeros() * 3);
    let place = hash & (level.len() as u64).saturating_sub(1);
    level.get(usize::try_from(place).ok()?)
}

// === impl Set ===

impl Set {
    fn places(&self) -> impl Iterator<Item = Place<'_>> {
        self.owners.iter().zip(&self.buckets).map(|(owner, bucket)| Place { owner, bucket })
    }

    fn find(&self, client: ClientKey) -> Option<Place<'_>> {
        self.places().find(|it| it.owner.load(Acquire) == client.get())
    }

    /// Holds the set, unless somebody else does and goes on doing so.
    fn hold(&self) -> Option<Held<'_>> {
        for _ in 0..PATIENCE {
            if self.busy.compare_exchange_weak(false, true, Acquire, Relaxed).is_ok() {
                return Some(Held(&self.busy));
            }
            hint::spin_loop();
        }
        None
    }

    /// Gives a free place to a client; whether there was one.
    fn give(&self, client: ClientKey, bucket: u64, now: Nanos) -> bool {
        self.places().any(|place| {
            let there = place.bucket.load(Acquire);
            let is_free = there < now.get() || place.owner.load(Acquire) == 0;
            there != MOVING && is_free && place.give(there, client, bucket)
        })
    }

    /// Puts a client where nobody is yet, while nobody else looks; whether there was such a place.
    fn put(&self, client: ClientKey, bucket: u64) -> bool {
        let place = self.places().find(|it| it.owner.load(Relaxed) == 0);
        place.is_some_and(|it| it.give(it.bucket.load(Relaxed), client, bucket))
    }
}

// === impl Place ===

impl Place<'_> {
    /// Gives it to a client, if the bucket that was seen is still there.
    fn give(&self, there: u64, client: ClientKey, bucket: u64) -> bool {
        if self.bucket.compare_exchange(there, MOVING, AcqRel, Relaxed).is_err() {
            return false;
        }
        self.owner.store(client.get(), Release);
        self.bucket.store(bucket, Release);
        true
    }

    /// Whether a request of its owner would pass; none if the place is not the client's any more.
    fn check(&self, client: ClientKey, rate: Rate, now: Nanos) -> Option<Result<(), Wait>> {
        let full_at = self.bucket.load(Acquire);
        if full_at == MOVING || self.owner.load(Acquire) != client.get() {
            return None;
        }
        Some(rate.admit(full_at, now).map(|_| ()))
    }

    /// Counts a request of its owner; none if the place is not the client's any more.
    fn take(&self, client: ClientKey, rate: Rate, now: Nanos) -> Option<Result<(), Wait>> {
        let mut full_at = self.bucket.load(Acquire);
        loop {
            // In this order: who sees the bucket of the next owner sees the next owner.
            if full_at == MOVING || self.owner.load(Acquire) != client.get() {
                return None;
            }
            let next = match rate.admit(full_at, now) {
                Ok(next) => next,
                Err(wait) => return Some(Err(wait)),
            };
            match self.bucket.compare_exchange_weak(full_at, next, AcqRel, Acquire) {
                Ok(_) => return Some(Ok(())),
                Err(newer) => full_at = newer,
            }
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.store(false, Release);
    }
}

#[cfg(test)]
mod tests;
