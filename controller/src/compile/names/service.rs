//! What a Service is called in the configuration, and what its label says.

use crate::compile::program::Reader;
use crate::resources::{Object, Service, ServiceKind, ServicePort, Transport};
use fairway_config::model::{AuthorizationKey, BackendKey, ObjectName, ServiceKey};
use std::sync::Arc;

/// The label that keeps a Service behind its waypoint.
pub(in crate::compile) const WAYPOINT_LABEL: &str = "fairway.dev/waypoint";

/// Whether a Service is reached through its waypoint only. A word that is not understood counts as yes.
pub(in crate::compile) fn requires_waypoint(service: &Service) -> bool {
    service.meta.label(WAYPOINT_LABEL).is_some()
}

/// The namespace of an object, if it is a Service that is reached through its waypoint only.
pub(in crate::compile) fn namespace_of_requiring(object: &Object) -> Option<Arc<str>> {
    match object {
        Object::Service(it) if requires_waypoint(it) => Some(it.meta.namespace.clone()),
        _ => None,
    }
}

/// Reads a Service that has addresses and endpoints; one of type ExternalName stands for a name outside of the cluster.
pub(in crate::compile) fn read_in_cluster(
    reader: &mut Reader<'_>,
    name: &ObjectName,
) -> Option<Arc<Service>> {
    reader.input::<Service>(name).filter(|it| it.kind != ServiceKind::ExternalName)
}

/// The key by which proxies know a Service: `<namespace>/<name>`.
pub(in crate::compile) fn service_key(service: &ObjectName) -> ServiceKey {
    ServiceKey::from(service.to_string())
}

/// The key of a port's backend; none where nothing of ours speaks its transport.
pub(in crate::compile) fn backend_key(service: &ObjectName, port: &ServicePort) -> Option<BackendKey> {
    match port.transport {
        Transport::Tcp => Some(BackendKey::from(format!("{service}:{}", port.port))),
        // A Service may have one number twice, once for each transport.
        Transport::Udp => Some(BackendKey::from(format!("{service}:{}/udp", port.port))),
        Transport::Other => None,
    }
}

/// The key of the authorization that keeps others from the pods of a Service that requires its waypoint.
pub(in crate::compile) fn authorization_key(service: &ObjectName) -> AuthorizationKey {
    AuthorizationKey::from(format!("waypoint-required/{service}"))
}
