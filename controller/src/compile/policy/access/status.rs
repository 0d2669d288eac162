//! What a policy is told, target by target.

use super::review::{Review, TOLD, TargetOutcome, compiled};
use super::spec;
use crate::compile::ignored::Ignored;
use crate::compile::names::access::Form;
use crate::compile::policy::status::{accepted, enforced, publish};
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::stage;
use crate::diagnostic::{Diagnostic, Reason};
use crate::resources::access_policy::{AccessAction, AccessRule};
use crate::resources::{AccessPolicy, Kind, ObjectRef};
use crate::status::{AncestorStatus, Condition, Enforcement, ParentRef, Truth, reason};
use fairway_config::model::ObjectName;
use fairway_incremental::{OfInput, Query};
use std::collections::BTreeMap;

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
        let defect = defect(reader, name, &policy);
        if let Some(it) = &defect {
            made.report(&object, it.clone());
        }
        warn_of_nobody(&policy, &object, made);
        let mut ancestors: BTreeMap<ParentRef, Vec<TargetOutcome>> = BTreeMap::new();
        for (index, target) in policy.spec.targets.iter().enumerate() {
            let field = format!("spec.targetRefs[{index}]");
            let review = Review { name, policy: &policy, target, index, field: &field };
            let Some((ancestor, at_target)) = review.run(reader, made) else { continue };
            if let Err(error) = &at_target.outcome {
                made.report(&object, error.clone());
            }
            ancestors.entry(ancestor).or_default().push(at_target);
        }
        let controller_name = reader.settings().controller_name.clone();
        let ancestor = |(ancestor_ref, reviewed): (ParentRef, Vec<TargetOutcome>)| {
            let outcomes: Vec<_> = reviewed.iter().map(|it| it.outcome.clone()).collect();
            let whole = defect.as_ref().map_or(Ok(()), Err);
            // A target that is not guarded is no detail of a policy.
            let whole = whole.and_then(|()| match outcomes.iter().find_map(|it| it.as_ref().err()) {
                Some(error) if outcomes.len() > 1 => Err(error),
                _ => Ok(()),
            });
            let mut accepted = accepted(whole, &outcomes, &Ignored::default(), generation);
            let notes: Vec<&str> = reviewed.iter().filter_map(|it| it.note.as_deref()).collect();
            if accepted.status == Truth::True && !notes.is_empty() {
                accepted.message = format!("{}. {}", accepted.message, notes.join(". ")).into();
            }
            let mut conditions = vec![accepted];
            let mut enforcement = Enforcement::default();
            let mut pending = None;
            for at_target in reviewed {
                enforcement.by.extend(at_target.enforcement.by);
                enforcement.carriers.extend(at_target.enforcement.carriers);
                pending = pending.or(at_target.pending);
            }
            let is_whole = whole.is_ok() && outcomes.iter().all(Result::is_ok);
            conditions.extend(match pending.filter(|_| is_whole) {
                Some(why) => Some(Condition::fails(reason::ENFORCED, reason::PENDING, why, generation)),
                // Where nobody has to carry it out nobody does.
                None if is_whole && enforcement.by.is_empty() => None,
                None => enforced(&conditions),
            });
            AncestorStatus { ancestor_ref, controller_name: controller_name.clone(), conditions, enforcement }
        };
        publish(&object, ancestors.into_iter().map(ancestor).collect(), made);
    }
}

impl OfInput<Cluster> for Status {
    fn of_input(name: &ObjectRef) -> Option<Self::Key> {
        (name.kind == Kind::AccessPolicy).then(|| name.object_name())
    }
}

/// What is wrong with the policy itself, wherever it is to hold.
fn defect(reader: &Reader<'_>, name: &ObjectName, policy: &AccessPolicy) -> Option<Diagnostic> {
    let unreadable = match (&policy.meta.unreadable, &policy.spec.spec) {
        (Some(why), _) => Some((String::new(), why.to_string())),
        (None, Err(it)) => Some((format!("spec.{}", it.field), it.reason.clone())),
        (None, Ok(_)) => None,
    };
    if let Some((field, why)) = unreadable {
        let message = format!("{why}, so the policy cannot be understood and its targets are closed");
        return Some(Diagnostic::error(Reason::AccessPolicyUnreadable, field, message, "correct the field"));
    }
    let compiled = compiled(reader, name, policy, Form::Gateway);
    let first = compiled.invalid.first()?;
    let reasons: Vec<&str> = compiled.invalid.iter().take(TOLD).map(|it| it.reason.as_str()).collect();
    let closed = match spec(policy).map(|it| it.action) {
        Some(AccessAction::Deny) => {
            "until this is corrected, the rule refuses everything else that it matches"
        }
        Some(AccessAction::Allow) | None => "until this is corrected, the policy lets nobody in",
    };
    let message = format!("{}; {closed}", reasons.join("; "));
    Some(Diagnostic::error(Reason::AccessPolicyValueInvalid, &*first.field, message, "correct the value"))
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
