//! Where a route could attach: its parentRefs against what the parents take. Who wins among routes of different kinds
//! is decided later (see `conflict`).

use crate::compile::gateway::{self, DefaultGateways, ListenerPlan, NamespacePolicy};
use crate::compile::names::grant;
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::route::Written;
use crate::compile::route::parent_service::bindable;
use crate::compile::{inputs, stage};
use crate::diagnostic::{Diagnostic, Reason};
use crate::provision::ProxyClass;
use crate::resources::{Gateway, Kind, Namespace, ObjectRef, RouteKind, Service};
use crate::status::ParentRef;
use fairway_config::model::{Audience, HostMatch, HostnamePattern, ListenerKey, ObjectName};
use fairway_incremental::{OfInput, Query, Set};
use std::sync::Arc;

/// Routes of a kind that a listener would take.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) struct ListenerClaims(pub ListenerKey, pub RouteKind);

impl Set<Cluster> for ListenerClaims {
    type Member = ObjectRef;
}

/// Routes of a kind that a Service would take.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) struct ServiceClaims(pub ObjectName, pub Audience, pub RouteKind);

impl Set<Cluster> for ServiceClaims {
    type Member = ObjectRef;
}

/// Where a route could attach.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::compile) struct Binding {
    /// When the route was made: the older goes first.
    pub created: i64,
    /// For each parentRef, in the user's order.
    pub parents: Vec<ParentBinding>,
}

/// What a parent says to a route.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::compile) struct ParentBinding {
    pub parent: ParentRef,
    pub outcome: Outcome,
}

/// What a parent says to a route.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::compile) enum Outcome {
    /// The parent is not ours to speak for.
    NotOurs,
    /// The parent does not take the route.
    Refused(Box<Diagnostic>),
    /// A Gateway's listeners would take it.
    Listeners(Vec<ListenerClaim>),
    /// A Service would take it.
    Service(ServiceClaim),
}

/// A listener that would take a route.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::compile) struct ListenerClaim {
    pub listener: ListenerKey,
    /// The Gateway it belongs to.
    pub gateway: ObjectName,
    /// Under these hosts; none is every host of the listener.
    pub hostnames: Vec<HostMatch>,
    /// The listener's own, to compare those that say none.
    pub own: Option<HostnamePattern>,
    /// Whether the listener is served.
    pub programmed: bool,
}

/// A Service that would take a route.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::compile) struct ServiceClaim {
    pub service: ObjectName,
    pub audience: Audience,
    pub ports: Vec<u16>,
    /// Whether the user named no port.
    pub all_ports: bool,
}

/// Finds out where a route could attach.
pub(in crate::compile) struct Bind;

impl Query<Cluster> for Bind {
    type Key = ObjectRef;
    type Value = Option<Arc<Binding>>;
    const STAGE: u8 = stage::CLAIMS;

    fn run(route: &ObjectRef, reader: &mut Reader<'_>, made: &mut Made) -> Option<Arc<Binding>> {
        let (Some(written), Some(kind)) = (Written::read(reader, route), route.kind.as_route()) else {
            return None;
        };
        let hostnames = hostnames(&written, route, made);
        let holds = super::holds(reader, route, &written, kind);
        let mut parents = Vec::new();
        let named = written.parents();
        let defaults = match written.uses_default_gateways() {
            true => default_parents(reader, route, &named),
            false => Vec::new(),
        };
        let fields = (0..named.len()).map(|index| format!("spec.parentRefs[{index}]"));
        let fields: Vec<String> =
            fields.chain(defaults.iter().map(|_| "spec.useDefaultGateways".to_owned())).collect();
        for (parent, field) in named.into_iter().chain(defaults).zip(fields) {
            let outcome = match (parent.group.as_deref(), parent.kind.as_deref()) {
                (None | Some(fairway_gateway_api::GROUP), None | Some("Gateway")) => {
                    let asking =
                        Asking { route, kind, hostnames: &hostnames, parent: &parent, field: &field };
                    on_gateway(reader, &asking, made)
                }
                (None | Some(fairway_gateway_api::GROUP), Some("ListenerSet")) => {
                    let asking =
                        Asking { route, kind, hostnames: &hostnames, parent: &parent, field: &field };
                    on_listener_set(reader, &asking, made)
                }
                (Some(""), Some("Service")) => on_service(reader, route, kind, &parent, &field, made),
                (Some("multicluster.x-k8s.io"), Some("ServiceImport")) if reader.settings().has_mesh() => {
                    let message = "Fairway does not support ServiceImports, so the route has no effect there";
                    let remedy = "attach the route to a Service of this cluster";
                    refuse(
                        route,
                        Diagnostic::error(Reason::ParentServiceImport, field, message, remedy),
                        made,
                    )
                }
                (group, other) => {
                    let message = format!(
                        "{}/{} is not a kind of parent that Fairway serves, so this reference has no effect",
                        group.unwrap_or_default(),
                        other.unwrap_or_default()
                    );
                    let remedy = "refer to a Gateway, a ListenerSet, or a Service (group \"\", kind Service)";
                    made.report(
                        route,
                        Diagnostic::warning(Reason::ParentKindUnknown, field, message, remedy),
                    );
                    Outcome::NotOurs
                }
            };
            let outcome = match outcome {
                // Without any of its hostnames it would take every host.
                Outcome::Listeners(_) if hostnames.is_empty() && !written.hostnames().is_empty() => {
                    let message = "no entry is a valid hostname, so the route takes no requests";
                    let remedy = "write DNS names";
                    refuse(
                        route,
                        Diagnostic::error(Reason::HostnamesInvalid, "spec.hostnames", message, remedy),
                        made,
                    )
                }
                other => other,
            };
            if holds {
                claim(route, kind, &outcome, made);
            }
            parents.push(ParentBinding { parent, outcome });
        }
        Some(Arc::new(Binding { created: written.meta().created, parents }))
    }
}

impl OfInput<Cluster> for Bind {
    fn of_input(name: &ObjectRef) -> Option<Self::Key> {
        name.kind.as_route().map(|_| name.clone())
    }
}

/// As many parents as the API lets the status of a route have.
const MOST_PARENTS: usize = 32;

/// The Gateways that take routes which ask for default Gateways, but for those that the route names itself (GEP-3793). They
/// take it as if it named them.
fn default_parents(reader: &mut Reader<'_>, route: &ObjectRef, named: &[ParentRef]) -> Vec<ParentRef> {
    let is_named = |it: &ObjectRef| {
        let is_gateway = |it: &ParentRef| {
            it.group.as_deref().is_none_or(|it| it == fairway_gateway_api::GROUP)
                && it.kind.as_deref().is_none_or(|it| it == "Gateway")
        };
        named.iter().any(|parent| is_gateway(parent) && target(route, parent) == it.object_name())
    };
    let mut found = Vec::new();
    for it in reader.members(&DefaultGateways).iter().filter(|it| !is_named(it)) {
        let takes = reader
            .get::<gateway::Publish>(&it.object_name())
            .is_some_and(|it| it.class == ProxyClass::Gateway);
        if let (true, Some(gateway)) = (takes, reader.input::<Gateway>(&it.object_name())) {
            found.push((gateway.meta.created, it.clone()));
        }
    }
    // The oldest first: what somebody adds takes no place from those that are there.
    found.sort();
    found.truncate(MOST_PARENTS.saturating_sub(named.len()));
    let parent = |(_, it): (i64, ObjectRef)| ParentRef {
        group: Some(fairway_gateway_api::GROUP.into()),
        kind: Some("Gateway".into()),
        namespace: Some(it.namespace),
        name: it.name,
        ..ParentRef::default()
    };
    found.into_iter().map(parent).collect()
}

fn claim(route: &ObjectRef, kind: RouteKind, outcome: &Outcome, made: &mut Made) {
    match outcome {
        Outcome::NotOurs | Outcome::Refused(_) => {}
        Outcome::Listeners(claims) => {
            for it in claims {
                made.put(ListenerClaims(it.listener.clone(), kind), route.clone());
            }
        }
        Outcome::Service(it) => {
            let key = ServiceClaims(it.service.clone(), it.audience.clone(), kind);
            made.put(key, route.clone());
        }
    }
}

fn hostnames(written: &Written, route: &ObjectRef, made: &mut Made) -> Vec<HostnamePattern> {
    let mut hostnames = Vec::new();
    for (index, it) in written.hostnames().iter().enumerate() {
        match it.parse() {
            Ok(hostname) => hostnames.push(hostname),
            Err(error) => {
                let (field, message) = (format!("spec.hostnames[{index}]"), format!("{error}"));
                let remedy = "write a DNS name";
                made.report(route, Diagnostic::error(Reason::RouteHostnameInvalid, field, message, remedy));
            }
        }
    }
    hostnames
}

/// The object a parentRef names.
pub(in crate::compile) fn target(route: &ObjectRef, parent: &ParentRef) -> ObjectName {
    ObjectName::new(parent.namespace.clone().unwrap_or_else(|| route.namespace.clone()), parent.name.clone())
}

/// Reports why a parent does not take a route.
fn refuse(route: &ObjectRef, error: Diagnostic, made: &mut Made) -> Outcome {
    made.report(route, error.clone());
    Outcome::Refused(Box::new(error))
}

/// A parent with listeners.
struct Parent<'a> {
    /// The object that has them.
    object: ObjectRef,
    /// The Gateway that serves them.
    gateway: &'a ObjectName,
    listeners: &'a [ListenerPlan],
}

/// A route that asks for listeners.
struct Asking<'a> {
    route: &'a ObjectRef,
    kind: RouteKind,
    hostnames: &'a [HostnamePattern],
    parent: &'a ParentRef,
    /// The path of the parentRef.
    field: &'a str,
}

fn on_gateway(reader: &mut Reader<'_>, asking: &Asking<'_>, made: &mut Made) -> Outcome {
    let name = target(asking.route, asking.parent);
    let object = ObjectRef::from_name(Kind::Gateway, &name);
    match reader.get::<gateway::Publish>(&name) {
        Some(plan) => {
            let parent = Parent { object, gateway: &name, listeners: &plan.listeners };
            on_listeners(reader, asking, &parent, made)
        }
        None => nobody(reader, asking, &object, made),
    }
}

fn on_listener_set(reader: &mut Reader<'_>, asking: &Asking<'_>, made: &mut Made) -> Outcome {
    let name = target(asking.route, asking.parent);
    let object = ObjectRef::from_name(Kind::ListenerSet, &name);
    match reader.get::<gateway::PublishSet>(&name) {
        Some(plan) => {
            let parent = Parent { object, gateway: &plan.gateway, listeners: &plan.listeners };
            on_listeners(reader, asking, &parent, made)
        }
        None => nobody(reader, asking, &object, made),
    }
}

/// A parent that is not there, or another controller's.
fn nobody(reader: &mut Reader<'_>, asking: &Asking<'_>, parent: &ObjectRef, made: &mut Made) -> Outcome {
    if inputs::meta(reader, parent).is_none() {
        let message = format!("{parent} does not exist");
        let remedy = "create it, or correct the reference";
        made.report(asking.route, Diagnostic::error(Reason::ParentNotFound, asking.field, message, remedy));
    }
    Outcome::NotOurs
}

fn on_listeners(
    reader: &mut Reader<'_>,
    asking: &Asking<'_>,
    parent: &Parent<'_>,
    made: &mut Made,
) -> Outcome {
    let Asking { route, kind, hostnames, field, .. } = *asking;
    let name = &parent.object;
    let mut refuse = |reason, part: &str, message: String, remedy: String| {
        refuse(route, Diagnostic::error(reason, format!("{field}{part}"), message, remedy), made)
    };
    let named = |it: &&ListenerPlan| {
        asking.parent.section_name.as_ref().is_none_or(|section| it.name == *section)
            && asking.parent.port.is_none_or(|port| port == i32::from(it.port))
    };
    let selected: Vec<&ListenerPlan> = parent.listeners.iter().filter(named).collect();
    if selected.is_empty() {
        let all: Vec<String> =
            parent.listeners.iter().map(|it| format!("{} (port {})", it.name, it.port)).collect();
        let part = if asking.parent.section_name.is_some() { ".sectionName" } else { ".port" };
        let message = format!("{name} has no listener with this name or port");
        let remedy = format!("use one of its listeners: {}", all.join(", "));
        return refuse(Reason::ListenerNotFound, part, message, remedy);
    }
    let of_kind: Vec<&ListenerPlan> =
        selected.iter().filter(|it| it.kinds.contains(&kind)).copied().collect();
    if of_kind.is_empty() {
        let message = format!("no listener of {name} accepts routes of kind {}", route.kind);
        let remedy =
            "add the kind to the listener's allowedRoutes.kinds, or choose another listener".to_owned();
        return refuse(Reason::RouteKindNotAllowed, "", message, remedy);
    }
    let admits = |it: &&&ListenerPlan| match &it.from {
        NamespacePolicy::All => true,
        NamespacePolicy::Same(namespace) => *namespace == route.namespace,
        NamespacePolicy::Selector(selector) => {
            reader.input::<Namespace>(&route.namespace).is_some_and(|it| selector.matches(&it.meta.labels))
        }
        NamespacePolicy::Nobody => false,
    };
    let admitting: Vec<&ListenerPlan> = of_kind.iter().filter(admits).copied().collect();
    if admitting.is_empty() {
        let message = format!("no listener of {name} accepts routes from namespace {}", route.namespace);
        let remedy = "the Gateway's owner can allow the namespace in the listener's allowedRoutes.namespaces"
            .to_owned();
        return refuse(Reason::RouteNamespaceNotAllowed, "", message, remedy);
    }
    let claims: Vec<ListenerClaim> =
        admitting.iter().filter_map(|it| listener_claim(parent.gateway, it, hostnames)).collect();
    if claims.is_empty() {
        let own: Vec<String> =
            admitting.iter().filter_map(|it| it.hostname.as_ref().map(ToString::to_string)).collect();
        let message = format!("no hostname of the route matches the hostname of a listener of {name}");
        let remedy = format!("use a hostname under {}", own.join(", "));
        return refuse(Reason::ListenerHostnameMismatch, "", message, remedy);
    }
    Outcome::Listeners(claims)
}

fn listener_claim(
    gateway: &ObjectName,
    listener: &ListenerPlan,
    hostnames: &[HostnamePattern],
) -> Option<ListenerClaim> {
    let matching: Vec<HostMatch> = hostnames
        .iter()
        .filter_map(|original| {
            let effective = match &listener.hostname {
                Some(own) => own.intersect(original)?,
                None => original.clone(),
            };
            Some(HostMatch { effective, original: original.clone() })
        })
        .collect();
    (hostnames.is_empty() || !matching.is_empty()).then(|| ListenerClaim {
        listener: listener.key.clone(),
        gateway: gateway.clone(),
        hostnames: matching,
        own: listener.hostname.clone(),
        programmed: listener.programmed && !listener.is_closed,
    })
}

fn on_service(
    reader: &mut Reader<'_>,
    route: &ObjectRef,
    kind: RouteKind,
    parent: &ParentRef,
    field: &str,
    made: &mut Made,
) -> Outcome {
    let name = target(route, parent);
    if !reader.settings().has_mesh() {
        // Another mesh may be there to speak for Services.
        let message =
            "Fairway's mesh is not installed, so a route that is attached to a Service has no effect";
        let remedy = "install ztunnel (value ztunnel.enabled of the chart), or attach the route to a Gateway";
        made.report(route, Diagnostic::warning(Reason::RouteNeedsMesh, field, message, remedy));
        return Outcome::NotOurs;
    }
    if kind == RouteKind::Udp {
        let message = "the mesh does not carry UDP, so a UDPRoute cannot be attached to a Service";
        let remedy = "attach it to a listener of a Gateway";
        return refuse(route, Diagnostic::error(Reason::UdpRouteOnService, field, message, remedy), made);
    }
    let ports = match bindable(reader, &name, parent) {
        Ok(found) => found,
        // What is not there, and what is there and cannot be bound to, look alike to those whom nobody has granted it.
        Err(_)
            if !grant::permits(
                reader,
                (route.kind, &route.namespace),
                (Kind::Service, &name.namespace, &name.name),
            ) =>
        {
            let message = format!(
                "Service {name} of another namespace does not exist, or has no cluster IP or no such TCP port"
            );
            let remedy =
                "correct the reference; with a ReferenceGrant for the Service the exact reason is shown here";
            return refuse(
                route,
                Diagnostic::error(Reason::ParentServiceUnavailable, field, message, remedy),
                made,
            );
        }
        Err(error) => return refuse(route, error.under(field), made),
    };
    let audience = match name.namespace == route.namespace {
        true => Audience::Producer,
        false => Audience::Consumer(route.namespace.clone()),
    };
    let all_ports = parent.port.is_none() && parent.section_name.is_none();
    Outcome::Service(ServiceClaim { service: name, audience, ports, all_ports })
}

/// Whether connections that pass this claim's route have gone through a waypoint, so that they do not go around the next one.
pub(in crate::compile) fn has_passed(reader: &mut Reader<'_>, claim: &ServiceClaim) -> bool {
    match &claim.audience {
        Audience::Producer => reader.input::<Service>(&claim.service).is_some_and(|it| it.through_waypoint),
        Audience::Consumer(namespace) => {
            let audience = Audience::Consumer(namespace.clone());
            RouteKind::ALL.into_iter().any(|kind| {
                let theirs = ServiceClaims(claim.service.clone(), audience.clone(), kind);
                reader
                    .members(&theirs)
                    .iter()
                    .any(|it| inputs::meta(reader, it).is_some_and(|it| it.enforced))
            })
        }
    }
}

// === impl Binding ===

impl Binding {
    /// The claims on a listener.
    pub(in crate::compile) fn on_listener<'a>(
        &'a self,
        listener: &'a ListenerKey,
    ) -> impl Iterator<Item = &'a ListenerClaim> {
        let claims = self.parents.iter().filter_map(|it| match &it.outcome {
            Outcome::Listeners(claims) => Some(claims),
            _ => None,
        });
        claims.flatten().filter(move |it| it.listener == *listener)
    }

    /// The claims on a Service.
    pub(in crate::compile) fn on_service<'a>(
        &'a self,
        service: &'a ObjectName,
    ) -> impl Iterator<Item = &'a ServiceClaim> {
        self.parents.iter().filter_map(move |it| match &it.outcome {
            Outcome::Service(claim) if claim.service == *service => Some(claim),
            _ => None,
        })
    }
}

impl ListenerClaim {
    /// The hosts it covers; none is all.
    pub(in crate::compile) fn hosts(&self) -> Vec<Option<&HostnamePattern>> {
        match self.hostnames.is_empty() {
            true => vec![self.own.as_ref()],
            false => self.hostnames.iter().map(|it| Some(&it.effective)).collect(),
        }
    }
}
