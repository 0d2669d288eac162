//! What a policy is told, target by target.

use super::review::{Review, TOLD, compiled};
use super::rules::Invalid;
use super::spec;
use crate::compile::names::access::Form;
use crate::compile::policy::status::AtTargets;
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::stage;
use crate::diagnostic::{Diagnostic, Reason};
use crate::resources::access_policy::{AccessAction, AccessRule};
use crate::resources::{AccessPolicy, Kind, ObjectRef};
use fairway_config::model::ObjectName;
use fairway_incremental::{OfInput, Query};

/// Puts the status together.
pub(in crate::compile) struct Status;

impl Query<Cluster> for Status {
    type Key = ObjectName;
    type Value = ();
    const STAGE: u8 = stage::LAST;

    fn run(name: &ObjectName, reader: &mut Reader<'_>, made: &mut Made) {
        let Some(policy) = reader.input::<AccessPolicy>(name) else { return };
        let object = ObjectRef::from_name(Kind::AccessPolicy, name);
        let generation = policy.meta.generation;
        let defects = defects(reader, name, &policy);
        defects.iter().for_each(|it| made.report(&object, it.clone()));
        warn_of_nobody(&policy, &object, made);
        let mut at_targets = AtTargets::default();
        for (index, target) in policy.spec.targets.iter().enumerate() {
            let field = format!("spec.targetRefs[{index}]");
            let review = Review { name, policy: &policy, target, index, field: &field };
            let Some((ancestor, at_target)) = review.run(reader, made) else { continue };
            at_targets.add(&object, ancestor, at_target, made);
        }
        at_targets.publish(&object, &defects, generation, &reader.settings(), made);
    }
}

impl OfInput<Cluster> for Status {
    fn of_input(name: &ObjectRef) -> Option<Self::Key> {
        (name.kind == Kind::AccessPolicy).then(|| name.object_name())
    }
}

/// What is wrong with the policy itself, wherever it is to hold: field by field, and with the first what follows.
fn defects(reader: &Reader<'_>, name: &ObjectName, policy: &AccessPolicy) -> Vec<Diagnostic> {
    let unreadable = match (&policy.meta.unreadable, &policy.spec.spec) {
        (Some(why), _) => Some((String::new(), why.to_string())),
        (None, Err(it)) => Some((format!("spec.{}", it.field), it.reason.clone())),
        (None, Ok(_)) => None,
    };
    if let Some((field, why)) = unreadable {
        let message = format!("{why}, so the policy cannot be understood and its targets are closed");
        return vec![Diagnostic::error(Reason::AccessPolicyUnreadable, field, message, "correct the field")];
    }
    let compiled = compiled(reader, name, policy, Form::Gateway);
    let closed = match spec(policy).map(|it| it.action) {
        Some(AccessAction::Deny) => {
            "until this is corrected, the rule refuses everything else that it matches"
        }
        Some(AccessAction::Allow) | None => "until this is corrected, the policy lets nobody in",
    };
    let defect = |(index, it): (usize, Invalid)| {
        let message = if index == 0 { format!("{}; {closed}", it.reason) } else { it.reason };
        Diagnostic::error(Reason::AccessPolicyValueInvalid, it.field, message, "correct the value")
    };
    compiled.invalid.into_iter().take(TOLD).enumerate().map(defect).collect()
}

/// An Allow that no client can match: it is legal, and mostly a slip of the pen.
fn warn_of_nobody(policy: &AccessPolicy, object: &ObjectRef, made: &mut Made) {
    let Some(spec) = spec(policy).filter(|it| it.action == AccessAction::Allow) else { return };
    let is_empty = |it: &AccessRule| {
        it.from.as_ref().is_some_and(Vec::is_empty) || it.to.as_ref().is_some_and(Vec::is_empty)
    };
    if spec.rules.iter().flatten().all(is_empty) {
        let message = "no rule of this Allow can match, so it lets nobody in";
        let remedy = "add a rule; one without `from` and `to` matches everybody";
        made.report(
            object,
            Diagnostic::warning(Reason::AccessPolicyAllowsNobody, "spec.rules", message, remedy),
        );
    }
}
