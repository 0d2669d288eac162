//! Limits against a bucket of tokens that counts exactly.

mod places;

use super::client_key::{ClientKey, Who};
use super::rate::{Nanos, Rate, Wait};
use super::{KeyedBuckets, Limiter, Order, Refused, Room};
use ahash::RandomState;
use fairway_config::model::{Limit, LimitKeyPart, SpiffeId};
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::collection::vec;
use proptest::prelude::*;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

const SECOND: u64 = 1_000_000_000;

fn count(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

fn limit(requests: u32, per: Duration, burst: u32, key: Vec<LimitKeyPart>) -> Limit {
    Limit { name: None, requests: count(requests), per, burst: count(burst), key, matches: None }
}

fn at(nanos: u64) -> Nanos {
    Nanos::after(Duration::from_nanos(nanos))
}

/// A bucket of tokens without rounding: a request costs as many parts as the time has nanoseconds, and each nanosecond brings as
/// many parts as there are requests in the time.
struct Exact {
    parts: u128,
    full: u128,
    cost: u128,
    each_nano: u128,
    last: u64,
}

// === impl Exact ===

impl Exact {
    fn new(limit: &Limit) -> Self {
        let cost = limit.per.as_nanos();
        let full = cost * u128::from(limit.burst.get());
        Self { parts: full, full, cost, each_nano: limit.requests.get().into(), last: 0 }
    }

    fn take(&mut self, now: u64) -> bool {
        self.parts = self.full.min(self.parts + u128::from(now - self.last) * self.each_nano);
        self.last = now;
        let passes = self.parts >= self.cost;
        self.parts -= if passes { self.cost } else { 0 };
        passes
    }
}

/// Asks for a place as a client with these headers.
fn ask(limiter: &Limiter, headers: &HeaderMap, now: Nanos) -> Result<(), Refused> {
    let client = limiter.client(&who(headers));
    let foreseen = limiter.check(client, now);
    let decided = limiter.take(client, now);
    assert_eq!(foreseen, decided, "what is checked and what is decided");
    decided
}

fn who(headers: &HeaderMap) -> Who<'_> {
    Who { address: None, identity: None, headers }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Where the interval is a whole number of nanoseconds both decide the same about every request.
    #[test]
    fn it_decides_as_an_exact_bucket_of_tokens(
        requests in 1..50_u32,
        interval in 1..3_000_000_000_u64,
        burst in 1..20_u32,
        gaps in vec(prop_oneof![Just(0_u64), 0..10_u64, 0..4_000_000_000_u64], 1..200),
    ) {
        let per = Duration::from_nanos(interval * u64::from(requests));
        let limit = limit(requests, per, burst, vec![]);
        let (limiter, mut exact, mut now) = (Limiter::new(&limit, &Room::default()), Exact::new(&limit), 0);
        let headers = HeaderMap::new();
        for gap in gaps {
            now += gap;
            let passes = ask(&limiter, &headers, at(now)).is_ok();
            prop_assert_eq!(passes, exact.take(now), "at {}", now);
        }
    }

    /// Whatever the numbers are, in no span do more pass than were there at once and came in it.
    #[test]
    fn in_no_span_more_pass_than_the_limit_says(
        (requests, per) in prop_oneof![
            (1..=u32::MAX, 1..100_000_000_000_000_u64),
            (1..100_u32, 1..1000_u64),
        ],
        burst in prop_oneof![1..3_u32, 1..1000_u32],
        gaps in vec(prop_oneof![Just(0_u64), 0..10_u64, any::<u32>().prop_map(u64::from)], 1..200),
    ) {
        let limit = limit(requests, Duration::from_nanos(per), burst, vec![]);
        let (limiter, mut now, mut passed) = (Limiter::new(&limit, &Room::default()), 0, Vec::new());
        let headers = HeaderMap::new();
        for gap in gaps {
            now += gap;
            if ask(&limiter, &headers, at(now)).is_ok() {
                passed.push(now);
            }
        }
        for (first, from) in passed.iter().enumerate() {
            for (last, to) in passed.iter().enumerate().skip(first) {
                let came = u128::from(to - from) * u128::from(requests) / u128::from(per);
                prop_assert!((last - first + 1) as u128 <= u128::from(burst) + came, "{from} to {to}");
            }
        }
    }

    /// Who waits as long as is said passes, and who comes a nanosecond before does not.
    #[test]
    fn what_it_says_to_wait_is_exact(requests in 1..1000_u32, per in 1000..100_000_000_000_u64, burst in 1..50_u32) {
        let rate = Rate::new(count(requests), Duration::from_nanos(per), count(burst));
        let (mut full_at, now) = (0, at(5));
        let wait = loop {
            match rate.admit(full_at, now) {
                Ok(next) => full_at = next,
                Err(wait) => break wait,
            }
        };
        let nanos = u64::try_from(wait.duration().as_nanos()).unwrap();
        prop_assert!(rate.admit(full_at, at(5 + nanos)).is_ok());
        prop_assert!(rate.admit(full_at, at(5 + nanos - 1)).is_err());
    }

    /// Each client has what an exact bucket of its own would give it, however they come among each other.
    #[test]
    fn clients_do_not_see_each_other(
        asks in vec((0..40_u64, prop_oneof![Just(0_u64), 0..200_000_000_u64]), 1..300),
    ) {
        let limit = limit(10, Duration::from_secs(1), 3, vec![LimitKeyPart::Header(HeaderName::from_static("k"))]);
        let limiter = Limiter::new(&limit, &Room::default());
        let (mut exact, mut now): (Vec<Exact>, u64) = ((0..40).map(|_| Exact::new(&limit)).collect(), 0);
        for (client, gap) in asks {
            now += gap;
            let headers = HeaderMap::from_iter([(HeaderName::from_static("k"), HeaderValue::from(client))]);
            let passes = ask(&limiter, &headers, at(now)).is_ok();
            prop_assert_eq!(passes, exact[usize::try_from(client).unwrap()].take(now));
        }
    }
}

#[test]
fn a_wait_is_told_in_whole_seconds_and_at_least_one() {
    let rate = |per| Rate::new(count(1), Duration::from_millis(per), count(1));
    let wait = |per| {
        let rate = rate(per);
        let full_at = rate.admit(0, at(0)).unwrap();
        rate.admit(full_at, at(0)).unwrap_err()
    };
    let told: Vec<u64> = [1, 999, 1000, 1001, 60_000].map(|it| wait(it).whole_seconds()).into();
    assert_eq!(told, [1, 1, 1, 2, 60]);
}

#[test]
fn the_largest_limits_do_not_overflow() {
    let rate = Rate::new(count(1), Duration::MAX, count(u32::MAX));
    let mut full_at = 0;
    for _ in 0..10 {
        full_at = rate.admit(full_at, at(u64::MAX)).unwrap_or(full_at);
    }
    assert!(rate.admit(full_at, at(u64::MAX)).is_err());
}

#[test]
fn a_clock_that_goes_backwards_lets_nothing_pass_that_would_not() {
    let limiter = Limiter::new(&limit(1, Duration::from_secs(1), 2, vec![]), &Room::default());
    let headers = HeaderMap::new();
    let take = |now| ask(&limiter, &headers, at(now)).is_ok();
    assert!(take(10 * SECOND) && take(10 * SECOND) && !take(10 * SECOND));
    assert!(!take(0), "an hour before is not an hour behind");
    assert!(take(11 * SECOND));
    assert!(
        take(u64::MAX >> 2) && take(u64::MAX >> 2) && !take(u64::MAX >> 2),
        "as many as the burst, no more"
    );
}

#[test]
fn limits_are_asked_by_address_first_then_by_key_then_all_together() {
    let order = |key| Limiter::new(&limit(1, Duration::from_secs(1), 1, key), &Room::default()).order();
    let header = || LimitKeyPart::Header(HeaderName::from_static("k"));
    for (key, expected) in [
        (vec![], Order::Shared),
        (vec![LimitKeyPart::ClientAddress], Order::ByAddress),
        (vec![LimitKeyPart::Identity], Order::Keyed),
        (vec![LimitKeyPart::ClientAddress, header()], Order::Keyed),
    ] {
        assert_eq!(order(key.clone()), expected, "{key:?}");
    }
}

#[test]
fn a_key_is_what_tells_clients_apart_and_nothing_else() {
    let hashes = RandomState::new();
    let headers = |lines: &[(&'static str, &str)]| -> HeaderMap {
        let line = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        lines.iter().map(line).collect()
    };
    let key = |parts: &[LimitKeyPart], address: Option<&str>, lines: &[(&'static str, &str)]| {
        let (address, headers) = (address.map(|it| it.parse::<IpAddr>().unwrap()), headers(lines));
        ClientKey::of(parts, &Who { address, identity: None, headers: &headers }, &hashes)
    };
    let by_address = |address| key(&[LimitKeyPart::ClientAddress], address, &[]);
    assert_eq!(by_address(Some("192.0.2.1")), by_address(Some("::ffff:192.0.2.1")));
    assert_ne!(by_address(Some("192.0.2.1")), by_address(Some("192.0.2.2")));
    assert_eq!(by_address(Some("2001:db8::1")), by_address(Some("2001:db8::ffff:2")), "one network of IPv6");
    assert_eq!(
        by_address(Some("2001:db8::1")),
        by_address(Some("2001:db8::8000:0:0:1")),
        "all of its 64 bits"
    );
    assert_ne!(by_address(Some("2001:db8::1")), by_address(Some("2001:db8:0:1::1")));
    assert_ne!(by_address(Some("2001:db8::1")), by_address(Some("a001:db8::1")));
    assert_ne!(by_address(Some("0.0.0.0")), by_address(None));

    let (k, l) = (HeaderName::from_static("k"), HeaderName::from_static("l"));
    let both = [LimitKeyPart::Header(k.clone()), LimitKeyPart::Header(l)];
    let by_headers = |lines: &[(&'static str, &str)]| key(&both, None, lines);
    let all = [
        by_headers(&[]),
        by_headers(&[("k", "")]),
        by_headers(&[("l", "")]),
        by_headers(&[("k", ""), ("l", "")]),
        by_headers(&[("k", "ab"), ("l", "c")]),
        by_headers(&[("k", "a"), ("l", "bc")]),
        by_headers(&[("k", "abc")]),
        by_headers(&[("l", "abc")]),
    ];
    for (index, one) in all.iter().enumerate() {
        assert!(all.iter().skip(index + 1).all(|it| it != one), "{index}");
    }
    let by_k = |lines: &[(&'static str, &str)]| key(&[LimitKeyPart::Header(k.clone())], None, lines);
    assert_eq!(by_k(&[("k", "a"), ("k", "b")]), by_k(&[("k", "a,b")]), "lines are one value");
    assert_ne!(by_k(&[("k", "a"), ("k", "b")]), by_k(&[("k", "b"), ("k", "a")]));
    assert_ne!(by_k(&[("k", "a"), ("k", "b")]), by_k(&[("k", "ab")]));

    let headers = headers(&[]);
    let by_identity = |identity: Option<&str>| {
        let identity: Option<SpiffeId> = identity.map(|it| it.parse().unwrap());
        let who = Who { address: None, identity: identity.as_ref(), headers: &headers };
        ClientKey::of(&[LimitKeyPart::Identity], &who, &hashes)
    };
    let (one, two) = ("spiffe://mesh/ns/a/sa/b", "spiffe://mesh/ns/a/sa/c");
    assert_eq!(by_identity(Some(one)), by_identity(Some(one)));
    assert_ne!(by_identity(Some(one)), by_identity(Some(two)));
    assert_ne!(by_identity(Some(one)), by_identity(None));
    // What is not there is something all the same: the parts behind it do not take its place.
    let parts = |it: &[LimitKeyPart]| ClientKey::of(it, &who(&headers), &hashes);
    let (address, identity) = (LimitKeyPart::ClientAddress, LimitKeyPart::Identity);
    assert_ne!(parts(std::slice::from_ref(&address)), parts(&[]));
    assert_ne!(parts(std::slice::from_ref(&identity)), parts(&[]));
    assert_ne!(parts(&[identity, address]), parts(&[LimitKeyPart::Header(k)]));
}

#[test]
fn no_client_has_the_key_that_stands_for_nobody() {
    assert_eq!(ClientKey::from_raw(0), None);
    assert_eq!(ClientKey::from_raw(1).map(ClientKey::get), Some(1));
}

#[test]
fn what_is_told_is_the_limit_as_it_is_written_and_how_long_to_wait() {
    const YEAR: u64 = 365 * 24 * 3600;
    for (requests, per, wait, seconds) in [
        (5, Duration::from_secs(60), 12, 60),
        (7, Duration::from_secs(60), 9, 60),
        (1, Duration::from_millis(100), 1, 1),
        (1, Duration::from_millis(1500), 2, 1),
        (3, Duration::from_secs(3 * 3600), 3600, 3 * 3600),
        (1, Duration::from_secs(140 * YEAR), u32::MAX, u32::MAX),
    ] {
        let written = limit(requests, per, 1, vec![]);
        let limiter = Limiter::new(&written, &Room::default());
        assert_eq!(limiter.take(None, at(SECOND)), Ok(()));
        let expected = Refused { wait, requests: count(requests), seconds };
        assert_eq!(limiter.take(None, at(SECOND)), Err(expected), "{requests} in {per:?}");
        assert_eq!(limiter.check(None, at(SECOND)), Err(expected), "{requests} in {per:?}");
        assert_eq!((limiter.requests(), limiter.per(), limiter.burst()), (written.requests, per, count(1)));
    }
}

#[test]
fn what_was_counted_holds_for_a_limit_of_the_same_rate_burst_and_key() {
    let header = |name| LimitKeyPart::Header(HeaderName::from_static(name));
    let minute = Duration::from_secs(60);
    let limiter = Limiter::new(&limit(5, minute, 10, vec![header("k")]), &Room::default());
    assert_eq!(limiter.key(), [header("k")]);
    for (other, is_same) in [
        (limit(5, minute, 10, vec![header("k")]), true),
        (Limit { matches: Some(vec![]), ..limit(5, minute, 10, vec![header("k")]) }, true),
        (limit(6, minute, 10, vec![header("k")]), false),
        (limit(5, minute * 2, 10, vec![header("k")]), false),
        (limit(5, minute, 11, vec![header("k")]), false),
        (limit(5, minute, 10, vec![header("l")]), false),
        (limit(5, minute, 10, vec![header("k"), header("k")]), false),
        (limit(5, minute, 10, vec![]), false),
        // The same rate, written in another way, is another limit: clients are told another one.
        (limit(10, minute * 2, 10, vec![header("k")]), false),
    ] {
        assert_eq!(limiter.counts_as(&other), is_same, "{other:?}");
    }
}

#[test]
fn where_all_are_counted_together_no_memory_is_taken_and_nothing_moves() {
    let (full, other) = (Room::of(0), Room::default());
    let together = Limiter::new(&limit(1, Duration::from_secs(1), 1, vec![]), &full);
    assert!(together.is_in(&other) && together.is_reserved() && !together.has_grown());
    assert!(together.anew_in(&other).is_none());
    let apart = Limiter::new(&limit(1, Duration::from_secs(1), 1, vec![LimitKeyPart::ClientAddress]), &full);
    assert!(apart.is_in(&full) && !apart.is_in(&other) && !apart.is_reserved());
    let headers = HeaderMap::new();
    assert!(ask(&apart, &headers, at(SECOND)).is_ok());
    // Whoever is not told apart is counted with all others.
    assert!(apart.check(None, at(SECOND)).is_err() && apart.take(None, at(SECOND)).is_err());
    assert!(apart.check(None, at(2 * SECOND)).is_ok());
    let moved = apart.anew_in(&other).unwrap();
    moved.take_over(&apart);
    assert!(
        moved.is_in(&other)
            && moved.is_reserved()
            && moved.counts_as(&limit(1, Duration::from_secs(1), 1, vec![LimitKeyPart::ClientAddress]))
    );
    // It was counted with all others, which does not move.
    assert!(ask(&moved, &headers, at(SECOND)).is_ok());
    let again = moved.anew_in(&full).unwrap();
    assert!(!again.is_reserved());
    let third = moved.anew_in(&Room::default()).unwrap();
    third.take_over(&moved);
    assert!(ask(&third, &headers, at(SECOND)).is_err(), "the key of a client is the same there");
}

#[test]
fn moments_and_rates_have_an_end_that_leaves_sums_their_room() {
    const FURTHEST: u64 = 1 << 62;
    assert_eq!(at(u64::MAX).get(), FURTHEST);
    assert_eq!(Nanos::after(Duration::MAX).get(), FURTHEST);
    assert_eq!(Nanos::from_raw(u64::MAX).get(), FURTHEST);
    assert_eq!((at(FURTHEST - 1).get(), Nanos::from_raw(7).get()), (FURTHEST - 1, 7));
    // No time at all is still a time: a limit does not vanish.
    let at_once = Rate::new(count(5), Duration::ZERO, count(2));
    assert_eq!(at_once, Rate::new(count(1), Duration::from_nanos(1), count(2)));
    let slowest = Rate::new(count(1), Duration::MAX, count(u32::MAX));
    assert_eq!(slowest.begin(at(u64::MAX)), 2 * FURTHEST);
    assert!(slowest.admit(0, at(u64::MAX)).is_ok() && slowest.admit(2 * FURTHEST, at(u64::MAX)).is_err());
    // What is not a whole number of nanoseconds is rounded up.
    let rounded = Rate::new(count(3), Duration::from_nanos(10), count(1));
    assert_eq!(rounded, Rate::new(count(1), Duration::from_nanos(4), count(1)));
}

#[test]
fn a_full_bucket_is_begun_as_it_would_be_decided() {
    for (requests, per, burst) in [(1, 1, 1), (3, 10, 1), (7, 60_000_000_000, 5), (1, u64::MAX, u32::MAX)] {
        let rate = Rate::new(count(requests), Duration::from_nanos(per), count(burst));
        for now in [0, 1, SECOND, u64::MAX] {
            assert_eq!(rate.admit(0, at(now)), Ok(rate.begin(at(now))), "{rate:?} {now}");
        }
    }
}

#[test]
fn a_wait_is_never_longer_than_it_takes_for_one_request() {
    let rate = Rate::new(count(10), Duration::from_secs(1), count(3));
    let mut full_at = 0;
    for _ in 0..3 {
        full_at = rate.admit(full_at, at(0)).unwrap();
    }
    let wait: Wait = rate.admit(full_at, at(0)).unwrap_err();
    assert_eq!(wait.duration(), Duration::from_millis(100));
}
