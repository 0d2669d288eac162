//! The decisions of a request, in order: where it is looked up, its rule, what policies and stages say, its backend.
//!
//! This is the one path. It serves requests and explains them: [`Execution`] says what is done where a decision asks for more than a
//! decision.

use super::access::{PolicyCheck, PolicySet, RequestSource};
use super::execution::{CalloutPlace, Execution, Notes};
use super::guards::Guards;
use super::listener_filters::{self, Entrance};
use super::stage_chain::{StageChain, StageContext};
use super::target::{RouteTarget, find_target};
use super::{Origin, Reason, forwarding};
use crate::route::hop::Hops;
use crate::route::{RequestHead, RuleEntry, select};
use crate::stage::{MatchedRule, Mirrors, RequestAttributes, StageResponse};
use crate::upstream::cluster::Cluster;
use crate::worker::Serving;
use fairway_config::model::{BackendTarget, CertificateKey};
use http::request::Parts;
use tokio::time::Instant;

/// How a request ends that gets no response of an endpoint.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The proxy refuses it.
    Refused(Reason),
    /// A stage responds, so that no endpoint is asked.
    Responded(Box<StageResponse>),
    /// A stage closes the connection.
    Closed,
}

/// Where a request goes.
#[derive(Debug)]
pub(crate) struct Decision<'t> {
    /// The backend that was chosen.
    pub cluster: &'t Cluster,
    /// The port that was asked: of the listener or of the Service.
    pub port: u16,
    /// The certificate for backends that ask for one.
    pub shown: Option<&'t CertificateKey>,
    /// The rule that matched; none where no route is for the Service that was dialled.
    pub rule: Option<RuleEntry<'t>>,
    /// When the whole request must be over.
    pub deadline: Option<Instant>,
    /// Who gets a copy.
    pub mirrors: Mirrors<'t>,
}

/// Finds the rule, runs the stages and chooses the backend. The stages that have seen the request are in `chain`, also
/// when it is refused. Waits for asynchronous stages and for nothing else.
pub(crate) async fn decide<'t, E: Execution<'t>>(
    execution: &E,
    serving: &'t Serving,
    parts: &mut Parts,
    chain: &mut StageChain<'t>,
    notes: &mut E::Notes,
) -> Result<Decision<'t>, Stop> {
    let (origin, caller) = (execution.origin(), execution.caller());
    forwarding::tell(&mut parts.headers, origin, execution.scheme(), execution.forwarded_for());
    let mut head = RequestHead::read(parts).map_err(Reason::BadRequest)?;
    let (tables, own) = (&serving.tables, execution.waypoint_key());
    let entry = |listener| PolicySet::at_entry(tables, origin, listener, own);
    if let Origin::Service(origin) = origin {
        notes.asked(&origin.backend);
    }
    let target = find_target(serving, origin, &head.host, execution.listener())?;
    notes.found(&target);
    let (table, listener, port, shown, has_filters) = match target {
        RouteTarget::Rules { table, listener, filters, port, shown } => {
            if let Some(filters) = filters {
                drop(head);
                let policies = entry(listener);
                let entrance = Entrance { serving, port, shown, policies };
                // Boxed: only the requests that meet filters have room for their state.
                Box::pin(listener_filters::pass(filters, entrance, execution, parts, chain, notes)).await?;
                // A target that cannot be read any more is their fault, and not the client's.
                head = RequestHead::read(parts).map_err(|_| Reason::UnresolvedFilter)?;
            }
            (table, listener, port, shown, filters.is_some())
        }
        RouteTarget::Endpoints { cluster, port, shown, is_departed } => {
            let (policies, source) = (entry(None), RequestSource::of(execution, port));
            if !policies.is_open() {
                PolicyCheck::new(execution, tables, policies, source, notes)
                    .pass(parts, &mut chain.authenticated)
                    .await?;
            }
            if is_departed {
                // Nobody is sent here for it any more: this client shall find the other way.
                execution.let_go();
            }
            if let Some(series) = cluster.series() {
                notes.counts_in(series);
            }
            let mirrors = Mirrors::new();
            return Ok(Decision { cluster, port, shown, rule: None, deadline: None, mirrors });
        }
    };
    // The one place where a route is matched: nothing that a stage of a rule changes leads to another.
    let selected = select(table, &head).map_err(Reason::from).and_then(|it| it.ok_or(Reason::NoRoute));
    notes.compared(table, parts, selected.as_ref().ok());
    let rule = match selected {
        Ok(rule) => rule,
        Err(reason) => {
            drop(head);
            // Who may not ask for anything here is not told which paths there are, nor what was wrong with the request.
            let (policies, source) = (entry(listener), RequestSource::of(execution, port));
            if !policies.is_open() {
                PolicyCheck::new(execution, tables, policies, source, notes)
                    .behind_filters(has_filters)
                    .pass(parts, &mut chain.authenticated)
                    .await?;
            }
            return Err(reason.into());
        }
    };
    drop(head);
    let started = notes.started();
    let deadline = execution.deadline(started, rule.rule().timeouts.request);

    // Taken before the stages, so that none of them can take out or forge a mark.
    let passed = Hops::take(&mut parts.headers);
    let (stages, rng) = (rule.stages(), execution.rng());
    let policies = PolicySet { rule: Guards::Rule(rule.rule()), ..entry(listener) };
    let attributes = RequestAttributes {
        client_address: caller.address,
        peer: execution.identity(),
        scheme: execution.scheme(),
        port,
        service: caller.service.as_ref(),
        rule: Some(MatchedRule { route: rule.route(), index: rule.index(), matched: rule.matched() }),
        started,
        deadline,
    };
    // Where there are no stages nobody looks at the target as it came.
    let original = if stages.is_empty() { None } else { Some(parts.uri.clone()) };
    let place = CalloutPlace { serving, port, shown, passed: &passed, hop: rule.hop() };
    let callouts = execution.callouts(place);
    let context = StageContext { attributes: &attributes, rng, callout: &callouts };
    if original.is_some() && stages.may_wait() {
        // The client may leave meanwhile.
        notes.counts_in(rule.series());
    }
    let check = if policies.is_open() {
        None
    } else {
        let source = RequestSource::of(execution, port);
        let check = PolicyCheck::new(execution, tables, policies, source, notes);
        Some(check.behind_filters(has_filters))
    };
    let passing = match (&original, check) {
        (Some(original), check) => chain.pass(stages, parts, original, &context, check).await,
        (None, Some(mut check)) => check.pass(parts, &mut chain.authenticated).await.map_err(Stop::from),
        (None, None) => Ok(()),
    };
    let chosen = passing.and_then(|()| {
        passed.check(rule.hop()).map_err(|_| Reason::Loop)?;
        Ok(execution.choose(&rule).ok_or(Reason::NoBackend)?)
    });
    // Without a backend the request counts as the rule's own. A series that is not needed is not used: there is a limit.
    let backend = chosen.inspect_err(|_| notes.counts_in(rule.series()))?;
    notes.chosen(&backend, parts);
    if let Some(stages) = backend.stages {
        let original = original.unwrap_or_else(|| parts.uri.clone());
        chain.pass::<E>(stages, parts, &original, &context, None).await?;
    }
    let BackendTarget::Backend(key) = backend.target else {
        return Err(Stop::Refused(Reason::UnresolvedBackend));
    };
    let cluster = serving.tables.cluster(key).ok_or(Reason::UnresolvedBackend)?;
    // What is routed to another backend than the one that was asked is judged by that one's policies as well.
    let policies = PolicySet::of_backend(cluster, own);
    if !policies.is_open() && origin.asked() != Some(cluster.key()) {
        let source = RequestSource::of(execution, port).routed_to(cluster, execution.settings());
        PolicyCheck::new(execution, tables, policies, source, notes)
            .pass(parts, &mut chain.authenticated)
            .await?;
    }
    drop(callouts);
    passed.put(&mut parts.headers, rule.hop());
    let mirrors = std::mem::take(&mut chain.mirrors);
    Ok(Decision { cluster, port, shown, rule: Some(rule), deadline: attributes.deadline, mirrors })
}

impl From<Reason> for Stop {
    fn from(reason: Reason) -> Self {
        Self::Refused(reason)
    }
}
