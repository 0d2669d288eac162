//! What a policy is told.

use super::precedence::Standing;
use super::{Validation, targets};
use crate::compile::evaluation::Evaluation;
use crate::compile::index::IndexKey;
use crate::compile::reader::Reader;
use crate::diagnostic::{Diagnostic, Reason, join_texts};
use crate::resources::{Kind, ObjectRef};
use crate::status::{AncestorStatus, Condition, ObjectStatus, ParentRef, PolicyStatus, reason};
use fairway_config::model::ObjectName;
use std::collections::BTreeSet;
use std::sync::Arc;

/// As many ancestors as the API lets a policy have, of all controllers together.
const MOST_ANCESTORS: usize = 16;

/// Puts the status together: for each Gateway of ours whose routes use a Service the policy names.
pub(in crate::compile) fn status(reader: &mut Reader<'_>, name: &ObjectName) -> Evaluation {
    let mut made = Evaluation::default();
    let object = ObjectRef::of(Kind::BackendTlsPolicy, name);
    let (Some(policy), Some(validation)) = (reader.backend_tls_policy(name), reader.validation(name)) else {
        return made;
    };
    let (mut fates, mut gateways) = (Vec::new(), BTreeSet::new());
    for (service, section) in targets(&policy) {
        let service = ObjectName::new(name.namespace.clone(), service);
        gateways.extend(reader.members(IndexKey::BackendGateways(service.clone())).iter().cloned());
        fates.push(fate(reader, &object, service, section, &mut made));
    }
    let generation = policy.meta.generation;
    let mut conditions = vec![accepted(&validation, &fates, generation), resolved(&validation, generation)];
    conditions.extend(validation.ignored.condition(generation));
    let settings = reader.settings();
    let ancestor = |gateway: &ObjectRef| AncestorStatus {
        ancestor_ref: ParentRef {
            group: Some(gateway.kind.group().into()),
            kind: Some(gateway.kind.as_str().into()),
            namespace: Some(gateway.namespace.clone()),
            name: gateway.name.clone(),
            ..ParentRef::default()
        },
        controller_name: settings.controller_name.clone(),
        conditions: conditions.clone(),
    };
    let ancestors: Vec<AncestorStatus> = gateways.iter().take(MOST_ANCESTORS).map(ancestor).collect();
    if !ancestors.is_empty() {
        made.statuses.push((object, ObjectStatus::Policy(PolicyStatus { ancestors })));
    }
    made
}

/// Whether a policy holds at one of its targets; an error is reported too.
fn fate(
    reader: &mut Reader<'_>,
    object: &ObjectRef,
    service: ObjectName,
    section: Option<Arc<str>>,
    made: &mut Evaluation,
) -> Result<(), Diagnostic> {
    let field = "spec.targetRefs";
    let standing = reader
        .service_tls(&service)
        .and_then(|it| it.standings.get(&(object.clone(), section.clone())).cloned());
    let error = match standing {
        Some(Standing::Holds) => return Ok(()),
        Some(Standing::LosesTo(winner)) => {
            let message = format!(
                "{winner} applies to Service {service} in place of this policy: the older policy wins, then the first by name"
            );
            let remedy = "remove one of the two, or let them name different ports";
            Diagnostic::error(Reason::PolicyConflict, field, message, remedy)
        }
        Some(Standing::NoSuchPort) => {
            let message = format!(
                "Service {service} has no TCP port named {}; nothing is sent to those of its ports that no other policy \
                 names, because it would be sent without TLS",
                section.unwrap_or_default()
            );
            let remedy = "write the name of one of its ports (the name, not the number)";
            Diagnostic::error(Reason::PolicyPortNotFound, field, message, remedy)
        }
        None => {
            let message = format!("Service {service} does not exist");
            let remedy = "create it, or correct the name";
            Diagnostic::error(Reason::PolicyServiceNotFound, field, message, remedy)
        }
    };
    made.report(object, error.clone());
    Err(error)
}

fn accepted(validation: &Validation, fates: &[Result<(), Diagnostic>], generation: i64) -> Condition {
    let fails = |reason, message| Condition::fails(reason::ACCEPTED, reason, message, generation);
    if let Err(defect) = &validation.tls {
        return fails(defect.reason.condition(), defect.text());
    }
    let bad: Vec<&Diagnostic> = fates.iter().filter_map(|fate| fate.as_ref().err()).collect();
    let message = join_texts(bad.iter().copied());
    let holds = |message: String| {
        let message = validation.ignored.qualify(message);
        Condition::holds(reason::ACCEPTED, reason::ACCEPTED, message, generation)
    };
    match bad.first() {
        None => holds("the policy is accepted".to_owned()),
        // One target that takes the policy is enough for it to be accepted.
        Some(_) if bad.len() < fates.len() => holds(format!("accepted in part: {message}")),
        Some(first) => fails(first.reason.condition(), message),
    }
}

fn resolved(validation: &Validation, generation: i64) -> Condition {
    let kind = reason::RESOLVED_REFS;
    match validation.unresolved.first() {
        None => Condition::holds(kind, kind, "all references are resolved", generation),
        Some(first) => {
            // The API of policies has another word for this than the API of Gateways.
            let reason = match first.reason.condition() {
                reason::INVALID_CA_CERTIFICATE_KIND => reason::INVALID_KIND,
                other => other,
            };
            Condition::fails(kind, reason, join_texts(&validation.unresolved), generation)
        }
    }
}
