//! One listener, of a Gateway or of a ListenerSet.

use super::clients::{Clients, Validation};
use super::distinct::{Contest, Group};
use super::machine::Held;
use super::namespaces::NamespacePolicy;
use super::protocol::Protocol;
use super::verdict::References;
use super::{listener_filters, tls, verdict};
use crate::compile::ignored::Ignored;
use crate::compile::names::waypoint::HBONE_PORT;
use crate::compile::program::{Made, Reader};
use crate::diagnostic::rule::https_passthrough;
use crate::diagnostic::{Diagnostic, Reason, only_remedy};
use crate::provision::ProxyClass;
use crate::resources::{Kind, ObjectRef, RouteKind};
use crate::status::Condition;
use fairway_config::model::{ClientValidation, Filter, HostnamePattern, ListenerKey, ObjectName};
use fairway_gateway_api::gateways::{GatewayListeners, GatewayListenersTlsMode};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// What routes see of a listener.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::compile) struct ListenerPlan {
    pub name: Arc<str>,
    pub key: ListenerKey,
    /// What it speaks; none when it is nothing that we know.
    pub protocol: Option<Protocol>,
    pub port: u16,
    /// The hosts it takes; none is all.
    pub hostname: Option<HostnamePattern>,
    /// The kinds of routes it takes.
    pub kinds: Vec<RouteKind>,
    /// The namespaces it takes routes from.
    pub from: NamespacePolicy,
    /// Whether it is served.
    pub programmed: bool,
    /// Whether it serves nobody all the same, since nobody can say where its clients are, or since its filters cannot be carried out. It
    /// keeps its port and its hostname.
    pub is_closed: bool,
}

/// What is known of one listener beside its plan.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ListenerReport {
    pub conditions: Vec<Condition>,
    /// Whether nothing is wrong with what it asks for.
    pub is_accepted: bool,
    /// Whether that can be served too: it has what it refers to.
    pub is_valid: bool,
    /// Whether it can be said what is for it: its protocol is known, and its hostname can be read.
    pub has_place: bool,
    /// Why it is closed for what no wider listener may take; none when it is served, or has no such place.
    pub closed: Option<Arc<str>>,
    /// The Secrets whose certificates it uses, with leave.
    pub certificates: Vec<ObjectName>,
    /// How its clients are validated.
    pub clients: Option<ClientValidation>,
    /// What sees its requests before their route is matched.
    pub filters: Vec<Filter>,
    /// The Services that its filters ask.
    pub asks: BTreeSet<ObjectName>,
}

/// Whose listeners are judged.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    /// The Gateway, or the ListenerSet.
    pub object: ObjectRef,
    pub generation: i64,
    /// The Gateway that serves them, also those of a ListenerSet.
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
    pub conflict: Option<&'a Diagnostic>,
    pub overlaps: Option<&'a String>,
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
    /// The ports that other Gateways have at the same address.
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
        made: &mut Made,
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

/// Judges one listener: the plan is for routes, the report for the status.
fn check(reader: &mut Reader<'_>, asked: &Asked<'_>, made: &mut Made) -> (ListenerPlan, ListenerReport) {
    let (owner, written) = (asked.owner, asked.written);
    let protocol = Protocol::read(written).filter(|it| is_served(asked.class, *it));
    let named = written.hostname.as_deref().filter(|it| !it.is_empty() && has_hostnames(protocol));
    let hostname = named.map(str::parse::<HostnamePattern>).transpose();
    let ends_tls = asked.class == ProxyClass::Gateway && protocol.is_some_and(Protocol::ends_tls);
    let clients = asked.clients.filter(|_| protocol == Some(Protocol::Https));

    let ignored = ignored(asked, protocol, made);
    let bad_hostname = hostname.as_ref().err().map(ToString::to_string);
    let has_place = protocol.is_some() && bad_hostname.is_none();
    let filters = listener_filters::read(reader, asked, protocol);
    let refusal = refusal(asked, protocol, bad_hostname)
        .or(filters.refusal)
        .or_else(|| without_authorities(asked, clients));
    // What is wrong with its authorities is reported of the references.
    if let Some(error) = refusal.as_ref().filter(|error| error.reason != Reason::ClientAuthoritiesMissing) {
        made.report(&owner.object, error.clone());
    }
    // First what closes the listener.
    let mut unresolved = filters.unresolved;
    unresolved.iter().for_each(|error| made.report(&owner.object, error.clone()));
    let is_closed = !unresolved.is_empty();
    let kinds = kinds(asked, protocol, &mut unresolved, made);
    let from = NamespacePolicy::of_routes(asked, made);
    let mut certificates = tls::Certificates::default();
    if ends_tls {
        certificates = tls::resolve(reader, asked, made);
        unresolved.append(&mut certificates.errors);
    }
    unresolved.extend(clients.iter().flat_map(|it| it.errors.iter().cloned()));
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
        is_closed,
    };
    let mut warnings = certificates.warnings;
    warnings.extend(clients.iter().flat_map(|it| it.warnings.iter().cloned()));
    let references = References { unresolved, warnings };
    let serves = programmed && !is_closed;
    let conditions = verdict::conditions(asked, refusal.as_ref(), &references, serves, &ignored);
    let closed = (plan.programmed && is_closed).then(|| verdict::programmed(&conditions));
    let report = ListenerReport {
        conditions,
        is_accepted,
        is_valid,
        has_place,
        closed,
        certificates: certificates.usable,
        clients: clients.and_then(|it| it.usable.clone()),
        filters: filters.filters,
        asks: filters.services,
    };
    (plan, report)
}

/// What of a listener has no effect.
fn ignored(asked: &Asked<'_>, protocol: Option<Protocol>, made: &mut Made) -> Ignored {
    let (mut ignored, object, it) = (Ignored::default(), &asked.owner.object, asked.written);
    let mut note = |reason, part: &str, message: &str, remedy: &str| {
        let field = format!("{}{part}", asked.field());
        ignored.note(made, object, Diagnostic::warning(reason, field, message, remedy));
    };
    if asked.clients.is_some() && protocol == Some(Protocol::TlsTerminate) {
        let message =
            "its clients are not asked for a certificate: the Gateway's spec.tls.frontend is for HTTPS only";
        let remedy = "use protocol HTTPS if clients have to present a certificate";
        note(Reason::ClientCertificatesNeedHttps, "", message, remedy);
    }
    let options = it.tls.as_ref().and_then(|it| it.options.as_ref());
    for key in options.into_iter().flat_map(BTreeMap::keys) {
        let message = "Fairway has no TLS options, so this one has no effect";
        note(Reason::ListenerTlsOption, &format!(".tls.options[{key}]"), message, "remove it");
    }
    if protocol == Some(Protocol::Hbone) {
        if it.hostname.as_ref().is_some_and(|it| !it.is_empty()) {
            let message = "a listener for HBONE serves Services and not hosts, so this field has no effect";
            note(Reason::HboneHostname, ".hostname", message, "remove it");
        }
        if it.tls.is_some() {
            let message = "HBONE uses the certificates of the mesh, so this field has no effect";
            note(Reason::HboneTls, ".tls", message, "remove it");
        }
    }
    ignored
}

/// Waypoints serve HBONE, and Gateways everything else.
fn is_served(class: ProxyClass, protocol: Protocol) -> bool {
    (class == ProxyClass::Waypoint) == (protocol == Protocol::Hbone)
}

fn has_hostnames(protocol: Option<Protocol>) -> bool {
    !matches!(protocol, Some(Protocol::Tcp | Protocol::Udp))
}

/// Why a listener is not accepted.
fn refusal(
    asked: &Asked<'_>,
    protocol: Option<Protocol>,
    bad_hostname: Option<String>,
) -> Option<Diagnostic> {
    let (it, field) = (asked.written, asked.field());
    let refuse = |reason, part: &str, message: String, remedy| {
        Some(Diagnostic::error(reason, format!("{field}{part}"), message, remedy))
    };
    if let Some(conflict) = asked.conflict {
        return Some(conflict.clone().under(&field));
    }
    let Some(protocol) = protocol else {
        let remedy = match asked.class {
            ProxyClass::Gateway => "use HTTP, HTTPS, TLS, TCP or UDP",
            ProxyClass::Waypoint => "use HBONE, on port 15008",
        };
        let message = format!("protocol {} is not supported", it.protocol);
        return refuse(Reason::ListenerProtocolUnsupported, ".protocol", message, remedy);
    };
    if protocol == Protocol::Hbone && it.port != i32::from(HBONE_PORT) {
        let message = format!("HBONE is not served on port {}", it.port);
        return refuse(Reason::HbonePort, ".port", message, "use port 15008");
    }
    if asked.class == ProxyClass::Gateway && protocol != Protocol::Udp && OWN_PORTS.contains(&it.port) {
        let message = format!("port {} is used by the proxy itself", it.port);
        let remedy = "use another port than 15000, 15008, 15020 and 15021";
        return refuse(Reason::PortOfTheProxy, ".port", message, remedy);
    }
    if let Some((other, at)) = asked.held {
        let own = ObjectRef::from_name(Kind::Gateway, &asked.owner.gateway);
        let message = format!(
            "{own} and {other} both ask for port {} of {at}; {other} has it, as the older or the first by name",
            it.port
        );
        let remedy = "give one of them another port, or another address in spec.addresses";
        return refuse(Reason::PortOfAnotherGateway, ".port", message, remedy);
    }
    if let Some(message) = bad_hostname {
        return refuse(Reason::ListenerHostnameInvalid, ".hostname", message, "write a DNS name");
    }
    let passes_on =
        it.tls.as_ref().and_then(|it| it.mode.as_ref()) == Some(&GatewayListenersTlsMode::Passthrough);
    if protocol == Protocol::Https && passes_on {
        return Some(https_passthrough(format!("{field}.tls.mode")));
    }
    None
}

/// Clients have to present certificates, and no authority is there to verify them with (GEP-91).
fn without_authorities(asked: &Asked<'_>, clients: Option<&Validation>) -> Option<Diagnostic> {
    let clients = clients.filter(|clients| clients.usable.is_none())?;
    let own = &asked.owner.object;
    let whys = clients.errors.iter().map(|it| verdict::of_object(it, own, Diagnostic::statement));
    let message = format!("no client certificate can be verified: {}", whys.collect::<Vec<_>>().join("; "));
    let remedy = only_remedy(&clients.errors).unwrap_or(
        "refer to a ConfigMap that has the authorities' certificates under ca.crt, or to a ClusterTrustBundle",
    );
    Some(Diagnostic::error(Reason::ClientAuthoritiesMissing, clients.field.clone(), message, remedy))
}

/// The kinds of routes a listener takes; those it asks for and cannot have are unresolved.
fn kinds(
    asked: &Asked<'_>,
    protocol: Option<Protocol>,
    unresolved: &mut Vec<Diagnostic>,
    made: &mut Made,
) -> Vec<RouteKind> {
    let possible = protocol.map(Protocol::kinds).unwrap_or_default();
    let written = asked.written.allowed_routes.as_ref().and_then(|it| it.kinds.as_ref());
    let Some(written) = written.filter(|it| !it.is_empty()) else { return possible.to_vec() };
    let mut kinds = Vec::new();
    for (index, it) in written.iter().enumerate() {
        let group = it.group.as_deref().unwrap_or(fairway_gateway_api::GROUP);
        let kind = Kind::named(group, &it.kind).and_then(|it| it.as_route());
        match kind.filter(|it| possible.contains(it)) {
            Some(kind) if kinds.contains(&kind) => {}
            Some(kind) => kinds.push(kind),
            None => {
                let field = format!("{}.allowedRoutes.kinds[{index}]", asked.field());
                let message = format!(
                    "a listener with protocol {} does not accept routes of kind {}",
                    asked.written.protocol, it.kind
                );
                let names: Vec<&str> = possible.iter().map(|it| Kind::of_route(*it).as_str()).collect();
                let remedy = match names.is_empty() {
                    true => "remove it".to_owned(),
                    false => format!("use {}", names.join(" or ")),
                };
                let error = Diagnostic::error(Reason::ListenerRouteKind, field, message, remedy);
                unresolved.push(error.clone());
                made.report(&asked.owner.object, error);
            }
        }
    }
    kinds
}
