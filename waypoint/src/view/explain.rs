//! `/explain`: which listener, route, rule, stages and backend a request would get; which rules it would not get, and why.
//!
//! It calls the functions that serve requests, in the order of [`crate::pipeline`]; only nothing is sent, and nothing is waited
//! for.

use super::question::{Entrance, Question};
use super::rules::{ClusterShown, RuleShown, StageShown, describe_stages, describe_target};
use crate::listen::detect::Version;
use crate::pipeline::access::{self, Asking, Checkpoint};
use crate::pipeline::limits::{self, Meter};
use crate::pipeline::{Origin, Reason, RouteTarget, ServiceOrigin, find_target, forwarding, head};
use crate::route::{self, RequestHead, RouteTable, RuleEntry, select};
use crate::settings::ProxySettings;
use crate::stage::callout::Disabled;
use crate::stage::{Kept, Mirrors, Position, RequestAttributes, StageList, StageRequest, Verdict};
use crate::worker::Serving;
use fairway_balance::Moment;
use fairway_config::model::{BackendTarget, Scheme};
use http::header::HOST;
use http::request::Parts;
use http::{HeaderValue, Uri};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde::Serialize;
use std::cell::RefCell;
use std::fmt::{self, Display};
use std::ops::Range;
use std::sync::Arc;
use tokio::time::Instant;

/// Rules that are named beside the one that is chosen.
const MOST: usize = 50;

/// What would become of a request.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Explained {
    request: String,
    /// The listener, or the Service.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<RuleShown>,
    /// The limits that count it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    limits: Vec<String>,
    outcome: String,
    /// The head that goes on, if that is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    sent_on: Option<String>,
    /// The backends that it may go to.
    backends: Vec<Choice>,
    /// Rules whose host and path it fits, and why they do not get it.
    lost: Vec<Lost>,
    /// Rules whose host or path it does not fit, and those beyond the first in `lost`.
    others: usize,
}

/// A backend that a request may go to.
#[derive(Debug, Serialize)]
struct Choice {
    backend: String,
    /// The share of such requests that it gets.
    percent: f64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stages: Vec<StageShown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<ClusterShown>,
}

/// A rule that does not get the request.
#[derive(Debug, Serialize)]
struct Lost {
    rule: String,
    #[serde(rename = "match")]
    matched: String,
    why: String,
}

/// Explains what would become of a request.
pub(super) fn explain(
    serving: &Serving,
    settings: &ProxySettings,
    now: Moment,
    question: Question,
) -> Explained {
    let Question { mut parts, scheme, entrance, peer, client, .. } = question;
    let mut explained = Explained { request: describe_head(&parts, scheme), ..Explained::default() };
    let refused = |mut explained: Explained, reason: Reason| {
        explained.outcome = describe_refusal(reason);
        explained
    };
    let Some(origin) = origin_of(serving, &entrance, scheme, &parts) else {
        explained.outcome = "refused: no listener has this port".to_owned();
        return explained;
    };
    let at_edge = matches!(origin, Origin::Gateway { .. });
    if let Err(reason) = head::read(&mut parts, Version::Http1, at_edge, &settings.limits, || [0; 16]) {
        return refused(explained, reason);
    }
    let address = client.and_then(|address| HeaderValue::try_from(address.to_string()).ok());
    forwarding::tell(&mut parts.headers, &origin, scheme, address.as_ref());
    let request_head = match RequestHead::read(&parts) {
        Ok(head) => head,
        Err(bad) => return refused(explained, Reason::BadRequest(bad)),
    };
    let (table, listener, port) = match find_target(serving, &origin, &request_head.host) {
        Err(reason) => return refused(explained, reason),
        Ok(RouteTarget::Endpoints { cluster, port, .. }) => {
            let door = Checkpoint::at_the_door(&serving.tables, &origin, None, &settings.waypoint_key());
            let asking = Asking { peer: peer.as_ref(), address: client, port };
            let decision = door.judge_request(&serving.tables, asking, &request_head);
            if let Err(refusal) = decision.verdict.into_result() {
                explained.deny(&refusal);
                return explained;
            }
            let meter = Meter::at_the_door(&serving.tables, &origin, None, &settings.waypoint_key());
            explained.limits = limits::describe(meter, &serving.tables);
            if meter.is_closed(&serving.tables) {
                return refused(explained, Reason::UnresolvedLimit);
            }
            explained.target = Some(entrance.to_string());
            explained.outcome = "no route is for it: it goes to the Service's own endpoints".to_owned();
            explained.backends.push(Choice {
                backend: cluster.key().to_string(),
                percent: 100.0,
                stages: Vec::new(),
                cluster: Some(ClusterShown::new(cluster, now)),
            });
            return explained;
        }
        Ok(RouteTarget::Rules { table, listener, port, .. }) => {
            let name = listener.map(|listener| format!("listener {}", listener.key));
            explained.target = Some(name.unwrap_or_else(|| entrance.to_string()));
            (table, listener, port)
        }
    };
    let chosen = select(table, &request_head);
    explained.name_the_lost(table, &request_head, chosen.as_ref());
    let Some(rule) = chosen else { return refused(explained, Reason::NoRoute) };
    let door = Checkpoint::at_the_door(&serving.tables, &origin, listener, &settings.waypoint_key());
    let checkpoint = Checkpoint { rule: &rule.rule().authorizations, ..door };
    let asking = Asking { peer: peer.as_ref(), address: client, port };
    let decision = checkpoint.judge_request(&serving.tables, asking, &request_head);
    drop(request_head);
    explained.rule = Some(RuleShown::new(&rule));
    let refusal = decision.verdict.into_result().err();
    let meter = Meter::at_the_door(&serving.tables, &origin, listener, &settings.waypoint_key());
    let meter = Meter { rule: &rule.rule().limits, ..meter };
    explained.limits = limits::describe(meter, &serving.tables);

    let service = match &origin {
        Origin::Service(origin) => Some(&origin.service),
        Origin::Gateway { .. } => None,
    };
    let original = parts.uri.clone();
    let attributes = RequestAttributes {
        client_address: client,
        peer: peer.as_ref(),
        scheme,
        port,
        service,
        route: rule.route(),
        rule: rule.index(),
        matched: rule.matched(),
        started: Instant::now(),
        deadline: None,
    };
    let before = describe_head(&parts, scheme);
    let stages = rule.stages();
    // CORS answers a preflight before policies are asked.
    let first = match stages.may_wait() {
        true => None,
        false => run(stages, 0..stages.before(Position::Authorization), &mut parts, &attributes, &original),
    };
    if let (None, Some(refusal)) = (&first, &refusal) {
        explained.deny(refusal);
        return explained;
    }
    if first.is_none() && meter.is_closed(&serving.tables) {
        return refused(explained, Reason::UnresolvedLimit);
    }
    match first.or_else(|| {
        run(stages, stages.before(Position::Authorization)..usize::MAX, &mut parts, &attributes, &original)
    }) {
        Some(ended) => explained.outcome = ended,
        None => {
            let after = describe_head(&parts, scheme);
            explained.sent_on = Some(after).filter(|after| *after != before);
            explained.name_backends(serving, &rule, now);
        }
    }
    explained
}

/// Runs the stages; how they end the request, if they do.
fn run(
    stages: &StageList,
    these: Range<usize>,
    parts: &mut Parts,
    attributes: &RequestAttributes<'_>,
    original: &Uri,
) -> Option<String> {
    if stages.may_wait() {
        return Some("a stage of the rule asks another service, which is not done here".to_owned());
    }
    let (rng, mut mirrors, mut kept) =
        (RefCell::new(SmallRng::seed_from_u64(0)), Mirrors::new(), Kept::default());
    let mut request = StageRequest {
        parts,
        attributes,
        original,
        rng: &rng,
        callout: &Disabled,
        mirrors: &mut mirrors,
        kept: &mut kept,
    };
    match stages.run(these, &mut request) {
        Verdict::Continue => None,
        Verdict::Respond(response) => Some(format!("a stage answers {}", response.status)),
        Verdict::Fail(failure) => Some(describe_refusal(failure.into())),
        Verdict::Close => Some("a stage closes the connection".to_owned()),
    }
}

// === impl Explained ===

impl Explained {
    /// Policies refuse it.
    fn deny(&mut self, refusal: &fairway_policy::Refusal) {
        let by = access::in_words(refusal);
        self.outcome = format!("{} by {by}", describe_refusal(Reason::Denied));
    }

    fn name_the_lost(&mut self, table: &RouteTable, head: &RequestHead<'_>, chosen: Option<&RuleEntry<'_>>) {
        let considered = table.considered(head);
        let all: usize = table.by_host().iter().map(|(_, entries)| entries.len()).sum();
        let is_chosen = |entry: &RuleEntry<'_>| {
            chosen.is_some_and(|chosen| std::ptr::eq(chosen.matched(), entry.matched()))
        };
        let mut is_behind = false;
        for (entry, mismatch) in &considered {
            if is_chosen(entry) {
                is_behind = true;
                continue;
            }
            let why = match mismatch {
                Some(mismatch) => mismatch.to_string(),
                None if is_behind => "it fits, but goes behind the one that is chosen".to_owned(),
                None => "the preflight is answered by the rule of the request that it announces".to_owned(),
            };
            if self.lost.len() < MOST {
                let rule = RuleShown::new(entry).title();
                self.lost.push(Lost { rule, matched: route::describe(entry.matched()), why });
            }
        }
        self.others = all.saturating_sub(self.lost.len() + usize::from(is_behind));
    }

    fn name_backends(&mut self, serving: &Serving, rule: &RuleEntry<'_>, now: Moment) {
        let backends = &rule.rule().backends;
        let total: u64 = backends.iter().map(|backend| u64::from(backend.weight)).sum();
        for (index, backend) in backends.iter().enumerate().filter(|(_, backend)| backend.weight > 0) {
            let cluster = match &backend.target {
                BackendTarget::Backend(key) => serving.tables.cluster(key),
                BackendTarget::Unresolved(_) => None,
            };
            let stages = rule.backend(index).and_then(|chosen| chosen.stages);
            self.backends.push(Choice {
                backend: describe_target(&backend.target),
                percent: (f64::from(backend.weight) / total as f64 * 1000.0).round() / 10.0,
                stages: stages.map(describe_stages).unwrap_or_default(),
                cluster: cluster.map(|cluster| ClusterShown::new(cluster, now)),
            });
        }
        self.outcome = match self.backends.as_slice() {
            [] => describe_refusal(Reason::NoBackend),
            [only] => format!("it goes to {}", only.backend),
            many => format!("it goes to one of {} backends, by weight", many.len()),
        };
    }
}

impl Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "request  {}", self.request)?;
        self.target.iter().try_for_each(|target| writeln!(f, "target   {target}"))?;
        if let Some(rule) = &self.rule {
            writeln!(f, "rule     {}\n         {}", rule.title(), rule.matched)?;
            rule.stages.iter().try_for_each(|stage| writeln!(f, "stage    {stage}"))?;
        }
        self.limits.iter().try_for_each(|limit| writeln!(f, "limit    {limit}"))?;
        self.sent_on.iter().try_for_each(|head| writeln!(f, "sent on  {head}"))?;
        writeln!(f, "outcome  {}", self.outcome)?;
        for choice in &self.backends {
            writeln!(f, "backend  {} ({} %)", choice.backend, choice.percent)?;
            choice.stages.iter().try_for_each(|stage| writeln!(f, "         stage {stage}"))?;
            match &choice.cluster {
                Some(cluster) if cluster.endpoints.is_empty() => writeln!(f, "         no endpoint: 503")?,
                Some(cluster) => cluster.endpoints.iter().try_for_each(|it| writeln!(f, "         {it}"))?,
                None => writeln!(f, "         not known here: 500")?,
            }
        }
        for lost in &self.lost {
            writeln!(f, "lost     {}\n         {}\n         because {}", lost.rule, lost.matched, lost.why)?;
        }
        if self.others > 0 {
            writeln!(f, "         {} more, whose host or path is another", self.others)?;
        }
        Ok(())
    }
}

/// How the request would have come; none if no listener has the port.
fn origin_of(serving: &Serving, entrance: &Entrance, scheme: Scheme, parts: &Parts) -> Option<Origin> {
    match entrance {
        Entrance::Port(port) => {
            let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
            let name = crate::host::normalise_host(host).ok().map(|name| Arc::from(&*name));
            let sni = (scheme == Scheme::Https).then_some(name);
            Some(Origin::Gateway { port: serving.ports.on(*port)?, sni })
        }
        Entrance::Service(service, port, audience) => Some(Origin::Service(ServiceOrigin {
            service: service.clone(),
            port: *port,
            backend: format!("{service}:{port}").into(),
            audience: Some(audience.clone()),
            listener: None,
            hides_client: false,
        })),
    }
}

fn describe_refusal(reason: Reason) -> String {
    format!("refused with {}: {} ({})", reason.status(), reason.sentence().trim_end(), reason.label())
}

fn describe_head(parts: &Parts, scheme: Scheme) -> String {
    let scheme = match scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
    };
    let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    format!("{} {scheme}://{host}{}", parts.method, parts.uri)
}
