//! Clients in places that are bounded, and many workers at once.

use super::*;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tokio::time::Instant;

fn client(hashes: &RandomState, number: u64) -> ClientKey {
    let name = HeaderName::from_static("k");
    let headers = HeaderMap::from_iter([(name.clone(), HeaderValue::from(number))]);
    ClientKey::of(&[LimitKeyPart::Header(name)], &who(&headers), hashes)
}

/// Bytes of all levels of one limit.
const ALL_LEVELS: usize = (64 + 512 + 8192) * 128;

#[test]
fn beyond_the_places_nobody_is_locked_out_and_who_has_asked_most_goes_last() {
    let (hashes, room) = (RandomState::new(), Room::default());
    let buckets = KeyedBuckets::new(room.clone());
    let rate = Rate::new(count(1), Duration::from_secs(3600), count(2));
    let take = |number, now| buckets.take(client(&hashes, number), rate, at(now)).is_ok();
    assert!(take(0, SECOND) && take(0, SECOND) && !take(0, SECOND));
    // Many more than there are places, all of them within the time of one request.
    let passed = (1..200_000).filter(|it| take(*it, SECOND + it)).count();
    assert_eq!(passed, 199_999, "whoever comes for the first time passes");
    assert!(!take(0, 2 * SECOND), "a flood does not fill the bucket of one who has asked more");
    assert_eq!(room.used(), ALL_LEVELS);
    drop(buckets);
    assert_eq!(room.used(), 0);
}

/// Bytes of the first level, which every limit has.
const FIRST: usize = 64 * 128;

#[test]
fn the_first_memory_is_reserved_and_more_is_taken_when_clients_come_and_never_beyond_the_room() {
    let hashes = RandomState::new();
    let rate = Rate::new(count(1), Duration::from_secs(3600), count(1));
    for (bytes, first, most) in [
        (usize::MAX, FIRST, ALL_LEVELS),
        (ALL_LEVELS, FIRST, ALL_LEVELS),
        (ALL_LEVELS - 1, FIRST, (64 + 512) * 128),
        ((64 + 512) * 128, FIRST, (64 + 512) * 128),
        ((64 + 512) * 128 - 1, FIRST, FIRST),
        (FIRST, FIRST, FIRST),
        (FIRST - 1, 0, 0),
    ] {
        let room = Room::of(bytes);
        let buckets = KeyedBuckets::new(room.clone());
        assert_eq!(room.used(), first, "{bytes}");
        assert!(buckets.check(client(&hashes, 0), rate, at(1)).is_ok());
        assert!(buckets.take(client(&hashes, 0), rate, at(1)).is_ok());
        assert_eq!(room.used(), first, "{bytes}");
        let passed =
            (1..100_000).filter(|it| buckets.take(client(&hashes, *it), rate, at(1 + it)).is_ok()).count();
        assert_eq!(room.used(), most, "{bytes}");
        assert_eq!((buckets.is_reserved(), buckets.has_grown()), (first > 0, most > FIRST), "{bytes}");
        // Without any room all are counted in one bucket: a limit stays a limit.
        assert_eq!(passed, if most == 0 { 0 } else { 99_999 }, "{bytes}");
        drop(buckets);
        assert_eq!(room.used(), 0, "{bytes}");
    }
}

#[test]
fn a_limit_that_was_made_in_time_tells_clients_apart_however_others_grow() {
    let hashes = RandomState::new();
    let rate = Rate::new(count(1), Duration::from_secs(3600), count(1));
    let room = Room::of((64 + 512) * 128);
    let (greedy, unused) = (KeyedBuckets::new(room.clone()), KeyedBuckets::new(room.clone()));
    let take = |of: &KeyedBuckets, clients| {
        (0..clients).filter(|it| of.take(client(&hashes, *it), rate, at(1 + it)).is_ok()).count()
    };
    assert_eq!(take(&greedy, 20_000), 20_000);
    assert!(!greedy.has_grown());
    // So few that no set has more of them than places.
    assert_eq!(take(&unused, 30), 30);
    assert_eq!(take(&unused, 30), 0, "each has a bucket of its own");
    // Who finds none when it is made has one as soon as there is one.
    let full = Room::of(FIRST);
    let (first, late) = (KeyedBuckets::new(full.clone()), KeyedBuckets::new(full.clone()));
    assert_eq!((take(&late, 30), late.is_reserved()), (1, false), "all are counted in one bucket");
    drop(first);
    assert_eq!((take(&late, 30), late.is_reserved(), full.used()), (30, true, FIRST));
    drop(late);
    assert_eq!(full.used(), 0);
}

fn moved(buckets: &KeyedBuckets, room: &Room) -> KeyedBuckets {
    let moved = KeyedBuckets::new(room.clone());
    moved.take_over(buckets);
    moved
}

#[test]
fn who_moves_to_another_room_keeps_what_was_counted() {
    let hashes = RandomState::new();
    let rate = Rate::new(count(1), Duration::from_secs(3600), count(1));
    for (clients, bytes, kept) in [
        (300, usize::MAX, 300..=300),
        (20_000, usize::MAX, 19_900..=20_000),
        (20_000, FIRST, 400..=448),
        (300, 0, 0..=0),
    ] {
        let buckets = KeyedBuckets::new(Room::of(usize::MAX));
        assert!((0..clients).all(|it| buckets.take(client(&hashes, it), rate, at(1 + it)).is_ok()));
        let moved = moved(&buckets, &Room::of(bytes));
        drop(buckets);
        let refused = (0..clients)
            .filter(|it| moved.check(client(&hashes, *it), rate, at(clients + 1)).is_err())
            .count();
        assert!(kept.contains(&refused), "{clients} {bytes}: {refused}");
    }
}

#[test]
fn a_smaller_room_keeps_those_who_have_asked_most() {
    let hashes = RandomState::new();
    let rate = Rate::new(count(1), Duration::from_secs(3600), count(5));
    let buckets = KeyedBuckets::new(Room::of(usize::MAX));
    // In turn one to five requests each; so many clients that there are more than seven of each kind in every set.
    for it in 0..10_000 {
        for _ in 0..=it % 5 {
            assert!(buckets.take(client(&hashes, it), rate, at(1 + it)).is_ok());
        }
    }
    let moved = moved(&buckets, &Room::of(FIRST));
    let left = |it| (0..5).take_while(|_| moved.take(client(&hashes, it), rate, at(10_001)).is_ok()).count();
    let limited =
        (0..10_000).filter(|it| moved.check(client(&hashes, *it), rate, at(10_001)).is_err()).count();
    assert_eq!(limited, 448, "every place is one of a client that is limited");
    // Those that have asked less begin anew.
    assert_eq!(left(0), 5);
}

#[test]
fn who_is_idle_moves_nowhere() {
    let hashes = RandomState::new();
    let rate = Rate::new(count(1), Duration::from_secs(1), count(1));
    let buckets = KeyedBuckets::new(Room::of(usize::MAX));
    assert!((0..20_000).all(|it| buckets.take(client(&hashes, it), rate, at(1 + it)).is_ok()));
    assert!(buckets.take(client(&hashes, 20_000), rate, at(2 * SECOND)).is_ok());
    let room = Room::of(usize::MAX);
    let moved = moved(&buckets, &room);
    assert_eq!(room.used(), FIRST, "nobody needs more");
    assert!(moved.check(client(&hashes, 20_000), rate, at(2 * SECOND)).is_err());
    // A moment that was long ago is not gone back to.
    assert!(moved.take(client(&hashes, 20_001), rate, at(SECOND)).is_ok());
    assert!(moved.take(client(&hashes, 20_001), rate, at(3 * SECOND - 1)).is_err());
}

#[test]
fn the_first_moment_is_one_like_any_other() {
    let (hashes, room) = (RandomState::new(), Room::default());
    let buckets = KeyedBuckets::new(room.clone());
    let rate = Rate::new(count(1), Duration::from_secs(1), count(1));
    for number in 0..10 {
        assert!(buckets.take(client(&hashes, number), rate, at(0)).is_ok());
        assert!(buckets.take(client(&hashes, number), rate, at(0)).is_err());
    }
    assert_eq!(room.used(), FIRST, "whose place is nobody's is free");
}

#[test]
fn there_is_room_for_as_many_clients_as_is_told_to_users() {
    assert_eq!(KeyedBuckets::PLACES, 61_376);
    // Of so many that each set is full, so many have a place.
    let hashes = RandomState::new();
    let rate = Rate::new(count(1), Duration::from_secs(3600), count(1));
    let buckets = KeyedBuckets::new(Room::default());
    for it in 0..400_000 {
        assert!(buckets.take(client(&hashes, it), rate, at(1 + it)).is_ok());
    }
    let limited = (0..400_000).filter(|it| buckets.check(client(&hashes, *it), rate, at(1)).is_err()).count();
    assert_eq!(limited, 61_376);
}

#[test]
fn an_idle_client_takes_no_place() {
    let (hashes, room) = (RandomState::new(), Room::default());
    let buckets = KeyedBuckets::new(room.clone());
    let rate = Rate::new(count(1000), Duration::from_secs(1), count(1));
    for number in 0..100_000 {
        assert!(
            buckets.take(client(&hashes, number), rate, at(SECOND + number * 1_000_000)).is_ok(),
            "{number}"
        );
    }
    assert_eq!(room.used(), FIRST, "one place for each that is not full is enough");
}

#[test]
fn whoever_keeps_asking_a_slow_limit_passes_once_in_each_period() {
    const MINUTE: u64 = 60 * SECOND;
    for key in [vec![], vec![LimitKeyPart::Header(HeaderName::from_static("k"))]] {
        let limiter = Limiter::new(&limit(1, Duration::from_secs(3600), 1, key), &Room::default());
        let headers = HeaderMap::new();
        let passed: Vec<u64> =
            (0..600).filter(|minute| ask(&limiter, &headers, at(minute * MINUTE)).is_ok()).collect();
        assert_eq!(passed, (0..10).map(|hour| hour * 60).collect::<Vec<_>>());
    }
}

/// What passes while many workers ask, and how long that took.
fn storm(workers: u64, asks: u64, ask: impl Fn(u64, u64, Nanos) -> bool + Sync) -> (u64, Duration) {
    let (passed, barrier, start) =
        (AtomicU64::new(0), Barrier::new(usize::try_from(workers).unwrap()), Instant::now());
    std::thread::scope(|scope| {
        for worker in 0..workers {
            let (passed, barrier, ask) = (&passed, &barrier, &ask);
            scope.spawn(move || {
                barrier.wait();
                let mine = (0..asks).filter(|it| ask(worker, *it, Nanos::after(start.elapsed()))).count();
                passed.fetch_add(mine as u64, Relaxed);
            });
        }
    });
    (passed.load(Relaxed), start.elapsed())
}

#[test]
fn many_workers_together_let_no_more_pass_than_one_would() {
    // So many that the workers are at it at the same time.
    let burst = 800_000;
    for key in [vec![], vec![LimitKeyPart::ClientAddress]] {
        let limiter = Limiter::new(&limit(1, Duration::from_secs(3600), burst, key), &Room::default());
        let headers = HeaderMap::new();
        assert!(ask(&limiter, &headers, at(0)).is_ok());
        let (passed, _) =
            storm(4, 400_000, |_, _, _| limiter.take(limiter.client(&who(&headers)), at(0)).is_ok());
        assert_eq!(passed + 1, u64::from(burst));
    }
}

#[test]
fn workers_that_meet_a_new_client_at_once_give_it_one_bucket() {
    let hashes = RandomState::new();
    let buckets = KeyedBuckets::new(Room::default());
    let rate = Rate::new(count(1), Duration::from_secs(3600), count(1));
    let clients: Vec<ClientKey> = (0..10_000).map(|it| client(&hashes, it)).collect();
    let (passed, _) = storm(4, 10_000, |_, ask, _| {
        buckets.take(clients[usize::try_from(ask).unwrap()], rate, at(1)).is_ok()
    });
    // One more may pass by the bucket that all share: a worker that is interrupted keeps others waiting.
    assert!((10_000..=10_001).contains(&passed), "{passed}");
}

#[test]
fn places_that_change_hands_all_the_time_leave_who_has_asked_most_his() {
    // So few places that clients drive each other out.
    let hashes = RandomState::new();
    let buckets = KeyedBuckets::new(Room::of(FIRST));
    let rate = Rate::new(count(1), Duration::from_secs(3600), count(5));
    let heavy = client(&hashes, u64::MAX);
    assert!((0..5).all(|_| buckets.take(heavy, rate, at(1)).is_ok()));
    let clients: Vec<ClientKey> = (0..200_000).map(|it| client(&hashes, it)).collect();
    let of_heavy = AtomicU64::new(0);
    let (passed, _) = storm(4, 50_000, |worker, ask, now| {
        if ask % 10 == 0 {
            of_heavy.fetch_add(buckets.take(heavy, rate, now).is_ok().into(), Relaxed);
        }
        buckets.take(clients[usize::try_from(worker * 50_000 + ask).unwrap()], rate, now).is_ok()
    });
    // Who meets another worker at its set for too long is counted in the one bucket.
    assert!(passed >= 100_000, "{passed}");
    // While another worker gives a place of the set away, it may be counted with those that have none.
    assert!(of_heavy.load(Relaxed) <= 5, "{of_heavy:?}");
}
