//! Where a route could attach: its parentRefs against what the parents take. Who wins among routes of different kinds
//! is decided later (see `conflict`).

use super::parent::{
    Asking, ListenerClaim, Outcome, ServiceClaim, on_gateway, on_listener_set, on_service, refuse, target,
};
use crate::compile::gateway::{self, DefaultGateways};
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::route::Written;
use crate::compile::{inputs, stage};
use crate::diagnostic::{Diagnostic, Reason};
use crate::provision::ProxyClass;
use crate::resources::{Gateway, ObjectRef, RouteKind, Service};
use crate::status::ParentRef;
use fairway_config::model::{Audience, HostnamePattern, ListenerKey, ObjectName};
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

/// A parent, and what it says to the route.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::compile) struct ParentBinding {
    pub parent: ParentRef,
    pub outcome: Outcome,
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
/// take it as if it named them. One that cannot be read may be among them.
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
        let takes = match reader.get::<gateway::Publish>(&it.object_name()) {
            Some(plan) => plan.class == ProxyClass::Gateway,
            None => gateway::is_held(reader, &it.object_name()),
        };
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
        Outcome::NotOurs | Outcome::Held(_) | Outcome::Refused(_) => {}
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
