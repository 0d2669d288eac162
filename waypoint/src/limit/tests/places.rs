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

#[test]
fn memory_is_taken_when_the_first_client_comes_and_never_beyond_the_room() {
    let hashes = RandomState::new();
    let rate = Rate::new(count(1), Duration::from_secs(3600), count(1));
    for (bytes, first, most) in [
        (usize::MAX, 64 * 128, ALL_LEVELS),
        (ALL_LEVELS - 1, 64 * 128, (64 + 512) * 128),
        (64 * 128, 64 * 128, 64 * 128),
        (64 * 128 - 1, 0, 0),
    ] {
        let room = Room::of(bytes);
        let buckets = KeyedBuckets::new(room.clone());
        assert_eq!(room.used(), 0, "{bytes}");
        assert!(buckets.check(client(&hashes, 0), rate, at(1)).is_ok() && room.used() == 0, "{bytes}");
        assert!(buckets.take(client(&hashes, 0), rate, at(1)).is_ok());
        assert_eq!(room.used(), first, "{bytes}");
        let passed =
            (1..100_000).filter(|it| buckets.take(client(&hashes, *it), rate, at(1 + it)).is_ok()).count();
        assert_eq!(room.used(), most, "{bytes}");
        // Without any room all are counted in one bucket: a limit stays a limit.
        assert_eq!(passed, if most == 0 { 0 } else { 99_999 }, "{bytes}");
    }
}

#[test]
fn who_moves_to_another_room_keeps_what_was_counted() {
    let hashes = RandomState::new();
    let rate = Rate::new(count(1), Duration::from_secs(3600), count(1));
    for (clients, bytes, kept) in [
        (300, usize::MAX, 300..=300),
        (20_000, usize::MAX, 19_900..=20_000),
        (20_000, 64 * 128, 400..=448),
        (300, 0, 0..=0),
    ] {
        let buckets = KeyedBuckets::new(Room::of(usize::MAX));
        assert!((0..clients).all(|it| buckets.take(client(&hashes, it), rate, at(1 + it)).is_ok()));
        let moved = buckets.copied_to(Room::of(bytes));
        drop(buckets);
        let refused = (0..clients)
            .filter(|it| moved.check(client(&hashes, *it), rate, at(clients + 1)).is_err())
            .count();
        assert!(kept.contains(&refused), "{clients} {bytes}: {refused}");
    }
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
    assert_eq!(room.used(), 64 * 128, "one place for each that is not full is enough");
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
    let buckets = KeyedBuckets::new(Room::of(64 * 128));
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
