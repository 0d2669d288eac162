//! What a policy is told, target by target.

use super::review::{Review, TargetOutcome};
use crate::compile::ignored::Ignored;
use crate::compile::policy::status::{MOST_ANCESTORS, accepted, enforced};
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::stage;
use crate::diagnostic::{Diagnostic, Reason};
use crate::resources::{ClientPolicy, Kind, ObjectRef};
use crate::status::{AncestorStatus, Enforcement, ObjectStatus, ParentRef, PolicyStatus};
use fairway_config::model::ObjectName;
use fairway_incremental::{OfInput, Query};
use std::collections::BTreeMap;

/// Puts the status together.
pub(in crate::compile) struct Status;

impl Query<Cluster> for Status {
    type Key = ObjectName;
    type Value = ();
    const STAGE: u8 = stage::CONSEQUENCES;

    fn run(name: &ObjectName, reader: &mut Reader<'_>, made: &mut Made) {
        let Some(policy) = reader.input::<ClientPolicy>(name) else { return };
        let object = ObjectRef::of(Kind::ClientPolicy, name);
        let generation = policy.meta.generation;
        let defect = defect(&policy);
        report(made, &object, defect.as_ref());
        let mut ignored = Ignored::default();
        if let Some(it) = policy.spec.rest.as_ref() {
            let message = "this field is not known, so it has no effect";
            let warning = Diagnostic::warning(
                Reason::ClientPolicyFieldUnknown,
                format!("spec.{}", it.field),
                message,
                "remove it, or upgrade Fairway",
            );
            ignored.note(made, &object, warning);
        }
        let mut ancestors: BTreeMap<ParentRef, Vec<TargetOutcome>> = BTreeMap::new();
        for (index, target) in policy.spec.targets.iter().enumerate() {
            let field = format!("spec.targetRefs[{index}]");
            let says_address = !matches!(policy.spec.client_address, Ok(None));
            let review = Review { policy: &object, target, field: &field, says_address };
            let Some((ancestor, at_target)) = review.run(reader) else { continue };
            report(made, &object, at_target.outcome.as_ref().err());
            ancestors.entry(ancestor).or_default().push(at_target);
        }
        let controller_name = reader.settings().controller_name.clone();
        let ancestor = |(ancestor_ref, reviewed): (ParentRef, Vec<TargetOutcome>)| {
            let outcomes: Vec<_> = reviewed.iter().map(|it| it.outcome.clone()).collect();
            let whole = defect.as_ref().map_or(Ok(()), Err);
            let mut conditions = vec![accepted(whole, &outcomes, &ignored, generation)];
            conditions.extend(ignored.condition(generation));
            let mut enforcement = Enforcement::default();
            for at_target in reviewed {
                enforcement.by.extend(at_target.enforcement.by);
                enforcement.carriers.extend(at_target.enforcement.carriers);
            }
            let is_whole = whole.is_ok() && outcomes.iter().all(Result::is_ok);
            // Where nobody has to carry it out nobody does.
            if !is_whole || !enforcement.by.is_empty() {
                conditions.extend(enforced(&conditions));
            }
            AncestorStatus { ancestor_ref, controller_name: controller_name.clone(), conditions, enforcement }
        };
        let ancestors: Vec<_> = ancestors.into_iter().take(MOST_ANCESTORS).map(ancestor).collect();
        if !ancestors.is_empty() {
            made.statuses.push((object, ObjectStatus::Policy(PolicyStatus { ancestors })));
        }
    }
}

impl OfInput<Cluster> for Status {
    fn of_input(name: &ObjectRef) -> Option<Self::Key> {
        (name.kind == Kind::ClientPolicy).then(|| name.object_name())
    }
}

fn report(made: &mut Made, object: &ObjectRef, error: Option<&Diagnostic>) {
    if let Some(error) = error {
        made.report(object, error.clone());
    }
}

/// What is wrong with the policy itself, wherever it is to hold.
fn defect(policy: &ClientPolicy) -> Option<Diagnostic> {
    let unreadable = match (&policy.meta.unreadable, &policy.spec.client_address) {
        (Some(why), _) => Some((String::new(), why.to_string())),
        (None, Err(it)) => Some((format!("spec.{}", it.field), it.reason.clone())),
        (None, Ok(_)) => None,
    };
    if let Some((field, why)) = unreadable {
        let message = format!("{why}, so nobody can say where clients are, and the listeners are closed");
        return Some(Diagnostic::error(Reason::ClientPolicyUnreadable, field, message, "correct the field"));
    }
    if let Ok(Some(written)) = &policy.spec.client_address
        && let Err(it) = written.source()
    {
        let message = format!("{}; until this is corrected, the listeners are closed", it.reason);
        let reason = Reason::ClientPolicyValueInvalid;
        return Some(Diagnostic::error(reason, it.field, message, "correct the value"));
    }
    let it = policy.spec.tls.as_ref().err()?;
    let message = format!("{}; until this is corrected, TLS 1.3 alone is spoken", it.reason);
    let (reason, field) = (Reason::ClientPolicyTlsUnreadable, format!("spec.{}", it.field));
    Some(Diagnostic::error(reason, field, message, "write `minVersion: \"1.2\"` or `\"1.3\"`, in quotes"))
}
