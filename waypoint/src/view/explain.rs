//! `/explain`: which listener, route, rule, stages and backend a request would get; which rules it would not get, and why.
//!
//! It calls the functions that serve requests, in the order of [`crate::pipeline`]; only nothing is sent, and nothing is waited
//! for.

use super::question::{Entrance, Question};
use super::rules::{ClusterShown, RuleShown, StageShown, describe_stages, describe_target};
use crate::address::FarEnd;
use crate::pipeline::access::{self, PolicySet, RequestSource};
use crate::pipeline::guards::Guards;
use crate::pipeline::limits;
use crate::pipeline::sender::AddressLookup;
use crate::pipeline::{Origin, RouteTarget, ServiceOrigin, find_target, forwarding, head};
use crate::reason::Reason;
use crate::route::hop::Passed;
use crate::route::{self, RequestHead, RouteTable, RuleEntry, select};
use crate::settings::ProxySettings;
use crate::stage::callout::Disabled;
use crate::stage::{Kept, Mirrors, Position, RequestAttributes, StageList, StageRequest, Verdict};
use crate::table::Opening;
use crate::telemetry::describe_denial;
use crate::upstream::caller::Caller;
use crate::wire::Version;
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
use std::net::IpAddr;
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
    /// Where the client is, if that is not the far end of its connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    /// The listener, or the Service.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<RuleShown>,
    outcome: String,
    /// The limits that would count it. Nothing is counted here: the explanation goes on as if they let the request pass.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    limits: Vec<String>,
    /// The head that goes on, if that is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    sent_on: Option<String>,
    /// The policy that only observes and would refuse it.
    #[serde(skip_serializing_if = "Option::is_none")]
    observed: Option<String>,
    /// Stages that ask another service. Nobody is asked here: the explanation goes on as if they let the request pass.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    assumed: Vec<&'static str>,
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
    /// The limits of its Service that would count the request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    limits: Vec<String>,
    /// The policy of its Service that refuses the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
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
    let client = client.map(|it| it.to_canonical());
    let far = client.map(|it| far_end(serving, &origin, it));
    let lookup = AddressLookup::of(serving, &origin, false, &parts.headers);
    if let Err(reason) = head::read(&mut parts, Version::Http1, at_edge, &settings.limits, || [0; 16]) {
        return refused(explained, reason);
    }
    let address = client.and_then(|address| HeaderValue::try_from(address.to_string()).ok());
    let caller = Caller { address: client, ..Caller::default() };
    let found = match lookup.map(|it| it.find(&caller, far, &mut parts)).transpose() {
        Ok(found) => found.flatten(),
        Err(reason) => return refused(explained, reason),
    };
    let (client, address, behind) = match &found {
        Some(it) => (it.caller.address, it.forwarded_for.as_ref(), it.peer),
        None => (client, address.as_ref(), far.map(|it| it.peer).filter(|it| Some(*it) != client)),
    };
    if let (Some(client), Some(behind)) = (client, behind) {
        explained.client = Some(format!("{client}, behind {behind}"));
    }
    forwarding::tell(&mut parts.headers, &origin, scheme, address);
    let request_head = match RequestHead::read(&parts) {
        Ok(head) => head,
        Err(bad) => return refused(explained, Reason::BadRequest(bad)),
    };
    let (table, listener, port) = match find_target(serving, &origin, &request_head.host) {
        Err(reason) => return refused(explained, reason),
        Ok(RouteTarget::Endpoints { cluster, port, .. }) => {
            let entry = PolicySet::at_entry(&serving.tables, &origin, None, &settings.waypoint_key());
            let source = RequestSource { peer: peer.as_ref(), address: client, port, asked: origin.asked() };
            let decision = entry.judge_request(&serving.tables, source, &request_head);
            if let Err(refusal) = decision.verdict.into_result() {
                explained.deny(&refusal);
                return explained;
            }
            explained.target = Some(entrance.to_string());
            explained.limits = limits::describe(entry, &serving.tables);
            if limits::are_closed(&serving.tables, entry) {
                return refused(explained, Reason::UnresolvedLimit);
            }
            explained.outcome = "no route is for it: it goes to the Service's own endpoints".to_owned();
            explained.backends.push(Choice {
                backend: cluster.key().to_string(),
                percent: 100.0,
                stages: Vec::new(),
                limits: Vec::new(),
                refused: None,
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
    let chosen = match select(table, &request_head) {
        Ok(chosen) => chosen,
        Err(part) => return refused(explained, part.into()),
    };
    explained.name_the_lost(table, &request_head, chosen.as_ref());
    let entry = PolicySet::at_entry(&serving.tables, &origin, listener, &settings.waypoint_key());
    let source = RequestSource { peer: peer.as_ref(), address: client, port, asked: origin.asked() };
    let Some(rule) = chosen else {
        explained.limits = limits::describe(entry, &serving.tables);
        if limits::are_closed(&serving.tables, entry) {
            return refused(explained, Reason::UnresolvedLimit);
        }
        return match entry.judge_request(&serving.tables, source, &request_head).verdict.into_result() {
            Ok(()) => refused(explained, Reason::NoRoute),
            Err(refusal) => {
                explained.deny(&refusal);
                explained
            }
        };
    };
    let policies = PolicySet { rule: Guards::Rule(rule.rule()), ..entry };
    let decision = policies.judge_request(&serving.tables, source, &request_head);
    drop(request_head);
    explained.rule = Some(RuleShown::new(&rule));
    let refusal = decision.verdict.into_result().err();
    explained.observed = decision.observed.as_ref().map(describe_denial);

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
    // As the pipeline does: before the stages, so that none of them can take out or forge a mark.
    let passed = Passed::take(&mut parts.headers);
    explained.limits = limits::describe(policies, &serving.tables);
    let is_closed = limits::are_closed(&serving.tables, policies);
    let stages = rule.stages();
    let assumed = &mut explained.assumed;
    let mut run = |these| run(stages, these, &mut parts, &attributes, &original, assumed);
    // CORS answers a preflight before policies are asked.
    let (first, judged) = (stages.before(Position::Authentication), stages.before(Position::Authorization));
    let mut ended = run(0..first);
    if ended.is_none() && is_closed {
        return refused(explained, Reason::UnresolvedLimit);
    }
    ended = ended.or_else(|| run(first..judged));
    if let (None, Some(refusal)) = (&ended, &refusal) {
        explained.deny(refusal);
        return explained;
    }
    match ended.or_else(|| run(judged..usize::MAX)) {
        Some(ended) => explained.outcome = ended,
        None if passed.check(rule.hop()).is_err() => return refused(explained, Reason::Loop),
        None => {
            let after = describe_head(&parts, scheme);
            explained.sent_on = Some(after).filter(|after| *after != before);
            explained.name_backends(serving, &rule, now);
            explained.judge_backends(serving, settings, &rule, source, &parts);
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
    assumed: &mut Vec<&'static str>,
) -> Option<String> {
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
    match stages.run_assuming(these, &mut request, assumed) {
        Verdict::Continue => None,
        Verdict::Respond(response) => Some(format!("a stage answers {}", response.status)),
        Verdict::Fail(failure) => Some(describe_refusal(failure.into())),
        Verdict::Close => Some("a stage closes the connection".to_owned()),
    }
}

// === impl Explained ===

impl Explained {
    /// Makes a refusal by policies the outcome, and names the policy.
    fn deny(&mut self, refusal: &fairway_policy::PolicyRefusal) {
        let by = describe_denial(refusal);
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

    /// What policies of the Services that the request may be routed to say.
    fn judge_backends(
        &mut self,
        serving: &Serving,
        settings: &ProxySettings,
        rule: &RuleEntry<'_>,
        source: RequestSource<'_>,
        parts: &Parts,
    ) {
        let (tables, own) = (&serving.tables, settings.waypoint_key());
        let Ok(head) = RequestHead::read(parts) else { return };
        let targets = rule.rule().backends.iter().filter(|it| it.weight > 0).map(|it| &it.target);
        for (choice, target) in self.backends.iter_mut().zip(targets) {
            let BackendTarget::Backend(key) = target else { continue };
            let Some(cluster) = tables.cluster(key).filter(|it| !access::is_asked(it, source)) else {
                continue;
            };
            let policies = PolicySet::of_backend(cluster, &own);
            let decision = policies.judge_request(tables, source.routed_to(cluster, settings), &head);
            choice.limits = limits::describe(policies, tables);
            choice.refused = decision.verdict.into_result().err().as_ref().map(describe_denial);
        }
        if !self.backends.is_empty() && self.backends.iter().all(|it| it.refused.is_some()) {
            self.outcome = describe_refusal(Reason::Denied);
        }
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
                limits: Vec::new(),
                refused: None,
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
        self.client.iter().try_for_each(|client| writeln!(f, "client   {client}"))?;
        self.target.iter().try_for_each(|target| writeln!(f, "target   {target}"))?;
        if let Some(rule) = &self.rule {
            writeln!(f, "rule     {}\n         {}", rule.title(), rule.matched)?;
            rule.stages.iter().try_for_each(|stage| writeln!(f, "stage    {stage}"))?;
        }
        self.limits.iter().try_for_each(|limit| writeln!(f, "limit    {limit}"))?;
        self.sent_on.iter().try_for_each(|head| writeln!(f, "sent on  {head}"))?;
        self.assumed.iter().try_for_each(|stage| writeln!(f, "assumed  {stage} lets it pass"))?;
        self.observed.iter().try_for_each(|policy| writeln!(f, "observed {policy} would refuse it"))?;
        writeln!(f, "outcome  {}", self.outcome)?;
        for choice in &self.backends {
            writeln!(f, "backend  {} ({} %)", choice.backend, choice.percent)?;
            choice.refused.iter().try_for_each(|policy| writeln!(f, "         refused by {policy}"))?;
            choice.limits.iter().try_for_each(|limit| writeln!(f, "         limit {limit}"))?;
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

/// The far end of the client's connection. Where connections begin with the PROXY protocol, one of those that are believed.
fn far_end(serving: &Serving, origin: &Origin, client: IpAddr) -> FarEnd {
    let Origin::Gateway { port, .. } = origin else { return FarEnd::of_peer(client) };
    match serving.ports.listeners(*port).map(|it| it.opening()) {
        Some(Opening::Proxied(trusted)) => {
            FarEnd::of(client, trusted.cidrs().first().map(|it| it.first()).as_ref())
        }
        _ => FarEnd::of_peer(client),
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
