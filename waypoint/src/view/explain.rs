//! `/explain`: which listener, route, rule, stages and backend a request would get; which rules it would not get, and why.
//!
//! It runs the decisions of [`crate::pipeline`] themselves, once for each backend that the request could draw; nothing is sent, nothing
//! is counted, and nothing is waited for ([`Explanation`]).

use super::arrival::{arrive, far_end};
use super::end::End;
use super::explained::{Choice, Explained};
use super::explanation::Explanation;
use super::notes::{Written, describe_head};
use super::question::{Entrance, Question};
use super::rules::ClusterShown;
use crate::pipeline::Origin;
use crate::pipeline::access::{PolicySet, RequestSource};
use crate::pipeline::decide::{Decision, Stop, decide};
use crate::pipeline::sender::{Connected, Located, receive};
use crate::pipeline::stage_chain::StageChain;
use crate::reason::Reason;
use crate::route::RuleEntry;
use crate::settings::ProxySettings;
use crate::stage::Mirrors;
use crate::stage::callout::Assumed;
use crate::upstream::caller::Caller;
use crate::wire::Version;
use crate::worker::Serving;
use fairway_balance::Moment;
use fairway_config::model::{AppProtocol, ListenerProtocol};
use http::HeaderValue;
use http::request::Parts;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// What becomes of what no route takes at a waypoint.
const OWN_ENDPOINTS: &str = "no route is for it: it goes to the Service's own endpoints";
/// The word for what is not HTTP.
const BYTES: &str = "bytes";

/// A request whose head has been read.
struct Received<'r> {
    parts: &'r Parts,
    /// What is known of it.
    explained: &'r Explained,
    entrance: &'r Entrance,
    now: Moment,
}

/// Explains what would become of a request.
pub(super) fn explain(
    serving: &Serving,
    settings: &ProxySettings,
    now: Moment,
    question: Question,
) -> Explained {
    let Question { mut parts, scheme, entrance, peer, client } = question;
    let mut explained = Explained { request: describe_head(&parts, scheme), ..Explained::default() };
    let client = client.map(|it| it.to_canonical());
    let arrived = arrive(serving, settings, &entrance, (scheme, &parts), peer.as_ref(), client);
    let (origin, client) = match arrived {
        Ok(arrived) => arrived,
        Err(end) => return explained.end(end),
    };
    let far = client.map(|it| far_end(serving, &origin, it));
    let service = match &origin {
        Origin::Service(it) => Some(it.service.clone()),
        Origin::Gateway { .. } => None,
    };
    let mut caller = Caller { address: client, node: None, service };
    let connected = Connected {
        origin: &origin,
        version: Version::Http1,
        is_proxied: far.is_some_and(|it| it.proxied.is_some()),
        caller: &caller,
        limits: &settings.limits,
    };
    let received = match receive(&mut parts, serving, connected, || far, || [0; 16]) {
        Ok(received) => received,
        Err(reason) => return explained.end(End::refused(reason)),
    };
    let Located { mut listener, found } = received.located.unwrap_or_default();
    if let Some(treating) = received.treating {
        let bound = treating.find_listener(&mut listener, &parts);
        let treated = bound.and_then(|it| it.map(|it| treating.treat(it, None, &mut parts)).transpose());
        if let Err(reason) = treated {
            return explained.end(End::refused(reason));
        }
    }
    let mut forwarded_for = client.and_then(|address| HeaderValue::try_from(address.to_string()).ok());
    let mut behind = far.map(|it| it.peer).filter(|it| Some(*it) != client);
    if let Some(found) = found {
        (caller, forwarded_for, behind) = (found.caller, found.forwarded_for, found.peer);
    }
    if let (Some(client), Some(behind)) = (caller.address, behind) {
        explained.client = Some(format!("{client}, behind {behind}"));
    }
    let mut explanation = Explanation {
        origin: &origin,
        caller,
        identity: peer.as_ref(),
        forwarded_for,
        scheme,
        listener,
        settings,
        waypoint_key: settings.waypoint_key(),
        rng: Explanation::rng(),
        assumed: Assumed::default(),
        nth: 0,
    };
    if let Some(carried) = carry(serving, &explanation, now, &parts) {
        return Explained { request: explained.request, client: explained.client, ..carried };
    }
    let received = Received { parts: &parts, explained: &explained, entrance: &entrance, now };
    let (mut explained, rule) = follow(serving, &explanation, &received);
    if !explained.backends.is_empty() {
        let weights: Vec<u32> =
            rule.map(|it| it.drawable().map(|(_, it)| it.weight).collect()).unwrap_or_default();
        for nth in 1..weights.len() {
            explanation.nth = nth;
            explained.backends.extend(follow(serving, &explanation, &received).0.backends);
        }
        explained.share(&weights);
        explained.conclude();
    }
    explained.assumed = explanation.assumed.stages();
    explained.assumed.sort_unstable();
    explained.assumed.dedup();
    explained
}

/// Follows a request to one of the backends that it could draw, and says which rule takes it.
fn follow<'t>(
    serving: &'t Serving,
    explanation: &Explanation<'t>,
    received: &Received<'_>,
) -> (Explained, Option<RuleEntry<'t>>) {
    let Received { entrance, now, .. } = *received;
    let mut parts = received.parts.clone();
    let mut chain = StageChain::default();
    let mut written = Written::new(received.explained.clone(), entrance, explanation.scheme, &parts);
    let decided = {
        let deciding = pin!(decide(explanation, serving, &mut parts, &mut chain, &mut written));
        // Only a stage that asks another service waits, and here none of them does.
        match deciding.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(decided) => decided,
            Poll::Pending => Err(Stop::Closed),
        }
    };
    let Written { mut explained, rule, choice, before, refused_by, .. } = written;
    match (decided, choice) {
        (Err(stop), None) => {
            let mut end = End::of(stop);
            if let Some(policy) = &refused_by {
                end.words = format!("{} by {policy}", end.words);
            }
            explained = explained.end(end);
        }
        (Err(stop), Some(mut choice)) => {
            let end = End::of(stop);
            (choice.status, choice.reason) = (end.status, end.reason);
            choice.ended = Some(end.words).filter(|_| refused_by.is_none());
            choice.refused = refused_by;
            explained.backends.push(choice);
        }
        (Ok(decision), choice) => {
            if choice.is_none() {
                explained.outcome = OWN_ENDPOINTS.to_owned();
            }
            let backend = decision.cluster.key().to_string();
            let mut choice =
                choice.unwrap_or_else(|| Choice { backend, percent: 100.0, ..Choice::default() });
            let before = explained.sent_on.as_ref().unwrap_or(&before);
            let after = describe_head(&parts, explanation.scheme);
            choice.sent_on = Some(after).filter(|after| !choice.stages.is_empty() && after != before);
            reach(serving, explanation, now, &decision, &mut choice);
            explained.backends.push(choice);
        }
    }
    (explained, rule)
}

/// Whether an endpoint of a backend can be asked, and which ones may be.
fn reach(
    serving: &Serving,
    explanation: &Explanation<'_>,
    now: Moment,
    decision: &Decision<'_>,
    choice: &mut Choice,
) {
    let Decision { cluster, shown, .. } = decision;
    let way = serving.tables.way_to(cluster, &explanation.waypoint_key);
    let candidates = way.map(|(from, _)| from.candidates(&explanation.caller)).unwrap_or_default();
    choice.cluster = Some(ClusterShown::of_candidates(cluster, candidates, now));
    let failure = match cluster.tls(*shown) {
        Err(_) => Reason::TlsPolicy,
        Ok(_) if candidates.is_empty() => Reason::NoEndpoint,
        Ok(_) => return,
    };
    let End { words, status, reason } = End::refused(failure);
    (choice.ended, choice.status, choice.reason) = (Some(words), status, reason);
}

/// What becomes of bytes that are not looked into; none where HTTP is spoken.
fn carry(serving: &Serving, explanation: &Explanation<'_>, now: Moment, parts: &Parts) -> Option<Explained> {
    let tables = &serving.tables;
    match explanation.origin {
        Origin::Gateway { port, .. } => {
            let host = crate::route::read_host(parts).ok()?;
            let bound = serving.ports.listeners(*port)?.for_host(&host)?;
            let protocol = &bound.listener.protocol;
            if !matches!(
                protocol,
                ListenerProtocol::TlsTerminate(_) | ListenerProtocol::TlsPassthrough | ListenerProtocol::Tcp
            ) {
                return None;
            }
            let target = Some(format!("listener {}", bound.listener.key));
            let end =
                End { reason: Some(BYTES), ..End::of_words("it is carried as bytes: no HTTP route holds") };
            Some(Explained { target, ..Explained::default() }.end(end))
        }
        Origin::Service(origin) => {
            let route = origin.audience.as_ref();
            let route = route.and_then(|it| tables.service_stream(&origin.service, origin.port, it));
            let target = Some(format!("Service {}:{}", origin.service, origin.port));
            if let Some(route) = route {
                let words = format!("{} carries it as bytes: no HTTP route holds", route.route().key);
                let end = End { reason: Some(BYTES), ..End::of_words(words) };
                return Some(Explained { target, ..Explained::default() }.end(end));
            }
            let cluster = tables.service_cluster(&origin.backend)?;
            if cluster.protocol() != AppProtocol::Tcp {
                return None;
            }
            let entry = PolicySet::at_entry(tables, explanation.origin, None, &explanation.waypoint_key);
            let source = RequestSource::of(explanation, origin.port);
            if !entry.lets_bytes_pass(tables, source) {
                let words = "refused: a policy does not let the connection pass";
                let end = End { reason: Some(Reason::Denied.label()), ..End::of_words(words) };
                return Some(Explained { target, ..Explained::default() }.end(end));
            }
            let words = "it is carried as bytes to the Service's own endpoints: no HTTP route holds";
            let mut explained = Explained { target, outcome: words.to_owned(), ..Explained::default() };
            let mut choice =
                Choice { backend: cluster.key().to_string(), percent: 100.0, ..Choice::default() };
            let decision = Decision {
                cluster,
                port: origin.port,
                shown: None,
                rule: None,
                deadline: None,
                mirrors: Mirrors::new(),
            };
            reach(serving, explanation, now, &decision, &mut choice);
            explained.backends.push(choice);
            explained.conclude();
            Some(explained)
        }
    }
}

// === impl Explained ===

impl Explained {
    fn end(self, end: End) -> Self {
        let End { words, status, reason } = end;
        Self { outcome: words, status, reason, ..self }
    }

    /// What share of such requests each backend gets.
    fn share(&mut self, weights: &[u32]) {
        let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
        for (choice, weight) in self.backends.iter_mut().zip(weights) {
            choice.percent = (f64::from(*weight) / total * 1000.0).round() / 10.0;
        }
    }

    /// What becomes of the request follows from what becomes of it at each of the backends.
    fn conclude(&mut self) {
        let ends = |it: &Choice| it.refused.is_some() || it.ended.is_some();
        if let [first, others @ ..] = self.backends.as_slice()
            && ends(first)
            && others.iter().all(|it| ends(it) && (it.status, it.reason) == (first.status, first.reason))
        {
            let denied = || {
                format!(
                    "{} by {}",
                    End::refused(Reason::Denied).words,
                    first.refused.as_deref().unwrap_or_default()
                )
            };
            let words = first.ended.clone().unwrap_or_else(denied);
            (self.status, self.reason, self.outcome) = (first.status, first.reason, words);
            return;
        }
        match self.backends.as_slice() {
            _ if !self.outcome.is_empty() => {}
            [only] => self.outcome = format!("it goes to {}", only.backend),
            many => self.outcome = format!("it goes to one of {} backends, by weight", many.len()),
        }
    }
}
