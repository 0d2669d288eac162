//! Generated limits and requests, against buckets of tokens that are counted one by one as the documentation says.

use super::{Condition, Limit, LimitKeyPart, Limits, Mode, RateLimit, Scene, count, limits, local};
use http::{HeaderName, Method};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::advance;

/// A request, so long after the one before.
#[derive(Clone, Debug)]
struct Ask {
    gap: u64,
    method: Method,
    address: u8,
    headers: [Option<u8>; 2],
}

const NAMES: [&str; 2] = ["x-a", "x-b"];
const LEVELS: [&str; 3] = ["a/p@listener", "b/p@rule", "c/p@service"];

fn limit() -> impl Strategy<Value = Limit> {
    let part = prop_oneof![
        2 => Just(LimitKeyPart::ClientAddress),
        1 => (0..2_usize).prop_map(|it| LimitKeyPart::Header(HeaderName::from_static(NAMES[it]))),
    ];
    // Times that the numbers divide: no bucket rounds.
    let requests = prop::sample::select(vec![1, 2, 3, 4, 6]);
    let matches = of(Just(vec![vec![Condition::MethodIs(vec![Method::POST])]]));
    (requests, 1..4_u32, vec(part, 0..3), matches).prop_map(|(requests, burst, key, matches)| Limit {
        name: None,
        requests: count(requests),
        per: Duration::from_secs(12),
        burst: count(burst),
        key,
        matches,
    })
}

fn target() -> impl Strategy<Value = (Mode, Vec<Limit>)> {
    (prop_oneof![4 => Just(Mode::Enforce), 1 => Just(Mode::Observe)], vec(limit(), 0..4))
}

fn ask() -> impl Strategy<Value = Ask> {
    let method = prop_oneof![Just(Method::GET), Just(Method::POST)];
    (prop_oneof![2 => Just(0), 3 => 1..5_u64], method, 1..4_u8, [of(0..2_u8), of(0..2_u8)])
        .prop_map(|(gap, method, address, headers)| Ask { gap, method, address, headers })
}

/// Every bucket: whose it is, how many parts are in it, and when that was. A request costs 12 parts, and a second brings as many parts as
/// there are requests in the 12 seconds.
#[derive(Default)]
struct Naive {
    buckets: HashMap<(usize, usize, String), (u64, u64)>,
}

impl Naive {
    /// What is in a bucket by now.
    fn level(&self, bucket: &(usize, usize, String), limit: &Limit, now: u64) -> u64 {
        let full = 12 * u64::from(limit.burst.get());
        let (parts, at) = self.buckets.get(bucket).copied().unwrap_or((full, now));
        full.min(parts + (now - at) * u64::from(limit.requests.get()))
    }

    /// Whether a request passes all limits of some levels at one place, and takes a place of each then.
    fn pass(
        &mut self,
        targets: &[(Mode, Vec<Limit>)],
        levels: &[usize],
        by_address: bool,
        ask: &Ask,
        now: u64,
    ) -> bool {
        let mut asked = Vec::new();
        for level in levels {
            let (mode, limits) = &targets[*level];
            for (index, limit) in limits.iter().enumerate() {
                let is_by_address = limit.key == [LimitKeyPart::ClientAddress];
                if is_by_address == by_address && (limit.matches.is_none() || ask.method == Method::POST) {
                    asked.push((*mode, limit, (*level, index, key(limit, ask))));
                }
            }
        }
        let has = |naive: &Self, bucket: &(usize, usize, String), limit: &Limit| {
            naive.level(bucket, limit, now) >= 12
        };
        if asked.iter().any(|(mode, limit, bucket)| *mode == Mode::Enforce && !has(self, bucket, limit)) {
            return false;
        }
        for (_, limit, bucket) in asked {
            if has(self, &bucket, limit) {
                let left = self.level(&bucket, limit, now) - 12;
                self.buckets.insert(bucket, (left, now));
            }
        }
        true
    }
}

fn key(limit: &Limit, ask: &Ask) -> String {
    let part = |it: &LimitKeyPart| match it {
        LimitKeyPart::Header(name) => {
            format!("{:?}", ask.headers[NAMES.iter().position(|it| *it == name.as_str()).unwrap()])
        }
        _ => ask.address.to_string(),
    };
    limit.key.iter().map(part).collect::<Vec<_>>().join("|")
}

async fn compare(targets: &[(Mode, Vec<Limit>)], asks: &[Ask]) -> Result<(), TestCaseError> {
    let [listener, rule, service] = LEVELS;
    let scene = Scene {
        at_listener: vec![listener],
        at_rule: vec![rule],
        at_backend: vec![service],
        ..Scene::default()
    };
    let written = LEVELS.into_iter().zip(targets);
    let running = scene.start(written.map(|(name, (mode, each))| RateLimit {
        mode: *mode,
        limits: Limits::Each(each.clone()),
        ..limits(name, vec![])
    }));
    let (mut naive, mut now) = (Naive::default(), 0);
    for (number, ask) in asks.iter().enumerate() {
        advance(Duration::from_secs(ask.gap)).await;
        now += ask.gap;
        // By address, then all others; and the Service when it is chosen.
        let expected = [(&[0, 1][..], true), (&[0, 1], false), (&[2], true), (&[2], false)]
            .into_iter()
            .all(|(levels, by_address)| naive.pass(targets, levels, by_address, ask, now));
        let headers = NAMES.into_iter().zip(ask.headers);
        let headers: String = headers.filter_map(|(name, it)| Some(format!("{name}: {}\r\n", it?))).collect();
        let client = super::MemoryClient {
            address: [192, 0, 2, ask.address].into(),
            ..super::MemoryClient::default()
        };
        let (status, text) = running.ask_as(client, &format!("{} /", ask.method), &headers).await;
        prop_assert_eq!(status, if expected { 200 } else { 429 }, "request {} at {}: {}", number, now, text);
    }
    Ok(())
}

#[test]
fn limits_decide_as_buckets_that_are_counted_one_by_one() {
    let mut runner = TestRunner::new(Config::with_cases(96));
    let cases = ([target(), target(), target()], vec(ask(), 1..40));
    let outcome = runner.run(&cases, |(targets, asks)| {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(local(compare(&targets, &asks)))
    });
    outcome.unwrap();
}
