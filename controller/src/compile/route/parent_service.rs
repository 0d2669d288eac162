//! What a Service says to a route that names it as its parent.

use crate::compile::names::absent::{Absent, CORRECT_REFERENCE, absent};
use crate::compile::program::Reader;
use crate::diagnostic::{Diagnostic, Reason};
use crate::resources::{Kind, ObjectRef, Service, ServiceKind};
use crate::status::ParentRef;
use fairway_config::model::ObjectName;

/// The ports of a Service that a parentRef means. The field of an error is relative to the parentRef.
pub(in crate::compile) fn bindable(
    reader: &mut Reader<'_>,
    name: &ObjectName,
    parent: &ParentRef,
) -> Result<Vec<u16>, Diagnostic> {
    let Some(service) = reader.input::<Service>(name) else {
        let Absent { message, remedy } =
            absent(reader, &ObjectRef::from_name(Kind::Service, name), CORRECT_REFERENCE);
        return Err(Diagnostic::error(Reason::ParentServiceNotFound, "", message, remedy));
    };
    match service.kind {
        ServiceKind::ClusterIp => {}
        // Nothing tells which Service was meant by a connection to a pod's address (GEP-1294).
        ServiceKind::Headless => {
            let message = format!(
                "Service {name} is headless: a connection to one of its pods does not show that the Service was meant"
            );
            let remedy = "refer to a Service with a cluster IP";
            return Err(Diagnostic::error(Reason::ParentServiceHeadless, "", message, remedy));
        }
        ServiceKind::ExternalName => {
            let message = format!("Service {name} is of type ExternalName, which is a DNS alias only");
            let remedy = "refer to a Service of type ClusterIP";
            return Err(Diagnostic::error(Reason::ParentServiceExternalName, "", message, remedy));
        }
    }
    let ports: Vec<u16> = service
        .tcp_ports()
        .filter(|it| parent.port.is_none_or(|port| port == i32::from(it.port)))
        .filter(|it| parent.section_name.is_none() || it.name == parent.section_name)
        .map(|it| it.port)
        .collect();
    if ports.is_empty() {
        let ports: Vec<String> = service.tcp_ports().map(|port| port.port.to_string()).collect();
        let (message, part) = match (parent.port, &parent.section_name) {
            (Some(port), _) => (format!("Service {name} has no TCP port {port}"), "port"),
            (None, Some(port)) => (format!("Service {name} has no TCP port named {port}"), "sectionName"),
            (None, None) => (format!("Service {name} has no TCP port"), ""),
        };
        let remedy = match ports.is_empty() {
            true => "refer to a Service with TCP ports".to_owned(),
            false => format!("use one of its TCP ports: {}", ports.join(", ")),
        };
        return Err(Diagnostic::error(Reason::ParentServicePortNotFound, part, message, remedy));
    }
    Ok(ports)
}
