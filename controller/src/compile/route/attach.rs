//! From what a parent would take to what a route gets.

use crate::compile::binding::{ListenerClaim, Outcome, ServiceClaim};
use crate::compile::evaluation::Evaluation;
use crate::compile::index::IndexKey;
use crate::compile::reader::Reader;
use crate::compile::service;
use crate::diagnostic::{Diagnostic, Reason, join_texts};
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
        Outcome::Refused(error) => {
            Attached { refusal: Some((error.reason.condition(), error.text())), ..Attached::default() }
        }
        Outcome::Listeners(claims) => on_listeners(reader, route, claims, made),
        Outcome::Service(claim) => on_service(reader, route, claim, made),
    }
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
            let message = format!(
                "{winner} has hostnames of this route on listener {} already, and an HTTPRoute and a GRPCRoute cannot \
                 share a hostname",
                claim.listener
            );
            let remedy = "give the two routes different hostnames, or write all rules in one kind of route";
            lost.push(Diagnostic::error(Reason::RouteHostnameConflict, "spec.parentRefs", message, remedy));
            continue;
        }
        attached.index.push((IndexKey::Attached(claim.listener.clone()), route.clone()));
        if let Some(carrier) = other_carrier(reader, route, claim) {
            waiting.push(format!(
                "the traffic of listener {} goes to {carrier}, which is older or first by name",
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
    if !waiting.is_empty() {
        let remedy = "give each route a listener of its own";
        let field = "spec.parentRefs";
        let warning = Diagnostic::warning(Reason::ListenerHasOlderRoute, field, waiting.join(". "), remedy);
        wait(&mut attached, route, warning, made);
    }
    settle(attached, route, lost, made)
}

/// Says where a route is accepted and another carries what it asks for.
fn wait(attached: &mut Attached, route: &ObjectRef, warning: Diagnostic, made: &mut Evaluation) {
    attached.note = Some(format!("accepted, but {}; {}", warning.message, warning.remedy));
    made.report(route, warning);
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
            let message =
                format!("{place} belongs to {holder}: a {} goes before a {}", holder.kind, route.kind);
            let remedy = "attach the routes to different ports (parentRefs[].port)";
            lost.push(Diagnostic::error(Reason::ServicePortConflict, "spec.parentRefs", message, remedy));
        } else if matches!(route.kind, Kind::TlsRoute | Kind::TcpRoute) {
            held.retain(|it| it != port);
            waiting.push(format!("connections to {place} go to {holder}, which is older or first by name"));
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
    if !waiting.is_empty() {
        let remedy = "attach each route to a port of its own (parentRefs[].port)";
        let field = "spec.parentRefs";
        let warning =
            Diagnostic::warning(Reason::ServicePortHasOlderRoute, field, waiting.join(". "), remedy);
        wait(&mut attached, route, warning, made);
    }
    settle(attached, route, lost, made)
}

/// One place that takes the route is enough for it to be accepted.
fn settle(
    mut attached: Attached,
    route: &ObjectRef,
    lost: Vec<Diagnostic>,
    made: &mut Evaluation,
) -> Attached {
    if !lost.is_empty() {
        let message = join_texts(&lost);
        lost.into_iter().for_each(|error| made.report(route, error));
        match attached.index.is_empty() {
            true => attached.refusal = Some((reason::CONFLICTED, message)),
            false => attached.note = Some(format!("accepted in part: {message}")),
        }
    }
    attached
}
