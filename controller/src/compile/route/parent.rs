//! Whether a parent takes a route: the listeners of a Gateway or a ListenerSet that admit it, or the ports of a Service.

use crate::compile::gateway::{self, ListenerPlan, NamespacePolicy};
use crate::compile::inputs;
use crate::compile::names::grant;
use crate::compile::program::{Made, Reader};
use crate::compile::route::parent_service::bindable;
use crate::diagnostic::{Diagnostic, Reason};
use crate::resources::{Kind, Namespace, ObjectRef, RouteKind};
use crate::status::ParentRef;
use fairway_config::model::{Audience, HostMatch, HostnamePattern, ListenerKey, ObjectName};

/// What a parent says to a route.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::compile) enum Outcome {
    /// The parent is not ours to speak for.
    NotOurs,
    /// The parent is ours and cannot be read: what was said of it stays.
    Held(ObjectRef),
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

/// The object a parentRef names.
pub(in crate::compile) fn target(route: &ObjectRef, parent: &ParentRef) -> ObjectName {
    ObjectName::new(parent.namespace.clone().unwrap_or_else(|| route.namespace.clone()), parent.name.clone())
}

/// Reports why a parent does not take a route.
pub(super) fn refuse(route: &ObjectRef, error: Diagnostic, made: &mut Made) -> Outcome {
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
pub(super) struct Asking<'a> {
    pub route: &'a ObjectRef,
    pub kind: RouteKind,
    pub hostnames: &'a [HostnamePattern],
    pub parent: &'a ParentRef,
    /// The path of the parentRef.
    pub field: &'a str,
}

pub(super) fn on_gateway(reader: &mut Reader<'_>, asking: &Asking<'_>, made: &mut Made) -> Outcome {
    let name = target(asking.route, asking.parent);
    let object = ObjectRef::from_name(Kind::Gateway, &name);
    match reader.get::<gateway::Publish>(&name) {
        Some(plan) => {
            let parent = Parent { object, gateway: &name, listeners: &plan.listeners };
            on_listeners(reader, asking, &parent, made)
        }
        None if gateway::is_held(reader, &name) => Outcome::Held(object),
        None => nobody(reader, asking, &object, made),
    }
}

pub(super) fn on_listener_set(reader: &mut Reader<'_>, asking: &Asking<'_>, made: &mut Made) -> Outcome {
    let name = target(asking.route, asking.parent);
    let object = ObjectRef::from_name(Kind::ListenerSet, &name);
    match reader.get::<gateway::PublishSet>(&name) {
        Some(plan) => {
            let parent = Parent { object, gateway: &plan.gateway, listeners: &plan.listeners };
            on_listeners(reader, asking, &parent, made)
        }
        None if gateway::is_set_held(reader, &name) => Outcome::Held(object),
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

pub(super) fn on_service(
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

// === impl ListenerClaim ===

impl ListenerClaim {
    /// The hosts it covers; none is all.
    pub(in crate::compile) fn hosts(&self) -> Vec<Option<&HostnamePattern>> {
        match self.hostnames.is_empty() {
            true => vec![self.own.as_ref()],
            false => self.hostnames.iter().map(|it| Some(&it.effective)).collect(),
        }
    }
}
