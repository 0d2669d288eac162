//! What a policy is told, target by target.

use super::review::Review;
use crate::compile::policy::status::{TargetOutcome, of_targets, publish};
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::stage;
use crate::diagnostic::{Diagnostic, Reason};
use crate::resources::client_policy::ClientField;
use crate::resources::{ClientPolicy, Kind, ObjectRef};
use crate::status::ParentRef;
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
        let object = ObjectRef::from_name(Kind::ClientPolicy, name);
        let defect = defect(&policy);
        if let Some(error) = &defect {
            made.report(&object, error.clone());
        }
        let mut ancestors: BTreeMap<ParentRef, Vec<TargetOutcome>> = BTreeMap::new();
        for (index, target) in policy.spec.targets.iter().enumerate() {
            let field = format!("spec.targetRefs[{index}]");
            let review = Review { name: &object, policy: &policy, target, field: &field };
            let Some((ancestor, at_target)) = review.run(reader, made) else { continue };
            if let Err(error) = &at_target.outcome {
                made.report(&object, error.clone());
            }
            ancestors.entry(ancestor).or_default().push(at_target);
        }
        let generation = policy.meta.generation;
        let status = of_targets(defect.as_ref(), ancestors, generation, &reader.settings());
        publish(&object, status, made);
    }
}

impl OfInput<Cluster> for Status {
    fn of_input(name: &ObjectRef) -> Option<Self::Key> {
        (name.kind == Kind::ClientPolicy).then(|| name.object_name())
    }
}

/// What is wrong with the policy itself, wherever it is to hold: first what closes listeners.
fn defect(policy: &ClientPolicy) -> Option<Diagnostic> {
    let spec = &policy.spec;
    let unreadable = match (&policy.meta.unreadable, &spec.client_address) {
        (Some(why), _) => Some((String::new(), why.to_string())),
        (None, Err(it)) => Some((format!("spec.{}", it.field), it.reason.clone())),
        (None, Ok(_)) => None,
    };
    if let Some((field, why)) = unreadable {
        let message = format!("{why}, so nobody can say where clients are, and the listeners are closed");
        return Some(Diagnostic::error(Reason::ClientPolicyUnreadable, field, message, "correct the field"));
    }
    if let Ok(Some(written)) = &spec.client_address
        && let Err(it) = written.source()
    {
        let message = format!("{}; until this is corrected, the listeners are closed", it.reason);
        let reason = Reason::ClientPolicyValueInvalid;
        return Some(Diagnostic::error(reason, it.field, message, "correct the value"));
    }
    if let Err(it) = &spec.tls {
        let message = format!("{}; until this is corrected, TLS 1.3 alone is spoken", it.reason);
        let (reason, field) = (Reason::ClientPolicyTlsUnreadable, format!("spec.{}", it.field));
        let remedy = "write `minVersion: \"1.2\"` or `\"1.3\"`, in quotes";
        return Some(Diagnostic::error(reason, field, message, remedy));
    }
    let Some(it) = &spec.unknown else {
        let says_nothing = !ClientField::ALL.into_iter().any(|it| spec.has(it));
        let message = "the policy says nothing of clients, so it has no effect";
        let remedy = "write clientAddress, tls, or both";
        return says_nothing.then(|| Diagnostic::error(Reason::ClientPolicyEmpty, "spec", message, remedy));
    };
    let message = format!("{}; the other fields of the policy are carried out", it.reason);
    let (reason, field) = (Reason::ClientPolicyFieldUnknown, format!("spec.{}", it.field));
    Some(Diagnostic::error(reason, field, message, "remove it, or upgrade Fairway"))
}
