//! Listeners that are not served, and that are closed so that no wider listener takes what is for them.
//!
//! What guards a listener, its filters and its policies, is not there on a wider one. So a proxy knows of each listener that shares
//! a port with one that is served, also where it is not served itself. It is closed for the whole of its hostname, unless another
//! listener has the same hostname: one that is served, or one that goes before it and is closed.
//!
//! A listener whose hostname or protocol cannot be read closes nothing, for nobody can say what is for it. Neither does a
//! ListenerSet that its Gateway does not take: it has no say on the Gateway's hostnames.

use super::ListenerPlan;
use super::listener::ListenerReport;
use super::set::{SetAcceptance, SetReport};
use super::verdict;
use fairway_config::model::{HostnamePattern, ObjectName};
use std::collections::{BTreeMap, HashSet};

/// A hostname on a port of TCP; none is every hostname.
type Place = (u16, Option<HostnamePattern>);

/// Notes in the reports which listeners of a Gateway, and then of its ListenerSets, are closed.
pub(super) fn note(
    plans: &[ListenerPlan],
    reports: &mut [ListenerReport],
    sets: &mut BTreeMap<ObjectName, SetReport>,
) {
    let mut listeners: Vec<(ListenerPlan, &mut ListenerReport)> =
        plans.iter().cloned().zip(reports.iter_mut()).collect();
    for set in sets.values_mut().filter(|it| !matches!(it.acceptance, SetAcceptance::NotAllowed(_))) {
        listeners.extend(set.plan.listeners.iter().cloned().zip(set.listeners.iter_mut()));
    }
    let served: Vec<ListenerPlan> =
        listeners.iter().map(|(plan, _)| plan).filter(|it| it.programmed).cloned().collect();
    let mut taken: HashSet<Place> = served.iter().map(place).collect();
    for (plan, report) in listeners.iter_mut().filter(|(plan, report)| !plan.programmed && report.has_place) {
        if served.iter().any(|it| share_port(it, plan)) && taken.insert(place(plan)) {
            report.closed = Some(verdict::programmed(&report.conditions));
        }
    }
}

fn place(plan: &ListenerPlan) -> Place {
    (plan.port, plan.hostname.clone())
}

fn share_port(a: &ListenerPlan, b: &ListenerPlan) -> bool {
    let protocols = a.protocol.zip(b.protocol);
    a.port == b.port && protocols.is_some_and(|(a, b)| a.shares_port_with(b))
}
