//! One listener, of a Gateway or of a ListenerSet.

use super::clients::{Clients, Validation};
use super::distinct::{Conflict, Contest, Group};
use super::machine::Held;
use super::namespaces::NamespacePolicy;
use super::protocol::Protocol;
use super::verdict::References;
use super::{tls, verdict};
use crate::compile::evaluation::Evaluation;
use crate::compile::ignored::Ignored;
use crate::compile::output::ProxyClass;
use crate::compile::reader::Reader;
use crate::compile::waypoint::HBONE_PORT;
use crate::resources::{Kind, ObjectRef, RouteKind};
use crate::status::{Condition, reason};
use fairway_config::model::{ClientValidation, HostnamePattern, ListenerKey, ObjectName};
use fairway_gateway_api::gateways::{GatewayListeners, GatewayListenersTlsMode};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// What routes see of a listener.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::compile) struct ListenerPlan {
    /// Its name.
    pub name: Arc<str>,
    /// Its key.
    pub key: ListenerKey,
    /// What it speaks; none when it is nothing that we know.
    pub protocol: Option<Protocol>,
    /// Its port.
    pub port: u16,
    /// The hosts it takes; none is all.
    pub hostname: Option<HostnamePattern>,
    /// The kinds of routes it takes.
    pub kinds: Vec<RouteKind>,
    /// The namespaces it takes routes from.
    pub from: NamespacePolicy,
    /// Whether it is served.
    pub programmed: bool,
}

/// What is known of one listener beside its plan.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ListenerReport {
    pub conditions: Vec<Condition>,
    /// Whether nothing is wrong with what it asks for.
    pub is_accepted: bool,
    /// Whether that can be served too: it has what it refers to.
    pub is_valid: bool,
    /// The Secrets whose certificates it uses, with leave.
    pub certificates: Vec<ObjectName>,
    /// How its clients are validated.
    pub clients: Option<ClientValidation>,
}

/// Whose listeners are judged.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    /// The Gateway, or the ListenerSet.
    pub object: ObjectRef,
    pub generation: i64,
    /// The Gateway.
    pub gateway: ObjectName,
    /// Why none of them is served.
    pub refusal: Option<String>,
}

/// A listener and what has to be known to judge it.
pub(super) struct Asked<'a> {
    pub owner: &'a Owner,
    pub written: &'a GatewayListeners,
    pub index: usize,
    pub class: ProxyClass,
    pub goes_on: bool,
    pub unserved: Option<&'a str>,
    pub held: Option<&'a (ObjectRef, IpAddr)>,
    pub clients: Option<&'a Validation>,
    pub conflict: Option<&'a Conflict>,
    pub overlaps: Option<&'a String>,
}

/// Why a listener is not accepted.
pub(super) struct Refusal {
    pub reason: &'static str,
    pub field: String,
    pub message: String,
    pub remedy: &'static str,
}

/// The ports at which every proxy listens itself: admin, HBONE, metrics and readiness.
const OWN_PORTS: [i32; 4] = [15000, HBONE_PORT as i32, 15020, 15021];

// === impl Owner ===

impl Owner {
    /// The key of a listener. A Gateway's and its ListenerSets' listeners may have the same name.
    fn key(&self, listener: &str) -> ListenerKey {
        ListenerKey::from(match self.object.kind {
            Kind::ListenerSet => format!("{}/{}/{listener}", self.gateway, self.object.object_name()),
            _ => format!("{}/{listener}", self.gateway),
        })
    }
}

// === impl Asked ===

impl Asked<'_> {
    /// The path of the listener.
    pub(super) fn field(&self) -> String {
        format!("spec.listeners[{}]", self.index)
    }
}

/// Judges the listeners of one Gateway and its ListenerSets.
pub(super) struct Judge<'a> {
    pub class: ProxyClass,
    pub clients: &'a Clients,
    /// Whether what runs goes on although the Gateway is not accepted: its proxy is left as it is (see `Want::Leave`), and
    /// then its listeners are too.
    pub goes_on: bool,
    /// Why the Gateway is served nowhere.
    pub unserved: Option<&'a str>,
    /// What others hold.
    pub held: &'a Held,
}

// === impl Judge ===

impl Judge<'_> {
    /// Judges the listeners of one object.
    pub(super) fn all(
        &self,
        reader: &mut Reader<'_>,
        owner: &Owner,
        group: &Group<'_>,
        contest: &Contest<'_>,
        made: &mut Evaluation,
    ) -> (Vec<ListenerPlan>, Vec<ListenerReport>) {
        let each = group.listeners.iter().enumerate().map(|(index, written)| {
            let asked = Asked {
                owner,
                written,
                index,
                class: self.class,
                goes_on: self.goes_on,
                unserved: self.unserved,
                held: self.held.by(written),
                clients: self.clients.on(written.port),
                conflict: contest.conflict(&owner.object, index),
                overlaps: contest.overlaps(&owner.object, index),
            };
            check(reader, &asked, made)
        });
        each.unzip()
    }
}

/// Judges one listener.
fn check(
    reader: &mut Reader<'_>,
    asked: &Asked<'_>,
    made: &mut Evaluation,
) -> (ListenerPlan, ListenerReport) {
    let (owner, written) = (asked.owner, asked.written);
    let protocol = Protocol::of(written).filter(|it| is_served(asked.class, *it));
    let named = written.hostname.as_deref().filter(|it| !it.is_empty() && has_hostnames(protocol));
    let hostname = named.map(str::parse::<HostnamePattern>).transpose();
    let ends_tls = asked.class == ProxyClass::Gateway && protocol.is_some_and(Protocol::ends_tls);
    let clients = asked.clients.filter(|_| protocol == Some(Protocol::Https));

    let ignored = ignored(asked, protocol, made);
    let bad_hostname = hostname.as_ref().err().map(ToString::to_string);
    let refusal = refusal(asked, protocol, bad_hostname).or_else(|| unbelieving(clients));
    if let Some(it) = refusal.as_ref().filter(|it| it.reason != reason::NO_VALID_CA_CERTIFICATE) {
        made.error(&owner.object, it.field.clone(), it.message.clone(), it.remedy);
    }
    let mut unresolved: Vec<(&'static str, String)> = Vec::new();
    let kinds = kinds(asked, protocol, &mut unresolved, made);
    let from = NamespacePolicy::of_routes(asked, made);
    let mut certificates = tls::Certificates::default();
    if ends_tls {
        certificates = tls::resolve(reader, asked, made);
        unresolved.append(&mut certificates.defects);
    }
    unresolved.extend(clients.iter().flat_map(|it| it.defects.iter().cloned()));
    let is_accepted = refusal.is_none();
    let is_valid = is_accepted && (!ends_tls || !certificates.usable.is_empty());
    let programmed = is_valid && owner.refusal.is_none() && asked.unserved.is_none();

    let plan = ListenerPlan {
        name: written.name.as_str().into(),
        key: owner.key(&written.name),
        protocol,
        port: u16::try_from(written.port).unwrap_or_default(),
        hostname: hostname.ok().flatten(),
        kinds,
        from,
        programmed: programmed || (is_valid && asked.goes_on),
    };
    let references = References { unresolved, objections: certificates.objections };
    let report = ListenerReport {
        conditions: verdict::conditions(asked, refusal.as_ref(), &references, programmed, &ignored),
        is_accepted,
        is_valid,
        certificates: certificates.usable,
        clients: clients.and_then(|it| it.usable.clone()),
    };
    (plan, report)
}

/// What of a listener has no effect.
fn ignored(asked: &Asked<'_>, protocol: Option<Protocol>, made: &mut Evaluation) -> Ignored {
    let (mut ignored, object, it) = (Ignored::default(), &asked.owner.object, asked.written);
    let mut note = |part: &str, message: &str, remedy: &str| {
        ignored.note(made, object, format!("{}{part}", asked.field()), message, remedy);
    };
    if asked.clients.is_some() && protocol == Some(Protocol::TlsTerminate) {
        let message =
            "its clients are not asked for a certificate: spec.tls.frontend of the Gateway is for HTTPS";
        note("", message, "use HTTPS if clients have to prove who they are");
    }
    let options = it.tls.as_ref().and_then(|it| it.options.as_ref());
    for key in options.into_iter().flat_map(BTreeMap::keys) {
        note(&format!(".tls.options[{key}]"), "Fairway knows no options of TLS", "remove it");
    }
    if protocol == Some(Protocol::Hbone) {
        if it.hostname.as_ref().is_some_and(|it| !it.is_empty()) {
            note(".hostname", "tunnels are for Services, and not for hosts", "remove it");
        }
        if it.tls.is_some() {
            note(".tls", "tunnels bring their own TLS, with certificates of the mesh", "remove it");
        }
    }
    ignored
}

/// Tunnels arrive at waypoints, and everything else at Gateways.
fn is_served(class: ProxyClass, protocol: Protocol) -> bool {
    (class == ProxyClass::Waypoint) == (protocol == Protocol::Hbone)
}

fn has_hostnames(protocol: Option<Protocol>) -> bool {
    !matches!(protocol, Some(Protocol::Tcp | Protocol::Udp))
}

/// Why a listener is not accepted.
fn refusal(asked: &Asked<'_>, protocol: Option<Protocol>, bad_hostname: Option<String>) -> Option<Refusal> {
    let (it, field) = (asked.written, asked.field());
    let refuse = |reason, part: &str, message: String, remedy| {
        Some(Refusal { reason, field: format!("{field}{part}"), message, remedy })
    };
    if let Some(conflict) = asked.conflict {
        return refuse(conflict.reason, "", conflict.message.clone(), conflict.remedy);
    }
    let Some(protocol) = protocol else {
        let remedy = match asked.class {
            ProxyClass::Gateway => "use HTTP, HTTPS, TLS, TCP or UDP",
            ProxyClass::Waypoint => "use HBONE, on port 15008",
        };
        let message = format!("protocol {} is not supported", it.protocol);
        return refuse(reason::UNSUPPORTED_PROTOCOL, ".protocol", message, remedy);
    };
    if protocol == Protocol::Hbone && it.port != i32::from(HBONE_PORT) {
        let message = format!("port {} is not where tunnels arrive", it.port);
        return refuse(reason::PORT_UNAVAILABLE, ".port", message, "use port 15008");
    }
    if asked.class == ProxyClass::Gateway && protocol != Protocol::Udp && OWN_PORTS.contains(&it.port) {
        let message = format!("port {} is the proxy's own", it.port);
        return refuse(
            reason::PORT_UNAVAILABLE,
            ".port",
            message,
            "use another port than 15000, 15008, 15020 and 15021",
        );
    }
    if let Some((other, at)) = asked.held {
        let own = ObjectRef::of(Kind::Gateway, &asked.owner.gateway);
        let message =
            format!("{own} and {other} both ask for port {} of {at}, and {other} goes first", it.port);
        return refuse(
            reason::PORT_UNAVAILABLE,
            ".port",
            message,
            "give one of them another port, or another address in spec.addresses",
        );
    }
    if let Some(message) = bad_hostname {
        return refuse(reason::UNSUPPORTED_VALUE, ".hostname", message, "write a DNS name");
    }
    // What is asked for and cannot be done must not be left out in silence: it guards something.
    if it.filters.as_ref().and_then(|it| it.requests.as_ref()).is_some_and(|it| !it.is_empty()) {
        let message = "filters of listeners are not supported".to_owned();
        return refuse(reason::UNSUPPORTED_VALUE, ".filters", message, "remove them");
    }
    let passes_on =
        it.tls.as_ref().and_then(|it| it.mode.as_ref()) == Some(&GatewayListenersTlsMode::Passthrough);
    if protocol == Protocol::Https && passes_on {
        let message = "an HTTPS listener has to end TLS".to_owned();
        return refuse(reason::UNSUPPORTED_VALUE, ".tls.mode", message, "use mode Terminate");
    }
    None
}

/// Clients have to prove who they are, and there is nobody to believe (GEP-91).
fn unbelieving(clients: Option<&Validation>) -> Option<Refusal> {
    let it = clients.filter(|it| it.usable.is_none())?;
    let whys: Vec<&str> = it.defects.iter().map(|(_, text)| text.as_str()).collect();
    Some(Refusal {
        reason: reason::NO_VALID_CA_CERTIFICATE,
        field: it.field.clone(),
        message: format!("no client can be validated: {}", whys.join(". ")),
        remedy: "name a ConfigMap that has authorities under ca.crt",
    })
}

/// The kinds of routes a listener takes; those it asks for and cannot have are unresolved.
fn kinds(
    asked: &Asked<'_>,
    protocol: Option<Protocol>,
    unresolved: &mut Vec<(&'static str, String)>,
    made: &mut Evaluation,
) -> Vec<RouteKind> {
    let possible = protocol.map(Protocol::kinds).unwrap_or_default();
    let written = asked.written.allowed_routes.as_ref().and_then(|it| it.kinds.as_ref());
    let Some(written) = written.filter(|it| !it.is_empty()) else { return possible.to_vec() };
    let mut kinds = Vec::new();
    for (index, it) in written.iter().enumerate() {
        let group = it.group.as_deref().unwrap_or(fairway_gateway_api::GROUP);
        let kind = Kind::of(group, &it.kind).and_then(|it| it.as_route());
        match kind.filter(|it| possible.contains(it)) {
            Some(kind) if kinds.contains(&kind) => {}
            Some(kind) => kinds.push(kind),
            None => {
                let field = format!("{}.allowedRoutes.kinds[{index}]", asked.field());
                let message =
                    format!("{} is no kind of route that protocol {} takes", it.kind, asked.written.protocol);
                let names: Vec<&str> = possible.iter().map(|it| Kind::of_route(*it).as_str()).collect();
                let remedy = match names.is_empty() {
                    true => "remove it".to_owned(),
                    false => format!("use {}", names.join(" or ")),
                };
                unresolved.push((reason::INVALID_ROUTE_KINDS, format!("{field}: {message}; {remedy}")));
                made.error(&asked.owner.object, field, message, remedy);
            }
        }
    }
    kinds
}
