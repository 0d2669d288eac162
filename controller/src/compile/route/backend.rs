//! References to backends.

use super::draft::{Draft, Scope};
use super::written::WrittenRef;
use crate::compile::grant;
use crate::compile::service::{self, Protocol};
use crate::resources::{Kind, RouteKind, ServiceKind};
use crate::status::reason;
use fairway_config::model::{AppProtocol, BackendTarget, ObjectName, Unresolved};
use std::sync::Arc;

/// Follows a reference; one that leads nowhere is noted, and answered with 500 for its share (never given to others).
pub(super) fn resolve(draft: &mut Draft<'_, '_>, field: &str, written: WrittenRef<'_>) -> BackendTarget {
    match follow(draft, field, written) {
        Ok((service, port)) => BackendTarget::Backend(service::backend_key(&service, port)),
        Err(why) => BackendTarget::Unresolved(why),
    }
}

fn follow(
    draft: &mut Draft<'_, '_>,
    field: &str,
    it: WrittenRef<'_>,
) -> Result<(ObjectName, u16), Unresolved> {
    let (group, kind) = (it.group.unwrap_or_default(), it.kind.unwrap_or("Service"));
    if (group, kind) != ("", "Service") {
        let (message, remedy) = (format!("{group}/{kind} is no backend"), "refer to a Service");
        draft.unresolved(reason::INVALID_KIND, format!("{field}.kind"), message, remedy);
        return Err(Unresolved::InvalidKind);
    }
    let own = draft.route.namespace.clone();
    let namespace = it.namespace.map_or_else(|| own.clone(), Arc::from);
    let from = Kind::of_route(draft.kind);
    let target = (Kind::Service, &namespace, it.name);
    if draft.scope == Scope::Gateway && !grant::permits(draft.reader, (from, &own), target) {
        let message =
            format!("Service {namespace}/{} is in another namespace, which does not grant its use", it.name);
        let remedy = grant::remedy((from, &own), (Kind::Service, &namespace, it.name));
        draft.unresolved(reason::REF_NOT_PERMITTED, field, message, remedy);
        return Err(Unresolved::NotPermitted);
    }
    let name = ObjectName::new(namespace, it.name);
    let Some(service) = draft.reader.service(&name) else {
        let message = format!("Service {name} does not exist");
        draft.unresolved(reason::BACKEND_NOT_FOUND, field, message, "create it, or correct the name");
        return Err(Unresolved::NotFound);
    };
    if service.kind == ServiceKind::ExternalName {
        // An alias could lead anywhere, past every grant (kubernetes/kubernetes#103675).
        let message = format!("Service {name} is an ExternalName");
        draft.unresolved(reason::INVALID_KIND, field, message, "refer to a Service with endpoints");
        return Err(Unresolved::InvalidKind);
    }
    let found =
        it.port.and_then(|port| service.ports.iter().find(|it| i32::from(it.port) == port && it.is_tcp));
    let Some(port) = found else {
        let ports: Vec<String> = service.tcp_ports().map(|it| it.port.to_string()).collect();
        let message = match it.port {
            Some(port) => format!("Service {name} has no TCP port {port}"),
            None => format!("which port of Service {name}?"),
        };
        let remedy = format!("use one of its ports: {}", ports.join(", "));
        draft.unresolved(reason::BACKEND_NOT_FOUND, format!("{field}.port"), message, remedy);
        return Err(Unresolved::NotFound);
    };
    if !can_carry(draft.kind, service::protocol(port)) {
        let spoken = port.app_protocol.as_deref().unwrap_or_default();
        let message =
            format!("port {} of Service {name} speaks `{spoken}`, which a {from} cannot", port.port);
        draft.unresolved(
            reason::UNSUPPORTED_PROTOCOL,
            field,
            message,
            "correct the port's appProtocol, or choose another port",
        );
        return Err(Unresolved::UnsupportedProtocol);
    }
    Ok((name, port.port))
}

/// Whether requests of a kind of route can be spoken in a protocol.
fn can_carry(kind: RouteKind, protocol: Protocol) -> bool {
    !matches!(
        (kind, protocol),
        (_, Protocol::Secure | Protocol::Known(AppProtocol::Tcp))
            | (RouteKind::Grpc, Protocol::Known(AppProtocol::Http1))
    )
}
