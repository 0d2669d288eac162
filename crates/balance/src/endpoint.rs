//! The record of one endpoint: its load and its health.

use crate::Moment;
use crate::affinity::HashKey;
use crate::ejection::{Ejection, Health};
use crate::latency::{self, SmoothedLatency};
use fairway_config::model::SpiffeId;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

/// The load and the health of one endpoint, as its users have observed them.
///
/// Health is passive: it follows from the outcome of requests. A connect failure ejects the endpoint, and so do two resets in
/// a row (requests that were sent and not answered). Responses never eject, not even 5xx: a failing application is a matter
/// for retries, and ejecting every endpoint of a broken deployment would only hide the error.
#[derive(Debug)]
pub struct EndpointRecord {
    address: SocketAddr,
    identity: Option<SpiffeId>,
    hash_key: HashKey,
    /// Open requests and connections, as [`InFlight`] counts them.
    active: AtomicU32,
    latency: SmoothedLatency,
    ejection: Ejection,
}

/// An open request or connection. It counts as load of its endpoint until it is dropped.
#[derive(Debug)]
pub struct InFlight(Arc<EndpointRecord>);

// === impl EndpointRecord ===

impl EndpointRecord {
    /// A healthy endpoint without load.
    pub fn new(address: SocketAddr, identity: Option<SpiffeId>) -> Self {
        Self {
            address,
            identity,
            hash_key: HashKey::of_endpoint(address),
            active: AtomicU32::new(0),
            latency: SmoothedLatency::default(),
            ejection: Ejection::default(),
        }
    }

    /// The address and port at which the endpoint listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The identity that the endpoint has to prove. An endpoint with an identity is reached only through HBONE.
    pub fn identity(&self) -> Option<&SpiffeId> {
        self.identity.as_ref()
    }

    /// The endpoint's key for session affinity.
    pub fn hash_key(&self) -> HashKey {
        self.hash_key
    }

    /// The number of open requests.
    pub fn active(&self) -> u32 {
        self.active.load(Relaxed)
    }

    /// Counts a request as open until the guard is dropped.
    pub fn begin(self: &Arc<Self>) -> InFlight {
        self.active.fetch_add(1, Relaxed);
        InFlight(self.clone())
    }

    /// The smoothed latency of responses. Zero without recent ones.
    pub fn latency(&self, now: Moment) -> Duration {
        Duration::from_micros(self.latency.at(now))
    }

    /// Records a response: readmits the endpoint, and counts `latency` into the average. Callers pass no latency for errors:
    /// an endpoint that fails fast must not attract traffic.
    pub fn record_response(&self, now: Moment, latency: Option<Duration>) {
        self.ejection.record_response();
        if let Some(latency) = latency {
            self.latency.add(now, latency);
        }
    }

    /// Records that a connection could not be established, and ejects the endpoint. A failure during an ejection does not
    /// prolong it.
    pub fn record_connect_failure(&self, now: Moment) {
        self.ejection.record_connect_failure(now);
    }

    /// Records that a request was sent and the connection ended without a response. The second one in a row ejects the
    /// endpoint.
    pub fn record_reset(&self, now: Moment) {
        self.ejection.record_reset(now);
    }

    /// Records that an active health check has succeeded: the next request may be the half-open probe. No effect on an
    /// endpoint that is healthy.
    pub fn record_check_success(&self, now: Moment) {
        self.ejection.record_check_success(now);
    }

    /// Whether the endpoint may be chosen.
    pub fn health(&self, now: Moment) -> Health {
        self.ejection.health(now)
    }

    /// Claims the active health check or the half-open probe that is due. `false` if another thread has claimed it. The next
    /// ejection starts with the claim, so that a check or probe whose outcome is never recorded counts as failed.
    pub fn claim(&self, now: Moment) -> bool {
        self.ejection.claim(now)
    }

    /// The cost of choosing the endpoint: (open requests + 1) × latency. The unit has no meaning.
    pub fn cost(&self, now: Moment) -> u64 {
        (u64::from(self.active()) + 1) * (self.latency.at(now) + latency::FLOOR)
    }
}

// === impl InFlight ===

impl InFlight {
    /// The endpoint of the request.
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
    fn ejections_double_up_to_a_limit_and_a_response_ends_them() {
        let endpoint = record();
        assert_eq!(endpoint.health(Moment(5)), Health::Healthy);
        endpoint.record_connect_failure(Moment(5));
        let mut now = Moment(5);
        for time in [100, 200, 400, 800, 1_600, 1_800, 1_800] {
            assert_eq!(endpoint.health(now.after(time - 1)), Health::Ejected, "{time}");
            now = now.after(time);
            assert_eq!(endpoint.health(now), Health::CheckDue, "{time}");
            assert!(endpoint.claim(now));
        }
        endpoint.record_response(now, None);
        assert_eq!(endpoint.health(now), Health::Healthy);
        endpoint.record_connect_failure(now);
        assert_eq!(endpoint.health(now.after(100)), Health::CheckDue, "a response starts the count anew");
    }

    #[test]
    fn one_check_is_claimed_when_an_ejection_ends() {
        let endpoint = record();
        endpoint.record_connect_failure(Moment(0));
        assert!(!endpoint.claim(Moment(99)), "not before its end");
        assert!(endpoint.claim(Moment(100)));
        assert!(!endpoint.claim(Moment(100)), "and only one");
        assert_eq!(endpoint.health(Moment(299)), Health::Ejected);
        assert_eq!(endpoint.health(Moment(300)), Health::CheckDue, "a check that never ends is no deadlock");
    }

    #[test]
    fn an_endpoint_that_passes_its_check_is_probed_by_one_request() {
        let endpoint = record();
        endpoint.record_connect_failure(Moment(0));
        assert!(endpoint.claim(Moment(100)), "the check");
        endpoint.record_check_success(Moment(110));
        assert_eq!(endpoint.health(Moment(110)), Health::ProbeDue);
        assert!(endpoint.claim(Moment(110)), "the probe");
        assert!(!endpoint.claim(Moment(110)));
        assert_eq!(endpoint.health(Moment(110)), Health::Ejected, "until the probe is answered");
        endpoint.record_response(Moment(111), None);
        endpoint.record_check_success(Moment(112));
        assert_eq!(endpoint.health(Moment(112)), Health::Healthy, "a late check changes nothing");
    }

    #[test]
    fn one_reset_may_be_the_fault_of_its_request_but_not_two_in_a_row() {
        let endpoint = record();
        endpoint.record_reset(Moment(0));
        endpoint.record_response(Moment(1), None);
        endpoint.record_reset(Moment(2));
        assert_eq!(endpoint.health(Moment(2)), Health::Healthy);
        endpoint.record_reset(Moment(3));
        assert_eq!(endpoint.health(Moment(3)), Health::Ejected);
        assert!(endpoint.claim(Moment(103)));
        endpoint.record_reset(Moment(104));
        assert_eq!(
            endpoint.health(Moment(303)),
            Health::CheckDue,
            "a failed probe does not prolong the ejection that it began"
        );
    }

    #[test]
    fn a_hundred_connections_that_fail_together_are_one_failure() {
        let endpoint = record();
        for _ in 0..100 {
            endpoint.record_connect_failure(Moment(7));
        }
        assert_eq!(endpoint.health(Moment(107)), Health::CheckDue);
    }

    #[test]
    fn a_request_is_load_until_it_is_dropped() {
        let endpoint = record();
        let idle = endpoint.cost(Moment(0));
        let (one, two) = (endpoint.begin(), endpoint.begin());
        assert_eq!(endpoint.active(), 2);
        assert_eq!(endpoint.cost(Moment(0)), idle * 3);
        drop((one, two));
        assert_eq!(endpoint.cost(Moment(0)), idle);
    }

    #[test]
    fn a_slow_endpoint_costs_more_until_its_latency_has_decayed() {
        let (slow, fast) = (record(), record());
        for _ in 0..12 {
            slow.record_response(Moment(0), Some(Duration::from_millis(80)));
            fast.record_response(Moment(0), Some(Duration::from_millis(2)));
        }
        assert!(slow.cost(Moment(0)) > 10 * fast.cost(Moment(0)));
        assert_eq!(slow.cost(Moment(60_000_000)), fast.cost(Moment(60_000_000)));
        slow.record_response(Moment(70_000_000), Some(Duration::from_secs(10_000_000)));
        assert!(slow.cost(Moment(70_000_000)) > 0, "no overflow");
    }
}
