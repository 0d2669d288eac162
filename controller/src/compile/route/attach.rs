//! From what a parent would take to what a route gets.

use crate::compile::gateway::Counted;
use crate::compile::names::service::service_key;
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::route::conflict;
use crate::compile::route::parent::{ListenerClaim, Outcome, ServiceClaim};
use crate::compile::waypoint::WaypointNeed;
use crate::diagnostic::{Diagnostic, Reason, join_texts};
use crate::resources::{Kind, ObjectRef, RouteKind};
use crate::status::reason;
use fairway_config::model::{Attachment, Audience, ListenerKey, ObjectName};
use fairway_incremental::Set;
use std::sync::Arc;

/// Accepted routes of a Service, from its own namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) struct ProducerRoutes(pub ObjectName);

impl Set<Cluster> for ProducerRoutes {
    type Member = ObjectRef;
}

/// Accepted routes of a Service, from other namespaces.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) struct ConsumerRoutes(pub ObjectName);

impl Set<Cluster> for ConsumerRoutes {
    type Member = ObjectRef;
}

/// What a route gets of one parent.
#[derive(Debug, Default)]
pub(super) struct Attached {
    /// Why nothing: the API's word, and why.
    pub refusal: Option<(&'static str, String)>,
    /// What a user should know although it is accepted.
    pub note: Option<String>,
    /// Where its rules hold.
    pub attachments: Vec<Attachment>,
    /// The listeners that count it.
    counted: Vec<ListenerKey>,
    /// The Service whose route it is, and for whom.
    service: Option<(ObjectName, Audience)>,
}

impl Attached {
    /// The same for a route whose own rules do not hold: it is not accepted and counts nowhere, but stands where it would,
    /// and answers.
    pub(super) fn refused(mut self, refusal: (&'static str, String)) -> Self {
        self.refusal = Some(refusal);
        self.note = None;
        self.counted.clear();
        self
    }

    /// Puts the route into the sets of the parent.
    pub(super) fn put(self, route: &ObjectRef, made: &mut Made) {
        for listener in self.counted {
            made.put(Counted(listener), route.clone());
        }
        if let Some((service, audience)) = self.service {
            let namespace = match audience {
                Audience::Producer => {
                    made.put(ProducerRoutes(service.clone()), route.clone());
                    service.namespace
                }
                Audience::Consumer(namespace) => {
                    made.put(ConsumerRoutes(service), route.clone());
                    namespace
                }
            };
            made.put(WaypointNeed(namespace), route.clone());
        }
    }
}

/// Decides what a route gets of one parent.
pub(super) fn decide(
    reader: &mut Reader<'_>,
    route: &ObjectRef,
    outcome: &Outcome,
    made: &mut Made,
) -> Attached {
    match outcome {
        Outcome::NotOurs | Outcome::Held(_) => Attached::default(),
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
    made: &mut Made,
) -> Attached {
    let mut attached = Attached::default();
    let (mut lost, mut waiting) = (Vec::new(), Vec::new());
    for claim in claims {
        if let Some(winner) = reader.get::<conflict::OnListener>(&claim.listener).get(route) {
            let message = format!(
                "{winner} has hostnames of this route on listener {} already, and an HTTPRoute and a GRPCRoute cannot \
                 share a hostname",
                claim.listener
            );
            let remedy = "give the two routes different hostnames, or write all rules in one kind of route";
            lost.push(Diagnostic::error(Reason::RouteHostnameConflict, "spec.parentRefs", message, remedy));
            continue;
        }
        attached.counted.push(claim.listener.clone());
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
        let warning = Diagnostic::warning(Reason::ListenerHasOlderRoute, field, waiting.join("; "), remedy);
        wait(&mut attached, route, warning, made);
    }
    settle(attached, route, lost, made)
}

/// Says where a route is accepted and another carries what it asks for.
fn wait(attached: &mut Attached, route: &ObjectRef, warning: Diagnostic, made: &mut Made) {
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
    reader.get::<conflict::Carrier>(&(claim.listener.clone(), kind)).filter(|it| **it != *route)
}

fn on_service(reader: &mut Reader<'_>, route: &ObjectRef, claim: &ServiceClaim, made: &mut Made) -> Attached {
    let mut attached = Attached::default();
    let (mut lost, mut waiting, mut held) = (Vec::new(), Vec::new(), claim.ports.clone());
    let holders = reader.get::<conflict::OnService>(&(claim.service.clone(), claim.audience.clone()));
    for port in &claim.ports {
        let Some(holder) = holders.get(port).filter(|it| *it != route) else { continue };
        let place = format!("port {port} of Service {}", claim.service);
        if holder.kind != route.kind {
            held.retain(|it| it != port);
            let message =
                format!("{place} belongs to {holder}: kind {} goes before kind {}", holder.kind, route.kind);
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
        let (service, audience) = (service_key(&claim.service), claim.audience.clone());
        attached.attachments.push(Attachment::Service { service, port, audience });
    }
    if !attached.attachments.is_empty() || !waiting.is_empty() {
        attached.service = Some((claim.service.clone(), claim.audience.clone()));
    }
    if !waiting.is_empty() {
        let remedy = "attach each route to a port of its own (parentRefs[].port)";
        let field = "spec.parentRefs";
        let warning =
            Diagnostic::warning(Reason::ServicePortHasOlderRoute, field, waiting.join("; "), remedy);
        wait(&mut attached, route, warning, made);
    }
    settle(attached, route, lost, made)
}

/// One place that takes the route is enough for it to be accepted.
fn settle(mut attached: Attached, route: &ObjectRef, lost: Vec<Diagnostic>, made: &mut Made) -> Attached {
    if !lost.is_empty() {
        let message = join_texts(&lost);
        lost.into_iter().for_each(|error| made.report(route, error));
        match attached.counted.is_empty() && attached.service.is_none() {
            true => attached.refusal = Some((reason::CONFLICTED, message)),
            false => attached.note = Some(format!("accepted in part: {message}")),
        }
    }
    attached
}
