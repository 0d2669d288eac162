//! One listener of a Gateway.

use super::ListenerReport;
use super::distinct::Conflict;
use super::protocol::Protocol;
use super::tls;
use crate::compile::evaluation::Evaluation;
use crate::compile::output::ProxyClass;
use crate::compile::reader::Reader;
use crate::compile::waypoint::HBONE_PORT;
use crate::resources::{ObjectRef, Requirement, RouteKind, Selector};
use crate::status::{Condition, reason};
use fairway_config::model::{HostnamePattern, ListenerKey, ObjectName};
use fairway_gateway_api::gateways::{
    GatewayListeners, GatewayListenersAllowedRoutesNamespacesFrom as From,
    GatewayListenersAllowedRoutesNamespacesSelector, GatewayListenersTlsMode, GatewaySpec,
};
use std::collections::BTreeMap;
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

/// The namespaces a listener takes routes from.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::compile) enum NamespacePolicy {
    /// All.
    All,
    /// The Gateway's own.
    Same(Arc<str>),
    /// Those with these labels.
    Selector(Selector),
    /// None: what was asked for is not understood.
    Nobody,
}

/// A listener and what has to be known to judge it.
pub(super) struct Asked<'a> {
    pub gateway: &'a ObjectName,
    pub object: &'a ObjectRef,
    pub spec: &'a GatewaySpec,
    pub written: &'a GatewayListeners,
    pub index: usize,
    pub class: ProxyClass,
    pub generation: i64,
    pub gateway_refused: bool,
    pub conflict: Option<&'a Conflict>,
    pub overlaps: Option<&'a String>,
}

impl Asked<'_> {
    /// The path of the listener.
    pub(super) fn field(&self) -> String {
        format!("spec.listeners[{}]", self.index)
    }
}

/// Judges one listener.
pub(super) fn check(
    reader: &mut Reader<'_>,
    asked: &Asked<'_>,
    made: &mut Evaluation,
) -> (ListenerPlan, ListenerReport) {
    let is_https = asked.written.protocol == "HTTPS";
    let hostname =
        asked.written.hostname.as_deref().filter(|it| !it.is_empty()).map(str::parse::<HostnamePattern>);
    let refusal = refusal(asked, hostname.as_ref().and_then(|it| it.as_ref().err().map(ToString::to_string)));
    if let Some((_, field, message, remedy)) = &refusal {
        made.error(asked.object, field.clone(), message.clone(), *remedy);
    }
    let takes_routes = match (asked.class, asked.written.protocol.as_str()) {
        (ProxyClass::Gateway, "HTTP" | "HTTPS") => refusal.is_none() || asked.conflict.is_some(),
        _ => false,
    };
    let mut unresolved: Vec<(&'static str, String)> = Vec::new();
    let kinds = kinds(asked, takes_routes, &mut unresolved, made);
    let from = namespaces(asked, made);
    let mut certificates = tls::Certificates::default();
    if is_https && asked.class == ProxyClass::Gateway {
        certificates = tls::resolve(reader, asked, made);
        unresolved.append(&mut certificates.defects);
    }
    let can_serve = !is_https || !certificates.usable.is_empty();
    let programmed = refusal.is_none() && can_serve && !asked.gateway_refused;

    let conditions = conditions(asked, refusal.as_ref(), &unresolved, programmed);
    let plan = ListenerPlan {
        name: asked.written.name.as_str().into(),
        key: ListenerKey::from(format!("{}/{}", asked.gateway, asked.written.name)),
        protocol: Protocol::of(asked.written),
        port: u16::try_from(asked.written.port).unwrap_or_default(),
        hostname: hostname.and_then(Result::ok),
        kinds: kinds.clone(),
        from,
        programmed,
    };
    let report = ListenerReport {
        supported_kinds: kinds,
        conditions,
        certificates: certificates.usable,
        is_https,
        is_accepted: refusal.is_none(),
    };
    (plan, report)
}

type Refusal = (&'static str, String, String, &'static str);

/// Why a listener is not accepted: reason, field, message, remedy.
fn refusal(asked: &Asked<'_>, bad_hostname: Option<String>) -> Option<Refusal> {
    let (it, field) = (asked.written, asked.field());
    let refuse = |reason, part: &str, message: String, remedy| {
        Some((reason, format!("{field}{part}"), message, remedy))
    };
    if let Some(conflict) = asked.conflict {
        return refuse(conflict.reason, "", conflict.message.clone(), conflict.remedy);
    }
    let protocol = it.protocol.as_str();
    match (asked.class, protocol) {
        (ProxyClass::Gateway, "HTTP" | "HTTPS") => {}
        (ProxyClass::Waypoint, "HBONE") if i32::from(HBONE_PORT) == it.port => {}
        (ProxyClass::Waypoint, "HBONE") => {
            let message = format!("port {} is not where tunnels arrive", it.port);
            return refuse(reason::PORT_UNAVAILABLE, ".port", message, "use port 15008");
        }
        (class, _) => {
            let remedy = match class {
                ProxyClass::Gateway => "use HTTP or HTTPS",
                ProxyClass::Waypoint => "use HBONE, on port 15008",
            };
            let message = format!("protocol {protocol} is not supported");
            return refuse(reason::UNSUPPORTED_PROTOCOL, ".protocol", message, remedy);
        }
    }
    if let Some(message) = bad_hostname {
        return refuse(reason::UNSUPPORTED_VALUE, ".hostname", message, "write a DNS name");
    }
    // What is asked for and cannot be done must not be left out in silence: it guards something.
    if it.filters.as_ref().and_then(|it| it.requests.as_ref()).is_some_and(|it| !it.is_empty()) {
        return refuse(
            reason::UNSUPPORTED_VALUE,
            ".filters",
            "filters of listeners are not supported".into(),
            "remove them",
        );
    }
    if protocol == "HTTPS"
        && it.tls.as_ref().and_then(|it| it.mode.as_ref()) == Some(&GatewayListenersTlsMode::Passthrough)
    {
        let message = "an HTTPS listener has to end TLS".to_owned();
        return refuse(reason::UNSUPPORTED_VALUE, ".tls.mode", message, "use mode Terminate");
    }
    if protocol == "HTTPS" && validates_clients(asked.spec, it.port) {
        let message =
            "the Gateway asks to verify clients (spec.tls.frontend), which is not supported".to_owned();
        return refuse(reason::UNSUPPORTED_VALUE, "", message, "remove spec.tls.frontend");
    }
    None
}

fn validates_clients(spec: &GatewaySpec, port: i32) -> bool {
    let Some(frontend) = spec.tls.as_ref().and_then(|it| it.frontend.as_ref()) else { return false };
    let own = frontend.per_port.iter().flatten().find(|it| it.port == port);
    match own {
        Some(own) => own.tls.validation.is_some(),
        None => frontend.default.validation.is_some(),
    }
}

/// The kinds of routes a listener takes; those it asks for and cannot have are unresolved.
fn kinds(
    asked: &Asked<'_>,
    takes_routes: bool,
    unresolved: &mut Vec<(&'static str, String)>,
    made: &mut Evaluation,
) -> Vec<RouteKind> {
    let possible: &[RouteKind] = if takes_routes { &[RouteKind::Http, RouteKind::Grpc] } else { &[] };
    let Some(written) = asked.written.allowed_routes.as_ref().and_then(|it| it.kinds.as_ref()) else {
        return possible.to_vec();
    };
    if written.is_empty() {
        return possible.to_vec();
    }
    let mut kinds = Vec::new();
    for (index, it) in written.iter().enumerate() {
        let group = it.group.as_deref().unwrap_or(fairway_gateway_api::GROUP);
        let kind = crate::resources::Kind::of(group, &it.kind).and_then(|it| it.as_route());
        match kind.filter(|it| possible.contains(it)) {
            Some(kind) if kinds.contains(&kind) => {}
            Some(kind) => kinds.push(kind),
            None => {
                let field = format!("{}.allowedRoutes.kinds[{index}]", asked.field());
                let message =
                    format!("{} is no kind of route that protocol {} takes", it.kind, asked.written.protocol);
                let remedy = "use HTTPRoute or GRPCRoute";
                unresolved.push((reason::INVALID_ROUTE_KINDS, format!("{field}: {message}; {remedy}")));
                made.error(asked.object, field, message, remedy);
            }
        }
    }
    kinds
}

fn namespaces(asked: &Asked<'_>, made: &mut Evaluation) -> NamespacePolicy {
    let same = || NamespacePolicy::Same(asked.gateway.namespace.clone());
    let Some(written) = asked.written.allowed_routes.as_ref().and_then(|it| it.namespaces.as_ref()) else {
        return same();
    };
    match written.from {
        None | Some(From::Same) => same(),
        Some(From::All) => NamespacePolicy::All,
        Some(From::Selector) => {
            let field = format!("{}.allowedRoutes.namespaces.selector", asked.field());
            let parsed = written.selector.as_ref().map(selector);
            let message = match parsed {
                Some(Ok(selector)) => return NamespacePolicy::Selector(selector),
                Some(Err(error)) => error.to_string(),
                None => "`from: Selector` needs a selector".to_owned(),
            };
            made.error(asked.object, field, message, "write matchLabels or matchExpressions");
            NamespacePolicy::Nobody
        }
    }
}

fn selector(
    written: &GatewayListenersAllowedRoutesNamespacesSelector,
) -> Result<Selector, crate::resources::InvalidSelector> {
    let empty = BTreeMap::new();
    let labels = written.match_labels.as_ref().unwrap_or(&empty);
    let mut selector = Selector::of_labels(labels.iter().map(|(key, value)| (key.as_str(), value.as_str())));
    for it in written.match_expressions.iter().flatten() {
        let values = it.values.as_deref().unwrap_or_default();
        selector.requirements.push(Requirement::parse(&it.key, &it.operator, values)?);
    }
    Ok(selector)
}

fn conditions(
    asked: &Asked<'_>,
    refusal: Option<&Refusal>,
    unresolved: &[(&'static str, String)],
    programmed: bool,
) -> Vec<Condition> {
    let generation = asked.generation;
    let refused =
        refusal.map(|(reason, field, message, remedy)| (*reason, format!("{field}: {message}; {remedy}")));
    let mut conditions = vec![match (&refused, asked.conflict) {
        (None, _) => {
            Condition::holds(reason::ACCEPTED, reason::ACCEPTED, "the listener is in order", generation)
        }
        // The API has no word of its own here for a conflict.
        (Some((reason, text)), _) => Condition::fails(reason::ACCEPTED, reason, text.clone(), generation),
    }];
    conditions.push(match unresolved.first() {
        None => Condition::holds(
            reason::RESOLVED_REFS,
            reason::RESOLVED_REFS,
            "all references lead somewhere",
            generation,
        ),
        Some((reason, _)) => {
            let all: Vec<&str> = unresolved.iter().map(|(_, text)| text.as_str()).collect();
            Condition::fails(reason::RESOLVED_REFS, reason, all.join(". "), generation)
        }
    });
    conditions.push(match asked.conflict {
        None => Condition::fails(
            reason::CONFLICTED,
            reason::NO_CONFLICTS,
            "no other listener is in the way",
            generation,
        ),
        Some(it) => Condition::holds(
            reason::CONFLICTED,
            it.reason,
            format!("{}; {}", it.message, it.remedy),
            generation,
        ),
    });
    conditions.push(match programmed {
        true => {
            Condition::holds(reason::PROGRAMMED, reason::PROGRAMMED, "the listener is served", generation)
        }
        false => {
            let why = match (&refused, asked.gateway_refused, unresolved.first()) {
                (Some((_, text)), ..) => text.clone(),
                (None, true, _) => "the Gateway is not accepted".to_owned(),
                (None, false, Some((_, text))) => text.clone(),
                (None, false, None) => "it cannot be served".to_owned(),
            };
            Condition::fails(reason::PROGRAMMED, reason::INVALID, why, generation)
        }
    });
    if let Some(others) = asked.overlaps {
        let message = format!(
            "a client that reuses connections may take this listener for {others}: their hostnames cover common names"
        );
        let (kind, reason) = (reason::OVERLAPPING_TLS_CONFIG, reason::OVERLAPPING_HOSTNAMES);
        conditions.push(Condition::holds(kind, reason, message, generation));
    }
    conditions
}
