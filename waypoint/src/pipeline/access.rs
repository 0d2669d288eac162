//! Whether policies let a request or a connection pass: those of the listener that it came by, of the rule that takes it, and
//! of the Service that it is for.
//!
//! A Service's policies judge what is asked of the Service and what is routed to it, at the proxy that goes straight to its
//! endpoints. Where the Service requires a waypoint that is the waypoint, so that nothing is judged twice.

#[cfg(test)]
mod tests;

use super::limits::Meter;
use super::{Client, Origin, Reason, ServiceOrigin};
use crate::limit::Order;
use crate::route::RequestHead;
use crate::stage::Position;
use crate::table::Tables;
use crate::telemetry::Exchange;
use crate::upstream::caller::Caller;
use crate::upstream::cluster::Cluster;
use crate::worker::Worker;
use fairway_config::model::{AuthorizationKey, BackendKey, Listener, SpiffeId};
use fairway_policy::{Attached, Attributes, Decision, Level, Path, Refusal, Request, evaluate};
use fairway_telemetry::PolicyDecision;
use http::request::Parts;
use std::net::IpAddr;
use tokio::time::Instant;

/// The authorizations that judge a request or a connection, by the names that the configuration has for them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Checkpoint<'t> {
    /// Those of the listener.
    pub listener: &'t [AuthorizationKey],
    /// Those of the route's rule.
    pub rule: &'t [AuthorizationKey],
    /// Those of a Service.
    pub service: &'t [AuthorizationKey],
}

/// Who asks, as far as policies look at it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asking<'a> {
    /// Who it proved to be.
    pub peer: Option<&'a SpiffeId>,
    /// Where it is; none if that is not known.
    pub address: Option<IpAddr>,
    /// The port of the listener or of the Service.
    pub port: u16,
}

/// Why a connection or a request would be refused if what is only observed were enforced.
pub(crate) type Observed = Option<Refusal>;

/// What a gate does between the stages of a rule.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// Counts by the address of the client, before anybody asks who that is.
    CountCoarsely,
    /// Judges by the policies.
    Judge,
    /// Counts by all other limits.
    Count,
}

/// A checkpoint on the way of one request, and the limits that count it.
pub(super) struct Gate<'a, 't> {
    pub worker: &'a Worker,
    pub tables: &'t Tables,
    pub checkpoint: Checkpoint<'t>,
    pub meter: Meter<'t>,
    pub asking: Asking<'a>,
    pub exchange: &'a mut Exchange,
}

// === impl Checkpoint ===

impl<'t> Checkpoint<'t> {
    /// What judges a request by the door that it came by, before a rule is known: the listener and the Service that was asked.
    pub fn at_the_door(
        tables: &'t Tables,
        origin: &'t Origin,
        listener: Option<&'t Listener>,
        own: &BackendKey,
    ) -> Self {
        match origin {
            Origin::Gateway { .. } => Self::of_listener(listener),
            Origin::Service(origin) => Self {
                listener: tunnel(tables, origin).map(|it| &*it.authorizations).unwrap_or_default(),
                rule: &[],
                service: asked(tables, origin, own).map(Cluster::authorizations).unwrap_or_default(),
            },
        }
    }

    /// What judges all that comes by a listener.
    pub fn of_listener(listener: Option<&'t Listener>) -> Self {
        let listener = listener.map(|it| &*it.authorizations).unwrap_or_default();
        Self { listener, ..Self::default() }
    }

    /// What judges all that goes to a backend.
    pub fn of_backend(cluster: &'t Cluster, own: &BackendKey) -> Self {
        let service = straight(cluster, own).map(Cluster::authorizations).unwrap_or_default();
        Self { service, ..Self::default() }
    }

    /// Whether nothing judges.
    pub fn is_open(&self) -> bool {
        self.listener.is_empty() && self.rule.is_empty() && self.service.is_empty()
    }

    /// Judges a connection of which only the bytes are known. What is refused counts.
    fn admits(&self, worker: &Worker, tables: &'t Tables, asking: Asking<'_>) -> Result<Observed, Refusal> {
        if self.is_open() {
            return Ok(None);
        }
        let Decision { verdict, observed } = self.judge(tables, &asking.attributes(None));
        let count = |refusal: &Refusal, decision| {
            if let Some(series) = tables.access().series(refusal) {
                worker.telemetry.recorder.count_policy(series, decision);
            }
        };
        observed.iter().for_each(|it| count(it, PolicyDecision::WouldDeny));
        verdict.into_result().inspect_err(|it| count(it, PolicyDecision::Denied))?;
        Ok(observed)
    }

    /// Whether a connection of which only the bytes are known passes. Nothing is counted.
    pub fn lets_bytes_pass(&self, tables: &'t Tables, asking: Asking<'_>) -> bool {
        self.judge(tables, &asking.attributes(None)).verdict.is_allowed()
    }

    /// Judges a request.
    pub fn judge_request(
        &self,
        tables: &'t Tables,
        asking: Asking<'_>,
        head: &RequestHead<'_>,
    ) -> Decision<'t> {
        let path = Path::new(&head.path);
        let request = Request { method: head.method, host: &head.host, path: &path, headers: head.headers };
        self.judge(tables, &asking.attributes(Some(request)))
    }

    fn judge(&self, tables: &'t Tables, attributes: &Attributes<'_>) -> Decision<'t> {
        let at = |level, names: &'t [AuthorizationKey]| {
            names.iter().map(move |name| Attached {
                level,
                name: name.shared(),
                authorization: tables.access().authorization(name),
            })
        };
        let attached = at(Level::Gateway, self.listener)
            .chain(at(Level::Route, self.rule))
            .chain(at(Level::Service, self.service));
        evaluate(attached, attributes)
    }
}

/// The listener by which a tunnel came, as it is now; as it was then if it is no more. None where nothing guards it.
pub(super) fn tunnel<'t>(tables: &'t Tables, origin: &'t ServiceOrigin) -> Option<&'t Listener> {
    let then = origin.listener.as_ref()?;
    if !then.is_guarded() && !tables.guards_listeners() {
        return None;
    }
    let now = tables.sockets().flat_map(|it| it.listeners()).find(|it| it.listener.key == then.key);
    Some(now.map_or(then, |it| &it.listener))
}

/// The Service that was asked, if anything guards Services and this proxy goes straight to its endpoints.
pub(super) fn asked<'t>(tables: &'t Tables, origin: &ServiceOrigin, own: &BackendKey) -> Option<&'t Cluster> {
    if !tables.guards_backends() {
        return None;
    }
    straight(tables.service_cluster(&origin.backend)?, own)
}

/// A backend, if this proxy goes straight to its endpoints.
pub(super) fn straight<'t>(cluster: &'t Cluster, own: &BackendKey) -> Option<&'t Cluster> {
    match cluster.via() {
        Some((waypoint, _)) if waypoint != own => None,
        _ => Some(cluster),
    }
}

// === impl Asking ===

impl<'a> Asking<'a> {
    /// The client of a connection, at a port.
    pub fn of(client: &'a Client, port: u16) -> Self {
        Self::from_origin(&client.origin, &client.caller, client.identity.as_ref(), port)
    }

    /// Whoever came by this door.
    pub fn from_origin(origin: &Origin, caller: &Caller, peer: Option<&'a SpiffeId>, port: u16) -> Self {
        let is_hidden = matches!(origin, Origin::Service(it) if it.hides_client);
        Self { peer, address: caller.address.filter(|_| !is_hidden), port }
    }

    pub(super) fn attributes(self, request: Option<Request<'a>>) -> Attributes<'a> {
        Attributes { peer: self.peer, client: self.address, port: self.port, request }
    }
}

// === impl Gate ===

impl Gate<'_, '_> {
    /// Whether nothing judges or counts.
    pub(super) fn is_open(&self) -> bool {
        self.checkpoint.is_open() && self.meter.is_empty()
    }

    /// All steps, where no stage stands between.
    pub(super) fn pass(&mut self, parts: &Parts) -> Result<(), Reason> {
        Step::ALL.into_iter().try_for_each(|step| self.take(step, parts))
    }

    /// Lets a request pass, or says why not.
    pub(super) fn take(&mut self, step: Step, parts: &Parts) -> Result<(), Reason> {
        match step {
            Step::CountCoarsely => self.count(&[Order::Coarse], parts),
            Step::Judge => self.judge(parts),
            Step::Count => self.count(&[Order::Keyed, Order::Shared], parts),
        }
    }

    fn judge(&mut self, parts: &Parts) -> Result<(), Reason> {
        if self.checkpoint.is_open() {
            return Ok(());
        }
        let head = RequestHead::read(parts).map_err(Reason::BadRequest)?;
        let decision = self.checkpoint.judge_request(self.tables, self.asking, &head);
        let (verdict, observed) = (decision.verdict.into_result(), decision.observed);
        if let Some(refusal) = observed {
            self.exchange.observed(&refusal, self.tables.access());
        }
        verdict.map_err(|refusal| {
            self.exchange.denied(&refusal, self.tables.access());
            Reason::Denied
        })
    }

    fn count(&mut self, orders: &[Order], parts: &Parts) -> Result<(), Reason> {
        if self.meter.is_empty() {
            return Ok(());
        }
        let now = self.worker.nanos(Instant::now());
        self.meter.count(self.tables, orders, self.asking, parts, now, self.exchange)
    }
}

// === impl Step ===

impl Step {
    /// In the order in which they are taken.
    pub(super) const ALL: [Self; 3] = [Self::CountCoarsely, Self::Judge, Self::Count];

    /// It is taken before the stages of this position.
    pub(super) fn position(self) -> Position {
        match self {
            Self::CountCoarsely => Position::Authentication,
            Self::Judge => Position::Authorization,
            Self::Count => Position::Limit,
        }
    }
}

/// Judges a connection, or a client's datagrams, by the door and by the backend that is chosen. Who asked the Service whose
/// backend it is was judged at the door.
pub(crate) fn admit_connection(
    worker: &Worker,
    tables: &Tables,
    door: Checkpoint<'_>,
    backend: &Cluster,
    caller: &Caller,
    asking: Asking<'_>,
) -> Result<Observed, Refusal> {
    let observed = door.admits(worker, tables, asking)?;
    if is_asked(backend, caller) {
        return Ok(observed);
    }
    let of_backend = Checkpoint::of_backend(backend, &worker.waypoint_key);
    Ok(observed.or(of_backend.admits(worker, tables, asking)?))
}

/// Whether a copy of a request, or a question about it, may go to a backend.
pub(super) fn admits_copy(
    worker: &Worker,
    tables: &Tables,
    cluster: &Cluster,
    caller: &Caller,
    asking: Asking<'_>,
    parts: &Parts,
) -> bool {
    let checkpoint = Checkpoint::of_backend(cluster, &worker.waypoint_key);
    if is_asked(cluster, caller) {
        return true;
    }
    // Copies are not counted. What is closed gets none.
    if Meter::of_backend(cluster, &worker.waypoint_key).is_closed(tables) {
        return false;
    }
    if checkpoint.is_open() {
        return true;
    }
    let Ok(head) = RequestHead::read(parts) else { return false };
    checkpoint.judge_request(tables, asking, &head).verdict.is_allowed()
}

/// Whether a backend is of the Service that was asked, whose policies have judged already.
pub(super) fn is_asked(cluster: &Cluster, caller: &Caller) -> bool {
    caller.service.as_ref().is_some_and(|it| cluster.is_of(it))
}

/// A refusal in words for the log: the client is not told which policy it met.
pub(crate) fn in_words(refusal: &Refusal) -> String {
    let policy = AuthorizationKey::policy_of(refusal.policy());
    match refusal {
        Refusal::Denied { rule, .. } => format!("policy=\"{policy}\" rule=\"{rule}\""),
        Refusal::NotAllowed { .. } => format!("policy=\"{policy}\" rule=\"\": none of its rules matches"),
        Refusal::Unknown { .. } => format!("policy=\"{policy}\": it is not known here"),
    }
}
