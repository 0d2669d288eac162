//! Whether limits let a request pass: those of the listener that it came by, of the rule that takes it, and of the Service that it is
//! for. Every limit counts: none of them widens another.
//!
//! A request is counted once by each, however often it is tried, and its copies are not. What a limit refuses has been counted by those
//! that were asked before: those by key come before those that count all together, so that whom one of the former refuses takes nothing
//! from the others.

#[cfg(test)]
mod tests;

use super::access::{self, Asking};
use super::{Origin, Reason};
use crate::limit::{Nanos, Order, Who};
use crate::route::RequestHead;
use crate::table::{Counted, Counting, LimitsOfTarget, Tables};
use crate::telemetry::Exchange;
use crate::upstream::cluster::Cluster;
use fairway_config::model::{BackendKey, Listener, RateLimitKey};
use fairway_policy::{Mode, Path, Request};
use fairway_telemetry::LimitDecision;
use http::request::Parts;

/// The limits that count a request, by the names that the configuration has for them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Meter<'t> {
    /// Those of the listener.
    pub listener: &'t [RateLimitKey],
    /// Those of the route's rule.
    pub rule: &'t [RateLimitKey],
    /// Those of a Service.
    pub service: &'t [RateLimitKey],
}

// === impl Meter ===

impl<'t> Meter<'t> {
    /// What counts a request by the door that it came by, before a rule is known: the listener and the Service that was asked.
    pub fn at_the_door(
        tables: &'t Tables,
        origin: &'t Origin,
        listener: Option<&'t Listener>,
        own: &BackendKey,
    ) -> Self {
        let of_listener = |it: Option<&'t Listener>| it.map(|it| &*it.limits).unwrap_or_default();
        match origin {
            Origin::Gateway { .. } => Self { listener: of_listener(listener), ..Self::default() },
            Origin::Service(origin) => Self {
                listener: of_listener(access::tunnel(tables, origin)),
                rule: &[],
                service: access::asked(tables, origin, own).map(Cluster::limits).unwrap_or_default(),
            },
        }
    }

    /// What counts all that goes to a backend.
    pub fn of_backend(cluster: &'t Cluster, own: &BackendKey) -> Self {
        let service = access::straight(cluster, own).map(Cluster::limits).unwrap_or_default();
        Self { service, ..Self::default() }
    }

    /// Whether no limit counts it.
    pub fn is_empty(&self) -> bool {
        self.listener.is_empty() && self.rule.is_empty() && self.service.is_empty()
    }

    /// Whether nothing passes, because limits are not known or cannot be carried out.
    pub fn is_closed(&self, tables: &Tables) -> bool {
        self.targets(tables).any(|(_, it)| it.is_none_or(LimitsOfTarget::is_closed))
    }

    /// What is known under each name.
    pub fn targets(
        self,
        tables: &'t Tables,
    ) -> impl Iterator<Item = (&'t RateLimitKey, Option<&'t LimitsOfTarget>)> {
        let keys = self.listener.iter().chain(self.rule).chain(self.service);
        keys.map(|key| (key, tables.limits().get(key)))
    }

    /// Counts a request by the limits of these orders, or says that one refuses it.
    pub(super) fn count(
        self,
        tables: &'t Tables,
        orders: &[Order],
        asking: Asking<'_>,
        parts: &Parts,
        now: Nanos,
        exchange: &mut Exchange,
    ) -> Result<(), Reason> {
        let who = Who { address: asking.address, identity: asking.peer, headers: &parts.headers };
        for order in orders {
            for (key, target) in self.targets(tables) {
                let target = target.ok_or(Reason::UnresolvedLimit)?;
                if target.is_closed() {
                    return Err(Reason::UnresolvedLimit);
                }
                let Counting::Each(counted) = &target.counting else { continue };
                for it in counted.iter().filter(|it| it.order == *order) {
                    if it.limiter.has_conditions() && !counts(it, asking, parts)? {
                        continue;
                    }
                    let Err(wait) = it.limiter.take(&who, now) else { continue };
                    match target.mode {
                        Mode::Observe => exchange.limited(key, it, LimitDecision::WouldLimit),
                        Mode::Enforce => {
                            exchange.limited(key, it, LimitDecision::Limited);
                            return Err(Reason::Limited(wait));
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

/// Whether a limit is about a request.
fn counts(counted: &Counted, asking: Asking<'_>, parts: &Parts) -> Result<bool, Reason> {
    let head = RequestHead::read(parts).map_err(Reason::BadRequest)?;
    let path = Path::new(&head.path);
    let request = Request { method: head.method, host: &head.host, path: &path, headers: head.headers };
    Ok(counted.limiter.counts(&asking.attributes(Some(request))))
}

/// The limits of a meter, for operators.
pub(crate) fn describe(meter: Meter<'_>, tables: &Tables) -> Vec<String> {
    let target = |(key, target): (&RateLimitKey, Option<&LimitsOfTarget>)| match target {
        None => vec![format!("{key}: not known here, so nothing passes")],
        Some(it) if it.is_closed() => vec![format!("{key}: cannot be carried out, so nothing passes")],
        Some(target) => {
            let observed = if target.mode == Mode::Observe { "; only observed" } else { "" };
            let counted = target.counted().iter();
            counted.map(|it| format!("{key} {}: {}{observed}", it.name, it.limiter)).collect()
        }
    };
    meter.targets(tables).flat_map(target).collect()
}

/// A limit in words for the log: the client is not told which one it met.
pub(crate) fn in_words(key: &RateLimitKey, counted: &Counted) -> String {
    format!("policy=\"{}\" limit=\"{}\"", key.policy(), counted.name)
}
