use super::*;
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use std::collections::BTreeMap;
use std::time::Duration;

const NOW: Moment = Moment(1_000);

fn records(count: u8) -> Vec<Arc<EndpointRecord>> {
    (0..count).map(|host| Arc::new(EndpointRecord::new(([10, 0, 0, host], 80).into(), None))).collect()
}

fn rng() -> SmallRng {
    SmallRng::seed_from_u64(7)
}

/// How often each candidate is chosen in 10,000 requests.
fn counts(candidates: &[Arc<EndpointRecord>], excluded: &[usize]) -> BTreeMap<usize, u32> {
    let (mut rng, mut counts) = (rng(), BTreeMap::new());
    for _ in 0..10_000 {
        let is_excluded = |index| excluded.contains(&index);
        let chosen = pick(candidates, &Request::at(NOW), &mut rng, is_excluded, |_| ()).unwrap();
        *counts.entry(chosen).or_default() += 1;
    }
    counts
}

// === load ===

#[test]
fn without_load_all_endpoints_are_chosen_equally_often() {
    // 2,000 each of 10,000; five standard deviations are 200.
    let counts = counts(&records(5), &[]);
    assert_eq!(counts.len(), 5);
    assert!(counts.values().all(|count| (1_800..=2_200).contains(count)), "{counts:?}");
}

#[test]
fn of_two_the_one_with_less_load_is_chosen() {
    let endpoints = records(2);
    let _open = endpoints[0].begin();
    assert_eq!(counts(&endpoints, &[])[&1], 10_000);
}

#[test]
fn small_differences_of_latency_leave_the_choice_even() {
    let endpoints = records(2);
    for (endpoint, micros) in endpoints.iter().zip([800, 1_500]) {
        endpoint.record_response(NOW, Some(Duration::from_micros(micros)));
    }
    let counts = counts(&endpoints, &[]);
    assert!(counts.values().all(|count| (4_700..=5_300).contains(count)), "{counts:?}");
}

#[test]
fn load_spreads_over_all_endpoints_and_the_slow_one_gets_less() {
    let endpoints = records(4);
    for _ in 0..12 {
        endpoints[0].record_response(NOW, Some(Duration::from_millis(80)));
        for endpoint in &endpoints[1..] {
            endpoint.record_response(NOW, Some(Duration::from_millis(2)));
        }
    }
    let mut rng = rng();
    let open: Vec<_> = (0..100)
        .map(|_| {
            let chosen = pick(&endpoints[..], &Request::at(NOW), &mut rng, |_| false, |_| ());
            endpoints[chosen.unwrap()].begin()
        })
        .collect();
    let active: Vec<_> = endpoints.iter().map(|endpoint| endpoint.active()).collect();
    assert!(active[0] < 10 && active[1..].iter().all(|count| (20..=45).contains(count)), "{active:?}");
    drop(open);
}

/// A thousand requests, one after the other. The share of the first of four endpoints, relative to a fair one.
fn share_of_the_first(rate: u64, latency: impl Fn(usize, u64) -> Duration) -> f64 {
    let (endpoints, mut rng) = (records(4), rng());
    let mut first = 0;
    for number in 0..1_000 {
        let now = NOW.after(number * 1_000 / rate);
        let chosen = pick(&endpoints[..], &Request::at(now), &mut rng, |_| false, |_| ()).unwrap();
        first += u32::from(chosen == 0);
        endpoints[chosen].record_response(now.after(1), Some(latency(chosen, number)));
    }
    f64::from(first) / 250.0
}

#[test]
fn one_slow_response_costs_no_share_and_lasting_slowness_does() {
    let millis = Duration::from_millis;
    for slow_at in [0..3, 100..103, 500..503] {
        let latency = |_, number| millis(if slow_at.contains(&number) { 80 } else { 1 });
        let share = share_of_the_first(200, latency);
        assert!((0.8..=1.2).contains(&share), "{share} of fair, slow at {slow_at:?}");
    }
    for (rate, most) in [(200, 0.05), (10, 0.4), (2, 0.9)] {
        let share = share_of_the_first(rate, |index, _| millis(if index == 0 { 80 } else { 1 }));
        assert!(share < most, "slow all the time, at {rate} requests per second: {share} of fair");
    }
}

// === ejection ===

#[test]
fn ejected_and_excluded_endpoints_are_left_out() {
    let endpoints = records(4);
    endpoints[0].record_connect_failure(NOW);
    let counts = counts(&endpoints, &[1]);
    assert_eq!(counts.keys().collect::<Vec<_>>(), [&2, &3]);
    assert!(counts.values().all(|count| (4_700..=5_300).contains(count)), "{counts:?}");
}

#[test]
fn if_all_are_ejected_all_count_again_except_the_excluded_ones() {
    let endpoints = records(3);
    for endpoint in &endpoints {
        endpoint.record_connect_failure(NOW);
    }
    assert_eq!(counts(&endpoints, &[]).len(), 3);
    assert_eq!(counts(&endpoints, &[0, 1]).len(), 1);
    assert_eq!(counts(&endpoints, &[0, 1, 2]).len(), 3, "all are excluded: try again");
}

#[test]
fn after_an_ejection_one_check_is_started_and_then_one_probe_is_sent() {
    let endpoints = records(2);
    endpoints[0].record_connect_failure(Moment(0));
    let (mut rng, mut checks, mut probes) = (rng(), Vec::new(), 0);
    for _ in 0..100 {
        let chosen = pick(&endpoints[..], &Request::at(NOW), &mut rng, |_| false, |index| checks.push(index));
        assert_eq!(chosen, Some(1), "no request before the check has succeeded");
    }
    endpoints[0].record_check_success(NOW);
    for _ in 0..100 {
        let chosen = pick(&endpoints[..], &Request::at(NOW), &mut rng, |_| false, |index| checks.push(index));
        probes += u32::from(chosen == Some(0));
    }
    assert_eq!((checks, probes), (vec![0], 1));
}

#[test]
fn where_a_failure_costs_nothing_the_next_request_is_the_probe() {
    let endpoints = records(2);
    endpoints[0].record_connect_failure(Moment(0));
    let request = Request { readmission: Readmission::ProbeAtOnce, ..Request::at(NOW) };
    let mut rng = rng();
    let mut ask = || pick(&endpoints[..], &request, &mut rng, |_| false, |_| panic!("no check")).unwrap();
    assert_eq!((0..100).filter(|_| ask() == 0).count(), 1);
}

#[test]
fn many_endpoints_that_are_due_at_once_leave_the_requests_to_the_healthy_one() {
    let endpoints = records(50);
    for endpoint in &endpoints[1..] {
        endpoint.record_connect_failure(Moment(0));
    }
    let (mut rng, mut checks) = (rng(), Vec::new());
    for _ in 0..100 {
        let chosen = pick(&endpoints[..], &Request::at(NOW), &mut rng, |_| false, |index| checks.push(index));
        assert_eq!(chosen, Some(0));
    }
    checks.sort_unstable();
    assert_eq!(checks, (1..50).collect::<Vec<_>>(), "each is checked once");
}

#[test]
fn one_candidate_is_always_chosen_and_of_none_there_is_none() {
    let one = records(1);
    one[0].record_connect_failure(NOW);
    assert_eq!(counts(&one, &[0]).len(), 1);
    assert_eq!(pick(&records(0)[..], &Request::at(NOW), &mut rng(), |_| false, |_| ()), None);
}

// === affinity ===

/// The choice of each of 2,000 clients.
fn choices(endpoints: &[Arc<EndpointRecord>]) -> Vec<Arc<EndpointRecord>> {
    let mut rng = rng();
    (0..2_000_u16)
        .map(|client| {
            let client = HashKey::of_client([10, 244, (client >> 8) as u8, client as u8].into());
            let request = Request { client: Some(client), ..Request::at(NOW) };
            let chosen = pick(endpoints, &request, &mut rng, |_| false, |_| ()).unwrap();
            endpoints[chosen].clone()
        })
        .collect()
}

#[test]
fn clients_spread_evenly_and_move_only_from_a_removed_or_to_a_new_endpoint() {
    let endpoints = records(5);
    let before = choices(&endpoints[..4]);
    let mut counts = BTreeMap::new();
    before.iter().for_each(|chosen| *counts.entry(chosen.address()).or_insert(0) += 1);
    // 500 each of 2,000; five standard deviations are 97.
    assert!(counts.len() == 4 && counts.values().all(|count| (400..=600).contains(count)), "{counts:?}");
    let without_the_third: Vec<_> = [0, 1, 3].map(|index| endpoints[index].clone()).into();
    for (was, is) in before.iter().zip(choices(&without_the_third)) {
        assert!(Arc::ptr_eq(was, &endpoints[2]) || Arc::ptr_eq(was, &is));
    }
    for (was, is) in before.iter().zip(choices(&endpoints)) {
        assert!(Arc::ptr_eq(&is, &endpoints[4]) || Arc::ptr_eq(was, &is));
    }
}

#[test]
fn a_client_changes_its_endpoint_only_while_that_one_is_ejected_or_excluded() {
    let (endpoints, mut rng) = (records(5), rng());
    for host in 0..100 {
        let request =
            Request { client: Some(HashKey::of_client([10, 244, 0, host].into())), ..Request::at(NOW) };
        let mut ask = |excluded: &[usize]| {
            pick(&endpoints[..], &request, &mut rng, |index| excluded.contains(&index), |_| ())
        };
        let own = ask(&[]).unwrap();
        assert!((0..20).all(|_| ask(&[]) == Some(own)));
        let second = ask(&[own]).unwrap();
        assert_ne!(own, second);
        endpoints[own].record_connect_failure(NOW);
        assert_eq!(ask(&[]), Some(second));
        endpoints[own].record_response(NOW, None);
        assert_eq!(ask(&[]), Some(own));
    }
}

// === properties, against a naive oracle ===

/// What happened to an endpoint before the choice.
#[derive(Clone, Copy, Debug)]
enum Event {
    ConnectFailure,
    Reset,
    Response(u64),
    CheckSuccess,
    Claim,
    Open,
}

fn any_history() -> impl Strategy<Value = Vec<(u8, u64, Event)>> {
    use Event::{CheckSuccess, Claim, ConnectFailure, Open, Reset};
    let event = prop_oneof![
        Just(ConnectFailure),
        Just(Reset),
        Just(CheckSuccess),
        Just(Claim),
        Just(Open),
        (0..200_u64).prop_map(Event::Response),
    ];
    prop::collection::vec((0..6_u8, 0..300_u64, event), 0..30)
}

/// Endpoints with a history, the time after it, and their open requests.
fn replay(
    count: u8,
    history: &[(u8, u64, Event)],
) -> (Vec<Arc<EndpointRecord>>, Moment, Vec<crate::InFlight>) {
    let (endpoints, mut now, mut open) = (records(count), Moment(1), Vec::new());
    for (endpoint, pause, event) in history {
        now = now.after(*pause);
        let endpoint = &endpoints[usize::from(*endpoint % count)];
        match event {
            Event::ConnectFailure => endpoint.record_connect_failure(now),
            Event::Reset => endpoint.record_reset(now),
            Event::Response(millis) => endpoint.record_response(now, Some(Duration::from_millis(*millis))),
            Event::CheckSuccess => endpoint.record_check_success(now),
            Event::Claim => {
                endpoint.claim(now);
            }
            Event::Open => open.push(endpoint.begin()),
        }
    }
    (endpoints, now, open)
}

/// The probability of each candidate, from all ordered pairs that P2C can draw. For candidates that are all healthy.
fn oracle(endpoints: &[Arc<EndpointRecord>], now: Moment) -> Vec<f64> {
    let mut wins = vec![0_u32; endpoints.len()];
    let mut pairs = 0;
    for one in 0..endpoints.len() {
        for two in (0..endpoints.len()).filter(|two| *two != one) {
            let (cost_one, cost_two) = (endpoints[one].cost(now), endpoints[two].cost(now));
            let is_clearly_cheaper = |a: u64, b: u64| a * 2 <= b;
            let winner = if is_clearly_cheaper(cost_two, cost_one) {
                two
            } else if is_clearly_cheaper(cost_one, cost_two) {
                one
            } else if endpoints[two].active() < endpoints[one].active() {
                two
            } else {
                one
            };
            wins[winner] += 1;
            pairs += 1;
        }
    }
    wins.into_iter().map(|count| f64::from(count) / f64::from(pairs)).collect()
}

proptest! {
    #[test]
    fn an_ejected_endpoint_gets_no_request_but_its_probe(
        count in 2..7_u8, history in any_history(), excluded in prop::collection::vec(any::<bool>(), 7), seed: u64,
    ) {
        let (endpoints, now, _open) = replay(count, &history);
        let before: Vec<Health> = endpoints.iter().map(|endpoint| endpoint.health(now)).collect();
        let (mut rng, mut checks) = (SmallRng::seed_from_u64(seed), Vec::new());
        let chosen =
            pick(&endpoints[..], &Request::at(now), &mut rng, |index| excluded[index], |index| checks.push(index));
        let chosen = chosen.expect("there are candidates");
        for index in &checks {
            prop_assert_eq!(before[*index], Health::CheckDue);
            prop_assert_eq!(endpoints[*index].health(now), Health::Ejected, "claimed");
            prop_assert!(!excluded[*index]);
        }
        let is_healthy = |index: usize| before[index] == Health::Healthy && !excluded[index];
        if (0..endpoints.len()).any(is_healthy) {
            prop_assert!(!excluded[chosen]);
            prop_assert!(matches!(before[chosen], Health::Healthy | Health::ProbeDue), "{before:?} {chosen}");
        }
        if before[chosen] == Health::ProbeDue && !excluded[chosen] {
            // The probe is claimed: no further request goes there.
            prop_assert_eq!(endpoints[chosen].health(now), Health::Ejected);
        }
    }

    #[test]
    fn never_are_all_ejected(count in 1..7_u8, history in any_history(), excluded in prop::collection::vec(any::<bool>(), 7)) {
        let (endpoints, now, _open) = replay(count, &history);
        for client in [None, Some(HashKey::of_client([10, 0, 0, 9].into()))] {
            let request = Request { client, ..Request::at(now) };
            let chosen = pick(&endpoints[..], &request, &mut rng(), |index| excluded[index], |_| ());
            prop_assert!(chosen.is_some_and(|index| index < endpoints.len()));
        }
    }

    #[test]
    fn an_excluded_endpoint_is_chosen_only_if_all_are(
        count in 2..7_u8, history in any_history(), excluded in prop::collection::vec(any::<bool>(), 7), seed: u64,
    ) {
        let (endpoints, now, _open) = replay(count, &history);
        let mut rng = SmallRng::seed_from_u64(seed);
        let chosen = pick(&endpoints[..], &Request::at(now), &mut rng, |index| excluded[index], |_| ());
        let all = (0..endpoints.len()).all(|index| excluded[index]);
        prop_assert!(all || !excluded[chosen.expect("there are candidates")]);
    }

    #[test]
    fn with_affinity_the_choice_is_the_highest_score_of_the_healthy_ones(
        count in 2..7_u8, history in any_history(), client: [u8; 4],
    ) {
        let (endpoints, now, _open) = replay(count, &history);
        let client = HashKey::of_client(client.into());
        let healthy: Vec<usize> =
            (0..endpoints.len()).filter(|index| endpoints[*index].health(now) == Health::Healthy).collect();
        let is_due = |endpoint: &Arc<EndpointRecord>| matches!(endpoint.health(now), Health::CheckDue | Health::ProbeDue);
        // A half-open probe goes before the choice, and another test is about choices without healthy endpoints.
        if healthy.is_empty() || endpoints.iter().any(is_due) {
            return Ok(());
        }
        let best = healthy.into_iter().max_by_key(|index| endpoints[*index].hash_key().score(client));
        let request = Request { client: Some(client), ..Request::at(now) };
        prop_assert_eq!(pick(&endpoints[..], &request, &mut rng(), |_| false, |_| ()), best);
    }

    #[test]
    fn affinity_is_stable_when_another_endpoint_is_removed(count in 2..7_u8, removed in 0..7_usize, client: [u8; 4]) {
        let endpoints = records(count);
        let request = Request { client: Some(HashKey::of_client(client.into())), ..Request::at(NOW) };
        let choose = |list: &[Arc<EndpointRecord>]| {
            let chosen = pick(list, &request, &mut rng(), |_| false, |_| ()).expect("there are candidates");
            list[chosen].address()
        };
        let before = choose(&endpoints);
        let removed = endpoints[removed % endpoints.len()].address();
        let rest: Vec<_> = endpoints.iter().filter(|endpoint| endpoint.address() != removed).cloned().collect();
        prop_assert!(removed == before || choose(&rest) == before);
    }

    #[test]
    fn the_smoothed_latency_stays_within_its_samples(samples in prop::collection::vec((0..500_u64, 0..10_000_u64), 1..50)) {
        let (endpoint, mut now) = (records(1).remove(0), Moment(1));
        let largest = samples.iter().map(|(_, millis)| *millis).max().unwrap_or_default();
        for (pause, millis) in samples {
            now = now.after(pause);
            endpoint.record_response(now, Some(Duration::from_millis(millis)));
            prop_assert!(endpoint.latency(now) <= Duration::from_millis(largest).max(Duration::from_micros(1)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn shares_are_those_of_the_oracle(count in 2..7_u8, history in any_history(), seed: u64) {
        let (endpoints, now, _open) = replay(count, &history);
        for endpoint in &endpoints {
            if endpoint.health(now) != Health::Healthy {
                endpoint.record_response(now, None);
            }
        }
        let (mut rng, mut counts) = (SmallRng::seed_from_u64(seed), vec![0_u32; endpoints.len()]);
        for _ in 0..4_000 {
            let chosen = pick(&endpoints[..], &Request::at(now), &mut rng, |_| false, |_| ());
            counts[chosen.expect("there are candidates")] += 1;
        }
        for (count, share) in counts.into_iter().zip(oracle(&endpoints, now)) {
            // Five and a half standard deviations of a binomial distribution; a share of 0 or 1 is exact.
            let bound = 5.5 * (4_000.0 * share * (1.0 - share)).sqrt();
            prop_assert!((f64::from(count) - 4_000.0 * share).abs() <= bound, "{count} of {share}");
        }
    }
}
