//! The status of a whole Gateway.

use super::GatewayReport;
use crate::compile::evaluation::Evaluation;
use crate::compile::index::IndexKey;
use crate::compile::reader::Reader;
use crate::resources::{Kind, ObjectRef};
use crate::status::{Condition, GatewayStatus, ListenerStatus, ObjectStatus, Truth, reason};
use fairway_config::model::ObjectName;

/// Puts the status together.
pub(in crate::compile) fn status(reader: &mut Reader<'_>, name: &ObjectName) -> Evaluation {
    let mut made = Evaluation::default();
    let Some(report) = reader.gateway_report(name) else { return made };
    let listeners = report.plan.listeners.iter().zip(&report.listeners).map(|(plan, it)| ListenerStatus {
        name: plan.name.clone(),
        supported_kinds: it.supported_kinds.clone(),
        attached_routes: reader.count(IndexKey::Attached(plan.key.clone())).try_into().unwrap_or(u32::MAX),
        conditions: it.conditions.clone(),
    });
    let status = GatewayStatus {
        listeners: listeners.collect(),
        addresses: report.addresses.assigned.clone(),
        conditions: vec![accepted(&report), programmed(&report), resolved(&report)],
    };
    made.statuses.push((ObjectRef::of(Kind::Gateway, name), ObjectStatus::Gateway(status)));
    made
}

/// The names of listeners of which something is not as it should be.
fn listeners(report: &GatewayReport, is_bad: impl Fn(&super::ListenerReport) -> bool) -> String {
    let bad = report.plan.listeners.iter().zip(&report.listeners).filter(|(_, it)| is_bad(it));
    bad.map(|(plan, _)| &*plan.name).collect::<Vec<_>>().join(", ")
}

fn accepted(report: &GatewayReport) -> Condition {
    let generation = report.generation;
    if let Some((reason, message)) = &report.refusal {
        return Condition::fails(reason::ACCEPTED, reason, message.clone(), generation);
    }
    let bad = listeners(report, |it| !it.is_accepted);
    if bad.is_empty() {
        return Condition::holds(reason::ACCEPTED, reason::ACCEPTED, "the Gateway is in order", generation);
    }
    let good = listeners(report, |it| it.is_accepted);
    match good.is_empty() {
        true => {
            let message = format!("no listener is in order: {bad}; see their conditions");
            Condition::fails(reason::ACCEPTED, reason::LISTENERS_NOT_VALID, message, generation)
        }
        false => {
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
    if !report.plan.listeners.iter().any(|it| it.programmed) {
        return fails(reason::INVALID, "no listener can be served; see their conditions".to_owned());
    }
    if report.addresses.assigned.is_empty() {
        return fails(reason::ADDRESS_NOT_ASSIGNED, "the Gateway has no address yet".to_owned());
    }
    let (kind, message) = (reason::PROGRAMMED, "the Gateway is served");
    Condition::holds(kind, reason::PROGRAMMED, message, report.generation)
}

fn resolved(report: &GatewayReport) -> Condition {
    let is_unresolved = |it: &super::ListenerReport| {
        it.conditions.iter().any(|it| it.kind == reason::RESOLVED_REFS && it.status == Truth::False)
    };
    let bad = listeners(report, is_unresolved);
    match bad.is_empty() {
        true => {
            let message = "all references lead somewhere";
            Condition::holds(reason::RESOLVED_REFS, reason::RESOLVED_REFS, message, report.generation)
        }
        false => {
            let message = format!("references lead nowhere in listeners {bad}; see their conditions");
            Condition::fails(
                reason::RESOLVED_REFS,
                reason::LISTENERS_NOT_RESOLVED,
                message,
                report.generation,
            )
        }
    }
}
