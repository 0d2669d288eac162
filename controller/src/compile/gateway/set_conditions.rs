//! The status of a whole ListenerSet.

use super::conditions::{listener_statuses, names};
use super::set::{SetAcceptance, SetReport};
use super::{Check, GatewayReport};
use crate::compile::inputs;
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::stage;
use crate::resources::{Gateway, Kind, ListenerSet, ObjectRef};
use crate::status::{Condition, ListenerSetStatus, ObjectStatus, reason};
use fairway_config::model::ObjectName;
use fairway_incremental::{OfInput, Query};

/// Puts the status together.
pub(in crate::compile) struct SetStatus;

impl Query<Cluster> for SetStatus {
    type Key = ObjectName;
    type Value = ();
    const STAGE: u8 = stage::CONSEQUENCES;

    fn run(name: &ObjectName, reader: &mut Reader<'_>, made: &mut Made) {
        let Some(set) = reader.input::<ListenerSet>(name) else { return };
        let Some(gateway) = set.spec.gateway(&set.meta.namespace) else { return };
        let status = match reader.get::<Check>(&gateway) {
            Some(report) if report.is_held() || set.meta.unreadable.is_some() => ObjectStatus::Held,
            Some(report) => {
                let Some(it) = report.sets.get(name) else { return };
                ObjectStatus::ListenerSet(ListenerSetStatus {
                    conditions: vec![accepted(it), programmed(&report, it)],
                    listeners: listener_statuses(reader, &it.plan.listeners, &it.listeners),
                    is_orphan: false,
                })
            }
            // Another controller's Gateway has another controller's ListenerSets.
            None if reader.input::<Gateway>(&gateway).is_some() => return,
            // It cannot be read, not even whose it is.
            None if is_unread(reader, &gateway) => ObjectStatus::Held,
            None => ObjectStatus::ListenerSet(ListenerSetStatus::orphan(&gateway, set.meta.generation)),
        };
        made.statuses.push((ObjectRef::from_name(Kind::ListenerSet, name), status));
    }
}

impl OfInput<Cluster> for SetStatus {
    fn of_input(name: &ObjectRef) -> Option<Self::Key> {
        (name.kind == Kind::ListenerSet).then(|| name.object_name())
    }
}

fn is_unread(reader: &mut Reader<'_>, gateway: &ObjectName) -> bool {
    inputs::meta(reader, &ObjectRef::from_name(Kind::Gateway, gateway))
        .is_some_and(|it| it.unreadable.is_some())
}

fn accepted(set: &SetReport) -> Condition {
    let kind = reason::ACCEPTED;
    let fails = |reason, message: String| Condition::fails(kind, reason, message, set.generation);
    let bad = names(&set.plan.listeners, &set.listeners, |it| !it.is_valid);
    match &set.acceptance {
        SetAcceptance::NotAllowed(why) => fails(reason::NOT_ALLOWED, why.clone()),
        SetAcceptance::ParentNotAccepted => {
            let message = format!("Gateway {} is not accepted; see its conditions", set.plan.gateway);
            fails(reason::PARENT_NOT_ACCEPTED, message)
        }
        SetAcceptance::Taken if bad.is_empty() => {
            Condition::holds(kind, kind, "the ListenerSet is accepted", set.generation)
        }
        SetAcceptance::Taken if !set.is_accepted() => {
            let message = format!("no listener is valid: {bad}; see the conditions of the listeners");
            fails(reason::LISTENERS_NOT_VALID, message)
        }
        SetAcceptance::Taken => {
            let good = names(&set.plan.listeners, &set.listeners, |it| it.is_valid);
            let message = format!("not valid: {bad}; accepted: {good}; see the conditions of the listeners");
            Condition::holds(kind, reason::LISTENERS_NOT_VALID, message, set.generation)
        }
    }
}

fn programmed(gateway: &GatewayReport, set: &SetReport) -> Condition {
    let kind = reason::PROGRAMMED;
    let fails = |reason, message: String| Condition::fails(kind, reason, message, set.generation);
    match &set.acceptance {
        SetAcceptance::NotAllowed(why) => fails(reason::NOT_ALLOWED, why.clone()),
        SetAcceptance::Taken if !set.is_accepted() => {
            let message = "no listener can be served; see the conditions of the listeners".to_owned();
            fails(reason::LISTENERS_NOT_VALID, message)
        }
        SetAcceptance::Taken if gateway.addresses.are_settled() => {
            Condition::holds(kind, kind, "the listeners are served", set.generation)
        }
        SetAcceptance::Taken | SetAcceptance::ParentNotAccepted => {
            let message = format!("Gateway {} is not programmed; see its conditions", set.plan.gateway);
            fails(reason::PARENT_NOT_PROGRAMMED, message)
        }
    }
}
