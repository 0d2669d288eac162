//! References of routes to backends: the port of a Service that one leads to, or why it leads nowhere.

use super::draft::{Draft, Scope};
use super::written::WrittenRef;
use crate::compile::names::grant;
use crate::compile::names::protocol::Protocol;
use crate::compile::names::service::backend_key;
use crate::compile::policy::{backend_tls, required_waypoint};
use crate::diagnostic::{Diagnostic, Reason};
use crate::resources::{Kind, RouteKind, Service, ServiceKind, Transport};
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
        let message = format!("{group}/{kind} is not a kind of backend that Fairway sends requests to");
        let field = format!("{field}.kind");
        draft.unresolved(Diagnostic::error(Reason::BackendKindUnknown, field, message, "refer to a Service"));
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
        draft.unresolved(Diagnostic::error(Reason::BackendNotPermitted, field, message, remedy));
        return Err(Unresolved::NotPermitted);
    }
    let name = ObjectName::new(namespace, it.name);
    draft.uses(&name);
    usable(draft, field, &name, it.port).map_err(|(unresolved, error)| {
        if !is_granted {
            // What is not there, and what is there and cannot be used, look alike to those whom nobody has granted it.
            let message = format!(
                "Service {name} of another namespace does not exist, or has no such port that routes of kind {from} can use"
            );
            let remedy = "correct the reference; with a ReferenceGrant for the Service the exact reason is shown here";
            draft.unresolved(Diagnostic::error(Reason::BackendUnavailable, field, message, remedy));
            return Unresolved::NotFound;
        }
        draft.unresolved(error);
        unresolved
    })
}

/// The backend behind a port of a Service; or what its share of the requests is answered with, and why.
fn usable(
    draft: &mut Draft<'_, '_>,
    field: &str,
    name: &ObjectName,
    port: Option<i32>,
) -> Result<BackendKey, (Unresolved, Diagnostic)> {
    let from = Kind::of_route(draft.kind);
    let Some(service) = draft.reader.input::<Service>(name) else {
        let message = format!("Service {name} does not exist");
        let remedy = "create it, or correct the name";
        let error = Diagnostic::error(Reason::BackendServiceNotFound, field, message, remedy);
        return Err((Unresolved::NotFound, error));
    };
    if service.kind == ServiceKind::ExternalName {
        // An alias could lead anywhere, past every grant (kubernetes/kubernetes#103675).
        let message =
            format!("Service {name} is of type ExternalName, which Fairway does not send requests to");
        let remedy = "refer to a Service with endpoints";
        let error = Diagnostic::error(Reason::BackendExternalName, field, message, remedy);
        return Err((Unresolved::InvalidKind, error));
    }
    let (transport, word) = match draft.kind {
        RouteKind::Udp => (Transport::Udp, "UDP"),
        RouteKind::Http | RouteKind::Grpc | RouteKind::Tls | RouteKind::Tcp => (Transport::Tcp, "TCP"),
    };
    let found = port.and_then(|port| service.ports_over(transport).find(|it| i32::from(it.port) == port));
    let found = found.and_then(|port| Some((port, backend_key(name, port)?)));
    let Some((port, key)) = found else {
        let ports: Vec<String> = service.ports_over(transport).map(|it| it.port.to_string()).collect();
        let message = match port {
            Some(port) => format!("Service {name} has no {word} port {port}"),
            None => format!("the port of Service {name} is missing"),
        };
        let remedy = match ports.is_empty() {
            true => format!("use a Service with {word} ports"),
            false => format!("use one of its ports: {}", ports.join(", ")),
        };
        let field = format!("{field}.port");
        let error = Diagnostic::error(Reason::BackendPortNotFound, field, message, remedy);
        return Err((Unresolved::NotFound, error));
    };
    let unsupported = |reason, message: String, remedy: &str| {
        Err((Unresolved::UnsupportedProtocol, Diagnostic::error(reason, field, message, remedy)))
    };
    if transport == Transport::Udp && required_waypoint::is_required(draft.reader, name, &service) {
        let message =
            format!("Service {name} is reached through its waypoint only, and waypoints do not carry UDP");
        let remedy = "remove the label or the AccessPolicy that keeps the Service behind its waypoint, or use another Service";
        return unsupported(Reason::BackendUdpThroughWaypoint, message, remedy);
    }
    let protocol = Protocol::of_port(port);
    let is_ours = protocol == Protocol::Secure && has_policy(draft, name, port.port);
    if !is_ours && !can_carry(draft.kind, protocol) {
        let spoken = port.app_protocol.as_deref().unwrap_or_default();
        let message = format!(
            "port {} of Service {name} has appProtocol `{spoken}`, which routes of kind {from} cannot use",
            port.port
        );
        let remedy = "correct the port's appProtocol, or use another port";
        return unsupported(Reason::BackendProtocolMismatch, message, remedy);
    }
    Ok(key)
}

/// Whether a BackendTLSPolicy says how TLS is spoken to a port, so that it is not the application's own.
fn has_policy(draft: &mut Draft<'_, '_>, service: &ObjectName, port: u16) -> bool {
    backend_tls::of_service(draft.reader, service).is_some_and(|it| it.ports.contains_key(&port))
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
