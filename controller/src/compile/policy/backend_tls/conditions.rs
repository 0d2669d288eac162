//! What a BackendTLSPolicy is told.

use super::{Validate, Validation, of_service};
use crate::compile::gateway::HeldGateways;
use crate::compile::names::absent::{Absent, CORRECT_NAME, absent};
use crate::compile::names::backend::BackendGateways;
use crate::compile::names::service::backend_key;
use crate::compile::policy::attach;
use crate::compile::policy::merge::MergeOutcome;
use crate::compile::policy::status;
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::stage;
use crate::diagnostic::{Diagnostic, Reason, join_texts};
use crate::resources::{BackendTlsPolicy, Kind, ObjectRef, Service};
use crate::status::{Condition, Enforcer, reason};
use fairway_config::model::{ObjectName, ResourceKey, ResourceKind};
use fairway_incremental::{OfInput, Query};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Puts the status together: for each Gateway of ours whose routes use a Service the policy names.
pub(in crate::compile) struct Status;

impl Query<Cluster> for Status {
    type Key = ObjectName;
    type Value = ();
    const STAGE: u8 = stage::CONSEQUENCES;

    fn run(name: &ObjectName, reader: &mut Reader<'_>, made: &mut Made) {
        let object = ObjectRef::from_name(Kind::BackendTlsPolicy, name);
        let (Some(policy), Some(validation)) =
            (reader.input::<BackendTlsPolicy>(name), reader.get::<Validate>(name))
        else {
            return;
        };
        let (mut fates, mut gateways, mut carriers) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        for it in attach::targets(&*policy) {
            let service = it.object.object_name();
            gateways.extend(reader.members(&BackendGateways(service.clone())).iter().cloned());
            carriers.extend(backends(reader, &object, &service));
            fates.push(fate(reader, &object, service, it.section, made));
        }
        let generation = policy.meta.generation;
        let is_usable = validation.tls.as_ref().map(|_| ());
        let accepted = status::accepted(is_usable, &fates, &validation.ignored, generation);
        let mut conditions = vec![accepted, resolved(&validation, generation)];
        conditions.extend(validation.ignored.condition(generation));
        let enforced_by = |gateway: &ObjectRef| BTreeSet::from([Enforcer::Gateway(gateway.object_name())]);
        let ancestors = gateways.into_iter().map(|gateway| (gateway.clone(), enforced_by(&gateway)));
        // Nobody knows which Services their routes use.
        let held = reader.members(&HeldGateways);
        status::of_enforced(&object, ancestors, &held, &carriers, conditions, &reader.settings(), made);
    }
}

impl OfInput<Cluster> for Status {
    fn of_input(name: &ObjectRef) -> Option<Self::Key> {
        (name.kind == Kind::BackendTlsPolicy).then(|| name.object_name())
    }
}

/// The backends of the ports of a Service for which a policy holds.
fn backends(reader: &mut Reader<'_>, policy: &ObjectRef, name: &ObjectName) -> Vec<ResourceKey> {
    let Some(service) = reader.input::<Service>(name) else { return Vec::new() };
    let Some(tls) = of_service(reader, name) else { return Vec::new() };
    let held = service.tcp_ports().filter(|port| tls.policies.holder(port.name.as_ref()) == Some(policy));
    let keys = held.filter_map(|port| backend_key(name, port));
    keys.map(|key| ResourceKey::new(ResourceKind::Backend, key.as_arc())).collect()
}

/// Whether a policy holds at one of its targets; an error is reported too.
fn fate(
    reader: &mut Reader<'_>,
    object: &ObjectRef,
    service: ObjectName,
    section: Option<Arc<str>>,
    made: &mut Made,
) -> Result<(), Diagnostic> {
    let field = "spec.targetRefs";
    let outcome =
        of_service(reader, &service).and_then(|it| it.policies.outcome(object, section.as_ref()).cloned());
    let error = match outcome {
        Some(MergeOutcome::Holds) => return Ok(()),
        Some(MergeOutcome::LosesTo(winner)) => {
            let message = format!(
                "{winner} applies to Service {service} in place of this policy: the older policy wins, then the first by name"
            );
            let remedy = "remove one of the two, or let them name different ports";
            Diagnostic::error(Reason::PolicyConflict, field, message, remedy)
        }
        Some(MergeOutcome::NoSuchSection) => {
            let message = format!(
                "Service {service} has no TCP port named {}; nothing is sent to those of its ports that no other policy \
                 names, because it would be sent without TLS",
                section.unwrap_or_default()
            );
            let remedy = "write the name of one of its ports (the name, not the number)";
            Diagnostic::error(Reason::PolicyPortNotFound, field, message, remedy)
        }
        None => {
            let Absent { message, remedy } =
                absent(reader, &ObjectRef::from_name(Kind::Service, &service), CORRECT_NAME);
            Diagnostic::error(Reason::PolicyServiceNotFound, field, message, remedy)
        }
    };
    made.report(object, error.clone());
    Err(error)
}

fn resolved(validation: &Validation, generation: i64) -> Condition {
    let kind = reason::RESOLVED_REFS;
    match validation.unresolved.first() {
        None if validation.warnings.is_empty() => {
            Condition::holds(kind, kind, "all references are resolved", generation)
        }
        None => {
            let message = format!("all references are resolved. {}", join_texts(&validation.warnings));
            Condition::holds(kind, kind, message, generation)
        }
        Some(first) => {
            // The API of policies has another word for this than the API of Gateways.
            let reason = match first.reason.condition() {
                reason::INVALID_CA_CERTIFICATE_KIND => reason::INVALID_KIND,
                other => other,
            };
            let all = validation.unresolved.iter().chain(&validation.warnings);
            Condition::fails(kind, reason, join_texts(all), generation)
        }
    }
}
