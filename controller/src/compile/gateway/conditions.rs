//! The status of a whole Gateway.

use super::listener::ListenerReport;
use super::{Check, GatewayReport, ListenerPlan, verdict, waypoint};
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::settings::Mode;
use crate::compile::stage;
use crate::provision::ProxyClass;
use crate::resources::{Gateway, Kind, ObjectRef};
use crate::status::{Condition, ConditionStatus, GatewayStatus, ListenerStatus, ObjectStatus, reason};
use fairway_config::model::{ListenerKey, ObjectName};
use fairway_incremental::{OfInput, Query, Set};

/// Accepted routes of a listener.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) struct Counted(pub ListenerKey);

impl Set<Cluster> for Counted {
    type Member = ObjectRef;
}

/// Puts the status together.
pub(in crate::compile) struct Status;

impl Query<Cluster> for Status {
    type Key = ObjectName;
    type Value = ();
    const STAGE: u8 = stage::CONSEQUENCES;

    fn run(name: &ObjectName, reader: &mut Reader<'_>, made: &mut Made) {
        let Some(report) = reader.get::<Check>(name) else { return };
        let mut conditions = vec![accepted(&report), programmed(&report), resolved(&report)];
        conditions.extend(assigned(&report));
        conditions.extend(insecure(&report));
        conditions.extend(default_gateway(&report));
        conditions.extend(bound(reader, name, &report));
        conditions.extend(report.ignored.condition(report.generation));
        let attached = report.sets.values().filter(|it| it.is_accepted()).count();
        let is_known = !report.is_held();
        let status = GatewayStatus {
            listeners: is_known.then(|| listener_statuses(reader, &report.plan.listeners, &report.listeners)),
            addresses: report.addresses.assigned.clone(),
            attached_listener_sets: is_known.then(|| attached.try_into().unwrap_or(u32::MAX)),
            conditions,
        };
        made.statuses.push((ObjectRef::from_name(Kind::Gateway, name), ObjectStatus::Gateway(status)));
    }
}

impl OfInput<Cluster> for Status {
    fn of_input(name: &ObjectRef) -> Option<Self::Key> {
        (name.kind == Kind::Gateway).then(|| name.object_name())
    }
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
        attached_routes: reader.count(&Counted(plan.key.clone())).try_into().unwrap_or(u32::MAX),
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
    if let Some(error) = &report.refusal {
        return Condition::fails(reason::ACCEPTED, error.reason.condition(), error.text(), generation);
    }
    let listeners = |is_accepted: bool| {
        names(&report.plan.listeners, &report.listeners, |it| it.is_accepted == is_accepted)
    };
    let (bad, good) = (listeners(false), listeners(true));
    if bad.is_empty() {
        let message = report.ignored.qualify("the Gateway is accepted");
        return Condition::holds(reason::ACCEPTED, reason::ACCEPTED, message, generation);
    }
    match report.is_accepted() {
        false => {
            let message = format!("no listener is accepted: {bad}; see the conditions of the listeners");
            Condition::fails(reason::ACCEPTED, reason::LISTENERS_NOT_VALID, message, generation)
        }
        true => {
            let message =
                format!("not accepted: {bad}; accepted: {good}; see the conditions of the listeners");
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
        return fails(
            reason::INVALID,
            "no listener can be served; see the conditions of the listeners".to_owned(),
        );
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
    if let Some(error) = &report.backend_error {
        // The API has a word of its own for the certificate that backends are shown.
        let reason = match error.reason.condition() {
            reason::INVALID_CERTIFICATE_REF => reason::INVALID_CLIENT_CERTIFICATE_REF,
            other => other,
        };
        return Condition::fails(kind, reason, error.text(), generation);
    }
    let is_unresolved = |it: &ListenerReport| {
        it.conditions.iter().any(|it| it.kind == reason::RESOLVED_REFS && it.status == ConditionStatus::False)
    };
    let bad = names(&report.plan.listeners, &report.listeners, is_unresolved);
    match bad.is_empty() {
        true => {
            let message =
                verdict::describe_resolved(report.backend_warning.iter().map(|it| it.text()).collect());
            Condition::holds(kind, kind, message, generation)
        }
        false => {
            let message = format!(
                "references of listeners {bad} are not resolved; see the conditions of the listeners"
            );
            Condition::fails(kind, reason::LISTENERS_NOT_RESOLVED, message, generation)
        }
    }
}

/// Whether traffic has been moved to a waypoint. In a cluster only: compiling finds it again there.
fn bound(reader: &mut Reader<'_>, name: &ObjectName, report: &GatewayReport) -> Option<Condition> {
    if report.plan.class != ProxyClass::Waypoint || reader.settings().mode != Mode::Kubernetes {
        return None;
    }
    let was = reader.input::<Gateway>(name)?.bound;
    Some(match waypoint::is_bound(reader, name, was) {
        true => {
            let message = "connections that need this waypoint pass through it, and are refused while none of its pods is ready";
            Condition::holds(reason::BOUND, reason::HAS_BEEN_READY, message, report.generation)
        }
        false => {
            let message = "the waypoint has not been ready yet; until it is, connections pass without it";
            Condition::fails(reason::BOUND, reason::PENDING, message, report.generation)
        }
    })
}

/// Only there while it is so (GEP-3793).
fn default_gateway(report: &GatewayReport) -> Option<Condition> {
    let message =
        "routes with `useDefaultGateways: All` attach to this Gateway, as far as its listeners allow";
    let kind = reason::DEFAULT_GATEWAY;
    report.is_default.then(|| Condition::holds(kind, kind, message, report.generation))
}

/// Only there while it is so (GEP-91).
fn insecure(report: &GatewayReport) -> Option<Condition> {
    let message = "clients without a valid certificate are served too (AllowInsecureFallback); the backends have to check who they are";
    let (kind, reason) = (reason::INSECURE_FRONTEND_VALIDATION_MODE, reason::CONFIGURATION_CHANGED);
    report.is_insecure.then(|| Condition::holds(kind, reason, message, report.generation))
}
