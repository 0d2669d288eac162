//! From what a parent would take to what a route gets.

use crate::compile::binding::{ListenerClaim, Outcome, ServiceClaim};
use crate::compile::evaluation::Evaluation;
use crate::compile::index::IndexKey;
use crate::compile::reader::Reader;
use crate::compile::service;
use crate::resources::{Kind, ObjectRef, RouteKind};
use crate::status::reason;
use fairway_config::model::{Attachment, Audience};
use std::sync::Arc;

/// What a route gets of one parent.
#[derive(Debug, Default)]
pub(super) struct Attached {
    /// Why nothing: the API's word, and why.
    pub refusal: Option<(&'static str, String)>,
    /// What a user should know although it is accepted.
    pub note: Option<String>,
    /// Where its rules hold.
    pub attachments: Vec<Attachment>,
    /// The sets it stands in for that.
    pub index: Vec<(IndexKey, ObjectRef)>,
}

impl Attached {
    /// The same for a route whose own rules do not hold: it is not accepted and counts nowhere, but stands where it would,
    /// and answers.
    pub(super) fn refused(mut self, refusal: (&'static str, String)) -> Self {
        self.refusal = Some(refusal);
        self.note = None;
        self.index.retain(|(key, _)| !matches!(key, IndexKey::Attached(_)));
        self
    }
}

/// Decides what a route gets of one parent.
pub(super) fn decide(
    reader: &mut Reader<'_>,
    route: &ObjectRef,
    outcome: &Outcome,
    made: &mut Evaluation,
) -> Attached {
    match outcome {
        Outcome::NotOurs => Attached::default(),
        Outcome::Refused(reason, message) => {
            Attached { refusal: Some((reason, message.clone())), ..Attached::default() }
        }
        Outcome::Listeners(claims) => on_listeners(reader, route, claims, made),
        Outcome::Service(claim) => on_service(reader, route, claim, made),
    }
}

fn conflicted(
    route: &ObjectRef,
    winner: &ObjectRef,
    place: &str,
    remedy: &str,
    made: &mut Evaluation,
) -> String {
    let message = format!("{winner} holds {place} already");
    made.error(route, "spec.parentRefs", message.clone(), remedy);
    format!("{message}; {remedy}")
}

fn on_listeners(
    reader: &mut Reader<'_>,
    route: &ObjectRef,
    claims: &[ListenerClaim],
    made: &mut Evaluation,
) -> Attached {
    let mut attached = Attached::default();
    let (mut lost, mut waiting) = (Vec::new(), Vec::new());
    for claim in claims {
        if let Some(winner) = reader.listener_losers(&claim.listener).get(route) {
            let place = format!("hostnames of listener {} that this route asks for", claim.listener);
            let remedy = "give the two routes hostnames that do not intersect, or put both kinds of rules in one kind of route";
            lost.push(conflicted(route, winner, &place, remedy, made));
            continue;
        }
        attached.index.push((IndexKey::Attached(claim.listener.clone()), route.clone()));
        if let Some(carrier) = other_carrier(reader, route, claim) {
            waiting.push(format!(
                "{carrier}, which is older, carries the traffic of listener {}",
                claim.listener
            ));
            continue;
        }
        if claim.programmed {
            attached.attachments.push(Attachment::Listener {
                listener: claim.listener.clone(),
                hostnames: claim.hostnames.clone(),
            });
        }
    }
    wait(&mut attached, route, waiting, "give each route a listener of its own", made);
    settle(attached, lost)
}

/// Says where a route is accepted and another carries what it asks for.
fn wait(
    attached: &mut Attached,
    route: &ObjectRef,
    waiting: Vec<String>,
    remedy: &str,
    made: &mut Evaluation,
) {
    if !waiting.is_empty() {
        let message = waiting.join(". ");
        made.warn(route, "spec.parentRefs", message.clone(), remedy);
        attached.note = Some(format!("accepted, but {message}; {remedy}"));
    }
}

/// The route that has a listener's connections in this route's place.
fn other_carrier(
    reader: &mut Reader<'_>,
    route: &ObjectRef,
    claim: &ListenerClaim,
) -> Option<Arc<ObjectRef>> {
    let kind = route.kind.as_route().filter(|it| matches!(it, RouteKind::Tcp | RouteKind::Udp))?;
    reader.carrier(&claim.listener, kind).filter(|it| **it != *route)
}

fn on_service(
    reader: &mut Reader<'_>,
    route: &ObjectRef,
    claim: &ServiceClaim,
    made: &mut Evaluation,
) -> Attached {
    let mut attached = Attached::default();
    let (mut lost, mut waiting, mut held) = (Vec::new(), Vec::new(), claim.ports.clone());
    let holders = reader.service_holders(&claim.service, &claim.audience);
    for port in &claim.ports {
        let Some(holder) = holders.get(port).filter(|it| *it != route) else { continue };
        let place = format!("port {port} of Service {}", claim.service);
        if holder.kind != route.kind {
            held.retain(|it| it != port);
            let place = format!("{place}: a {} goes before a {}", holder.kind, route.kind);
            let remedy = "bind the routes to different ports (parentRefs[].port)";
            lost.push(conflicted(route, holder, &place, remedy, made));
        } else if matches!(route.kind, Kind::TlsRoute | Kind::TcpRoute) {
            held.retain(|it| it != port);
            waiting.push(format!("{holder}, which is older, carries the connections to {place}"));
        }
    }
    let ports: Vec<Option<u16>> = match claim.all_ports && lost.is_empty() && waiting.is_empty() {
        true => vec![None],
        false => held.into_iter().map(Some).collect(),
    };
    for port in ports {
        let (service, audience) = (service::key(&claim.service), claim.audience.clone());
        attached.attachments.push(Attachment::Service { service, port, audience });
    }
    if !attached.attachments.is_empty() || !waiting.is_empty() {
        let (routes, waypoint) = match &claim.audience {
            Audience::Producer => (IndexKey::ProducerRoutes(claim.service.clone()), &claim.service.namespace),
            Audience::Consumer(namespace) => (IndexKey::ConsumerRoutes(claim.service.clone()), namespace),
        };
        attached.index.push((routes, route.clone()));
        attached.index.push((IndexKey::WaypointNeed(waypoint.clone()), route.clone()));
    }
    wait(&mut attached, route, waiting, "bind each route to a port of its own (parentRefs[].port)", made);
    settle(attached, lost)
}

/// One place that takes the route is enough for it to be accepted.
fn settle(mut attached: Attached, lost: Vec<String>) -> Attached {
    if !lost.is_empty() {
        let message = lost.join(". ");
        match attached.index.is_empty() {
            true => attached.refusal = Some((reason::CONFLICTED, message)),
            false => attached.note = Some(format!("accepted in part: {message}")),
        }
    }
    attached
}
