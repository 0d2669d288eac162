//! One endpoint as every route and every thread sees it: its load and its health.
//!
//! Health is passive. An endpoint that cannot be connected to, or that breaks two requests without an answer between them,
//! is held back for 100 ms, then 200 ms, and so on up to 1.8 s. When a hold is over, somebody knocks (see
//! [`super::knock`]): only if the endpoint takes a connection and keeps it does one request go through as a probe, so that
//! an endpoint that stays away costs no more requests. Whatever is answered ends the hold. Responses never hold an endpoint
//! back, 5xx included: a failing application is the route's matter (retries), and holding back all endpoints of a broken
//! deployment would only hide the error.

use fairway_config::model::{Imprint, SpiffeId};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Milliseconds since the process started. Handed in by the caller, so that what decides stays pure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

/// An endpoint's load and health. All fields are hints that threads update without waiting for each other.
#[derive(Debug)]
pub struct EndpointRecord {
    address: SocketAddr,
    identity: Option<SpiffeId>,
    imprint: Imprint,
    /// Requests under way.
    active: AtomicU32,
    /// Requests it broke since the last answer.
    breaks: AtomicU32,
    /// Holds since the last answer.
    failures: AtomicU32,
    /// The end of the hold in milliseconds; 0 while there is none.
    held_until: AtomicU64,
    /// It took a connection since the hold began.
    knocked: AtomicBool,
    /// Smoothed latency in microseconds (upper half), and the moment it was measured (lower half, wrapping).
    latency: AtomicU64,
}

/// A request under way; counts as load until it is dropped.
#[derive(Debug)]
pub struct InFlight(Arc<EndpointRecord>);

/// Whether an endpoint may be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Like any other.
    Open,
    /// Its hold is over: somebody may knock.
    Due,
    /// Its hold is over and it takes connections: one request may probe it.
    Proven,
    /// Held back.
    Held,
}

/// The first hold; each failed probe doubles it.
const FIRST_HOLD: u64 = 100;
/// The longest hold.
const LONGEST_HOLD: u64 = 1_800;
/// Requests that an endpoint breaks in a row before it is held back: one may be the request's own fault.
const BREAKS: u32 = 2;
/// A measured latency loses half its weight in this many milliseconds: an endpoint that was slow and therefore is not
/// chosen any more would otherwise stay slow for ever.
const LATENCY_HALF_LIFE: u32 = 1_000;
/// Microseconds added to every latency: differences below it are noise and must not outweigh the request count, least of all
/// shut an endpoint out.
const LATENCY_FLOOR: u64 = 5_000;
/// An answer counts for at most this many times what was to be expected: one that was slow for once must not cost the endpoint
/// its share for seconds; one that stays slow is found out within a few answers.
const SURPRISE: u64 = 4;

// === impl Moment ===

impl Moment {
    /// The moment this many milliseconds later.
    pub fn after(self, milliseconds: u64) -> Self {
        Self(self.0.saturating_add(milliseconds))
    }
}

// === impl EndpointRecord ===

impl EndpointRecord {
    /// An endpoint nothing is known of yet.
    pub fn new(address: SocketAddr, identity: Option<SpiffeId>) -> Self {
        Self {
            address,
            identity,
            imprint: Imprint::of_endpoint(address),
            active: AtomicU32::new(0),
            breaks: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            held_until: AtomicU64::new(0),
            knocked: AtomicBool::new(false),
            latency: AtomicU64::new(0),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The identity it has to prove; with one it is reached through HBONE only.
    pub fn identity(&self) -> Option<&SpiffeId> {
        self.identity.as_ref()
    }

    /// By which a client's own endpoint is found.
    pub fn imprint(&self) -> Imprint {
        self.imprint
    }

    /// Requests under way.
    pub fn active(&self) -> u32 {
        self.active.load(Relaxed)
    }

    /// Counts a request as under way until the guard is dropped.
    pub fn begin(self: &Arc<Self>) -> InFlight {
        self.active.fetch_add(1, Relaxed);
        InFlight(self.clone())
    }

    /// Takes note of an answer: ends a hold, and counts into the latency. Callers leave errors out of `latency`, or an
    /// endpoint that fails fast would draw the traffic.
    pub fn answered(&self, now: Moment, latency: Option<Duration>) {
        if self.held_until.load(Relaxed) != 0 {
            self.held_until.store(0, Relaxed);
        }
        if self.breaks.load(Relaxed) != 0 {
            self.breaks.store(0, Relaxed);
        }
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
        }
        if let Some(latency) = latency {
            let sample = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).min(u64::from(u32::MAX));
            let before = self.latency_at(now);
            let sample = sample.min((before + LATENCY_FLOOR) * SURPRISE);
            let smoothed = if before == 0 { sample } else { (before * 3 + sample) / 4 };
            self.latency.store(smoothed.max(1) << 32 | u64::from(now.0 as u32), Relaxed);
        }
    }

    /// Takes note of a connection that could not be made, and holds the endpoint back.
    ///
    /// Failures during a hold do not lengthen it: they come from requests that started before it.
    pub fn unreachable(&self, now: Moment) {
        let seen = self.held_until.load(Relaxed);
        if seen == 0 || seen <= now.0 {
            self.hold(seen, now);
        }
    }

    /// Takes note of a request that was sent and not answered, and holds the endpoint back if that happens in a row.
    pub fn broke(&self, now: Moment) {
        if self.breaks.fetch_add(1, Relaxed) + 1 >= BREAKS {
            self.unreachable(now);
        }
    }

    /// Takes note that it takes connections again.
    pub fn knocked(&self, now: Moment) {
        let until = self.held_until.load(Relaxed);
        if until != 0 {
            self.knocked.store(true, Relaxed);
            // An answer may have ended the hold meanwhile.
            let _ = self.held_until.compare_exchange(until, now.0.max(1), Relaxed, Relaxed);
        }
    }

    /// Whether it may be chosen.
    pub fn health(&self, now: Moment) -> Health {
        match self.held_until.load(Relaxed) {
            0 => Health::Open,
            until if until <= now.0 && self.knocked.load(Relaxed) => Health::Proven,
            until if until <= now.0 => Health::Due,
            _ => Health::Held,
        }
    }

    /// Claims the one knock or probe that is due; `false` if another thread was faster. The next hold starts now, as if it
    /// had failed already, so that one whose end nobody hears of does not open the endpoint.
    pub fn claim(&self, now: Moment) -> bool {
        let seen = self.held_until.load(Relaxed);
        seen != 0 && seen <= now.0 && self.hold(seen, now)
    }

    /// The smoothed latency in microseconds; none if it has not been measured lately.
    pub fn latency(&self, now: Moment) -> Option<u64> {
        Some(self.latency_at(now)).filter(|latency| *latency > 0)
    }

    /// What choosing it costs: the requests under way, weighed by how long they take.
    pub fn cost(&self, now: Moment) -> u64 {
        (u64::from(self.active()) + 1) * (self.latency_at(now) + LATENCY_FLOOR)
    }

    /// Starts the next hold; `false` if somebody else changed it since it was `seen`.
    fn hold(&self, seen: u64, now: Moment) -> bool {
        let failures = self.failures.load(Relaxed);
        let hold = (FIRST_HOLD << failures.min(16)).min(LONGEST_HOLD);
        let won = self.held_until.compare_exchange(seen, now.after(hold).0.max(1), Relaxed, Relaxed).is_ok();
        if won {
            self.knocked.store(false, Relaxed);
            self.failures.store(failures.saturating_add(1), Relaxed);
        }
        won
    }

    fn latency_at(&self, now: Moment) -> u64 {
        let packed = self.latency.load(Relaxed);
        // Another thread's clock may be a moment ahead.
        let age = (now.0 as u32).wrapping_sub(packed as u32).cast_signed().max(0).cast_unsigned();
        (packed >> 32) >> (age / LATENCY_HALF_LIFE).min(32)
    }
}

// === impl InFlight ===

impl InFlight {
    /// The endpoint.
    pub fn endpoint(&self) -> &Arc<EndpointRecord> {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Arc<EndpointRecord> {
        Arc::new(EndpointRecord::new(([10, 0, 0, 1], 80).into(), None))
    }

    #[test]
    fn holds_double_up_to_a_limit_and_an_answer_ends_them() {
        let it = record();
        assert_eq!(it.health(Moment(5)), Health::Open);
        it.unreachable(Moment(5));
        let mut now = Moment(5);
        for hold in [100, 200, 400, 800, 1_600, 1_800, 1_800] {
            assert_eq!(it.health(now.after(hold - 1)), Health::Held, "{hold}");
            now = now.after(hold);
            assert_eq!(it.health(now), Health::Due, "{hold}");
            assert!(it.claim(now));
        }
        it.answered(now, None);
        assert_eq!(it.health(now), Health::Open);
        it.unreachable(now);
        assert_eq!(it.health(now.after(100)), Health::Due, "counting starts anew after an answer");
    }

    #[test]
    fn one_probe_is_let_through_when_a_hold_ends() {
        let it = record();
        it.unreachable(Moment(0));
        assert!(!it.claim(Moment(99)), "not before its end");
        assert!(it.claim(Moment(100)));
        assert!(!it.claim(Moment(100)), "and only one");
        assert_eq!(it.health(Moment(299)), Health::Held);
        assert_eq!(it.health(Moment(300)), Health::Due, "a probe that never ends is no deadlock");
    }

    #[test]
    fn who_took_a_connection_is_probed_by_one_request() {
        let it = record();
        it.unreachable(Moment(0));
        assert!(it.claim(Moment(100)), "to knock");
        it.knocked(Moment(110));
        assert_eq!(it.health(Moment(110)), Health::Proven);
        assert!(it.claim(Moment(110)), "to probe");
        assert!(!it.claim(Moment(110)));
        assert_eq!(it.health(Moment(110)), Health::Held, "until the probe is answered");
        it.answered(Moment(111), None);
        it.knocked(Moment(112));
        assert_eq!(it.health(Moment(112)), Health::Open, "a late knock holds nothing back");
    }

    #[test]
    fn one_broken_request_may_be_its_own_fault_but_not_two_in_a_row() {
        let it = record();
        it.broke(Moment(0));
        it.answered(Moment(1), None);
        it.broke(Moment(2));
        assert_eq!(it.health(Moment(2)), Health::Open);
        it.broke(Moment(3));
        assert_eq!(it.health(Moment(3)), Health::Held);
        assert!(it.claim(Moment(103)));
        it.broke(Moment(104));
        assert_eq!(it.health(Moment(303)), Health::Due, "a broken probe does not lengthen the hold it began");
    }

    #[test]
    fn a_hundred_connections_that_fail_together_are_one_failure() {
        let it = record();
        for _ in 0..100 {
            it.unreachable(Moment(7));
        }
        assert_eq!(it.health(Moment(107)), Health::Due);
    }

    #[test]
    fn a_request_is_load_until_it_is_dropped() {
        let it = record();
        let idle = it.cost(Moment(0));
        let (one, two) = (it.begin(), it.begin());
        assert_eq!(it.active(), 2);
        assert_eq!(it.cost(Moment(0)), idle * 3);
        drop((one, two));
        assert_eq!(it.cost(Moment(0)), idle);
    }

    #[test]
    fn a_slow_endpoint_costs_more_until_its_slowness_is_forgotten() {
        let (slow, fast) = (record(), record());
        for _ in 0..12 {
            slow.answered(Moment(0), Some(Duration::from_millis(80)));
            fast.answered(Moment(0), Some(Duration::from_millis(2)));
        }
        assert!(slow.cost(Moment(0)) > 10 * fast.cost(Moment(0)));
        assert_eq!(slow.cost(Moment(60_000_000)), fast.cost(Moment(60_000_000)));
        slow.answered(Moment(70_000_000), Some(Duration::from_secs(10_000_000)));
        assert!(slow.cost(Moment(70_000_000)) > 0, "no overflow");
    }
}
