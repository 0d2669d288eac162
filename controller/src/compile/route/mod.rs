//! Routes: their rules resolved, their attachments decided, their status.

mod attach;
mod backend;
pub(in crate::compile) mod binding;
pub(super) mod budget;
mod conflict;
mod draft;
mod filter;
mod grpc;
mod held_hosts;
mod http;
mod l4;
mod matching;
mod origin;
pub(in crate::compile) mod parent;
mod parent_service;
pub(in crate::compile) mod shadow;
mod written;

pub(super) use attach::{ConsumerRoutes, ProducerRoutes};
pub(super) use written::Written;

use crate::compile::ignored::Ignored;
use crate::compile::names::backend::BackendGateways;
use crate::compile::policy::access::{HeldParents, RouteGateways, RoutePolicies, RouteServices};
use crate::compile::policy::authenticate::RouteAuthentications;
use crate::compile::policy::limit::RouteLimits;
use crate::compile::policy::required_waypoint;
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::route::parent::{ListenerClaim, Outcome, ServiceClaim};
use crate::compile::route::shadow::{MatchKey, ShadowedBy, Wanting};
use crate::compile::stage;
use crate::compile::waypoint::choice;
use crate::diagnostic::{Diagnostic, Reason, join_texts};
use crate::resources::{Kind, ObjectRef, RouteKind, Service};
use crate::status::{Condition, ObjectStatus, ParentStatus, RouteStatus, reason};
use attach::Attached;
use budget::Spent;
use draft::{Body, Draft, Forward, Resolved, Scope};
use fairway_config::model::{Attachment, Audience, L4Route, ObjectName, Resource, Route, RouteKey};
use fairway_incremental::{Engine, OfInput, Query};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What is registered with the engine.
pub(in crate::compile) fn register(engine: Engine<Cluster>) -> Engine<Cluster> {
    engine
        .set::<budget::PatternUsers>()
        .of_input::<Resolve>()
        .of_input::<binding::Bind>()
        .of_set::<shadow::Shadows>()
}

/// Resolves a route's rules, attaches it to its parents, and puts its status together.
pub(in crate::compile) struct Resolve;

impl Query<Cluster> for Resolve {
    type Key = ObjectRef;
    type Value = ();
    const STAGE: u8 = stage::ROUTES;

    fn run(route: &ObjectRef, reader: &mut Reader<'_>, made: &mut Made) {
        let Some(binding) = reader.get::<binding::Bind>(route) else { return };
        let (Some(written), Some(kind)) = (Written::read(reader, route), route.kind.as_route()) else {
            return;
        };
        let settings = reader.settings();
        let policies = RoutePolicies::read(reader, route);
        let authentications = RouteAuthentications::read(reader, route);
        let limits = RouteLimits::read(reader, route);
        // What a Gateway's route may name needs a grant, what a Service's route may name does not: two answers, made only
        // where they are asked for.
        let (mut gateway, mut mesh) = (None, None);
        let (mut gateway_attachments, mut mesh_attachments) = (Vec::new(), Vec::new());
        let (mut parents, mut held, mut shadow) = (Vec::new(), Vec::new(), None);
        for it in &binding.parents {
            if !authentications.is_empty() || !policies.is_empty() || !limits.is_empty() {
                note_parent(route, &it.outcome, made);
            }
            let (scope, resolved, attachments) = match it.outcome {
                Outcome::NotOurs => continue,
                Outcome::Held(_) => {
                    held.push(it.parent.clone());
                    continue;
                }
                Outcome::Service(_) => (Scope::Mesh, &mut mesh, &mut mesh_attachments),
                Outcome::Listeners(_) => (Scope::Gateway, &mut gateway, &mut gateway_attachments),
                Outcome::Refused(_) if it.parent.kind.as_deref() == Some("Service") => {
                    (Scope::Mesh, &mut mesh, &mut mesh_attachments)
                }
                Outcome::Refused(_) => (Scope::Gateway, &mut gateway, &mut gateway_attachments),
            };
            let resolved = resolved.get_or_insert_with(|| {
                let mut resolved = resolve(reader, route, &written, kind, scope);
                resolved.body.judge(&authentications, &policies, &limits, scope);
                resolved
            });
            let mut attached = attach::decide(reader, route, &it.outcome, made);
            if let (None, Some(refusal)) = (&attached.refusal, resolved.refusal()) {
                attached = attached.refused(refusal);
            }
            if (attached.refusal.is_none() || !attached.attachments.is_empty())
                && let Outcome::Listeners(claims) = &it.outcome
            {
                if attached.refusal.is_none() {
                    use_services(claims, &resolved.services, made);
                }
                for key in match_keys(&attached.attachments, &resolved.body, kind) {
                    made.put(Wanting(key), route.clone());
                }
                if let Some(note) = shadowed(reader, route) {
                    shadow.get_or_insert(note.clone());
                    attached.note.get_or_insert(format!("accepted, but {note}"));
                }
            }
            let generation = written.meta().generation;
            let ignored = ignored(resolved);
            let mut conditions = conditions(&attached, resolved, &ignored, generation);
            let mut waypoint = None;
            if let (Outcome::Service(claim), false, None) =
                (&it.outcome, attached.attachments.is_empty(), &attached.refusal)
            {
                let (by, condition) = enforced(reader, claim, generation);
                conditions.push(condition);
                waypoint = Some(by);
            }
            conditions.extend(ignored.condition(generation));
            parents.push(ParentStatus {
                parent_ref: it.parent.clone(),
                controller_name: settings.controller_name.clone(),
                conditions,
                waypoint,
            });
            for attachment in std::mem::take(&mut attached.attachments) {
                if !attachments.contains(&attachment) {
                    attachments.push(attachment);
                }
            }
            attached.put(route, made);
        }
        for diagnostic in [&gateway, &mesh].into_iter().flatten().flat_map(Resolved::diagnostics) {
            made.report(route, diagnostic.clone());
        }
        if let Some(note) = shadow {
            let remedy = "give the routes different matches, or remove one of them";
            made.report(route, Diagnostic::warning(Reason::RouteShadowed, "spec", note, remedy));
        }
        made.resources = resources(
            route,
            kind,
            written.meta().created,
            gateway.map(|it| it.body).zip(Some(gateway_attachments)),
            mesh.map(|it| it.body).zip(Some(mesh_attachments)),
        );
        if !parents.is_empty() || !held.is_empty() {
            made.statuses.push((route.clone(), ObjectStatus::Route(RouteStatus { parents, held })));
        }
    }
}

impl OfInput<Cluster> for Resolve {
    fn of_input(name: &ObjectRef) -> Option<Self::Key> {
        name.kind.as_route().map(|_| name.clone())
    }
}

/// Notes who serves a route that policies name, for the status of those.
fn note_parent(route: &ObjectRef, outcome: &Outcome, made: &mut Made) {
    match outcome {
        Outcome::Listeners(claims) => {
            let gateways: BTreeSet<&ObjectName> = claims.iter().map(|it| &it.gateway).collect();
            for it in gateways {
                made.put(RouteGateways(route.clone()), ObjectRef::from_name(Kind::Gateway, it));
            }
        }
        Outcome::Service(claim) => {
            made.put(RouteServices(route.clone()), ObjectRef::from_name(Kind::Service, &claim.service));
        }
        Outcome::Held(parent) => made.put(HeldParents(route.clone()), parent.clone()),
        Outcome::NotOurs | Outcome::Refused(_) => {}
    }
}

/// Who enforces a Service's route, and whether traffic has been moved there. Whether it has the route by now is for the
/// one who writes the status to say.
fn enforced(reader: &mut Reader<'_>, claim: &ServiceClaim, generation: i64) -> (ObjectName, Condition) {
    let namespace = match &claim.audience {
        Audience::Producer => &claim.service.namespace,
        Audience::Consumer(namespace) => namespace,
    };
    let choice = reader.get::<choice::Choose>(namespace);
    let gateway = &choice.gateway;
    let condition = match choice.bound {
        true => {
            let message = format!("waypoint {gateway} enforces the route");
            Condition::holds(reason::ENFORCED, reason::BY_WAYPOINT, message, generation)
        }
        false => {
            let passed = binding::has_passed(reader, claim);
            let service = reader.input::<Service>(&claim.service);
            let required = claim.audience == Audience::Producer
                && service.is_some_and(|it| required_waypoint::is_required(reader, &claim.service, &it));
            let reason = if passed { reason::WAYPOINT_GONE } else { reason::PENDING };
            let meanwhile = if passed || required { "are refused" } else { "pass without the route" };
            let message = format!(
                "waypoint {gateway} is not ready yet: until it is, connections to Service {} {meanwhile}",
                claim.service
            );
            Condition::fails(reason::ENFORCED, reason, message, generation)
        }
    };
    (gateway.clone(), condition)
}

/// As many matches as are compared; a route with more of them is not compared.
const MOST_MATCH_KEYS: usize = 256;

/// The matches of a route, of which each can be one route's only.
fn match_keys(attachments: &[Attachment], body: &Body, kind: RouteKind) -> BTreeSet<MatchKey> {
    let mut match_keys = BTreeSet::new();
    for it in attachments {
        let Attachment::Listener { listener, hostnames } = it else { continue };
        let all = [None];
        let hosts: Vec<_> = hostnames.iter().map(Some).collect();
        for host in if hosts.is_empty() { &all[..] } else { &hosts[..] } {
            match body {
                Body::Requests(rules) => {
                    let matches = rules.iter().flat_map(|it| &it.matches);
                    match_keys.extend(matches.map(|it| MatchKey::new(listener, *host, Some(it))));
                }
                Body::Connections(_) if kind == RouteKind::Tls => {
                    match_keys.insert(MatchKey::new(listener, *host, None));
                }
                // One listener, one carrier: see `attach`.
                Body::Connections(_) => {}
            }
        }
        if match_keys.len() > MOST_MATCH_KEYS {
            return BTreeSet::new();
        }
    }
    match_keys
}

/// Who goes before a route somewhere.
fn shadowed(reader: &mut Reader<'_>, route: &ObjectRef) -> Option<String> {
    let before = reader.members(&ShadowedBy(route.clone()));
    let names: Vec<String> = before.iter().map(ToString::to_string).collect();
    (!names.is_empty()).then(|| {
        let names = names.join(", ");
        format!(
            "requests that {names} matches too, on the same listener and hostname, go there: it is older or first by name"
        )
    })
}

/// Notes which Gateways use Services, for the policies of those.
fn use_services(claims: &[ListenerClaim], services: &BTreeSet<ObjectName>, made: &mut Made) {
    let gateways: BTreeSet<&ObjectName> = claims.iter().map(|it| &it.gateway).collect();
    for gateway in gateways {
        for service in services {
            made.put(BackendGateways(service.clone()), ObjectRef::from_name(Kind::Gateway, gateway));
        }
    }
}

fn resolve(
    reader: &mut Reader<'_>,
    route: &ObjectRef,
    written: &Written,
    kind: RouteKind,
    scope: Scope,
) -> Resolved {
    let spent = Spent::for_route(reader, route, written.has_expressions());
    let unreadable = written.meta().unreadable.as_deref();
    let mut draft = Draft::new(reader, route, kind, scope, spent).standing_in(unreadable);
    match written {
        Written::Http(it) => http::rules(&mut draft, &it.spec),
        Written::Grpc(it) => grpc::rules(&mut draft, &it.spec),
        Written::Tls(it) => l4::tls(&mut draft, it),
        Written::Tcp(it) => l4::tcp(&mut draft, it),
        Written::Udp(it) => l4::udp(&mut draft, it),
    }
    draft.finish()
}

/// Whether one of a route's rules holds, or none is written: a route of which none does is not accepted anywhere, and
/// takes nothing from others. What its references lead to does not matter here, and is not read.
pub(super) fn holds(reader: &mut Reader<'_>, route: &ObjectRef, written: &Written, kind: RouteKind) -> bool {
    resolve(reader, route, written, kind, Scope::Unread).holds()
}

type Part = Option<(Body, Vec<Attachment>)>;

/// One resource where both kinds of parents see the same rules, else one for each.
fn resources(route: &ObjectRef, kind: RouteKind, created: i64, gateway: Part, mesh: Part) -> Vec<Resource> {
    let key = format!("{}/{}/{}", route.kind, route.namespace, route.name);
    let resource = |key: String, (body, attachments): (Body, Vec<Attachment>)| {
        if attachments.is_empty() {
            return None;
        }
        let (key, object) = (RouteKey::from(key), route.object_name());
        match body {
            Body::Requests(rules) => {
                let kind = kind.as_l7()?;
                Some(Resource::Route(Arc::new(Route { key, kind, object, created, attachments, rules })))
            }
            Body::Connections(forward) => {
                let (kind, Forward { name: rule, backends }) = (kind.as_l4()?, forward?);
                let route = L4Route { key, kind, object, created, attachments, rule, backends };
                Some(Resource::L4Route(Arc::new(route)))
            }
        }
    };
    match (gateway, mesh) {
        (Some(mut gateway), Some(mesh)) if gateway.0 == mesh.0 => {
            gateway.1.extend(mesh.1);
            resource(key, gateway).into_iter().collect()
        }
        (Some(gateway), Some(mesh)) => {
            let mesh = resource(format!("{key}/mesh"), mesh);
            resource(key, gateway).into_iter().chain(mesh).collect()
        }
        (Some(it), None) | (None, Some(it)) => resource(key, it).into_iter().collect(),
        (None, None) => Vec::new(),
    }
}

/// What of a route's rules has no effect.
fn ignored(resolved: &Resolved) -> Ignored {
    let mut ignored = Ignored::default();
    resolved.noted.iter().for_each(|warning| ignored.push(warning.text()));
    ignored
}

fn conditions(
    attached: &Attached,
    resolved: &Resolved,
    ignored: &Ignored,
    generation: i64,
) -> Vec<Condition> {
    let mut conditions = Vec::with_capacity(2);
    conditions.push(match (&attached.refusal, &attached.note) {
        (Some((reason, message)), _) => {
            Condition::fails(reason::ACCEPTED, reason, message.clone(), generation)
        }
        (None, note) => {
            let message = ignored.qualify(note.clone().unwrap_or_else(|| "the route is accepted".to_owned()));
            Condition::holds(reason::ACCEPTED, reason::ACCEPTED, message, generation)
        }
    });
    conditions.push(match resolved.unresolved.first() {
        Some(first) => {
            let message = join_texts(&resolved.unresolved);
            Condition::fails(reason::RESOLVED_REFS, first.reason.condition(), message, generation)
        }
        None => {
            let message = "all references are resolved";
            Condition::holds(reason::RESOLVED_REFS, reason::RESOLVED_REFS, message, generation)
        }
    });
    if attached.refusal.is_none() && !resolved.dropped.is_empty() {
        // The API asks for these first two words.
        let message = format!("Dropped Rule: {}", resolved.dropped_in_words());
        let (kind, reason) = (reason::PARTIALLY_INVALID, reason::UNSUPPORTED_VALUE);
        conditions.push(Condition::holds(kind, reason, message, generation));
    }
    conditions
}
