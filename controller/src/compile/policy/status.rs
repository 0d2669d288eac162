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
use crate::compile::program::{Cluster, Made};
use crate::compile::settings::CompileSettings;
use crate::diagnostic::{Diagnostic, Reason, join_texts};
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
const MOST_ANCESTORS: usize = 16;

/// Gives a policy its status, with the same conditions for each of its ancestors; none when it has no ancestors.
pub(in crate::compile) fn of_ancestors(
    policy: &ObjectRef,
    ancestors: impl IntoIterator<Item = ObjectRef>,
    conditions: &[Condition],
    settings: &CompileSettings,
    made: &mut Made,
) {
    let nobody = |object| (object, BTreeSet::new());
    let ancestors = ancestors.into_iter().map(nobody);
    publish(policy, each(ancestors, &BTreeSet::new(), conditions, settings), made);
}

/// Gives a policy that proxies enforce its status: for each of its ancestors these conditions, and `fairway.dev/Enforced`.
/// An accepted policy is enforced when those who enforce it for the ancestor have the `carriers` as they are now.
pub(in crate::compile) fn of_enforced(
    policy: &ObjectRef,
    ancestors: impl IntoIterator<Item = (ObjectRef, BTreeSet<Enforcer>)>,
    carriers: &BTreeSet<ResourceKey>,
    conditions: Vec<Condition>,
    settings: &CompileSettings,
    made: &mut Made,
) {
    let enforced = enforced(&conditions);
    let conditions: Vec<Condition> = conditions.into_iter().chain(enforced).collect();
    publish(policy, each(ancestors, carriers, &conditions, settings), made);
}

/// Gives a policy its status; none when it has no ancestors. The API has room for so many, and what is beyond is said.
pub(in crate::compile) fn publish(policy: &ObjectRef, mut ancestors: Vec<AncestorStatus>, made: &mut Made) {
    let left_out = ancestors.len().saturating_sub(MOST_ANCESTORS);
    if let Some(first) = ancestors.get(MOST_ANCESTORS) {
        let message = format!(
            "the policy has {} ancestors, and a status has room for {MOST_ANCESTORS}; {left_out} are left out, first {}. What is decided \
             for them holds, and is not in the status",
            ancestors.len(),
            first.ancestor_ref
        );
        let remedy = "spread the targets over several policies where their status matters";
        made.report(
            policy,
            Diagnostic::warning(Reason::AncestorsLeftOut, "status.ancestors", message, remedy),
        );
    }
    ancestors.truncate(MOST_ANCESTORS);
    if !ancestors.is_empty() {
        made.statuses.push((policy.clone(), ObjectStatus::Policy(PolicyStatus { ancestors, left_out })));
    }
}

/// The same conditions for each ancestor.
fn each(
    ancestors: impl IntoIterator<Item = (ObjectRef, BTreeSet<Enforcer>)>,
    carriers: &BTreeSet<ResourceKey>,
    conditions: &[Condition],
    settings: &CompileSettings,
) -> Vec<AncestorStatus> {
    let ancestor = |(object, by): (ObjectRef, BTreeSet<Enforcer>)| AncestorStatus {
        ancestor_ref: reference(&object),
        controller_name: settings.controller_name.clone(),
        conditions: conditions.to_vec(),
        enforcement: Enforcement { carriers: carriers.clone(), by },
    };
    ancestors.into_iter().map(ancestor).collect()
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
