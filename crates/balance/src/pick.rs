//! Choosing one of the candidates: power of two choices (P2C), or rendezvous hashing where clients have affinity.

use crate::Moment;
use crate::affinity::HashKey;
use crate::ejection::Health;
use crate::endpoint::EndpointRecord;
use rand::Rng;
use std::sync::Arc;

/// The candidates of a request, by index.
pub trait Candidates {
    /// The number of candidates.
    fn len(&self) -> usize;

    /// The record of a candidate. `None` means that nothing is known about it: it is healthy and has no load.
    fn record(&self, index: usize) -> Option<&EndpointRecord>;

    /// The key of a candidate for session affinity.
    fn hash_key(&self, index: usize) -> HashKey;

    /// Whether there are no candidates.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a choice depends on, besides the candidates.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Of the same epoch as the moments that the endpoints have recorded.
    pub now: Moment,
    /// The key of the client, if the Service has session affinity.
    pub client: Option<HashKey>,
    /// How an ejected endpoint is readmitted.
    pub readmission: Readmission,
}

/// How an ejected endpoint is readmitted when its ejection time is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Readmission {
    /// An active health check comes first. Only if it succeeds is a request sent as half-open probe, so that an endpoint
    /// that stays down costs no request.
    #[default]
    CheckFirst,
    /// The next request is the half-open probe. For callers that try another endpoint at no cost if it fails.
    ProbeAtOnce,
}

// === impl Request ===

impl Request {
    /// A request without affinity, with [`Readmission::CheckFirst`].
    pub fn at(now: Moment) -> Self {
        Self { now, client: None, readmission: Readmission::CheckFirst }
    }
}

// === impl Candidates ===

impl Candidates for [Arc<EndpointRecord>] {
    fn len(&self) -> usize {
        <[_]>::len(self)
    }

    fn record(&self, index: usize) -> Option<&EndpointRecord> {
        self.get(index).map(|record| &**record)
    }

    fn hash_key(&self, index: usize) -> HashKey {
        self.get(index).map_or(HashKey::of_client([0, 0, 0, 0].into()), |record| record.hash_key())
    }
}

/// Chooses a candidate. `None` only if there are no candidates.
///
/// Candidates that are ejected, and those for which `is_excluded` holds (the request has tried them), are left out. If no other
/// one is left, the ejected ones count again, and then all: a request that may fail is better than a certain 503.
///
/// If the choice is due for its half-open probe, this request is the probe: the caller must send it there and record the
/// outcome. `start_check` is called with each candidate for which the caller has to start an active health check.
///
/// ```
/// use fairway_balance::{EndpointRecord, Moment, Request, pick};
/// use rand::SeedableRng;
/// use std::sync::Arc;
///
/// let endpoints: Vec<_> =
///     (1..=2_u8).map(|host| Arc::new(EndpointRecord::new(([10, 0, 0, host], 80).into(), None))).collect();
/// endpoints.iter().for_each(|it| it.record_connect_failure(Moment(0)));
/// let (request, mut rng) = (Request::at(Moment(1)), rand::rngs::SmallRng::seed_from_u64(7));
///
/// // Both are ejected, so both are candidates. The one that the request has tried comes last.
/// assert_eq!(pick(&endpoints[..], &request, &mut rng, |index| index == 0, |_| ()), Some(1));
/// // Both were tried: a third try is better than none.
/// assert!(pick(&endpoints[..], &request, &mut rng, |_| true, |_| ()).is_some());
/// ```
pub fn pick(
    candidates: &(impl Candidates + ?Sized),
    request: &Request,
    rng: &mut impl Rng,
    is_excluded: impl Fn(usize) -> bool,
    mut start_check: impl FnMut(usize),
) -> Option<usize> {
    match candidates.len() {
        0 => return None,
        1 => return Some(0),
        _ => {}
    }
    let health =
        |index| candidates.record(index).map_or(Health::Healthy, |record| record.health(request.now));
    let claim = |index| candidates.record(index).is_some_and(|record| record.claim(request.now));
    let mut draw = |is_usable: &dyn Fn(usize) -> bool| match request.client {
        Some(client) => highest_score(candidates, client, is_usable),
        None => draw_two(candidates, request.now, rng, is_usable),
    };
    // Repeated, because the drawn candidate may be due for a check, or another thread may claim the probe first.
    for _ in 0..4 {
        let Some(drawn) = draw(&|index| !is_excluded(index) && health(index) != Health::Ejected) else {
            break;
        };
        match (health(drawn), request.readmission) {
            (Health::Healthy, _) => return Some(drawn),
            (Health::ProbeDue, _) | (Health::CheckDue, Readmission::ProbeAtOnce) if claim(drawn) => {
                return Some(drawn);
            }
            (Health::CheckDue, Readmission::CheckFirst) if claim(drawn) => start_check(drawn),
            _ => {}
        }
    }
    let healthy = draw(&|index| !is_excluded(index) && health(index) == Health::Healthy);
    healthy.or_else(|| {
        let drawn = draw(&|index| !is_excluded(index)).or_else(|| draw(&|_| true))?;
        // If a check or a probe is due there, this request is it.
        claim(drawn);
        Some(drawn)
    })
}

/// Rendezvous hashing: the usable candidate with the highest score for the client.
fn highest_score(
    candidates: &(impl Candidates + ?Sized),
    client: HashKey,
    is_usable: impl Fn(usize) -> bool,
) -> Option<usize> {
    let usable = (0..candidates.len()).filter(|index| is_usable(*index));
    usable.max_by_key(|index| candidates.hash_key(*index).score(client))
}

/// P2C: draws two candidates and takes the better one. If neither is usable, looks at all of them and draws two of the usable
/// ones.
fn draw_two(
    candidates: &(impl Candidates + ?Sized),
    now: Moment,
    rng: &mut impl Rng,
    is_usable: impl Fn(usize) -> bool,
) -> Option<usize> {
    let count = candidates.len();
    if count < 2 {
        return (0..count).find(|index| is_usable(*index));
    }
    let one = rng.random_range(0..count);
    let two = (one + rng.random_range(1..count)) % count;
    match (is_usable(one), is_usable(two)) {
        (true, true) => Some(better(candidates, one, two, now)),
        (true, false) => Some(one),
        (false, true) => Some(two),
        // Reservoir sampling: each pair of usable candidates is equally likely.
        (false, false) => {
            let (mut drawn, mut seen) = ([None, None], 0);
            for index in (0..count).filter(|index| is_usable(*index)) {
                seen += 1;
                if seen <= 2 {
                    drawn[seen - 1] = Some(index);
                } else if let Some(slot) = drawn.get_mut(rng.random_range(0..seen)) {
                    *slot = Some(index);
                }
            }
            // The order of the list must not decide between equals.
            if rng.random() {
                drawn.reverse();
            }
            match drawn {
                [Some(one), Some(two)] => Some(better(candidates, one, two, now)),
                [one, two] => one.or(two),
            }
        }
    }
}

/// The better of two candidates. One that is due for a check or a probe comes first. Otherwise the cheaper one, if the other
/// costs at least twice as much; else the one with fewer open requests; else `one`, which was drawn at random. Smaller
/// differences in cost are noise, and without the last rule a client that sends one request after another would always get the
/// same endpoint.
fn better(candidates: &(impl Candidates + ?Sized), one: usize, two: usize, now: Moment) -> usize {
    let look = |index| match candidates.record(index) {
        Some(record) => (record.health(now), record.cost(now), record.active()),
        None => (Health::Healthy, IDLE_COST, 0),
    };
    let (health_one, cost_one, active_one) = look(one);
    let (health_two, cost_two, active_two) = look(two);
    let is_due = |health| matches!(health, Health::CheckDue | Health::ProbeDue);
    let takes_two = match (is_due(health_one), is_due(health_two)) {
        (true, _) => false,
        (false, true) => true,
        (false, false) if cost_one >= 2 * cost_two => true,
        (false, false) if cost_two >= 2 * cost_one => false,
        (false, false) => active_two < active_one,
    };
    if takes_two { two } else { one }
}

/// The cost of a candidate without a record.
const IDLE_COST: u64 = crate::latency::FLOOR;

#[cfg(test)]
mod tests;
