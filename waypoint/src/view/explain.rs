//! `/explain`: which listener, route, rule, stages and backend a request would get; which rules it would not get, and why.
//!
//! It calls the functions that serve requests, in the order of [`crate::pipeline`]; only nothing is sent, and nothing is waited
//! for.

mod listener_filters;

use super::explained::{Choice, Explained, Lost};
use super::question::{Entrance, Question};
use super::rules::{ClusterShown, RuleShown, describe_stages, describe_target};
use crate::address::FarEnd;
use crate::pipeline::access::{self, PolicySet, RequestSource};
use crate::pipeline::guards::Guards;
use crate::pipeline::sender::{AddressLookup, Located};
use crate::pipeline::{Origin, RouteTarget, ServiceOrigin, find_target, forwarding, head};
use crate::pipeline::{authentication, limits};
use crate::reason::Reason;
use crate::route::hop::Passed;
use crate::route::{self, RequestHead, RouteTable, RuleEntry, select};
use crate::settings::ProxySettings;
use crate::stage::callout::Disabled;
use crate::stage::{
    Kept, MatchedRule, Mirrors, Position, RequestAttributes, StageList, StageRequest, Verdict,
};
use crate::table::{Opening, Tables};
use crate::telemetry::describe_denial;
use crate::upstream::caller::Caller;
use crate::upstream::cluster::Cluster;
use crate::wire::Version;
use crate::worker::Serving;
use fairway_balance::Moment;
use fairway_config::model::{BackendTarget, Scheme};
use http::header::HOST;
use http::request::Parts;
use http::{HeaderValue, Uri};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use std::cell::RefCell;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use tokio::time::Instant;

/// Rules that are named beside the one that is chosen.
const MOST: usize = 50;

/// A request behind the stages of its rule.
struct HeadOnItsWay<'r> {
    parts: &'r Parts,
    attributes: &'r RequestAttributes<'r>,
    /// The target as it came.
    original: &'r Uri,
    source: RequestSource<'r>,
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
    let Located { listener: known, found } = match lookup.map(|it| it.find(&caller, far, &mut parts)) {
        None => Located::default(),
        Some(Ok(located)) => located,
        Some(Err(reason)) => return refused(explained, reason),
    };
    let (client, address, behind) = match &found {
        Some(it) => (it.caller.address, it.forwarded_for.as_ref(), it.peer),
        None => (client, address.as_ref(), far.map(|it| it.peer).filter(|it| Some(*it) != client)),
    };
    if let (Some(client), Some(behind)) = (client, behind) {
        explained.client = Some(format!("{client}, behind {behind}"));
    }
    forwarding::tell(&mut parts.headers, &origin, scheme, address);
    let before = describe_head(&parts, scheme);
    let mut request_head = match RequestHead::read(&parts) {
        Ok(head) => head,
        Err(bad) => return refused(explained, Reason::BadRequest(bad)),
    };
    let (table, listener, filters, port) = match find_target(serving, &origin, &request_head.host, known) {
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
            explained.authentications = authentication::describe(entry, &serving.tables);
            if let Some(reason) = closed_by(&serving.tables, entry) {
                return refused(explained, reason);
            }
            explained.outcome = "no route is for it: it goes to the Service's own endpoints".to_owned();
            explained.backends.push(Choice {
                backend: cluster.key().to_string(),
                percent: 100.0,
                stages: Vec::new(),
                ended: None,
                limits: Vec::new(),
                refused: None,
                cluster: Some(ClusterShown::new(cluster, now)),
            });
            return explained;
        }
        Ok(RouteTarget::Rules { table, listener, filters, port, .. }) => {
            let name = listener.map(|listener| format!("listener {}", listener.key));
            explained.target = Some(name.unwrap_or_else(|| entrance.to_string()));
            (table, listener, filters, port)
        }
    };
    let entry = PolicySet::at_entry(&serving.tables, &origin, listener, &settings.waypoint_key());
    let source = RequestSource { peer: peer.as_ref(), address: client, port, asked: origin.asked() };
    let service = match &origin {
        Origin::Service(origin) => Some(&origin.service),
        Origin::Gateway { .. } => None,
    };
    let attributes = RequestAttributes {
        client_address: client,
        peer: peer.as_ref(),
        scheme,
        port,
        service,
        rule: None,
        started: Instant::now(),
        deadline: None,
    };
    if let Some(filters) = filters {
        drop(request_head);
        let by = (entry, source);
        if !listener_filters::pass(&mut explained, serving, filters, by, &attributes, &mut parts) {
            return explained;
        }
        request_head = match RequestHead::read(&parts) {
            Ok(head) => head,
            Err(_) => return refused(explained, Reason::UnresolvedFilter),
        };
    }
    let selected =
        select(table, &request_head).map_err(Reason::from).and_then(|it| it.ok_or(Reason::NoRoute));
    explained.name_the_lost(table, &parts, selected.as_ref().ok());
    let rule = match selected {
        Ok(rule) => rule,
        // Who may not ask for anything here is not told what is wrong with the request.
        Err(reason) => {
            explained.limits = limits::describe(entry, &serving.tables);
            explained.authentications = authentication::describe(entry, &serving.tables);
            if let Some(reason) = closed_by(&serving.tables, entry) {
                return refused(explained, reason);
            }
            let decision = entry.judge_request(&serving.tables, source, &request_head);
            let Err(refusal) = decision.verdict.into_result() else { return refused(explained, reason) };
            explained.deny(&refusal);
            return explained;
        }
    };
    let policies = PolicySet { rule: Guards::Rule(rule.rule()), ..entry };
    drop(request_head);
    explained.rule = Some(RuleShown::new(&rule));
    let original = parts.uri.clone();
    let matched = MatchedRule { route: rule.route(), index: rule.index(), matched: rule.matched() };
    let attributes = RequestAttributes { rule: Some(matched), ..attributes };
    // As the pipeline does: before the stages, so that none of them can take out or forge a mark.
    let passed = Passed::take(&mut parts.headers);
    explained.limits = limits::describe(policies, &serving.tables);
    explained.authentications = authentication::describe(policies, &serving.tables);
    let closed = closed_by(&serving.tables, policies);
    let stages = rule.stages();
    let run_these = |these, explained: &mut Explained, parts: &mut Parts| {
        run(stages, these, parts, &attributes, &original, &mut explained.assumed)
    };
    // CORS answers a preflight before policies are asked.
    let (first, judged) = (stages.before(Position::Authentication), stages.before(Position::Authorization));
    if let Some(ended) = run_these(0..first, &mut explained, &mut parts) {
        explained.outcome = ended;
        return explained;
    }
    if let Some(reason) = closed {
        return refused(explained, reason);
    }
    if let Some(ended) = run_these(first..judged, &mut explained, &mut parts) {
        explained.outcome = ended;
        return explained;
    }
    let decision = match RequestHead::read(&parts) {
        Ok(head) => policies.judge_request(&serving.tables, source, &head),
        Err(bad) => return refused(explained, Reason::BadRequest(bad)),
    };
    explained.observed = decision.observed.as_ref().map(describe_denial);
    if let Err(refusal) = decision.verdict.into_result() {
        explained.deny(&refusal);
        return explained;
    }
    match run_these(judged..usize::MAX, &mut explained, &mut parts) {
        Some(ended) => explained.outcome = ended,
        None if passed.check(rule.hop()).is_err() => return refused(explained, Reason::Loop),
        None => {
            let after = describe_head(&parts, scheme);
            explained.sent_on = Some(after).filter(|after| *after != before);
            let head = HeadOnItsWay { parts: &parts, attributes: &attributes, original: &original, source };
            explained.name_backends(serving, settings, now, &rule, &head);
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

    fn name_the_lost(&mut self, table: &RouteTable, parts: &Parts, chosen: Option<&RuleEntry<'_>>) {
        // Read anew: the comparisons that have chosen may have taken what a request may take.
        let Ok(head) = RequestHead::read(parts) else { return };
        let considered = table.considered(&head);
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

    /// What becomes of the request with each backend, as the pipeline has it: first its stages, then the policies of its Service.
    fn name_backends(
        &mut self,
        serving: &Serving,
        settings: &ProxySettings,
        now: Moment,
        rule: &RuleEntry<'_>,
        head: &HeadOnItsWay<'_>,
    ) {
        let backends = &rule.rule().backends;
        let total: u64 = backends.iter().map(|backend| u64::from(backend.weight)).sum();
        for (index, backend) in backends.iter().enumerate().filter(|(_, backend)| backend.weight > 0) {
            let cluster = match &backend.target {
                BackendTarget::Backend(key) => serving.tables.cluster(key),
                BackendTarget::Unresolved(_) => None,
            };
            let stages = rule.backend(index).and_then(|chosen| chosen.stages);
            let mut parts = head.parts.clone();
            let ended = stages.and_then(|it| {
                run(it, it.all(), &mut parts, head.attributes, head.original, &mut self.assumed)
            });
            let judge = |cluster| refused_by_backend(serving, settings, cluster, head.source, &parts);
            self.backends.push(Choice {
                backend: describe_target(&backend.target),
                percent: (f64::from(backend.weight) / total as f64 * 1000.0).round() / 10.0,
                stages: stages.map(describe_stages).unwrap_or_default(),
                limits: cluster
                    .map(|it| limits_of_backend(serving, settings, it, head.source))
                    .unwrap_or_default(),
                refused: cluster.filter(|_| ended.is_none()).and_then(|it| judge(it)),
                ended,
                cluster: cluster.map(|cluster| ClusterShown::new(cluster, now)),
            });
        }
        self.outcome = match self.backends.as_slice() {
            [] => describe_refusal(Reason::NoBackend),
            all if all.iter().all(|it| it.refused.is_some()) => describe_refusal(Reason::Denied),
            [Choice { ended: Some(ended), .. }] => ended.clone(),
            [only] => format!("it goes to {}", only.backend),
            many => format!("it goes to one of {} backends, by weight", many.len()),
        };
    }
}

/// The limits of a backend's Service that would count a request that is routed there.
fn limits_of_backend(
    serving: &Serving,
    settings: &ProxySettings,
    cluster: &Cluster,
    source: RequestSource<'_>,
) -> Vec<String> {
    if access::is_asked(cluster, source) {
        return Vec::new();
    }
    limits::describe(PolicySet::of_backend(cluster, &settings.waypoint_key()), &serving.tables)
}

/// The policy of a backend's Service that refuses a request that is routed there.
fn refused_by_backend(
    serving: &Serving,
    settings: &ProxySettings,
    cluster: &Cluster,
    source: RequestSource<'_>,
    parts: &Parts,
) -> Option<String> {
    if access::is_asked(cluster, source) {
        return None;
    }
    let head = RequestHead::read(parts).ok()?;
    let policies = PolicySet::of_backend(cluster, &settings.waypoint_key());
    let decision = policies.judge_request(&serving.tables, source.routed_to(cluster, settings), &head);
    decision.verdict.into_result().err().as_ref().map(describe_denial)
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

/// Why nothing passes, if what stands on the way is not known or cannot be carried out.
fn closed_by(tables: &Tables, policies: PolicySet<'_>) -> Option<Reason> {
    if limits::are_closed(tables, policies) {
        return Some(Reason::UnresolvedLimit);
    }
    authentication::is_closed(tables, policies).then_some(Reason::UnresolvedAuthentication)
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
