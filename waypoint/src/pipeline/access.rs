//! Whether policies let a request or a connection pass: those of the listener that it came by, of the rule that takes it, and
//! of the Service that it is for. They are those that say who may, here, those that ask clients who they are ([`authentication`]), and
//! those that say how often ([`limits`]).
//!
//! A Service's policies judge what is asked of the Service and what is routed to it, at the proxy that goes straight to its
//! endpoints. Where the Service requires a waypoint that is the waypoint, so that nothing is judged twice.

#[cfg(test)]
mod tests;

use super::authentication::{self, Authenticated};
use super::execution::{Execution, Notes};
use super::guards::Guards;
use super::{Client, Origin, Reason, ServiceOrigin, limits};
use crate::route::RequestHead;
use crate::settings::ProxySettings;
use crate::stage::Position;
use crate::table::Tables;
use crate::telemetry::{BytesRefusal, Observed};
use crate::upstream::caller::Caller;
use crate::upstream::cluster::Cluster;
use crate::worker::Worker;
use fairway_config::model::{
    AuthenticationKey, AuthorizationKey, BackendKey, Listener, RateLimitKey, SpiffeId,
};
use fairway_policy::{
    Attached, Attributes, Decision, Level, Path, PolicyRefusal, Request, Verdict, evaluate,
};
use fairway_telemetry::PolicyDecision;
use http::request::Parts;
use std::net::IpAddr;

/// What judges and counts a request or a connection, in the order of the levels: Gateway, route, Service.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PolicySet<'t> {
    /// What the listener names.
    pub listener: Guards<'t>,
    /// What the route's rule names.
    pub rule: Guards<'t>,
    /// What a Service names.
    pub service: Guards<'t>,
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
pub(crate) struct PolicyCheck<'a, 't, E: Execution<'t>> {
    pub execution: &'a E,
    pub tables: &'t Tables,
    pub policies: PolicySet<'t>,
    pub source: RequestSource<'a>,
    /// Whether the listener has counted by address and asked who the client is before its filters.
    pub is_admitted_at_listener: bool,
    pub notes: &'a mut E::Notes,
}

/// What a check does between the stages of a rule.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// Counts by the address of the client, before anybody asks who that is.
    CountByAddress,
    /// Asks clients who they are.
    Authenticate,
    /// Judges whether the client may ask.
    Judge,
    /// Counts by all other limits.
    Count,
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
                rule: Guards::None,
                service: of_service(tables, origin, own),
            },
        }
    }

    /// What judges all that comes by a listener.
    pub fn of_listener(listener: Option<&'t Listener>) -> Self {
        Self { listener: listener.map(Guards::Listener).unwrap_or_default(), ..Self::default() }
    }

    /// The same for a connection that was accepted earlier: its listener's policies may have changed since.
    pub fn of_earlier_listener(tables: &'t Tables, listener: &'t Listener) -> Self {
        Self { listener: of_earlier(tables, listener), ..Self::default() }
    }

    /// What judges all that goes to a backend.
    pub fn of_backend(cluster: &'t Cluster, own: &BackendKey) -> Self {
        Self { service: Guards::of_cluster(cluster, own), ..Self::default() }
    }

    /// Whether nothing authenticates, judges or counts: everything passes.
    pub fn is_open(&self) -> bool {
        self.listener.is_empty() && self.rule.is_empty() && self.service.is_empty()
    }

    /// The names of all limits, level by level.
    pub fn limits(self) -> impl Iterator<Item = &'t RateLimitKey> {
        self.listener.limits().iter().chain(self.rule.limits()).chain(self.service.limits())
    }

    /// The names of all authentications, level by level.
    pub fn authentications(self) -> impl Iterator<Item = &'t AuthenticationKey> {
        let of_levels = self.listener.authentications().iter().chain(self.rule.authentications());
        of_levels.chain(self.service.authentications())
    }

    /// Whether a client is asked who it is.
    pub fn has_authentications(&self) -> bool {
        [self.listener, self.rule, self.service].into_iter().any(|it| !it.authentications().is_empty())
    }

    /// Whether a limit counts requests there.
    pub fn has_limits(&self) -> bool {
        [self.listener, self.rule, self.service].into_iter().any(|it| !it.limits().is_empty())
    }

    /// Whether anything says who may.
    fn judges(&self) -> bool {
        [self.listener, self.rule, self.service].into_iter().any(|it| !it.authorizations().is_empty())
    }

    /// Judges a connection of which only the bytes are known. What is refused counts.
    fn admits(
        &self,
        worker: &Worker,
        tables: &'t Tables,
        source: RequestSource<'_>,
    ) -> Result<Observed, BytesRefusal> {
        if self.is_open() {
            return Ok(None);
        }
        if let Some(key) = authentication::of_bytes(*self, tables) {
            return Err(BytesRefusal::Authentication(key.clone()));
        }
        limits::admit_bytes(worker, tables, *self, source)?;
        Ok(settle(worker, tables, self.judge(tables, &source.attributes(None)))?)
    }

    /// Whether a connection of which only the bytes are known passes. Nothing is counted.
    pub fn lets_bytes_pass(&self, tables: &'t Tables, source: RequestSource<'_>) -> bool {
        authentication::of_bytes(*self, tables).is_none()
            && limits::let_bytes_pass(tables, *self, source)
            && self.judge(tables, &source.attributes(None)).verdict.is_allowed()
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
        let attached = at(Level::Gateway, self.listener.authorizations())
            .chain(at(Level::Route, self.rule.authorizations()))
            .chain(at(Level::Service, self.service.authorizations()));
        evaluate(attached, attributes)
    }
}

/// What the listener names by which a tunnel came, as it is now; as it was then if it is no more.
fn of_tunnel<'t>(tables: &'t Tables, origin: &'t ServiceOrigin) -> Guards<'t> {
    origin.listener.as_ref().map(|it| of_earlier(tables, it)).unwrap_or_default()
}

/// What a listener names that was chosen earlier, as it is now; as it was then if it is no more.
fn of_earlier<'t>(tables: &'t Tables, then: &'t Listener) -> Guards<'t> {
    if !then.is_guarded() && !tables.guards_listeners() {
        return Guards::None;
    }
    let now = tables.sockets().flat_map(|it| it.listeners()).find(|it| it.listener.key == then.key);
    Guards::Listener(now.map_or(then, |it| &it.listener))
}

/// What the Service names that was asked.
fn of_service<'t>(tables: &'t Tables, origin: &ServiceOrigin, own: &BackendKey) -> Guards<'t> {
    if !tables.guards_backends() {
        return Guards::None;
    }
    tables.service_cluster(&origin.backend).map(|it| Guards::of_cluster(it, own)).unwrap_or_default()
}

// === impl RequestSource ===

impl<'a> RequestSource<'a> {
    /// Who has sent a request, at a port.
    pub fn of<'t>(execution: &'a impl Execution<'t>, port: u16) -> Self
    where
        't: 'a,
    {
        Self::from_origin(execution.origin(), execution.caller(), execution.identity(), port)
    }

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

    pub(super) fn attributes(self, request: Option<Request<'a>>) -> Attributes<'a> {
        Attributes { peer: self.peer, client: self.address, port: self.port, request }
    }
}

// === impl PolicyCheck ===

impl<'a, 't, E: Execution<'t>> PolicyCheck<'a, 't, E> {
    pub(crate) fn new(
        execution: &'a E,
        tables: &'t Tables,
        policies: PolicySet<'t>,
        source: RequestSource<'a>,
        notes: &'a mut E::Notes,
    ) -> Self {
        Self { execution, tables, policies, source, is_admitted_at_listener: false, notes }
    }

    /// Of a request whose listener may have filters: then [`Self::admit`] has counted it there by its address, and asked who sends it.
    pub(super) fn behind_filters(self, has_filters: bool) -> Self {
        Self { is_admitted_at_listener: has_filters, ..self }
    }

    /// All steps, where no stage stands between.
    pub(super) async fn pass(
        &mut self,
        parts: &mut Parts,
        authenticated: &mut Authenticated,
    ) -> Result<(), Reason> {
        let mut next = Step::FIRST;
        while let Some(step) = next {
            if self.takes(step) {
                self.take(step, parts, authenticated).await?;
            }
            next = step.next();
        }
        Ok(())
    }

    /// Whether there is anything to do in a step.
    pub(super) fn takes(&self, step: Step) -> bool {
        match step {
            Step::CountByAddress | Step::Count => self.policies.has_limits(),
            Step::Authenticate => self.policies.has_authentications(),
            Step::Judge => self.policies.judges(),
        }
    }

    /// Lets a request pass, or says why not.
    pub(super) async fn take(
        &mut self,
        step: Step,
        parts: &mut Parts,
        authenticated: &mut Authenticated,
    ) -> Result<(), Reason> {
        match step {
            Step::CountByAddress => limits::count(self, true, parts),
            // Boxed: only the requests that are asked have room for its state.
            Step::Authenticate => Box::pin(authentication::authenticate(self, parts, authenticated)).await,
            Step::Judge => self.judge(parts),
            Step::Count => limits::count(self, false, parts),
        }
    }

    /// The first three steps by the listener, before its filters see a request. What the rule names is not known yet, and the listener judges
    /// again what the filters make of the request: what policies only observe is counted there.
    pub(crate) async fn admit(
        &mut self,
        parts: &mut Parts,
        authenticated: &mut Authenticated,
    ) -> Result<(), Reason> {
        limits::count(self, true, parts)?;
        if self.policies.has_authentications() {
            Box::pin(authentication::admit(self, parts, authenticated)).await?;
        }
        if !self.policies.judges() {
            return Ok(());
        }
        let head = RequestHead::read(parts).map_err(Reason::BadRequest)?;
        let decision = self.policies.judge_request(self.tables, self.source, &head);
        self.settle(decision.verdict)
    }

    fn judge(&mut self, parts: &Parts) -> Result<(), Reason> {
        if !self.policies.judges() {
            return Ok(());
        }
        let head = RequestHead::read(parts).map_err(Reason::BadRequest)?;
        let Decision { verdict, observed } = self.policies.judge_request(self.tables, self.source, &head);
        if let Some(refusal) = observed {
            self.notes.observed(&refusal, self.tables.access());
        }
        self.settle(verdict)
    }

    fn settle(&mut self, verdict: Verdict<'t>) -> Result<(), Reason> {
        match verdict {
            Verdict::Allowed { by } => {
                self.notes.allowed(&self.policies, by);
                Ok(())
            }
            Verdict::Refused(refusal) => {
                self.notes.denied(&refusal, self.tables.access());
                Err(Reason::Denied)
            }
        }
    }
}

// === impl Step ===

impl Step {
    /// The one that is taken first.
    pub(super) const FIRST: Option<Self> = Some(Self::CountByAddress);

    /// The one that is taken behind it, if there is one.
    pub(super) fn next(self) -> Option<Self> {
        match self {
            Self::CountByAddress => Some(Self::Authenticate),
            Self::Authenticate => Some(Self::Judge),
            Self::Judge => Some(Self::Count),
            Self::Count => None,
        }
    }

    /// It is taken before the stages of this position.
    pub(crate) fn position(self) -> Position {
        match self {
            Self::CountByAddress => Position::Authentication,
            Self::Authenticate | Self::Judge => Position::Authorization,
            Self::Count => Position::Limit,
        }
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
) -> Result<Observed, BytesRefusal> {
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
    // A copy takes no place, but what closes a Service closes it for copies as well. Nor does a copy say who sends it: its credentials
    // were for whom it is a copy of.
    if limits::are_closed(tables, policies) || authentication::of_bytes(policies, tables).is_some() {
        return false;
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
