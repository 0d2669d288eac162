//! An endpoint that fails for twenty seconds under load, simulated with a clock of its own: how many requests it costs, and how soon
//! it has its share again.
#![allow(clippy::unwrap_used, reason = "test code: a panic is the failure of the test that called it")]

use fairway_balance::{EndpointRecord, Moment, Readmission, Request, pick};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use std::sync::Arc;
use std::time::Duration;

/// How the endpoint fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// It refuses connections: the first refusal ejects it.
    RefusesConnections,
    /// It accepts connections and resets each request.
    ResetsRequests,
}

const CLIENTS: u64 = 8;
/// Milliseconds between two requests of a client.
const PACE: u64 = 4;
/// Connections that are tried for one request.
const ATTEMPTS: usize = 3;
/// Milliseconds of an active health check.
const CHECK: u64 = 50;
const FAILS_AT: Moment = Moment(300);
const RECOVERS_AT: Moment = Moment(20_300);

struct Simulation {
    endpoints: Vec<Arc<EndpointRecord>>,
    rng: SmallRng,
    now: Moment,
    fault: Fault,
    readmission: Readmission,
    /// Active health checks that have not ended: when they end, and of which endpoint.
    checks: Vec<(Moment, usize)>,
    served: Vec<u32>,
    failed: u32,
    /// Connections and requests that have reached the failing endpoint while it fails.
    hits: u32,
}

impl Simulation {
    fn new(fault: Fault, readmission: Readmission, seed: u64) -> Self {
        let record = |host: u8| Arc::new(EndpointRecord::new(([10, 0, 0, host], 80).into(), None));
        Self {
            endpoints: (0..3).map(record).collect(),
            rng: SmallRng::seed_from_u64(seed),
            now: Moment(0),
            fault,
            readmission,
            checks: Vec::new(),
            served: vec![0; 3],
            failed: 0,
            hits: 0,
        }
    }

    fn is_failing(&self, endpoint: usize) -> bool {
        endpoint == 0 && (FAILS_AT..RECOVERS_AT).contains(&self.now)
    }

    fn request(&mut self) {
        let mut tried: Vec<usize> = Vec::new();
        let request = Request { readmission: self.readmission, ..Request::at(self.now) };
        while tried.len() < ATTEMPTS {
            let mut due = Vec::new();
            let is_tried = |index| tried.contains(&index);
            let chosen =
                pick(&self.endpoints[..], &request, &mut self.rng, is_tried, |index| due.push(index));
            let (chosen, now) = (chosen.unwrap(), self.now);
            self.checks.extend(due.into_iter().map(|index| (now.after(CHECK), index)));
            let endpoint = self.endpoints[chosen].clone();
            match (self.is_failing(chosen), self.fault) {
                (false, _) => {
                    endpoint.record_response(now, Some(Duration::from_millis(1)));
                    self.served[chosen] += 1;
                    return;
                }
                (true, Fault::RefusesConnections) => {
                    self.hits += 1;
                    endpoint.record_connect_failure(now);
                    tried.push(chosen);
                }
                (true, Fault::ResetsRequests) => {
                    self.hits += 1;
                    endpoint.record_reset(now);
                    break;
                }
            }
        }
        self.failed += 1;
    }

    fn run_until(&mut self, end: Moment) {
        while self.now < end {
            let checks = std::mem::take(&mut self.checks);
            let (ended, running): (Vec<_>, Vec<_>) = checks.into_iter().partition(|(at, _)| *at <= self.now);
            self.checks = running;
            for (_, endpoint) in ended {
                if !self.is_failing(endpoint) || self.fault == Fault::ResetsRequests {
                    self.endpoints[endpoint].record_check_success(self.now);
                }
            }
            let due = (0..CLIENTS).filter(|client| (self.now.0 + client).is_multiple_of(PACE)).count();
            (0..due).for_each(|_| self.request());
            self.now = self.now.after(1);
        }
    }
}

#[test]
fn an_endpoint_that_fails_costs_few_requests_and_has_its_share_again_within_two_seconds() {
    use Fault::{RefusesConnections, ResetsRequests};
    use Readmission::{CheckFirst, ProbeAtOnce};
    for (fault, readmission, most_failed, most_hits) in [
        // A refused connection is tried elsewhere.
        (RefusesConnections, CheckFirst, 0, 2),
        (RefusesConnections, ProbeAtOnce, 0, 20),
        // Two resets eject the endpoint. Then each half-open probe costs one request.
        (ResetsRequests, CheckFirst, 20, 20),
        (ResetsRequests, ProbeAtOnce, 20, 20),
    ] {
        for seed in 0..20 {
            let case = format!("{fault:?}, {readmission:?}, seed {seed}");
            let mut simulation = Simulation::new(fault, readmission, seed);
            simulation.run_until(RECOVERS_AT);
            assert!(simulation.failed <= most_failed, "{case}: {} requests have failed", simulation.failed);
            assert!(simulation.hits <= most_hits, "{case}: {} hits", simulation.hits);

            let before = simulation.served[0];
            simulation.run_until(RECOVERS_AT.after(2_000));
            assert!(simulation.served[0] > before, "{case}: not readmitted");
            assert!(simulation.failed <= most_failed, "{case}: {} requests have failed", simulation.failed);

            let before = simulation.served.clone();
            simulation.run_until(RECOVERS_AT.after(3_000));
            let served: Vec<u32> =
                simulation.served.iter().zip(before).map(|(now, then)| now - then).collect();
            // A third each of 2,000; five standard deviations are 105.
            assert!(served.iter().all(|count| (560..=775).contains(count)), "{case}: {served:?}");
        }
    }
}
