//! What a policy is told, target by target.

use super::is_enforced;
use super::review::Review;
use super::values::Compile;
use crate::compile::policy::status::AtTargets;
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::stage;
use crate::diagnostic::{Diagnostic, Reason};
use crate::resources::{AuthenticationPolicy, Kind, ObjectRef};
use fairway_config::model::ObjectName;
use fairway_incremental::{OfInput, Query};

/// Puts the status together.
pub(in crate::compile) struct Status;

impl Query<Cluster> for Status {
    type Key = ObjectName;
    type Value = ();
    const STAGE: u8 = stage::LAST;

    fn run(name: &ObjectName, reader: &mut Reader<'_>, made: &mut Made) {
        let Some(policy) = reader.input::<AuthenticationPolicy>(name) else { return };
        let object = ObjectRef::from_name(Kind::AuthenticationPolicy, name);
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
        (name.kind == Kind::AuthenticationPolicy).then(|| name.object_name())
    }
}

/// What is wrong with the policy itself, wherever it is to hold: field by field, and with the first what follows.
fn defects(reader: &mut Reader<'_>, name: &ObjectName, policy: &AuthenticationPolicy) -> Vec<Diagnostic> {
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
            Reason::AuthenticationPolicyUnreadable,
            field,
            message,
            "correct the field",
        )];
    }
    let mut defects = reader.get::<Compile>(name).defects.clone();
    if let Some(first) = defects.first_mut() {
        first.message = format!("{}, so {follows}", first.message);
    }
    defects
}
