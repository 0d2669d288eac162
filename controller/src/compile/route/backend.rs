//! References to backends.

use super::draft::{Draft, Scope};
use super::written::WrittenRef;
use crate::compile::grant;
use crate::compile::service::{self, Protocol};
use crate::resources::{Kind, RouteKind, ServiceKind, Transport};
use crate::status::reason;
use fairway_config::model::{AppProtocol, BackendKey, BackendTarget, ObjectName, Unresolved};
use std::sync::Arc;

/// Follows a reference; one that leads nowhere is noted, and answered with 500 for its share (never given to others).
pub(super) fn resolve(draft: &mut Draft<'_, '_>, field: &str, written: WrittenRef<'_>) -> BackendTarget {
    match follow(draft, field, written) {
        Ok(key) => BackendTarget::Backend(key),
        Err(why) => BackendTarget::Unresolved(why),
    }
}

fn follow(draft: &mut Draft<'_, '_>, field: &str, it: WrittenRef<'_>) -> Result<BackendKey, Unresolved> {
    if draft.scope == Scope::Unread {
        return Err(Unresolved::NotFound);
    }
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
    draft.uses(&name);
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
    let (transport, word) = match draft.kind {
        RouteKind::Udp => (Transport::Udp, "UDP"),
        RouteKind::Http | RouteKind::Grpc | RouteKind::Tls | RouteKind::Tcp => (Transport::Tcp, "TCP"),
    };
    let found = it.port.and_then(|port| service.ports_over(transport).find(|it| i32::from(it.port) == port));
    let found = found.and_then(|port| Some((port, service::backend_key(&name, port)?)));
    let Some((port, key)) = found else {
        let ports: Vec<String> = service.ports_over(transport).map(|it| it.port.to_string()).collect();
        let message = match it.port {
            Some(port) => format!("Service {name} has no {word} port {port}"),
            None => format!("which port of Service {name}?"),
        };
        let remedy = match ports.is_empty() {
            true => format!("use a Service with {word} ports"),
            false => format!("use one of its ports: {}", ports.join(", ")),
        };
        draft.unresolved(reason::BACKEND_NOT_FOUND, format!("{field}.port"), message, remedy);
        return Err(Unresolved::NotFound);
    };
    if transport == Transport::Udp && service::requires_waypoint(&service) {
        let message =
            format!("Service {name} is reached through its waypoint only, which takes no datagrams");
        let remedy = "take the label off the Service, or choose another Service";
        draft.unresolved(reason::UNSUPPORTED_PROTOCOL, field, message, remedy);
        return Err(Unresolved::UnsupportedProtocol);
    }
    let protocol = service::protocol(port);
    let is_ours = protocol == Protocol::Secure && has_policy(draft, &name, port.port);
    if !is_ours && !can_carry(draft.kind, protocol) {
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
    Ok(key)
}

/// Whether a BackendTLSPolicy says how TLS is spoken to a port, so that it is not the application's own.
fn has_policy(draft: &mut Draft<'_, '_>, service: &ObjectName, port: u16) -> bool {
    draft.reader.service_tls(service).is_some_and(|it| it.ports.contains_key(&port))
}

/// Whether requests of a kind of route can be spoken in a protocol.
fn can_carry(kind: RouteKind, protocol: Protocol) -> bool {
    match kind {
        // Bytes are bytes.
        RouteKind::Tls | RouteKind::Tcp | RouteKind::Udp => true,
        RouteKind::Http => !matches!(protocol, Protocol::Secure | Protocol::Known(AppProtocol::Tcp)),
        RouteKind::Grpc => matches!(
            protocol,
            Protocol::Known(AppProtocol::Unspecified) | Protocol::Known(AppProtocol::Http2)
        ),
    }
}
