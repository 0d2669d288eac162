//! The status of a whole Gateway.

use super::listener::ListenerReport;
use super::{GatewayReport, ListenerPlan, verdict};
use crate::compile::choice;
use crate::compile::evaluation::Evaluation;
use crate::compile::index::IndexKey;
use crate::compile::output::ProxyClass;
use crate::compile::reader::Reader;
use crate::compile::settings::Mode;
use crate::resources::{Kind, ObjectRef};
use crate::status::{Condition, GatewayStatus, ListenerStatus, ObjectStatus, Truth, reason};
use fairway_config::model::ObjectName;

/// Puts the status together.
pub(in crate::compile) fn status(reader: &mut Reader<'_>, name: &ObjectName) -> Evaluation {
    let mut made = Evaluation::default();
    let Some(report) = reader.gateway_report(name) else { return made };
    let mut conditions = vec![accepted(&report), programmed(&report), resolved(&report)];
    conditions.extend(assigned(&report));
    conditions.extend(insecure(&report));
    conditions.extend(default_gateway(&report));
    conditions.extend(bound(reader, name, &report));
    conditions.extend(report.ignored.condition(report.generation));
    let attached = report.sets.values().filter(|it| it.is_accepted()).count();
    let status = GatewayStatus {
        listeners: listener_statuses(reader, &report.plan.listeners, &report.listeners),
        addresses: report.addresses.assigned.clone(),
        attached_listener_sets: attached.try_into().unwrap_or(u32::MAX),
        conditions,
    };
    made.statuses.push((ObjectRef::of(Kind::Gateway, name), ObjectStatus::Gateway(status)));
    made
}

/// The status of each listener of an object.
pub(super) fn listener_statuses(
    reader: &mut Reader<'_>,
    plans: &[ListenerPlan],
    reports: &[ListenerReport],
) -> Vec<ListenerStatus> {
    let listeners = plans.iter().zip(reports);
    let status = |(plan, it): (&ListenerPlan, &ListenerReport)| ListenerStatus {
        name: plan.name.clone(),
        supported_kinds: plan.kinds.clone(),
        attached_routes: reader.count(IndexKey::Attached(plan.key.clone())).try_into().unwrap_or(u32::MAX),
        conditions: it.conditions.clone(),
    };
    listeners.map(status).collect()
}

/// The names of the listeners of which this is so.
pub(super) fn names(
    plans: &[ListenerPlan],
    reports: &[ListenerReport],
    is_so: impl Fn(&ListenerReport) -> bool,
) -> String {
    let found = plans.iter().zip(reports).filter(|(_, it)| is_so(it));
    found.map(|(plan, _)| &*plan.name).collect::<Vec<_>>().join(", ")
}

fn accepted(report: &GatewayReport) -> Condition {
    let generation = report.generation;
    if let Some((reason, message)) = &report.refusal {
        return Condition::fails(reason::ACCEPTED, reason, message.clone(), generation);
    }
    let listeners = |is_accepted: bool| {
        names(&report.plan.listeners, &report.listeners, |it| it.is_accepted == is_accepted)
    };
    let (bad, good) = (listeners(false), listeners(true));
    if bad.is_empty() {
        let message = report.ignored.qualify("the Gateway is in order");
        return Condition::holds(reason::ACCEPTED, reason::ACCEPTED, message, generation);
    }
    match report.is_accepted() {
        false => {
            let message = format!("no listener is in order: {bad}; see their conditions");
            Condition::fails(reason::ACCEPTED, reason::LISTENERS_NOT_VALID, message, generation)
        }
        true => {
            let message = format!("not in order: {bad}; accepted: {good}; see their conditions");
            Condition::holds(reason::ACCEPTED, reason::LISTENERS_NOT_VALID, message, generation)
        }
    }
}

fn programmed(report: &GatewayReport) -> Condition {
    let fails =
        |reason, message: String| Condition::fails(reason::PROGRAMMED, reason, message, report.generation);
    if report.refusal.is_some() {
        return fails(reason::INVALID, "the Gateway is not accepted".to_owned());
    }
    if let Some(message) = &report.addresses.unusable {
        return fails(reason::ADDRESS_NOT_USABLE, message.clone());
    }
    if let Some(message) = &report.addresses.nowhere {
        return fails(reason::ADDRESS_NOT_ASSIGNED, message.clone());
    }
    if !report.plan.listeners.iter().any(|it| it.programmed) {
        return fails(reason::INVALID, "no listener can be served; see their conditions".to_owned());
    }
    if report.addresses.assigned.is_empty() {
        let whys = report.addresses.unsatisfied.join(". ");
        let message = if whys.is_empty() { "the Gateway has no address yet".to_owned() } else { whys };
        return fails(reason::ADDRESS_NOT_ASSIGNED, message);
    }
    let (kind, message) = (reason::PROGRAMMED, "the Gateway is served");
    Condition::holds(kind, reason::PROGRAMMED, message, report.generation)
}

/// Whether it has the addresses it asks for (GEP-5093). Not there before anybody knows.
fn assigned(report: &GatewayReport) -> Option<Condition> {
    let (kind, generation, it) = (reason::ADDRESSES_ASSIGNED, report.generation, &report.addresses);
    if report.refusal.is_some() && it.unsupported.is_none() {
        return None;
    }
    let why = it.unsatisfied.join(". ");
    match (it.assigned.is_empty(), it.asked) {
        (true, 0) => None,
        (true, _) => Some(Condition::fails(kind, reason::NOT_ASSIGNED, why, generation)),
        (false, _) if !why.is_empty() => {
            Some(Condition::fails(kind, reason::PARTIALLY_ASSIGNED, why, generation))
        }
        (false, _) => {
            let message = "the Gateway has every address it asks for";
            Some(Condition::holds(kind, reason::ASSIGNED, message, generation))
        }
    }
}

fn resolved(report: &GatewayReport) -> Condition {
    let (kind, generation) = (reason::RESOLVED_REFS, report.generation);
    if let Some((reason, message)) = &report.backend_defect {
        return Condition::fails(kind, reason, message.clone(), generation);
    }
    let is_unresolved = |it: &ListenerReport| {
        it.conditions.iter().any(|it| it.kind == reason::RESOLVED_REFS && it.status == Truth::False)
    };
    let bad = names(&report.plan.listeners, &report.listeners, is_unresolved);
    match bad.is_empty() {
        true => {
            let message = verdict::all_resolved(report.backend_objection.as_deref().into_iter());
            Condition::holds(kind, kind, message, generation)
        }
        false => {
            let message = format!("references lead nowhere in listeners {bad}; see their conditions");
            Condition::fails(kind, reason::LISTENERS_NOT_RESOLVED, message, generation)
        }
    }
}

/// Whether traffic has been moved to a waypoint. In a cluster only: compiling finds it again there.
fn bound(reader: &mut Reader<'_>, name: &ObjectName, report: &GatewayReport) -> Option<Condition> {
    if report.plan.class != ProxyClass::Waypoint || reader.settings().mode != Mode::Kubernetes {
        return None;
    }
    let was = reader.gateway(name)?.bound;
    Some(match choice::is_bound(reader, name, was) {
        true => {
            let message = "what needs this waypoint goes through it, and is refused when it is not there";
            Condition::holds(reason::BOUND, reason::HAS_BEEN_READY, message, report.generation)
        }
        false => {
            let message = "it has not been ready yet, and what needs it goes without it until it is";
            Condition::fails(reason::BOUND, reason::PENDING, message, report.generation)
        }
    })
}

/// Only there while it is so (GEP-3793).
fn default_gateway(report: &GatewayReport) -> Option<Condition> {
    let message = "routes with useDefaultGateways All attach to it, as its listeners allow";
    let kind = reason::DEFAULT_GATEWAY;
    report.is_default.then(|| Condition::holds(kind, kind, message, report.generation))
}

/// Only there while it is so (GEP-91).
fn insecure(report: &GatewayReport) -> Option<Condition> {
    let message =
        "clients without a valid certificate are served too (AllowInsecureFallback): backends have to decide";
    let (kind, reason) = (reason::INSECURE_FRONTEND_VALIDATION_MODE, reason::CONFIGURATION_CHANGED);
    report.is_insecure.then(|| Condition::holds(kind, reason, message, report.generation))
}
