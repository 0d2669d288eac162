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
    let is_granted = grant::permits(draft.reader, (from, &own), target);
    if draft.scope == Scope::Gateway && !is_granted {
        let message =
            format!("Service {namespace}/{} is in another namespace, which does not grant its use", it.name);
        let remedy = grant::remedy((from, &own), (Kind::Service, &namespace, it.name));
        draft.unresolved(reason::REF_NOT_PERMITTED, field, message, remedy);
        return Err(Unresolved::NotPermitted);
    }
    let name = ObjectName::new(namespace, it.name);
    draft.uses(&name);
    usable(draft, field, &name, it.port).map_err(|defect| {
        if !is_granted {
            // What is not there, and what is there and cannot be used, look alike to those whom nobody has granted it.
            let message = format!(
                "Service {name} of another namespace is not there, or has no such port that a {from} can use"
            );
            let remedy =
                "correct the reference; a ReferenceGrant for the Service there has the reason told here";
            draft.unresolved(reason::BACKEND_NOT_FOUND, field, message, remedy);
            return Unresolved::NotFound;
        }
        draft.unresolved(defect.reason, defect.field, defect.message, defect.remedy);
        defect.unresolved
    })
}

/// Why a Service cannot be a backend.
struct Defect {
    unresolved: Unresolved,
    reason: &'static str,
    field: String,
    message: String,
    remedy: String,
}

/// The backend behind a port of a Service.
fn usable(
    draft: &mut Draft<'_, '_>,
    field: &str,
    name: &ObjectName,
    port: Option<i32>,
) -> Result<BackendKey, Defect> {
    let from = Kind::of_route(draft.kind);
    let defect = |unresolved, reason, field: &str, message: String, remedy: &str| {
        let (field, remedy) = (field.to_owned(), remedy.to_owned());
        Err(Defect { unresolved, reason, field, message, remedy })
    };
    let Some(service) = draft.reader.service(name) else {
        let message = format!("Service {name} does not exist");
        let remedy = "create it, or correct the name";
        return defect(Unresolved::NotFound, reason::BACKEND_NOT_FOUND, field, message, remedy);
    };
    if service.kind == ServiceKind::ExternalName {
        // An alias could lead anywhere, past every grant (kubernetes/kubernetes#103675).
        let message = format!("Service {name} is an ExternalName");
        let remedy = "refer to a Service with endpoints";
        return defect(Unresolved::InvalidKind, reason::INVALID_KIND, field, message, remedy);
    }
    let (transport, word) = match draft.kind {
        RouteKind::Udp => (Transport::Udp, "UDP"),
        RouteKind::Http | RouteKind::Grpc | RouteKind::Tls | RouteKind::Tcp => (Transport::Tcp, "TCP"),
    };
    let found = port.and_then(|port| service.ports_over(transport).find(|it| i32::from(it.port) == port));
    let found = found.and_then(|port| Some((port, service::backend_key(name, port)?)));
    let Some((port, key)) = found else {
        let ports: Vec<String> = service.ports_over(transport).map(|it| it.port.to_string()).collect();
        let message = match port {
            Some(port) => format!("Service {name} has no {word} port {port}"),
            None => format!("which port of Service {name}?"),
        };
        let remedy = match ports.is_empty() {
            true => format!("use a Service with {word} ports"),
            false => format!("use one of its ports: {}", ports.join(", ")),
        };
        let field = format!("{field}.port");
        return defect(Unresolved::NotFound, reason::BACKEND_NOT_FOUND, &field, message, &remedy);
    };
    let unsupported = |message, remedy| {
        defect(Unresolved::UnsupportedProtocol, reason::UNSUPPORTED_PROTOCOL, field, message, remedy)
    };
    if transport == Transport::Udp && service::requires_waypoint(&service) {
        let message =
            format!("Service {name} is reached through its waypoint only, which takes no datagrams");
        return unsupported(message, "take the label off the Service, or choose another Service");
    }
    let protocol = service::protocol(port);
    let is_ours = protocol == Protocol::Secure && has_policy(draft, name, port.port);
    if !is_ours && !can_carry(draft.kind, protocol) {
        let spoken = port.app_protocol.as_deref().unwrap_or_default();
        let message =
            format!("port {} of Service {name} speaks `{spoken}`, which a {from} cannot", port.port);
        return unsupported(message, "correct the port's appProtocol, or choose another port");
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
