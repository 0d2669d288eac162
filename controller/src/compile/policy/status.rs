//! What a policy is told.

use crate::compile::ignored::Ignored;
use crate::compile::program::Cluster;
use crate::compile::settings::Settings;
use crate::diagnostic::{Diagnostic, join_texts};
use crate::resources::ObjectRef;
use crate::status::{AncestorStatus, Condition, ObjectStatus, ParentRef, PolicyStatus, reason};
use fairway_config::model::ObjectName;
use fairway_incremental::Set;

/// Gateways whose routes use a Service: the ancestors of policies that name the Service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) struct BackendGateways(pub ObjectName);

impl Set<Cluster> for BackendGateways {
    type Member = ObjectRef;
}

/// As many ancestors as the API lets a policy have, of all controllers together.
const MOST_ANCESTORS: usize = 16;

/// The status of a policy, with the same conditions for each of its ancestors; none when it has no ancestors.
pub(in crate::compile) fn of_ancestors(
    ancestors: impl IntoIterator<Item = ParentRef>,
    conditions: &[Condition],
    settings: &Settings,
) -> Option<ObjectStatus> {
    let ancestor = |ancestor_ref| AncestorStatus {
        ancestor_ref,
        controller_name: settings.controller_name.clone(),
        conditions: conditions.to_vec(),
        proxies: Vec::new(),
    };
    let ancestors: Vec<_> = ancestors.into_iter().take(MOST_ANCESTORS).map(ancestor).collect();
    (!ancestors.is_empty()).then_some(ObjectStatus::Policy(PolicyStatus { ancestors }))
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
