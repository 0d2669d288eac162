//! What a policy is told, target by target.

use super::review::Review;
use super::{is_enforced, values};
use crate::compile::policy::access::review::TOLD;
use crate::compile::policy::access::rules::Invalid;
use crate::compile::policy::status::AtTargets;
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::stage;
use crate::diagnostic::{Diagnostic, Reason};
use crate::resources::{Kind, ObjectRef, RateLimitPolicy};
use fairway_config::model::ObjectName;
use fairway_incremental::{OfInput, Query};

/// Puts the status together.
pub(in crate::compile) struct Status;

impl Query<Cluster> for Status {
    type Key = ObjectName;
    type Value = ();
    const STAGE: u8 = stage::LAST;

    fn run(name: &ObjectName, reader: &mut Reader<'_>, made: &mut Made) {
        let Some(policy) = reader.input::<RateLimitPolicy>(name) else { return };
        let object = ObjectRef::from_name(Kind::RateLimitPolicy, name);
        let generation = policy.meta.generation;
        let defects = defects(reader, name, &policy);
        defects.iter().for_each(|it| made.report(&object, it.clone()));
        let mut at_targets = AtTargets::default();
        for (index, target) in policy.spec.targets.iter().enumerate() {
            let field = format!("spec.targetRefs[{index}]");
            let review = Review { name, policy: &policy, target, field: &field };
            let Some((ancestor, at_target)) = review.run(reader, made) else { continue };
            at_targets.add(&object, ancestor, at_target, made);
        }
        at_targets.publish(&object, &defects, generation, &reader.settings(), made);
    }
}

impl OfInput<Cluster> for Status {
    fn of_input(name: &ObjectRef) -> Option<Self::Key> {
        (name.kind == Kind::RateLimitPolicy).then(|| name.object_name())
    }
}

/// What is wrong with the policy itself, wherever it is to hold: field by field, and with the first what follows.
fn defects(reader: &mut Reader<'_>, name: &ObjectName, policy: &RateLimitPolicy) -> Vec<Diagnostic> {
    let follows = match is_enforced(policy) {
        true => "its targets are closed until this is corrected",
        false => "it observes nothing until this is corrected",
    };
    let unreadable = match (&policy.meta.unreadable, &policy.spec.spec) {
        (Some(why), _) => Some((String::new(), why.to_string())),
        (None, Err(it)) => Some((format!("spec.{}", it.field), it.reason.clone())),
        (None, Ok(_)) => None,
    };
    if let Some((field, why)) = unreadable {
        let message = format!("{why}, so the policy cannot be understood, and {follows}");
        return vec![Diagnostic::error(
            Reason::RateLimitPolicyUnreadable,
            field,
            message,
            "correct the field",
        )];
    }
    let Some(compiled) = reader.get::<values::Compile>(name) else { return Vec::new() };
    let defect = |(index, it): (usize, &Invalid)| {
        let message = if index == 0 { format!("{}, so {follows}", it.reason) } else { it.reason.clone() };
        Diagnostic::error(Reason::RateLimitPolicyValueInvalid, &*it.field, message, "correct the value")
    };
    compiled.invalid.iter().take(TOLD).enumerate().map(defect).collect()
}
