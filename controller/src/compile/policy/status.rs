//! What a policy is told.
//!
//! A policy's query for the status makes its conditions ([`accepted`] and those of its kind) and ends with one call:
//!
//! - [`of_enforced`], if proxies carry the policy out. It takes who enforces the policy for each ancestor (the proxies of a
//!   Gateway or a waypoint, the tunnels) and the *carriers*: the keys of the resources by which the policy takes effect. It adds
//!   `fairway.dev/Enforced`. The status writer lets it be `True` for an ancestor once every ready proxy of its enforcers has
//!   acknowledged the commit in which a carrier last changed (`crate::status::enforcement`), and says which proxies refuse one.
//!   Nothing else is needed: the writer sees by the keys what changes and what is refused.
//! - [`of_ancestors`], if no proxy has to do with it.

use crate::compile::ignored::Ignored;
use crate::compile::program::Cluster;
use crate::compile::settings::CompileSettings;
use crate::diagnostic::{Diagnostic, join_texts};
use crate::resources::ObjectRef;
use crate::status::{
    AncestorStatus, Condition, Enforcement, Enforcer, ObjectStatus, ParentRef, PolicyStatus, Truth, reason,
};
use fairway_config::model::{ObjectName, ResourceKey};
use fairway_incremental::Set;
use std::collections::BTreeSet;

/// Gateways whose routes use a Service: the ancestors of policies that name the Service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) struct BackendGateways(pub ObjectName);

impl Set<Cluster> for BackendGateways {
    type Member = ObjectRef;
}

/// As many ancestors as the API lets a policy have, of all controllers together. Where others have some, the writer leaves room for them.
pub(in crate::compile) const MOST_ANCESTORS: usize = 16;

/// The status of a policy, with the same conditions for each of its ancestors; none when it has no ancestors.
pub(in crate::compile) fn of_ancestors(
    ancestors: impl IntoIterator<Item = ObjectRef>,
    conditions: &[Condition],
    settings: &CompileSettings,
) -> Option<ObjectStatus> {
    let nobody = |object| (object, BTreeSet::new());
    of_enforced_by(ancestors.into_iter().map(nobody), BTreeSet::new(), conditions, settings)
}

/// The status of a policy that proxies enforce: for each of its ancestors these conditions, and `fairway.dev/Enforced`.
/// An accepted policy is enforced when those who enforce it for the ancestor have the `carriers` as they are now.
pub(in crate::compile) fn of_enforced(
    ancestors: impl IntoIterator<Item = (ObjectRef, BTreeSet<Enforcer>)>,
    carriers: BTreeSet<ResourceKey>,
    conditions: Vec<Condition>,
    settings: &CompileSettings,
) -> Option<ObjectStatus> {
    let enforced = enforced(&conditions);
    let conditions: Vec<Condition> = conditions.into_iter().chain(enforced).collect();
    of_enforced_by(ancestors, carriers, &conditions, settings)
}

fn of_enforced_by(
    ancestors: impl IntoIterator<Item = (ObjectRef, BTreeSet<Enforcer>)>,
    carriers: BTreeSet<ResourceKey>,
    conditions: &[Condition],
    settings: &CompileSettings,
) -> Option<ObjectStatus> {
    let ancestor = |(object, by): (ObjectRef, BTreeSet<Enforcer>)| AncestorStatus {
        ancestor_ref: reference(&object),
        controller_name: settings.controller_name.clone(),
        conditions: conditions.to_vec(),
        enforcement: Enforcement { carriers: carriers.clone(), by },
    };
    let ancestors: Vec<_> = ancestors.into_iter().take(MOST_ANCESTORS).map(ancestor).collect();
    (!ancestors.is_empty()).then_some(ObjectStatus::Policy(PolicyStatus { ancestors }))
}

/// `fairway.dev/Enforced`, as it is once the proxies have acknowledged; none beside conditions without `Accepted`.
pub(in crate::compile) fn enforced(conditions: &[Condition]) -> Option<Condition> {
    let accepted = conditions.iter().find(|it| it.kind == reason::ACCEPTED)?;
    let generation = accepted.observed_generation;
    Some(match accepted.status {
        Truth::True => {
            let message = "the proxies enforce the policy where it is accepted";
            Condition::holds(reason::ENFORCED, reason::BY_PROXIES, message, generation)
        }
        Truth::False | Truth::Unknown => {
            let message = "the policy is not accepted; see condition Accepted";
            Condition::fails(reason::ENFORCED, reason::NOT_ACCEPTED, message, generation)
        }
    })
}

/// How a status names an object.
pub(in crate::compile) fn reference(object: &ObjectRef) -> ParentRef {
    ParentRef {
        group: Some(object.kind.group().into()),
        kind: Some(object.kind.as_str().into()),
        namespace: Some(object.namespace.clone()).filter(|it| !it.is_empty()),
        name: object.name.clone(),
        ..ParentRef::default()
    }
}

/// `Accepted`: whether the policy can be carried out, and what became of it at each of its targets. One target that takes it
/// is enough.
pub(in crate::compile) fn accepted(
    policy: Result<(), &Diagnostic>,
    targets: &[Result<(), Diagnostic>],
    ignored: &Ignored,
    generation: i64,
) -> Condition {
    let fails = |reason, message| Condition::fails(reason::ACCEPTED, reason, message, generation);
    if let Err(defect) = policy {
        return fails(defect.reason.condition(), defect.text());
    }
    let bad: Vec<&Diagnostic> = targets.iter().filter_map(|it| it.as_ref().err()).collect();
    let message = join_texts(bad.iter().copied());
    let holds = |message: String| {
        Condition::holds(reason::ACCEPTED, reason::ACCEPTED, ignored.qualify(message), generation)
    };
    match bad.first() {
        None => holds("the policy is accepted".to_owned()),
        Some(_) if bad.len() < targets.len() => holds(format!("accepted in part: {message}")),
        Some(first) => fails(first.reason.condition(), message),
    }
}
