//! The status of a whole ListenerSet.

use super::GatewayReport;
use super::conditions::{listener_statuses, names};
use super::set::{SetReport, Standing};
use crate::compile::evaluation::Evaluation;
use crate::compile::reader::Reader;
use crate::resources::{Kind, ObjectRef};
use crate::status::{Condition, ListenerSetStatus, ObjectStatus, reason};
use fairway_config::model::ObjectName;

/// Puts the status together.
pub(in crate::compile) fn set_status(reader: &mut Reader<'_>, name: &ObjectName) -> Evaluation {
    let mut made = Evaluation::default();
    let Some(set) = reader.listener_set(name) else { return made };
    let Some(gateway) = set.spec.gateway(&set.meta.namespace) else { return made };
    let Some(report) = reader.gateway_report(&gateway) else { return made };
    let Some(it) = report.sets.get(name) else { return made };
    let status = ListenerSetStatus {
        conditions: vec![accepted(it), programmed(&report, it)],
        listeners: listener_statuses(reader, &it.plan.listeners, &it.listeners),
    };
    made.statuses.push((ObjectRef::of(Kind::ListenerSet, name), ObjectStatus::ListenerSet(status)));
    made
}

fn accepted(set: &SetReport) -> Condition {
    let kind = reason::ACCEPTED;
    let fails = |reason, message: String| Condition::fails(kind, reason, message, set.generation);
    let bad = names(&set.plan.listeners, &set.listeners, |it| !it.is_valid);
    match &set.standing {
        Standing::NotAllowed(why) => fails(reason::NOT_ALLOWED, why.clone()),
        Standing::ParentNotAccepted => {
            let message = format!("Gateway {} is not accepted; see its conditions", set.plan.gateway);
            fails(reason::PARENT_NOT_ACCEPTED, message)
        }
        Standing::Taken if bad.is_empty() => {
            Condition::holds(kind, kind, "the ListenerSet is accepted", set.generation)
        }
        Standing::Taken if !set.is_accepted() => {
            let message = format!("no listener is valid: {bad}; see the conditions of the listeners");
            fails(reason::LISTENERS_NOT_VALID, message)
        }
        Standing::Taken => {
            let good = names(&set.plan.listeners, &set.listeners, |it| it.is_valid);
            let message = format!("not valid: {bad}; accepted: {good}; see the conditions of the listeners");
            Condition::holds(kind, reason::LISTENERS_NOT_VALID, message, set.generation)
        }
    }
}

fn programmed(gateway: &GatewayReport, set: &SetReport) -> Condition {
    let kind = reason::PROGRAMMED;
    let fails = |reason, message: String| Condition::fails(kind, reason, message, set.generation);
    match &set.standing {
        Standing::NotAllowed(why) => fails(reason::NOT_ALLOWED, why.clone()),
        Standing::Taken if !set.is_accepted() => {
            let message = "no listener can be served; see the conditions of the listeners".to_owned();
            fails(reason::LISTENERS_NOT_VALID, message)
        }
        Standing::Taken if gateway.addresses.are_settled() => {
            Condition::holds(kind, kind, "the listeners are served", set.generation)
        }
        Standing::Taken | Standing::ParentNotAccepted => {
            let message = format!("Gateway {} is not programmed; see its conditions", set.plan.gateway);
            fails(reason::PARENT_NOT_PROGRAMMED, message)
        }
    }
}
