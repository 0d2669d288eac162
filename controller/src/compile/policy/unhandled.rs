//! Objects of kinds that Fairway knows and does not carry out: their status says so.

use crate::compile::names::class;
use crate::compile::policy::status;
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::stage;
use crate::diagnostic::{Diagnostic, Reason};
use crate::resources::{Gateway, Kind, ObjectRef, Unhandled};
use crate::status::{Condition, reason};
use fairway_incremental::{OfInput, Query};

/// The status of such an object. A policy of Gateways is told so for each Gateway of ours that it names, and any other object
/// for our GatewayClass.
pub(in crate::compile) struct Status;

impl Query<Cluster> for Status {
    type Key = ObjectRef;
    type Value = ();
    const STAGE: u8 = stage::OBJECTS;

    fn run(object: &ObjectRef, reader: &mut Reader<'_>, made: &mut Made) {
        let Some(unhandled) = reader.input::<Unhandled>(object) else { return };
        let ancestors = match object.kind {
            Kind::TelemetryPolicy => gateways(reader, &unhandled),
            _ => {
                let class = reader.settings().gateway_class.clone();
                vec![ObjectRef::new(Kind::GatewayClass, "", class)]
            }
        };
        if ancestors.is_empty() {
            return;
        }
        let message =
            format!("Fairway does not implement kind {}, so this object has no effect", object.kind);
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
        let accepted =
            Condition::fails(reason::ACCEPTED, reason::NOT_SUPPORTED, text, unhandled.meta.generation);
        status::of_ancestors(object, ancestors, &[accepted], &reader.settings(), made);
    }
}

impl OfInput<Cluster> for Status {
    fn of_input(name: &ObjectRef) -> Option<Self::Key> {
        Kind::UNHANDLED.contains(&name.kind).then(|| name.clone())
    }
}

/// The Gateways of ours that it is about; of others their own controllers speak.
fn gateways(reader: &mut Reader<'_>, unhandled: &Unhandled) -> Vec<ObjectRef> {
    let mut found = Vec::new();
    for name in &unhandled.gateways {
        let class = reader.input::<Gateway>(name).map(|it| it.spec.gateway_class_name.clone());
        if class.is_some_and(|it| class::named(reader, &it).is_some()) {
            found.push(ObjectRef::from_name(Kind::Gateway, name));
        }
    }
    found
}
