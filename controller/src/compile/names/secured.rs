//! Ports of Services for which a BackendTLSPolicy says how TLS is spoken to them.

use crate::compile::program::{Cluster, Reader};
use crate::resources::{BackendTlsPolicy, Object, ObjectRef, Service, ServicePort};
use fairway_config::model::ObjectName;
use fairway_incremental::Set;

/// BackendTLSPolicies that name a Service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) struct SecuredBy(pub ObjectName);

impl Set<Cluster> for SecuredBy {
    type Member = ObjectRef;

    fn of_input(name: &ObjectRef, object: &Object) -> Vec<(Self, ObjectRef)> {
        let Object::BackendTlsPolicy(policy) = object else { return Vec::new() };
        let mut services: Vec<ObjectName> = sections(policy).map(|(service, _)| service).collect();
        services.sort();
        services.dedup();
        services.into_iter().map(|it| (Self(it), name.clone())).collect()
    }
}

/// The Services that a policy names, and the port of each; none is all of its ports.
fn sections(policy: &BackendTlsPolicy) -> impl Iterator<Item = (ObjectName, Option<&str>)> {
    let refs = policy.spec.target_refs.iter().filter(|it| it.group.is_empty() && it.kind == "Service");
    refs.map(|it| {
        let service = ObjectName::new(policy.meta.namespace.clone(), it.name.as_str());
        (service, it.section_name.as_deref().filter(|it| !it.is_empty()))
    })
}

/// Whether a policy is about a port. One that names a port which is not there may mean any of them.
pub(in crate::compile) fn is_secured(
    reader: &mut Reader<'_>,
    name: &ObjectName,
    service: &Service,
    port: &ServicePort,
) -> bool {
    let policies = reader.members(&SecuredBy(name.clone()));
    policies.iter().any(|it| {
        let Some(policy) = reader.input::<BackendTlsPolicy>(&it.object_name()) else { return false };
        sections(&policy).filter(|(service, _)| service == name).any(|(_, section)| {
            let is_there = |section| service.tcp_ports().any(|it| it.name.as_deref() == Some(section));
            section.is_none_or(|it| port.name.as_deref() == Some(it) || !is_there(it))
        })
    })
}
