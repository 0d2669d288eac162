//! Places while they change hands, which no test that only asks can bring about.

use super::*;
use std::num::NonZeroU32;
use std::time::Duration;

const OWNER: u64 = 7;

fn client(hash: u64) -> ClientKey {
    ClientKey::from_raw(hash).unwrap()
}

fn rate() -> Rate {
    Rate::new(NonZeroU32::MIN, Duration::from_secs(1), NonZeroU32::MIN)
}

#[test]
fn in_a_place_that_changes_hands_nobody_is_counted() {
    let now = Nanos::from_raw(10);
    for (bucket, asks, expected) in [
        (MOVING, OWNER, None),
        (MOVING, OWNER + 1, None),
        (5, OWNER + 1, None),
        (5, OWNER, Some(true)),
        (u64::MAX >> 3, OWNER, Some(false)),
    ] {
        let (owner, bucket) = (AtomicU64::new(OWNER), AtomicU64::new(bucket));
        let (place, before) = (Place { owner: &owner, bucket: &bucket }, bucket.load(Relaxed));
        let passes = |it: Option<Result<(), Wait>>| it.map(|it| it.is_ok());
        assert_eq!(passes(place.check(client(asks), rate(), now)), expected, "{before} {asks}");
        assert_eq!(passes(place.take(client(asks), rate(), now)), expected, "{before} {asks}");
        let is_counted = bucket.load(Relaxed) != before;
        assert_eq!(is_counted, expected == Some(true), "{before} {asks}");
    }
}

#[test]
fn a_place_is_given_away_by_one_worker_and_only_as_it_was_seen() {
    let (owner, bucket) = (AtomicU64::new(OWNER), AtomicU64::new(5));
    let place = Place { owner: &owner, bucket: &bucket };
    assert!(!place.give(4, client(8), 9), "its owner has been counted since");
    assert_eq!((owner.load(Relaxed), bucket.load(Relaxed)), (OWNER, 5));
    assert!(place.give(5, client(8), 9));
    assert_eq!((owner.load(Relaxed), bucket.load(Relaxed)), (8, 9));
}

#[test]
fn what_another_worker_gives_away_is_neither_free_nor_nearest_to_full() {
    let buckets = KeyedBuckets::new(Room::default());
    let set = set_of(buckets.level(0).unwrap(), client(OWNER)).unwrap();
    let now = Nanos::from_raw(10);
    set.buckets.iter().for_each(|it| it.store(MOVING, Relaxed));
    assert!(!set.give(client(OWNER), 20, now));
    assert!(buckets.nearest_to_full(client(OWNER)).is_none());
    // Its bucket is not full, but it is nobody's; then it is somebody's; then full again.
    let (owner, bucket) = (&set.owners[WAYS - 1], &set.buckets[WAYS - 1]);
    for (owned_by, full_at, is_free) in
        [(0, 10, true), (0, 99, true), (8, 10, false), (8, 11, false), (8, 9, true)]
    {
        owner.store(owned_by, Relaxed);
        bucket.store(full_at, Relaxed);
        assert_eq!(buckets.nearest_to_full(client(OWNER)).map(|(_, there)| there), Some(full_at));
        assert_eq!(set.give(client(OWNER), 20, now), is_free, "{owned_by} {full_at}");
    }
    assert!(set.put(client(9), 30), "where nobody is yet");
}

#[test]
fn while_a_set_is_held_a_client_waits_no_longer_than_it_may_and_is_counted_with_all_others() {
    let buckets = KeyedBuckets::new(Room::default());
    let now = Nanos::from_raw(10);
    let set = set_of(buckets.level(0).unwrap(), client(OWNER)).unwrap();
    let held = set.hold().unwrap();
    assert!(set.hold().is_none());
    assert!(buckets.take(client(OWNER), rate(), now).is_ok());
    assert!(buckets.find(client(OWNER)).is_none() && buckets.rest().check(rate(), now).is_err());
    assert!(buckets.take(client(OWNER), rate(), now).is_err());
    drop(held);
    assert!(buckets.take(client(OWNER), rate(), now).is_ok(), "now it has its own");
    assert!(buckets.find(client(OWNER)).is_some());
    // Of another set: one that is held keeps nobody of the others.
    let held = set.hold();
    let elsewhere =
        (1..).map(client).find(|it| !std::ptr::eq(set_of(buckets.level(0).unwrap(), *it).unwrap(), set));
    assert!(buckets.take(elsewhere.unwrap(), rate(), now).is_ok());
    assert!(buckets.find(elsewhere.unwrap()).is_some());
    drop(held);
}

#[test]
fn who_has_got_a_place_meanwhile_gets_no_second_one() {
    let buckets = KeyedBuckets::new(Room::default());
    let now = Nanos::from_raw(10);
    assert!(buckets.take(client(OWNER), rate(), now).is_ok());
    assert!(matches!(buckets.give(client(OWNER), rate(), now), Given::Again));
    let set = set_of(buckets.level(0).unwrap(), client(OWNER)).unwrap();
    assert_eq!(set.places().filter(|it| it.owner.load(Relaxed) == OWNER).count(), 1);
}
