//! Whether policies let a request or a connection pass: those of the listener that it came by, of the rule that takes it, and
//! of the Service that it is for.
//!
//! A Service's policies judge what is asked of the Service and what is routed to it, at the proxy that goes straight to its
//! endpoints. Where the Service requires a waypoint that is the waypoint, so that nothing is judged twice.

#[cfg(test)]
mod tests;

use super::{Client, Origin, Reason, ServiceOrigin};
use crate::route::RequestHead;
use crate::settings::ProxySettings;
use crate::table::Tables;
use crate::telemetry::{Exchange, Observed};
use crate::upstream::caller::Caller;
use crate::upstream::cluster::Cluster;
use crate::worker::Worker;
use fairway_config::model::{AuthorizationKey, BackendKey, Listener, SpiffeId};
use fairway_policy::{Attached, Attributes, Decision, Level, Path, PolicyRefusal, Request, evaluate};
use fairway_telemetry::PolicyDecision;
use http::request::Parts;
use std::net::IpAddr;
use std::slice;
use std::sync::LazyLock;

/// The authorizations that judge a request or a connection, by the names that the configuration has for them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PolicySet<'t> {
    /// Those of the listener.
    pub listener: &'t [AuthorizationKey],
    /// Those of the route's rule.
    pub rule: &'t [AuthorizationKey],
    /// Those of a Service.
    pub service: &'t [AuthorizationKey],
}

/// Who asks, as far as policies look at it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestSource<'a> {
    /// Who it proved to be.
    pub peer: Option<&'a SpiffeId>,
    /// Where it is; none if that is not known.
    pub address: Option<IpAddr>,
    /// The port of the listener or of the Service.
    pub port: u16,
    /// The port of a Service that was asked, whose policies judge at the entry; none at a Gateway.
    pub asked: Option<&'a BackendKey>,
}

/// Policies that one request is checked against, at one step of the pipeline.
pub(super) struct PolicyCheck<'a, 't> {
    pub tables: &'t Tables,
    pub policies: PolicySet<'t>,
    pub source: RequestSource<'a>,
    pub exchange: &'a mut Exchange,
}

// === impl PolicySet ===

impl<'t> PolicySet<'t> {
    /// What judges a request by the entry that it came by, before a rule is known: the listener and the Service that was asked.
    pub fn at_entry(
        tables: &'t Tables,
        origin: &'t Origin,
        listener: Option<&'t Listener>,
        own: &BackendKey,
    ) -> Self {
        match origin {
            Origin::Gateway { .. } => Self::of_listener(listener),
            Origin::Service(origin) => Self {
                listener: of_tunnel(tables, origin),
                rule: &[],
                service: of_service(tables, origin, own),
            },
        }
    }

    /// What judges all that comes by a listener.
    pub fn of_listener(listener: Option<&'t Listener>) -> Self {
        let listener = listener.map(|it| &*it.authorizations).unwrap_or_default();
        Self { listener, ..Self::default() }
    }

    /// The same for a connection that was accepted earlier: its listener's policies may have changed since.
    pub fn of_earlier_listener(tables: &'t Tables, listener: &'t Listener) -> Self {
        Self { listener: of_earlier(tables, listener), ..Self::default() }
    }

    /// What judges all that goes to a backend.
    pub fn of_backend(cluster: &'t Cluster, own: &BackendKey) -> Self {
        Self { service: of_cluster(cluster, own), ..Self::default() }
    }

    /// Whether no authorization applies: everything passes.
    pub fn is_open(&self) -> bool {
        self.listener.is_empty() && self.rule.is_empty() && self.service.is_empty()
    }

    /// Judges a connection of which only the bytes are known. What is refused counts.
    fn admits(
        &self,
        worker: &Worker,
        tables: &'t Tables,
        source: RequestSource<'_>,
    ) -> Result<Observed, PolicyRefusal> {
        if self.is_open() {
            return Ok(None);
        }
        settle(worker, tables, self.judge(tables, &source.attributes(None)))
    }

    /// Whether a connection of which only the bytes are known passes. Nothing is counted.
    pub fn lets_bytes_pass(&self, tables: &'t Tables, source: RequestSource<'_>) -> bool {
        self.judge(tables, &source.attributes(None)).verdict.is_allowed()
    }

    /// Judges a request by its head. Nothing is counted here.
    pub fn judge_request(
        &self,
        tables: &'t Tables,
        source: RequestSource<'_>,
        head: &RequestHead<'_>,
    ) -> Decision<'t> {
        let path = Path::new(&head.path);
        let request = Request { method: head.method, host: &head.host, path: &path, headers: head.headers };
        self.judge(tables, &source.attributes(Some(request)))
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

/// The authorizations of the listener by which a tunnel came, as they are now; as they were then if it is no more.
fn of_tunnel<'t>(tables: &'t Tables, origin: &'t ServiceOrigin) -> &'t [AuthorizationKey] {
    origin.listener.as_ref().map(|it| of_earlier(tables, it)).unwrap_or_default()
}

/// The authorizations of a listener that was chosen earlier, as they are now; as they were then if it is no more.
fn of_earlier<'t>(tables: &'t Tables, then: &'t Listener) -> &'t [AuthorizationKey] {
    if then.authorizations.is_empty() && !tables.guards_listeners() {
        return &[];
    }
    let now = tables.sockets().flat_map(|it| it.listeners()).find(|it| it.listener.key == then.key);
    now.map_or(&then.authorizations, |it| &it.listener.authorizations)
}

/// Those of the Service that was asked.
fn of_service<'t>(tables: &'t Tables, origin: &ServiceOrigin, own: &BackendKey) -> &'t [AuthorizationKey] {
    if !tables.guards_backends() {
        return &[];
    }
    tables.service_cluster(&origin.backend).map(|it| of_cluster(it, own)).unwrap_or_default()
}

/// What judges at a backend of which only the endpoints are known: nobody knows what guards it, so nobody is let in.
static UNKNOWN: LazyLock<AuthorizationKey> = LazyLock::new(|| "unknown backend".into());

/// Those of a backend's Service, if this proxy goes straight to its endpoints.
fn of_cluster<'t>(cluster: &'t Cluster, own: &BackendKey) -> &'t [AuthorizationKey] {
    match cluster.via() {
        Some((waypoint, _)) if waypoint != own => &[],
        _ if cluster.is_unknown() => slice::from_ref(&*UNKNOWN),
        _ => cluster.authorizations(),
    }
}

// === impl RequestSource ===

impl<'a> RequestSource<'a> {
    /// Who has sent a request by a client's connection, at a port.
    pub fn from_client(client: &'a Client, caller: &Caller, port: u16) -> Self {
        Self::from_origin(&client.origin, caller, client.identity.as_ref(), port)
    }

    /// Whoever came by this entry.
    pub fn from_origin(origin: &'a Origin, caller: &Caller, peer: Option<&'a SpiffeId>, port: u16) -> Self {
        let is_hidden = matches!(origin, Origin::Service(it) if it.hides_client);
        Self { peer, address: caller.address.filter(|_| !is_hidden), port, asked: origin.asked() }
    }

    /// Who asks a backend that the request is routed to: the same client at the backend's port. A Gateway, and a waypoint of another
    /// namespace, ask in their own name, as they do where the Service's waypoint judges.
    pub fn routed_to(self, cluster: &Cluster, settings: &'a ProxySettings) -> Self {
        let port = cluster.port().unwrap_or(self.port);
        let Some(own) = &settings.identity else { return Self { port, ..self } };
        let is_its_waypoint = match cluster.via() {
            Some((waypoint, _)) => *waypoint == settings.waypoint_key(),
            None => cluster.namespace() == Some(own.namespace()),
        };
        let peer = if self.asked.is_some() && is_its_waypoint { self.peer } else { Some(own) };
        Self { peer, port, ..self }
    }

    fn attributes(self, request: Option<Request<'a>>) -> Attributes<'a> {
        Attributes { peer: self.peer, client: self.address, port: self.port, request }
    }
}

// === impl PolicyCheck ===

impl<'t> PolicyCheck<'_, 't> {
    /// Lets a request pass, or says that policies refuse it.
    pub(super) fn pass(&mut self, parts: &Parts) -> Result<(), Reason> {
        let Decision { verdict, observed } = self.judge(parts)?;
        if let Some(refusal) = observed {
            self.exchange.observed(&refusal, self.tables.access());
        }
        self.settle(verdict.into_result())
    }

    /// The same for a request that is judged again further on: what policies only observe is counted there.
    pub(super) fn admit(&mut self, parts: &Parts) -> Result<(), Reason> {
        let decision = self.judge(parts)?;
        self.settle(decision.verdict.into_result())
    }

    fn judge(&self, parts: &Parts) -> Result<Decision<'t>, Reason> {
        let head = RequestHead::read(parts).map_err(Reason::BadRequest)?;
        Ok(self.policies.judge_request(self.tables, self.source, &head))
    }

    fn settle(&mut self, verdict: Result<(), PolicyRefusal>) -> Result<(), Reason> {
        verdict.map_err(|refusal| {
            self.exchange.denied(&refusal, self.tables.access());
            Reason::Denied
        })
    }
}

/// Judges a connection, or a client's datagrams, by the entry and by the backend that is chosen. Who asked for that backend was judged at
/// the entry.
pub(crate) fn admit_connection(
    worker: &Worker,
    tables: &Tables,
    entry: PolicySet<'_>,
    backend: &Cluster,
    source: RequestSource<'_>,
) -> Result<Observed, PolicyRefusal> {
    let observed = entry.admits(worker, tables, source)?;
    if is_asked(backend, source) {
        return Ok(observed);
    }
    let of_backend = PolicySet::of_backend(backend, &worker.waypoint_key);
    let source = source.routed_to(backend, &worker.settings);
    Ok(observed.or(of_backend.admits(worker, tables, source)?))
}

/// The same for a client that was judged before: nothing is counted.
pub(crate) fn still_admits(
    worker: &Worker,
    tables: &Tables,
    entry: PolicySet<'_>,
    backend: &Cluster,
    source: RequestSource<'_>,
) -> bool {
    let of_backend = PolicySet::of_backend(backend, &worker.waypoint_key);
    entry.lets_bytes_pass(tables, source)
        && (is_asked(backend, source)
            || of_backend.lets_bytes_pass(tables, source.routed_to(backend, &worker.settings)))
}

/// Whether a copy of a request, or a question about it, may go to a backend. What is refused counts.
pub(super) fn admits_copy(
    worker: &Worker,
    tables: &Tables,
    cluster: &Cluster,
    source: RequestSource<'_>,
    parts: &Parts,
) -> bool {
    let policies = PolicySet::of_backend(cluster, &worker.waypoint_key);
    if policies.is_open() || is_asked(cluster, source) {
        return true;
    }
    let Ok(head) = RequestHead::read(parts) else { return false };
    let source = source.routed_to(cluster, &worker.settings);
    settle(worker, tables, policies.judge_request(tables, source, &head)).is_ok()
}

/// Whether a backend is the port that was asked, whose policies have judged already. Another port of the same Service is another one.
pub(crate) fn is_asked(cluster: &Cluster, source: RequestSource<'_>) -> bool {
    source.asked == Some(cluster.key())
}

/// Counts what a decision refuses, or would refuse.
fn settle(worker: &Worker, tables: &Tables, decision: Decision<'_>) -> Result<Observed, PolicyRefusal> {
    let count = |refusal: &PolicyRefusal, decision| {
        if let Some(series) = tables.access().series(refusal) {
            worker.telemetry.recorder.count_policy(series, decision);
        }
    };
    let Decision { verdict, observed } = decision;
    observed.iter().for_each(|it| count(it, PolicyDecision::WouldDeny));
    verdict.into_result().inspect_err(|it| count(it, PolicyDecision::Denied))?;
    Ok(observed)
}
