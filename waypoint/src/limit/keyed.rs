//! A bucket for each client, in memory that is bounded.
//!
//! Places stand in sets of [`WAYS`], and the hash of a client says which set. There are three levels; the first is always there, the
//! others are made when a set of the one before is full, if the proxy has room. A client is looked for in its set of each level, so what
//! a request costs does not grow with the clients. A bucket that is full again is as one that was never used: its place is free.
//!
//! A client for which no place is free is counted with all the others of that kind, in one bucket: together they have what one has.
//! One that gets a place later has had a share of that bucket, and has its own then.
//!
//! # How workers share a place
//!
//! A place is two numbers, its owner and its bucket. Who counts in it reads the bucket, then the owner, and puts the new bucket in the
//! place of the one that it has read. Who gives the place to another first puts [`MOVING`] into the bucket, then writes the owner,
//! then the bucket. The bucket of the new owner is later than the one that was there (only a bucket that is full again is given away),
//! so that nobody counts for an owner that has gone.
//!
//! The same client may come to two workers for the first time at once. One of them gives it its place, the other waits a few
//! nanoseconds, and if that does not end (the first may be interrupted), is counted with those for which there is no place.

use super::bucket::Bucket;
use super::client_key::ClientKey;
use super::rate::{Nanos, Rate, Wait};
use super::room::Room;
use std::fmt;
use std::hint;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};

/// Places in a set: so many that it fills two cache lines.
const WAYS: usize = 7;
/// Sets of the first level, which each limit by key has.
const FIRST: usize = 64;
/// Sets of the levels that are made when they are needed: together with the first they have 61,376 places.
const MORE: [usize; 2] = [512, 8192];
/// A bucket while its place changes hands. None is ever full so late.
const MOVING: u64 = u64::MAX;
/// How often a worker looks whether another one has given a place away.
const PATIENCE: usize = 128;
/// How often a client is looked for anew because its place changes hands.
const ATTEMPTS: usize = 8;

/// A bucket for each client.
pub struct KeyedBuckets {
    first: Box<[Set]>,
    more: [OnceLock<Box<[Set]>>; 2],
    /// For those that have no place.
    rest: Bucket,
    /// The latest moment at which a place was given away. A worker that looked at the clock before goes by it.
    latest: AtomicU64,
    room: Room,
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

/// A place that was given to a client.
enum Given {
    /// It has one now, and its first request is decided.
    Decided(Result<(), Wait>),
    /// It has got one meanwhile.
    There,
    /// None is free, or there is no saying.
    Nowhere,
}

/// Holds a set while a place is given away.
struct Held<'s>(&'s AtomicBool);

// === impl KeyedBuckets ===

impl KeyedBuckets {
    /// The most clients that have buckets of their own.
    pub const PLACES: usize = WAYS * (FIRST + MORE[0] + MORE[1]);

    /// Without clients. What comes beyond the first few hundred takes memory from `room`.
    pub fn new(room: Room) -> Self {
        Self {
            first: sets(FIRST),
            more: [const { OnceLock::new() }; 2],
            rest: Bucket::default(),
            latest: AtomicU64::new(0),
            room,
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
                Given::Decided(decision) => return decision,
                Given::There => {}
                Given::Nowhere => break,
            }
        }
        self.rest.take(rate, now)
    }

    fn find(&self, client: ClientKey) -> Option<Place<'_>> {
        self.levels().find_map(|level| set_of(level, client)?.find(client))
    }

    /// The levels that there are.
    fn levels(&self) -> impl Iterator<Item = &[Set]> {
        [&*self.first].into_iter().chain(self.more.iter().map_while(|it| it.get().map(|it| &**it)))
    }

    /// Gives a client a place, and decides its first request.
    fn give(&self, client: ClientKey, rate: Rate, now: Nanos) -> Given {
        let Some(_held) = set_of(&self.first, client).and_then(Set::hold) else { return Given::Nowhere };
        if self.find(client).is_some() {
            return Given::There;
        }
        let now = Nanos::from_raw(self.latest.fetch_max(now.get(), AcqRel).max(now.get()));
        let decided = rate.admit(0, now);
        let bucket = decided.unwrap_or(now.get());
        let is_given = (0..=MORE.len()).any(|level| {
            let set = self.level(level).and_then(|level| set_of(level, client));
            set.is_some_and(|set| set.give(client, bucket, now))
        });
        if is_given { Given::Decided(decided.map(|_| ())) } else { Given::Nowhere }
    }

    /// A level, which is made if there is room.
    fn level(&self, number: usize) -> Option<&[Set]> {
        let Some(index) = number.checked_sub(1) else { return Some(&self.first) };
        let (level, size) = (self.more.get(index)?, *MORE.get(index)?);
        if level.get().is_none() {
            let bytes = size * size_of::<Set>();
            if !self.room.take(bytes) {
                return None;
            }
            if level.set(sets(size)).is_err() {
                // Another worker was faster.
                self.room.give(bytes);
            }
        }
        level.get().map(|it| &**it)
    }
}

impl Drop for KeyedBuckets {
    fn drop(&mut self) {
        let made = self.more.iter().filter_map(OnceLock::get).map(|it| it.len());
        self.room.give(made.sum::<usize>() * size_of::<Set>());
    }
}

impl fmt::Debug for KeyedBuckets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedBuckets").field("levels", &self.levels().count()).finish_non_exhaustive()
    }
}

fn sets(number: usize) -> Box<[Set]> {
    (0..number).map(|_| Set::default()).collect()
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
            if there == MOVING || !is_free {
                return false;
            }
            if place.bucket.compare_exchange(there, MOVING, AcqRel, Relaxed).is_err() {
                return false;
            }
            place.owner.store(client.get(), Release);
            place.bucket.store(bucket, Release);
            true
        })
    }
}

// === impl Place ===

impl Place<'_> {
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
