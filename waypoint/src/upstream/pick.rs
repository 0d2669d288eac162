//! Choosing an endpoint: of two drawn at random the one with less load, or where clients have an endpoint of their own that.
//!
//! What is held back is skipped, and so is what this request has tried already; if nothing else is left, everything counts
//! again (panic): better a try that fails than a certain 503. Whose hold is over is knocked at, and the request goes
//! elsewhere meanwhile.

use super::caller::Caller;
use super::cluster::Cluster;
use super::endpoint::{EndpointRecord, Health, Moment};
use fairway_config::model::Imprint;
use rand::Rng;
use std::sync::Arc;

/// Chooses an endpoint; none only if the cluster has none. An endpoint that waits for a probe is claimed by this request.
///
/// `exclude` holds what the request has tried already. `knock` is called with an endpoint that the caller is to knock at.
pub fn pick<'c>(
    cluster: &'c Cluster,
    caller: &Caller,
    rng: &mut impl Rng,
    now: Moment,
    exclude: &[Arc<EndpointRecord>],
    mut knock: impl FnMut(&Arc<EndpointRecord>),
) -> Option<&'c Arc<EndpointRecord>> {
    let candidates = cluster.candidates(caller);
    let usable = |it: &Arc<EndpointRecord>| !is_in(exclude, it) && it.health(now) != Health::Held;
    match candidates {
        [] => return None,
        [only] => return Some(only),
        _ => {}
    }
    let client = caller.address.filter(|_| cluster.is_sticky()).map(Imprint::of_client);
    let mut draw = |usable: &dyn Fn(&Arc<EndpointRecord>) -> bool| match client {
        Some(client) => own(candidates, client, usable),
        None => draw(candidates, rng, now, usable),
    };
    // More than once: what is drawn may have to be knocked at, or another thread claims the probe first.
    for _ in 0..4 {
        let Some(chosen) = draw(&usable) else {
            break;
        };
        match chosen.health(now) {
            Health::Open => return Some(chosen),
            Health::Proven if chosen.claim(now) => return Some(chosen),
            Health::Due if chosen.claim(now) => knock(chosen),
            _ => {}
        }
    }
    draw(&|it| !is_in(exclude, it)).or_else(|| draw(&|_| true))
}

/// The endpoint that a client always meets, as long as it is usable.
fn own(
    candidates: &[Arc<EndpointRecord>],
    client: Imprint,
    usable: impl Fn(&Arc<EndpointRecord>) -> bool,
) -> Option<&Arc<EndpointRecord>> {
    candidates.iter().filter(|it| usable(it)).max_by_key(|it| it.imprint().affinity(client))
}

/// Draws two of those that are usable and takes the one that costs less; one that waits for a knock or a probe goes first.
fn draw<'c>(
    candidates: &'c [Arc<EndpointRecord>],
    rng: &mut impl Rng,
    now: Moment,
    usable: impl Fn(&Arc<EndpointRecord>) -> bool,
) -> Option<&'c Arc<EndpointRecord>> {
    let (one, two) = two_distinct(candidates, rng)?;
    match (usable(one), usable(two)) {
        (true, true) => Some(better(one, two, now)),
        (true, false) => Some(one),
        (false, true) => Some(two),
        // Rare: look at all of them, and draw two of the usable ones evenly (reservoir sampling).
        (false, false) => {
            let (mut drawn, mut seen) = ([None, None], 0);
            for it in candidates.iter().filter(|it| usable(it)) {
                seen += 1;
                if seen <= 2 {
                    drawn[seen - 1] = Some(it);
                } else if let Some(slot) = drawn.get_mut(rng.random_range(0..seen)) {
                    *slot = Some(it);
                }
            }
            // The order they were found in must not decide between equals.
            if rng.random() {
                drawn.reverse();
            }
            match drawn {
                [Some(one), Some(two)] => Some(better(one, two, now)),
                [one, two] => one.or(two),
            }
        }
    }
}

fn two_distinct<'c>(
    candidates: &'c [Arc<EndpointRecord>],
    rng: &mut impl Rng,
) -> Option<(&'c Arc<EndpointRecord>, &'c Arc<EndpointRecord>)> {
    let one = rng.random_range(0..candidates.len());
    let two = (one + rng.random_range(1..candidates.len())) % candidates.len();
    Some((candidates.get(one)?, candidates.get(two)?))
}

fn better<'c>(
    one: &'c Arc<EndpointRecord>,
    two: &'c Arc<EndpointRecord>,
    now: Moment,
) -> &'c Arc<EndpointRecord> {
    match (one.health(now), two.health(now)) {
        (Health::Due | Health::Proven, _) => one,
        (_, Health::Due | Health::Proven) => two,
        _ => {
            // Latencies that differ by less than half tell nothing: then the one with fewer requests, and of equals the
            // first, which was drawn at random. Without this, one client in a row would always meet the same endpoint.
            let (costs, active) = ((one.cost(now), two.cost(now)), (one.active(), two.active()));
            let two_is_better = match costs {
                (one, two) if one >= 2 * two => true,
                (one, two) if two >= 2 * one => false,
                _ => active.1 < active.0,
            };
            if two_is_better { two } else { one }
        }
    }
}

fn is_in(exclude: &[Arc<EndpointRecord>], it: &Arc<EndpointRecord>) -> bool {
    exclude.iter().any(|tried| Arc::ptr_eq(tried, it))
}

#[cfg(test)]
mod tests {
    use super::super::cluster::Registry;
    use super::super::tls::Shown;
    use super::*;
    use fairway_config::model::{Affinity, Endpoint, EndpointState, Endpoints};
    use rand::SeedableRng;
    use rand::rngs::SmallRng;
    use std::collections::HashMap;
    use std::time::Duration;

    const NOW: Moment = Moment(1_000);

    fn cluster(size: u8) -> Cluster {
        of(&endpoints(size))
    }

    fn endpoints(size: u8) -> Endpoints {
        let endpoint = |host| Endpoint {
            address: ([10, 0, 0, host], 80).into(),
            state: EndpointState::Ready,
            identity: None,
            node: None,
            hints: None,
        };
        Endpoints::of_anybody("shop/web:80".into(), (0..size).map(endpoint).collect())
    }

    fn of(endpoints: &Endpoints) -> Cluster {
        let (shown, mut registry) = (Shown::default(), Registry::default());
        Cluster::new("shop/web:80".into(), None, Some(endpoints), &shown, &mut registry)
    }

    fn counts(cluster: &Cluster, exclude: &[Arc<EndpointRecord>]) -> HashMap<std::net::SocketAddr, u32> {
        let (mut rng, mut counts) = (SmallRng::seed_from_u64(7), HashMap::new());
        for _ in 0..10_000 {
            *counts
                .entry(pick(cluster, &Caller::default(), &mut rng, NOW, exclude, |_| ()).unwrap().address())
                .or_default() += 1;
        }
        counts
    }

    #[test]
    fn without_load_all_endpoints_are_chosen_evenly() {
        // 2,000 each of 10,000; five standard deviations are 200.
        let counts = counts(&cluster(5), &[]);
        assert_eq!(counts.len(), 5);
        assert!(counts.values().all(|it| (1_800..=2_200).contains(it)), "{counts:?}");
    }

    #[test]
    fn of_two_the_one_with_less_load_is_chosen() {
        let cluster = cluster(2);
        let _busy = cluster.candidates(&Caller::default())[0].begin();
        assert_eq!(counts(&cluster, &[])[&cluster.candidates(&Caller::default())[1].address()], 10_000);
    }

    #[test]
    fn small_differences_of_latency_leave_the_choice_even() {
        let cluster = cluster(2);
        for (it, micros) in cluster.candidates(&Caller::default()).iter().zip([800, 1_500]) {
            it.answered(NOW, Some(Duration::from_micros(micros)));
        }
        let counts = counts(&cluster, &[]);
        assert!(counts.values().all(|it| (4_700..=5_300).contains(it)), "{counts:?}");
    }

    #[test]
    fn load_spreads_over_all_endpoints_and_the_slow_one_gets_less() {
        let cluster = cluster(4);
        for _ in 0..12 {
            cluster.candidates(&Caller::default())[0].answered(NOW, Some(Duration::from_millis(80)));
            for it in &cluster.candidates(&Caller::default())[1..] {
                it.answered(NOW, Some(Duration::from_millis(2)));
            }
        }
        let mut rng = SmallRng::seed_from_u64(7);
        let held: Vec<_> = (0..100)
            .map(|_| pick(&cluster, &Caller::default(), &mut rng, NOW, &[], |_| ()).unwrap().begin())
            .collect();
        let active: Vec<_> = cluster.candidates(&Caller::default()).iter().map(|it| it.active()).collect();
        assert!(active[0] < 10 && active[1..].iter().all(|it| (20..=45).contains(it)), "{active:?}");
        drop(held);
    }

    /// A thousand requests, one after the other; the share of the first of four endpoints, of what is fair.
    fn share_of_the_first(rate: u64, latency: impl Fn(usize, u64) -> Duration) -> f64 {
        let (cluster, mut rng) = (cluster(4), SmallRng::seed_from_u64(7));
        let all = cluster.candidates(&Caller::default());
        let mut first = 0;
        for number in 0..1_000 {
            let now = NOW.after(number * 1_000 / rate);
            let chosen = pick(&cluster, &Caller::default(), &mut rng, now, &[], |_| ()).unwrap();
            let index = all.iter().position(|it| Arc::ptr_eq(it, chosen)).unwrap();
            first += u32::from(index == 0);
            chosen.answered(now.after(1), Some(latency(index, number)));
        }
        f64::from(first) / 250.0
    }

    #[test]
    fn an_endpoint_that_was_slow_for_once_keeps_its_share() {
        let millis = Duration::from_millis;
        for slow_at in [0..3, 100..103, 500..503] {
            let share =
                share_of_the_first(200, |_, number| millis(if slow_at.contains(&number) { 80 } else { 1 }));
            assert!((0.8..=1.2).contains(&share), "{share} of fair, slow at {slow_at:?}");
        }
        for (rate, most) in [(200, 0.05), (10, 0.4), (2, 0.9)] {
            let share = share_of_the_first(rate, |index, _| millis(if index == 0 { 80 } else { 1 }));
            assert!(share < most, "one that stays slow, at {rate} requests a second: {share} of fair");
        }
    }

    #[test]
    fn what_is_held_back_or_was_tried_is_skipped() {
        let cluster = cluster(4);
        cluster.candidates(&Caller::default())[0].unreachable(NOW);
        let counts = counts(&cluster, &cluster.candidates(&Caller::default())[1..2]);
        assert_eq!(counts.len(), 2, "{counts:?}");
        assert!(counts.values().all(|it| (4_700..=5_300).contains(it)), "{counts:?}");
    }

    #[test]
    fn when_all_are_held_back_all_count_again_except_those_that_were_tried() {
        let cluster = cluster(3);
        for it in cluster.candidates(&Caller::default()) {
            it.unreachable(NOW);
        }
        assert_eq!(counts(&cluster, &[]).len(), 3);
        assert_eq!(counts(&cluster, &cluster.candidates(&Caller::default())[..2]).len(), 1);
        assert_eq!(
            counts(&cluster, cluster.candidates(&Caller::default())).len(),
            3,
            "all were tried: try again"
        );
    }

    #[test]
    fn whose_hold_is_over_is_knocked_at_once_and_then_probed_by_one_request() {
        let cluster = cluster(2);
        let late = &cluster.candidates(&Caller::default())[0];
        late.unreachable(Moment(0));
        let (mut rng, mut knocks, mut probes) = (SmallRng::seed_from_u64(7), 0, 0);
        let mut ask = |knocks: &mut u32| {
            let chosen = pick(&cluster, &Caller::default(), &mut rng, NOW, &[], |it| {
                assert!(Arc::ptr_eq(it, late));
                *knocks += 1;
            });
            Arc::ptr_eq(chosen.unwrap(), late)
        };
        for _ in 0..100 {
            assert!(!ask(&mut knocks), "not before it has opened");
        }
        late.knocked(NOW);
        for _ in 0..100 {
            probes += u32::from(ask(&mut knocks));
        }
        assert_eq!((knocks, probes), (1, 1));
    }

    #[test]
    fn a_client_of_a_sticky_service_meets_the_same_endpoint_as_long_as_that_can_be_met() {
        let mut endpoints = endpoints(5);
        endpoints.affinity = Affinity::Client;
        let cluster = of(&endpoints);
        let mut rng = SmallRng::seed_from_u64(7);
        let mut met = HashMap::new();
        for host in 0..100 {
            let caller = Caller { address: Some([10, 244, 0, host].into()), ..Caller::default() };
            let mut pick =
                |exclude: &[_]| pick(&cluster, &caller, &mut rng, NOW, exclude, |_| ()).unwrap().clone();
            let own = pick(&[]);
            assert!((0..20).all(|_| Arc::ptr_eq(&pick(&[]), &own)));
            let second = pick(std::slice::from_ref(&own));
            assert!(!Arc::ptr_eq(&own, &second));
            own.unreachable(NOW);
            assert!(Arc::ptr_eq(&pick(&[]), &second));
            own.answered(NOW, None);
            assert!(Arc::ptr_eq(&pick(&[]), &own));
            *met.entry(own.address()).or_insert(0) += 1;
        }
        assert!(met.len() == 5 && met.values().all(|it| *it >= 5), "{met:?}");
    }

    #[test]
    fn a_cluster_of_one_always_gives_it_and_an_empty_one_gives_none() {
        let one = cluster(1);
        one.candidates(&Caller::default())[0].unreachable(NOW);
        assert_eq!(counts(&one, one.candidates(&Caller::default())).len(), 1);
        assert!(
            pick(&cluster(0), &Caller::default(), &mut SmallRng::seed_from_u64(7), NOW, &[], |_| ())
                .is_none()
        );
    }
}
