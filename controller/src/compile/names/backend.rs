//! References to backends: the port of a Service that one leads to, or why it leads nowhere.

use super::absent::{Absent, CORRECT_NAME, absent};
use super::grant;
use super::protocol::Protocol;
use super::secured::is_secured;
use super::service::backend_key;
use crate::compile::program::{Cluster, Reader};
use crate::diagnostic::rule::qualified;
use crate::diagnostic::{Diagnostic, Reason};
use crate::resources::{Kind, ObjectRef, RouteKind, Service, ServiceKind, Transport};
use fairway_config::model::{AppProtocol, BackendKey, ObjectName, Unresolved};
use fairway_incremental::Set;
use std::sync::Arc;

/// A reference to a backend, as written.
#[derive(Clone, Copy, Debug)]
pub(in crate::compile) struct WrittenRef<'a> {
    pub group: Option<&'a str>,
    pub kind: Option<&'a str>,
    pub namespace: Option<&'a str>,
    pub name: &'a str,
    pub port: Option<i32>,
}

macro_rules! reference {
    ($it:expr) => {
        WrittenRef {
            group: $it.group.as_deref(),
            kind: $it.kind.as_deref(),
            namespace: $it.namespace.as_deref().filter(|it| !it.is_empty()),
            name: &$it.name,
            port: $it.port,
        }
    };
}
pub(in crate::compile) use reference;

/// Gateways whose routes, or the filters of whose listeners, use a Service: the ancestors of policies that name the Service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) struct BackendGateways(pub ObjectName);

impl Set<Cluster> for BackendGateways {
    type Member = ObjectRef;
}

/// Who refers to a backend.
#[derive(Clone, Copy, Debug)]
pub(in crate::compile) struct Referrer<'a> {
    /// The kind of its object, as ReferenceGrants name it.
    pub kind: Kind,
    pub namespace: &'a Arc<str>,
    /// What it sends there is what routes of this kind send.
    pub sends: RouteKind,
    /// Whether a namespace has to grant it the use of its Services; for routes on Services none has to (GEP-1294).
    pub needs_grant: bool,
}

/// A Service that a reference may name.
#[derive(Clone, Debug)]
pub(in crate::compile) struct Named {
    pub service: ObjectName,
    /// Whether it is of the same namespace, or that namespace grants its use.
    pub is_granted: bool,
}

/// Why a reference leads nowhere: how its share of the requests is answered, and what is told.
pub(in crate::compile) type Nowhere = (Unresolved, Diagnostic);

// === impl Referrer ===

impl Referrer<'_> {
    /// In messages: whose requests they are.
    fn users(&self) -> String {
        match self.kind.as_route() {
            Some(_) => format!("routes of kind {}", self.kind),
            None => "filters of listeners".to_owned(),
        }
    }
}

/// The Service that a reference names, if it may name it.
pub(in crate::compile) fn name(
    reader: &mut Reader<'_>,
    from: Referrer<'_>,
    field: &str,
    it: WrittenRef<'_>,
) -> Result<Named, Nowhere> {
    let (group, kind) = (it.group.unwrap_or_default(), it.kind.unwrap_or("Service"));
    if (group, kind) != ("", "Service") {
        let message =
            format!("{} is not a kind of backend that Fairway sends requests to", qualified(group, kind));
        let field = format!("{field}.kind");
        let error = Diagnostic::error(Reason::BackendKindUnknown, field, message, "refer to a Service");
        return Err((Unresolved::InvalidKind, error));
    }
    let namespace = it.namespace.map_or_else(|| from.namespace.clone(), Arc::from);
    let target = (Kind::Service, &namespace, it.name);
    let is_granted = grant::permits(reader, (from.kind, from.namespace), target);
    if from.needs_grant && !is_granted {
        let target = ObjectRef::new(Kind::Service, namespace.clone(), it.name);
        let message = grant::refusal(reader, &target);
        let remedy = grant::remedy((from.kind, from.namespace), (Kind::Service, &namespace, it.name));
        let error = Diagnostic::error(Reason::BackendNotPermitted, field, message, remedy);
        return Err((Unresolved::NotPermitted, error));
    }
    Ok(Named { service: ObjectName::new(namespace, it.name), is_granted })
}

/// The backend behind a port of a Service.
pub(in crate::compile) fn find(
    reader: &mut Reader<'_>,
    from: Referrer<'_>,
    field: &str,
    named: &Named,
    port: Option<i32>,
) -> Result<BackendKey, Nowhere> {
    let name = &named.service;
    usable(reader, from, field, name, port).map_err(|why| named.told(from, field, why))
}

// === impl Named ===

impl Named {
    /// What is told of why it cannot be used: what is not there, and what is there and cannot be used, look alike to those whom nobody has
    /// granted it.
    pub(in crate::compile) fn told(&self, from: Referrer<'_>, field: &str, why: Nowhere) -> Nowhere {
        if self.is_granted {
            return why;
        }
        let message = format!(
            "Service {} of another namespace does not exist, or has no such port that {} can use",
            self.service,
            from.users()
        );
        let remedy =
            "correct the reference; with a ReferenceGrant for the Service the exact reason is shown here";
        (Unresolved::NotFound, Diagnostic::error(Reason::BackendUnavailable, field, message, remedy))
    }
}

fn usable(
    reader: &mut Reader<'_>,
    from: Referrer<'_>,
    field: &str,
    name: &ObjectName,
    port: Option<i32>,
) -> Result<BackendKey, Nowhere> {
    let Some(service) = reader.input::<Service>(name) else {
        let Absent { message, remedy } =
            absent(reader, &ObjectRef::from_name(Kind::Service, name), CORRECT_NAME);
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
    let (transport, word) = match from.sends {
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
    let protocol = Protocol::of_port(port);
    // Where a policy says how TLS is spoken to a port, it is not the application's own.
    let is_ours = protocol == Protocol::Secure && is_secured(reader, name, &service, port);
    if !is_ours && !can_carry(from.sends, protocol) {
        let spoken = port.app_protocol.as_deref().unwrap_or_default();
        let message = format!(
            "port {} of Service {name} has appProtocol `{spoken}`, which {} cannot use",
            port.port,
            from.users()
        );
        let remedy = "correct the port's appProtocol, or use another port";
        let error = Diagnostic::error(Reason::BackendProtocolMismatch, field, message, remedy);
        return Err((Unresolved::UnsupportedProtocol, error));
    }
    Ok(key)
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
