//! Objects of kinds that Fairway knows and does not carry out: their status says so.

use super::class;
use super::evaluation::Evaluation;
use super::reader::Reader;
use crate::diagnostic::{Diagnostic, Reason};
use crate::resources::{Kind, ObjectRef, Unhandled};
use crate::status::{AncestorStatus, Condition, ObjectStatus, ParentRef, PolicyStatus, reason};
use std::sync::Arc;

/// As many ancestors as the API lets an object have, of all controllers together.
const MOST_ANCESTORS: usize = 16;

/// The status of such an object. A policy of Gateways is told so for each Gateway of ours that it names, and any other object
/// for our GatewayClass.
pub(super) fn evaluate(reader: &mut Reader<'_>, object: &ObjectRef) -> Evaluation {
    let mut made = Evaluation::default();
    let Some(unhandled) = reader.unhandled(object) else { return made };
    let ancestors = match object.kind {
        Kind::TelemetryPolicy => gateways(reader, &unhandled),
        _ => vec![reference(Kind::GatewayClass, None, reader.settings().gateway_class.clone())],
    };
    if ancestors.is_empty() {
        return made;
    }
    let message = format!("Fairway does not implement kind {}, so this object has no effect", object.kind);
    let remedy = match object.kind {
        Kind::BackendTrafficPolicy => {
            "remove it; retries are set in the rules of an HTTPRoute (spec.rules[].retry)"
        }
        Kind::ExternalBackend => "remove it, and refer to a Service",
        _ => "remove it",
    };
    let warning = Diagnostic::warning(Reason::KindNotImplemented, "", message, remedy);
    let text = warning.text();
    made.report(object, warning);
    let settings = reader.settings();
    let accepted = Condition::fails(reason::ACCEPTED, reason::NOT_SUPPORTED, text, unhandled.meta.generation);
    let ancestor = |ancestor_ref| AncestorStatus {
        ancestor_ref,
        controller_name: settings.controller_name.clone(),
        conditions: vec![accepted.clone()],
    };
    let ancestors = ancestors.into_iter().take(MOST_ANCESTORS).map(ancestor).collect();
    made.statuses.push((object.clone(), ObjectStatus::Policy(PolicyStatus { ancestors })));
    made
}

/// The Gateways of ours that it is about; of others their own controllers speak.
fn gateways(reader: &mut Reader<'_>, unhandled: &Unhandled) -> Vec<ParentRef> {
    let mut found = Vec::new();
    for name in &unhandled.gateways {
        let class = reader.gateway(name).map(|it| it.spec.gateway_class_name.clone());
        if class.is_some_and(|it| class::named(reader, &it).is_some()) {
            found.push(reference(Kind::Gateway, Some(name.namespace.clone()), name.name.clone()));
        }
    }
    found
}

fn reference(kind: Kind, namespace: Option<Arc<str>>, name: Arc<str>) -> ParentRef {
    ParentRef {
        group: Some(kind.group().into()),
        kind: Some(kind.as_str().into()),
        namespace,
        name,
        ..ParentRef::default()
    }
}
