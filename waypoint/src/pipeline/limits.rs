//! Whether limits let a request pass: those of the listener that it came by, of the rule that takes it, and of the Service that it is
//! for. Every limit counts: none of them widens another.
//!
//! Limits are asked at three places on the way of a request: by address alone before anybody asks who the client is, all others when
//! policies have let it pass, and those of a Service that it is routed to when that is chosen. At each place they are asked level by
//! level (Gateway, listener, route, rule, Service), and first whether all of them have a place for the request: one that is refused
//! takes none. What has been taken at an earlier place stays taken.
//!
//! The filters of a listener stand behind what the listener counts by address.
//!
//! A request is counted once by each, however often it is tried, and its copies are not.

#[cfg(test)]
mod tests;

use super::Reason;
use super::access::{PolicyCheck, PolicySet, RequestSource};
use super::execution::{Execution, Notes};
use super::guards::Guards;
use crate::limit::{ClientKey, Nanos, Refused, Who};
use crate::route::RequestHead;
use crate::table::{Counted, Counting, LimitsOfTarget, Tables};
use crate::telemetry::{BytesRefusal, Exchange};
use crate::worker::Worker;
use fairway_config::model::RateLimitKey;
use fairway_policy::{Mode, Path, Request};
use fairway_telemetry::LimitDecision;
use http::request::Parts;
use smallvec::SmallVec;

/// A limit that counts a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'t> {
    pub key: &'t RateLimitKey,
    pub mode: Mode,
    pub counted: &'t Counted,
    client: Option<ClientKey>,
}

/// Counts a request by the limits that look at nothing but the address, or by all others; or says that one refuses it.
pub(super) fn count<'t, E: Execution<'t>>(
    check: &mut PolicyCheck<'_, 't, E>,
    by_address: bool,
    parts: &Parts,
) -> Result<(), Reason> {
    if !check.policies.has_limits() {
        return Ok(());
    }
    let asked = asked(check, by_address, parts)?;
    if asked.is_empty() {
        return Ok(());
    }
    check.execution.count(&asked, check.notes)
}

/// Takes a place in each of these limits, or in none if one that is enforced has none.
pub(super) fn take(asked: &[Asked<'_>], now: Nanos, exchange: &mut Exchange) -> Result<(), Reason> {
    // One alone is asked and taken in one step.
    if asked.len() > 1 {
        let enforced = asked.iter().filter(|it| it.mode == Mode::Enforce);
        if let Some((it, refused)) =
            enforced.map(|it| (it, it.check(now))).find_map(|(it, said)| Some((it, said.err()?)))
        {
            return Err(refuse(exchange, it, refused));
        }
    }
    for it in asked {
        let Err(refused) = it.counted.limiter.take(it.client, now) else { continue };
        match it.mode {
            Mode::Observe => exchange.limited(it.key, it.counted, LimitDecision::WouldLimit),
            Mode::Enforce => return Err(refuse(exchange, it, refused)),
        }
    }
    Ok(())
}

/// The limits that count a request at one place, in the order in which they are asked.
fn asked<'t, E: Execution<'t>>(
    check: &mut PolicyCheck<'_, 't, E>,
    by_address: bool,
    parts: &Parts,
) -> Result<SmallVec<[Asked<'t>; 4]>, Reason> {
    let source = check.source;
    let who = Who { address: source.address, identity: source.peer, headers: &parts.headers };
    let mut asked = SmallVec::new();
    let mut policies = check.policies;
    if by_address && check.is_admitted_at_listener {
        policies.listener = Guards::None;
    }
    for (key, target) in targets(policies, check.tables) {
        let Some(target) = target.filter(|it| !it.is_closed()) else {
            check.notes.closed_by(key);
            return Err(Reason::UnresolvedLimit);
        };
        let Counting::Each(counted) = &target.counting else { continue };
        for counted in counted.iter().filter(|it| it.limiter.is_by_address() == by_address) {
            if counted.has_conditions() && !matches(counted, source, parts)? {
                continue;
            }
            let client = counted.limiter.client(&who);
            asked.push(Asked { key, mode: target.mode, counted, client });
        }
    }
    Ok(asked)
}

fn refuse(exchange: &mut Exchange, asked: &Asked<'_>, refused: Refused) -> Reason {
    exchange.limited(asked.key, asked.counted, LimitDecision::Limited);
    Reason::Limited(refused)
}

// === impl Asked ===

impl Asked<'_> {
    fn check(&self, now: Nanos) -> Result<(), Refused> {
        self.counted.limiter.check(self.client, now)
    }
}

/// Lets bytes pass that are no request, if no limit may count them. What it refuses counts.
pub(super) fn admit_bytes(
    worker: &Worker,
    tables: &Tables,
    policies: PolicySet<'_>,
    source: RequestSource<'_>,
) -> Result<(), BytesRefusal> {
    let Some((key, counted)) = of_bytes(tables, policies, source) else { return Ok(()) };
    if let Some(counted) = counted {
        worker.telemetry.recorder.count_limit(&counted.series, LimitDecision::Limited);
    }
    Err(BytesRefusal::Limits(key.clone()))
}

/// The same, and nothing is counted.
pub(super) fn let_bytes_pass(tables: &Tables, policies: PolicySet<'_>, source: RequestSource<'_>) -> bool {
    of_bytes(tables, policies, source).is_none()
}

/// The first limit that may be about bytes of which no request is known. They could carry any number of requests, so it can only be
/// held by letting none pass. One that counts at other ports is not about them.
fn of_bytes<'t>(
    tables: &'t Tables,
    policies: PolicySet<'t>,
    source: RequestSource<'_>,
) -> Option<(&'t RateLimitKey, Option<&'t Counted>)> {
    let attributes = source.attributes(None);
    targets(policies, tables).find_map(|(key, target)| match target {
        None => Some((key, None)),
        Some(it) if it.is_closed() => Some((key, None)),
        Some(it) if it.mode == Mode::Observe => None,
        Some(it) => it.counted().iter().find(|it| it.counts(&attributes)).map(|it| (key, Some(it))),
    })
}

/// Whether nothing passes, because limits are not known or cannot be carried out.
pub(crate) fn are_closed(tables: &Tables, policies: PolicySet<'_>) -> bool {
    targets(policies, tables).any(|(_, it)| it.is_none_or(LimitsOfTarget::is_closed))
}

/// What is known under each name.
fn targets<'t>(
    policies: PolicySet<'t>,
    tables: &'t Tables,
) -> impl Iterator<Item = (&'t RateLimitKey, Option<&'t LimitsOfTarget>)> {
    policies.limits().map(|key| (key, tables.limits().get(key)))
}

/// Whether a limit is about a request.
fn matches(counted: &Counted, source: RequestSource<'_>, parts: &Parts) -> Result<bool, Reason> {
    let head = RequestHead::read(parts).map_err(Reason::BadRequest)?;
    let path = Path::new(&head.path);
    let request = Request { method: head.method, host: &head.host, path: &path, headers: head.headers };
    Ok(counted.counts(&source.attributes(Some(request))))
}
