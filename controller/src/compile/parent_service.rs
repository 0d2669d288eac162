//! What a Service says to a route that names it as its parent.

use super::reader::Reader;
use crate::resources::ServiceKind;
use crate::status::{ParentRef, reason};
use fairway_config::model::ObjectName;

/// Why no route can be bound to a Service.
pub(super) struct Unbindable {
    pub reason: &'static str,
    pub part: &'static str,
    pub message: String,
    pub remedy: &'static str,
}

/// The ports of a Service that a parentRef means.
pub(super) fn bindable(
    reader: &mut Reader<'_>,
    name: &ObjectName,
    parent: &ParentRef,
) -> Result<Vec<u16>, Unbindable> {
    let because = |reason, part, message, remedy| Err(Unbindable { reason, part, message, remedy });
    let Some(service) = reader.service(name) else {
        let message = format!("Service {name} does not exist");
        return because(reason::NO_MATCHING_PARENT, "", message, "create it, or correct the reference");
    };
    match service.kind {
        ServiceKind::ClusterIp => {}
        // Nothing tells which Service was meant by a connection to a pod's address (GEP-1294).
        ServiceKind::Headless => {
            let message =
                format!("Service {name} is headless: connections to it carry no address of its own");
            return because(reason::UNSUPPORTED_VALUE, "", message, "use a Service with a cluster IP");
        }
        ServiceKind::ExternalName => {
            let message = format!("Service {name} is an ExternalName: it is a DNS alias");
            return because(reason::UNSUPPORTED_VALUE, "", message, "use a Service with a cluster IP");
        }
    }
    let ports: Vec<u16> = service
        .tcp_ports()
        .filter(|it| parent.port.is_none_or(|port| port == i32::from(it.port)))
        .filter(|it| parent.section_name.is_none() || it.name == parent.section_name)
        .map(|it| it.port)
        .collect();
    if ports.is_empty() {
        let message = format!("Service {name} has no such TCP port");
        let part = if parent.port.is_some() { ".port" } else { "" };
        return because(reason::NO_MATCHING_PARENT, part, message, "name one of its ports");
    }
    Ok(ports)
}
