//! ListenerSets: listeners that others add to a Gateway (GEP-1713).

use super::ListenerPlan;
use super::distinct::{Contest, Group};
use super::listener::{Judge, ListenerReport, Owner};
use super::namespaces::NamespacePolicy;
use crate::compile::program::{Cluster, Made, Reader};
use crate::diagnostic::{Diagnostic, Reason};
use crate::provision::ProxyClass;
use crate::resources::{Gateway, ListenerSet, Namespace, Object, ObjectRef};
use fairway_config::model::ObjectName;
use fairway_incremental::Set;
use std::sync::Arc;

/// ListenerSets that name a Gateway.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) struct SetsOf(pub ObjectName);

impl Set<Cluster> for SetsOf {
    type Member = ObjectRef;

    fn of_input(name: &ObjectRef, object: &Object) -> Vec<(Self, ObjectRef)> {
        let Object::ListenerSet(it) = object else { return Vec::new() };
        it.spec.gateway(&name.namespace).map(|it| (Self(it), name.clone())).into_iter().collect()
    }
}

/// What routes see of a ListenerSet whose Gateway is ours. A route whose parent is the ListenerSet attaches to these
/// listeners only, a route whose parent is the Gateway only to those of its `GatewayPlan`. Those of a ListenerSet that
/// its Gateway does not take, or that lost against others, are here too, and are not `programmed`.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::compile) struct ListenerSetPlan {
    /// The Gateway it adds to.
    pub gateway: ObjectName,
    /// Its listeners, in the user's order.
    pub listeners: Vec<ListenerPlan>,
}

/// Everything that is known of a ListenerSet but the routes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SetReport {
    pub plan: Arc<ListenerSetPlan>,
    pub generation: i64,
    pub acceptance: SetAcceptance,
    pub listeners: Vec<ListenerReport>,
}

/// What the Gateway says to a ListenerSet.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum SetAcceptance {
    /// The Gateway takes it; each of its listeners is judged on its own.
    Taken,
    /// It does not: why.
    NotAllowed(String),
    /// It is not accepted itself.
    ParentNotAccepted,
}

/// A ListenerSet that names a Gateway.
pub(super) struct Candidate {
    pub name: ObjectName,
    pub object: ObjectRef,
    pub set: Arc<ListenerSet>,
    /// Why the Gateway does not take it.
    pub refusal: Option<String>,
}

// === impl Candidate ===

impl Candidate {
    pub(super) fn group(&self) -> Group<'_> {
        Group { object: &self.object, listeners: &self.set.spec.listeners }
    }
}

/// The ListenerSets that name a Gateway, in the order in which their listeners go before those of others: the oldest
/// first, then by `<namespace>/<name>`.
pub(super) fn candidates(
    reader: &mut Reader<'_>,
    object: &ObjectRef,
    class: ProxyClass,
    gateway: &Gateway,
    made: &mut Made,
) -> Vec<Candidate> {
    let allowed = NamespacePolicy::of_listener_sets(gateway.spec.allowed_listeners.as_ref(), object, made);
    let mut found = Vec::new();
    for it in reader.members(&SetsOf(object.object_name())).iter() {
        let name = it.object_name();
        let set = reader.input::<ListenerSet>(&name).filter(|it| it.meta.unreadable.is_none());
        let Some(set) = set else { continue };
        let refusal = match (class, admits(reader, &allowed, &it.namespace)) {
            (ProxyClass::Gateway, true) => None,
            (ProxyClass::Gateway, false) => {
                let message =
                    format!("{object} does not accept ListenerSets from namespace {}", it.namespace);
                let remedy = "the Gateway's owner can allow the namespace in spec.allowedListeners";
                let field = "spec.parentRef";
                Some(Diagnostic::error(Reason::ListenerSetNotAllowed, field, message, remedy))
            }
            (ProxyClass::Waypoint, _) => {
                let message = format!("{object} is a waypoint, and waypoints do not accept ListenerSets");
                let (field, remedy) = ("spec.parentRef", "refer to a Gateway of another class");
                Some(Diagnostic::error(Reason::ListenerSetOnWaypoint, field, message, remedy))
            }
        };
        let refusal = refusal.map(|error| {
            let text = error.text();
            made.report(it, error);
            text
        });
        found.push(Candidate { name, object: it.clone(), set, refusal });
    }
    found.sort_by_cached_key(|it| (it.set.meta.created, it.name.to_string()));
    found
}

/// Whether a Gateway takes ListenerSets from a namespace.
pub(super) fn is_taken(reader: &mut Reader<'_>, object: &ObjectRef, namespace: &Arc<str>) -> bool {
    let Some(gateway) = reader.input::<Gateway>(&object.object_name()) else { return false };
    // What is wrong with the selector is reported where the listeners are judged.
    let allowed = NamespacePolicy::of_listener_sets(
        gateway.spec.allowed_listeners.as_ref(),
        object,
        &mut Made::default(),
    );
    admits(reader, &allowed, namespace)
}

fn admits(reader: &mut Reader<'_>, allowed: &NamespacePolicy, namespace: &Arc<str>) -> bool {
    // Only a selector asks for labels.
    let labels = match allowed {
        NamespacePolicy::Selector(_) => reader.input::<Namespace>(namespace).map(|it| it.meta.labels.clone()),
        _ => None,
    };
    allowed.admits(namespace, &labels.unwrap_or_default())
}

/// Judges a ListenerSet's listeners.
pub(super) fn check(
    reader: &mut Reader<'_>,
    candidate: &Candidate,
    gateway: &ObjectName,
    gateway_is_accepted: bool,
    judge: &Judge<'_>,
    contest: &Contest<'_>,
    made: &mut Made,
) -> SetReport {
    let group = candidate.group();
    let (acceptance, refusal) = match (&candidate.refusal, gateway_is_accepted) {
        (Some(why), _) => {
            (SetAcceptance::NotAllowed(why.clone()), Some("the ListenerSet is not allowed".to_owned()))
        }
        (None, false) => {
            (SetAcceptance::ParentNotAccepted, Some(format!("Gateway {gateway} is not accepted")))
        }
        (None, true) => (SetAcceptance::Taken, None),
    };
    let owner = Owner {
        object: candidate.object.clone(),
        generation: candidate.set.meta.generation,
        gateway: gateway.clone(),
        refusal,
    };
    let (plans, listeners) = match candidate.refusal.is_none() {
        true => judge.all(reader, &owner, &group, contest, made),
        // What is not taken is in nobody's way, and learns nothing of others.
        false => {
            let alone = Contest::among(vec![group]);
            Judge { goes_on: false, ..*judge }.all(reader, &owner, &group, &alone, made)
        }
    };
    let plan = ListenerSetPlan { gateway: gateway.clone(), listeners: plans };
    SetReport { plan: Arc::new(plan), generation: owner.generation, acceptance, listeners }
}

// === impl SetReport ===

impl SetReport {
    /// Whether it counts as attached to its Gateway.
    pub(super) fn is_accepted(&self) -> bool {
        self.acceptance == SetAcceptance::Taken && self.listeners.iter().any(|it| it.is_valid)
    }
}
