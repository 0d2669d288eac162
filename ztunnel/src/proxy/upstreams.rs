//! What a worker knows about the endpoints that one pod connects to: open connections, and recent failures.
//!
//! The records belong to one pod. An endpoint that one pod cannot reach, because of its NetworkPolicy for example, is not ejected for
//! the other pods of the node.

use crate::decide::{CandidateEndpoint, CandidateSet, KnownCandidates};
use fairway_balance::{EndpointRecord, HashKey, Health, InFlight, Moment, Readmission, Request, pick};
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The records of one pod's endpoints on one worker. Clones share them.
#[derive(Clone)]
pub(super) struct Upstreams(Rc<Records>);

struct Records {
    /// Records of endpoints with open connections or a recent failure; all others are healthy and have no load.
    by_address: RefCell<HashMap<SocketAddr, Arc<EndpointRecord>, ahash::RandomState>>,
    epoch: Instant,
}

/// An attempt to connect to an endpoint, and then the connection. Counts as load of the endpoint until it is dropped.
pub(super) struct Attempt {
    upstreams: Upstreams,
    in_flight: InFlight,
    started: Instant,
    is_recorded: bool,
}

/// Time before the next endpoint is tried in parallel (RFC 8305, section 5: Connection Attempt Delay).
pub(super) const ATTEMPT_DELAY: Duration = Duration::from_secs(1);
/// An attempt that is given up after this time, because another endpoint has accepted meanwhile, counts as a failure.
const SLOW: Duration = ATTEMPT_DELAY;
/// Records of endpoints without connections are looked through when there are as many.
const SWEEP_AT: usize = 256;

// === impl Upstreams ===

impl Upstreams {
    pub(super) fn new(epoch: Instant) -> Self {
        Self(Rc::new(Records { by_address: RefCell::default(), epoch }))
    }

    /// Chooses an endpoint whose index is not in `tried`. `None` if all were tried. An endpoint whose ejection is over gets a
    /// connection at once: if it fails, the client does not notice, because another endpoint is tried.
    pub(super) fn pick<'a>(
        &self,
        candidates: &'a CandidateSet,
        client: IpAddr,
        tried: &mut Vec<usize>,
    ) -> Option<&'a CandidateEndpoint> {
        let endpoints = candidates.endpoints();
        if tried.len() >= endpoints.len() {
            return None;
        }
        let records = self.0.by_address.borrow();
        let known = KnownCandidates { endpoints, records: &records };
        let client = candidates.has_affinity().then(|| HashKey::of_client(client));
        let request = Request { now: self.now(), client, readmission: Readmission::ProbeAtOnce };
        let index = pick(&known, &request, &mut rand::rng(), |index| tried.contains(&index), |_| ())?;
        tried.push(index);
        endpoints.get(index)
    }

    /// Starts an attempt to connect to an endpoint.
    pub(super) fn begin(&self, address: SocketAddr) -> Attempt {
        let mut records = self.0.by_address.borrow_mut();
        if records.len() >= SWEEP_AT {
            let now = self.now();
            records.retain(|_, record| record.active() > 0 || record.health(now) == Health::Ejected);
        }
        let record = records.entry(address).or_insert_with(|| Arc::new(EndpointRecord::new(address, None)));
        let in_flight = record.begin();
        Attempt { upstreams: self.clone(), in_flight, started: Instant::now(), is_recorded: false }
    }

    fn now(&self) -> Moment {
        let elapsed = Instant::now().saturating_duration_since(self.0.epoch);
        Moment(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
    }
}

// === impl Attempt ===

impl Attempt {
    /// The endpoint has accepted.
    pub(super) fn succeed(&mut self) {
        self.is_recorded = true;
        self.in_flight.endpoint().record_response(self.upstreams.now(), None);
    }

    /// The endpoint has not accepted, and another one may be tried.
    pub(super) fn fail(&mut self) {
        self.is_recorded = true;
        self.in_flight.endpoint().record_connect_failure(self.upstreams.now());
    }

    /// The attempt has ended for a reason that says nothing about the endpoint.
    pub(super) fn cancel(&mut self) {
        self.is_recorded = true;
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.is_recorded && self.started.elapsed() >= SLOW {
            self.fail();
        }
        let endpoint = self.in_flight.endpoint();
        // This attempt is still counted.
        if endpoint.active() == 1 && endpoint.health(self.upstreams.now()) == Health::Healthy {
            self.upstreams.0.by_address.borrow_mut().remove(&endpoint.address());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::Index;
    use fairway_config::model::{BackendKey, Endpoint, EndpointState, Endpoints, Resource, SessionAffinity};
    use fairway_config::{Delta, Snapshot};
    use std::collections::HashSet;

    fn address(host: u8) -> SocketAddr {
        ([10, 0, 0, host], 80).into()
    }

    fn candidates(count: u8, session_affinity: SessionAffinity) -> CandidateSet {
        let endpoint = |host| Endpoint {
            address: address(host),
            state: EndpointState::Ready,
            identity: None,
            node: None,
            hints: None,
        };
        let endpoints = Endpoints::of_anybody("shop/web:80".into(), (0..count).map(endpoint).collect());
        let upserts = vec![Resource::Endpoints(Arc::new(Endpoints { session_affinity, ..endpoints }))];
        let (snapshot, _) = Snapshot::default().apply(Delta { upserts, ..Delta::default() });
        let index = Index::build(Default::default(), &snapshot);
        index.candidates(&BackendKey::from("shop/web:80"), None).unwrap()
    }

    fn pick_all(upstreams: &Upstreams, candidates: &CandidateSet, client: [u8; 4]) -> Vec<SocketAddr> {
        let mut tried = Vec::new();
        std::iter::from_fn(|| {
            upstreams.pick(candidates, client.into(), &mut tried).map(|endpoint| endpoint.address)
        })
        .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn each_endpoint_is_tried_once_and_the_one_with_fewer_connections_first() {
        let (upstreams, candidates) = (Upstreams::new(Instant::now()), candidates(2, SessionAffinity::None));
        let open = upstreams.begin(address(0));
        for _ in 0..100 {
            assert_eq!(pick_all(&upstreams, &candidates, [10, 1, 0, 1]), [address(1), address(0)]);
        }
        drop(open);
        let first: HashSet<_> = (0..100)
            .filter_map(|_| pick_all(&upstreams, &candidates, [10, 1, 0, 1]).into_iter().next())
            .collect();
        assert_eq!(first.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_that_failed_comes_last_until_its_ejection_is_over_and_then_one_connection_probes_it()
    {
        let (upstreams, candidates) = (Upstreams::new(Instant::now()), candidates(2, SessionAffinity::None));
        upstreams.begin(address(0)).fail();
        let first = || pick_all(&upstreams, &candidates, [10, 1, 0, 1])[0];
        assert!((0..100).all(|_| first() == address(1)));
        tokio::time::advance(Duration::from_millis(100)).await;
        assert_eq!((0..100).filter(|_| first() == address(0)).count(), 1);
        upstreams.begin(address(0)).succeed();
        assert!((0..100).any(|_| first() == address(0)));
        assert!(upstreams.0.by_address.borrow().is_empty(), "nothing is kept of healthy endpoints");
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_is_overtaken_counts_as_a_failure_only_if_it_was_slow() {
        let upstreams = Upstreams::new(Instant::now());
        for (waited, expected) in [(SLOW / 2, 0), (SLOW, 1)] {
            let attempt = upstreams.begin(address(0));
            tokio::time::advance(waited).await;
            drop(attempt);
            assert_eq!(upstreams.0.by_address.borrow().len(), expected, "{waited:?}");
        }
    }

    #[test]
    fn with_affinity_a_client_tries_the_endpoints_in_its_own_order() {
        let (upstreams, candidates) =
            (Upstreams::new(Instant::now()), candidates(5, SessionAffinity::ClientIp));
        let orders: HashSet<_> =
            (0..100).map(|client| pick_all(&upstreams, &candidates, [10, 1, 0, client])).collect();
        for client in 0..100 {
            let order = pick_all(&upstreams, &candidates, [10, 1, 0, client]);
            assert_eq!(order, pick_all(&upstreams, &candidates, [10, 1, 0, client]));
            assert_eq!(order.iter().collect::<HashSet<_>>().len(), 5);
        }
        assert!(orders.len() > 20);
    }
}
