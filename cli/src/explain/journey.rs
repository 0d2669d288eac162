//! The way of one request: tunnel, proxies, the tunnels of the endpoints. Each step is a decision of the program that takes it.

use super::destination::{self, Destination};
use super::report::{Client, Endpoint, Passed, Report, Target, Tunnel, Verdict, Word};
use super::scene::Scene;
use super::{Asked, Asker};
use anyhow::Context as _;
use fairway_config::model::{
    AuthorizationKey, CaptureExemption, Mesh, MutualTls, Scheme, SpiffeId, Workload,
};
use fairway_controller::compile::{Proxy, ProxyClass};
use fairway_waypoint::view::{Choice, Entrance, Explained, Question};
use fairway_ztunnel::decide::{
    self, CandidateSet, Inbound, InboundRefusal, Incoming, Outbound, Path, inbound, outbound,
};
use http::Request;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Proxies that a request passes at most: a Gateway, and the waypoints behind it.
const MOST: usize = 4;

/// What a connection goes on as.
#[derive(Clone, Debug)]
struct Connecting {
    /// Who connects, as far as that is proved.
    identity: Option<SpiffeId>,
    /// Where it connects from.
    address: IpAddr,
}

/// A request on its way.
struct Journey<'s, 'c> {
    scene: &'s Scene<'c>,
    asked: &'s Asked,
    client: IpAddr,
    report: Report,
}

/// Follows a request from its client to its endpoints.
pub(super) fn explain(scene: &Scene<'_>, asked: &Asked) -> anyhow::Result<Report> {
    let pod = match &asked.from {
        Asker::Pod(key) => Some(scene.pod(key).with_context(|| unknown_pod(scene, key.as_str()))?),
        Asker::Address(_) => None,
    };
    let client = match (&asked.from, pod) {
        (Asker::Address(address), _) => *address,
        (Asker::Pod(key), pod) => *pod
            .and_then(|it| it.addresses.first())
            .with_context(|| format!("Pod {key} has no address yet"))?,
    };
    let destination = destination::find(scene, asked)?;
    let report = Report {
        from: describe_client(client, pod.map(|it| &**it)),
        to: Target {
            request: format!("{} {}", asked.method, asked.to),
            names: describe_destination(&destination),
        },
        tunnel: None,
        proxies: Vec::new(),
        endpoints: Vec::new(),
        errors: Vec::new(),
        verdict: Verdict::new(Word::Allowed, ""),
    };
    let mut journey = Journey { scene, asked, client, report };
    journey.go(pod, &destination)?;
    journey.conclude();
    Ok(journey.report)
}

fn unknown_pod(scene: &Scene<'_>, key: &str) -> String {
    let namespace = key.split_once('/').map_or("", |(namespace, _)| namespace);
    match scene.pods_in(namespace).as_slice() {
        [] => format!("there is no Pod {key}, nor any other in namespace {namespace}"),
        pods => format!("there is no Pod {key}; namespace {namespace} has {}", pods.join(", ")),
    }
}

fn describe_client(address: IpAddr, pod: Option<&Workload>) -> Client {
    let Some(pod) = pod else {
        let mesh = "outside the mesh".to_owned();
        return Client { name: address.to_string(), identity: None, captured: false, mesh };
    };
    let captured = pod.mesh != Mesh::Outside;
    let namespace = pod.key.as_str().split_once('/').map_or("", |(namespace, _)| namespace);
    let mesh = match (pod.mesh, pod.aside) {
        (Mesh::Captured(MutualTls::Strict), _) => "captured, takes mTLS only".to_owned(),
        (Mesh::Captured(MutualTls::Permissive), _) => "captured, takes plaintext beside mTLS".to_owned(),
        (Mesh::Outside, Some(CaptureExemption::HostNetwork)) => {
            "not captured: it has the node's network".to_owned()
        }
        (Mesh::Outside, Some(CaptureExemption::OptedOut)) => {
            "not captured: its label fairway.dev/mesh takes it out".to_owned()
        }
        (Mesh::Outside, Some(CaptureExemption::Proxy)) => "not captured: it is a proxy of ours".to_owned(),
        (Mesh::Outside, None) => {
            format!("not captured: namespace {namespace} has no label fairway.dev/mesh=enabled")
        }
    };
    let identity = captured.then(|| pod.identity.to_string());
    Client { name: format!("Pod {} ({address})", pod.key), identity, captured, mesh }
}

fn describe_destination(destination: &Destination<'_>) -> String {
    match destination {
        Destination::Service(service, dialled) => format!("Service {service}, dialled at {dialled}"),
        Destination::Headless(service) => format!("Service {service}, which has no address of its own"),
        Destination::Gateway(gateway, port) => format!("Gateway {}, port {port}", gateway.name),
        Destination::Address(address) => format!("{address}, which is no Service's"),
        Destination::Unknown => "no Service has this name, and no listener this hostname and port".to_owned(),
    }
}

// === impl Journey ===

impl Journey<'_, '_> {
    fn go(&mut self, pod: Option<&Arc<Workload>>, destination: &Destination<'_>) -> anyhow::Result<()> {
        let own = Connecting { identity: None, address: self.client };
        match (destination, pod) {
            (Destination::Gateway(gateway, port), pod) => {
                if pod.is_some_and(|it| it.mesh != Mesh::Outside) {
                    let does = "the Gateway's address is no Service's here: the connection goes on as it is";
                    self.report.tunnel = Some(Tunnel { does: does.to_owned(), refused: None });
                }
                self.pass(gateway, Entrance::Port(*port), own)
            }
            (Destination::Unknown, _) => {
                self.fail("nothing here has this name: what DNS says of it decides, outside the mesh");
                Ok(())
            }
            (Destination::Headless(service), _) => {
                self.fail(format!(
                    "Service {service} has no address: its clients dial pods; give the address of one in --to"
                ));
                Ok(())
            }
            (Destination::Service(_, dialled) | Destination::Address(dialled), Some(pod)) => match pod.mesh {
                Mesh::Outside => self.dial_without_tunnel(*dialled, own),
                Mesh::Captured(_) => self.dial(pod, *dialled),
            },
            (Destination::Service(..) | Destination::Address(_), None) => {
                self.fail("a client outside the mesh reaches Services by a Gateway");
                Ok(())
            }
        }
    }

    /// As the tunnel on the pod's node does.
    fn dial(&mut self, pod: &Arc<Workload>, dialled: SocketAddr) -> anyhow::Result<()> {
        let index = self.scene.tunnel_of(pod);
        let decided = outbound(&index, pod, dialled);
        let (does, refused) = match &decided {
            Outbound::Forward { path: Path::Waypoint(waypoint), .. } => {
                (format!("to {waypoint} over mTLS, for {dialled}"), None)
            }
            Outbound::Forward { path: Path::Endpoint(service), .. } => {
                (format!("to an endpoint of Service {service}, which needs no waypoint"), None)
            }
            Outbound::Forward { path: Path::Pod, .. } => ("to the pod that was dialled".to_owned(), None),
            Outbound::Passthrough => {
                ("the address is not in the mesh: the connection goes on as it is".to_owned(), None)
            }
            Outbound::Refuse(refusal) => {
                (format!("refuses the connection: {refusal}"), Some(refusal.reason()))
            }
        };
        self.report.tunnel = Some(Tunnel { does, refused });
        let connecting = Connecting { identity: Some(pod.identity.clone()), address: self.client };
        match decided {
            Outbound::Forward { path: Path::Waypoint(waypoint), .. } => {
                let proxy = self.scene.waypoint(&waypoint);
                let proxy = proxy.with_context(|| format!("no proxy runs for {waypoint}"))?;
                self.pass(proxy, Entrance::Tunnel { dialled, routed_for: None }, connecting)
            }
            Outbound::Forward { candidates, .. } => self.reach_candidates(&candidates, &connecting),
            Outbound::Passthrough => {
                let plain = Connecting { identity: None, ..connecting };
                self.reach(dialled, None, &plain)
            }
            Outbound::Refuse(_) => Ok(()),
        }
    }

    /// As the node's own network does for a pod that is not captured: to an endpoint, in plaintext.
    fn dial_without_tunnel(&mut self, dialled: SocketAddr, own: Connecting) -> anyhow::Result<()> {
        let index = self.scene.everywhere();
        let Some(service) = index.service_at(dialled.ip()) else { return self.reach(dialled, None, &own) };
        let Some(backend) = index.backend_at(dialled) else {
            self.fail(format!("Service {} has no port {}", service.key, dialled.port()));
            return Ok(());
        };
        match index.candidates(backend, None) {
            Some(candidates) => {
                for it in candidates.endpoints() {
                    self.reach(it.address, None, &own)?;
                }
                Ok(())
            }
            None => {
                self.fail(format!("{backend} has no endpoint"));
                Ok(())
            }
        }
    }

    fn reach_candidates(&mut self, candidates: &CandidateSet, connecting: &Connecting) -> anyhow::Result<()> {
        for it in candidates.endpoints() {
            self.reach(it.address, it.identity.as_ref(), connecting)?;
        }
        Ok(())
    }

    /// As a Gateway or a waypoint does.
    fn pass(&mut self, proxy: &Proxy, entrance: Entrance, from: Connecting) -> anyhow::Result<()> {
        if self.report.proxies.len() >= MOST {
            self.fail("the request comes through more proxies than it may");
            return Ok(());
        }
        let question = self.question(entrance, &from)?;
        let explained = self.scene.view(proxy)?.answer(question);
        let kind = match proxy.class {
            ProxyClass::Gateway => "Gateway",
            ProxyClass::Waypoint => "waypoint",
        };
        let (name, identity) = (proxy.name.to_string(), proxy.identity.to_string());
        let backends = explained.backends.clone();
        self.report.proxies.push(Passed { kind, name, identity, explained });
        let address = self.address_of(proxy);
        for it in backends.iter().filter(|it| it.ended.is_none() && it.refused.is_none()) {
            self.follow(it, &Connecting { identity: Some(proxy.identity.clone()), address })?;
        }
        Ok(())
    }

    /// Where a proxy connects from: one of its pods, or the client's own address where none is known.
    fn address_of(&self, proxy: &Proxy) -> IpAddr {
        let mut pods = self.scene.everywhere().snapshot().workloads.values();
        let pod = pods.find(|it| it.identity == proxy.identity);
        pod.and_then(|it| it.addresses.first()).copied().unwrap_or(self.client)
    }

    /// To the endpoints of a backend, or through the waypoint that is before them.
    fn follow(&mut self, choice: &Choice, from: &Connecting) -> anyhow::Result<()> {
        let Some(cluster) = &choice.cluster else { return Ok(()) };
        let through =
            cluster.via.as_ref().and_then(|(key, dialled)| Some((self.scene.waypoint(key)?, *dialled)));
        if let Some((waypoint, dialled)) = through
            && Some(&waypoint.identity) != from.identity.as_ref()
        {
            let entrance = Entrance::Tunnel { dialled, routed_for: Some(self.client) };
            return self.pass(waypoint, entrance, from.clone());
        }
        for it in &cluster.endpoints {
            let identity = it.identity.as_deref().and_then(|it| it.parse().ok());
            self.reach(it.address, identity.as_ref(), from)?;
        }
        Ok(())
    }

    /// As the tunnel on the endpoint's node does, or a Gateway that runs there.
    fn reach(
        &mut self,
        address: SocketAddr,
        identity: Option<&SpiffeId>,
        from: &Connecting,
    ) -> anyhow::Result<()> {
        let Some(pod) = self.scene.pod_at(address.ip()).cloned() else {
            let by = if identity.is_some() { "over mTLS" } else { "in plaintext" };
            self.arrive(address, None, by, ("it is no pod that is known here".to_owned(), None), vec![]);
            return Ok(());
        };
        if let Some(gateway) = self.scene.proxy_of(&pod.identity)
            && gateway.class == ProxyClass::Gateway
        {
            let plain = Connecting { identity: None, address: from.address };
            return self.pass(gateway, Entrance::Port(address.port()), plain);
        }
        let name = Some(format!("Pod {}", pod.key));
        if pod.mesh == Mesh::Outside {
            let says = ("no tunnel is asked: it is not captured".to_owned(), None);
            self.arrive(address, name, "in plaintext", says, vec![]);
            return Ok(());
        }
        let index = self.scene.tunnel_of(&pod);
        let (client, by) = match from.identity.as_ref().filter(|_| identity.is_some()) {
            Some(peer) => (decide::Client::Peer(peer), format!("over mTLS from {peer}")),
            None => (decide::Client::Plaintext, "in plaintext".to_owned()),
        };
        let incoming = Incoming { client, address: from.address, destination: address };
        let says = match inbound(&index, &pod, &pod.addresses, incoming) {
            Inbound::Admit { observed: None } => ("its tunnel lets it in".to_owned(), None),
            Inbound::Admit { observed: Some(refusal) } => {
                (format!("its tunnel lets it in; what is only observed would not: {refusal}"), None)
            }
            Inbound::AdmitProbe => ("its tunnel lets probes in and nothing else".to_owned(), Some("strict")),
            Inbound::Refuse(refusal) => (describe_refusal(&refusal), Some(refusal.reason())),
        };
        let named = index.authorizations(&pod).map(|(name, known)| {
            let policy = AuthorizationKey::policy_of(name);
            match (known, policy.strip_prefix("waypoint-required/")) {
                (None, _) => format!("{policy}: not known there, so nothing passes"),
                (Some(_), Some(service)) => format!("Service {service} requires its waypoint"),
                (Some(_), None) => format!("AccessPolicy {policy}"),
            }
        });
        let policies = named.collect();
        self.arrive(address, name, &by, says, policies);
        Ok(())
    }

    fn arrive(
        &mut self,
        address: SocketAddr,
        pod: Option<String>,
        by: &str,
        (says, refused): (String, Option<&'static str>),
        policies: Vec<String>,
    ) {
        let by = by.to_owned();
        self.report.endpoints.push(Endpoint { address, pod, by, says, refused, policies });
    }

    fn question(&self, entrance: Entrance, from: &Connecting) -> anyhow::Result<Question> {
        let Asked { to, method, headers, .. } = self.asked;
        let scheme = if to.scheme_str() == Some("https") { Scheme::Https } else { Scheme::Http };
        let target = to.path_and_query().map_or("/", |it| it.as_str());
        let host = to.authority().map(|it| it.as_str()).unwrap_or_default();
        let mut request = Request::builder().method(method.clone()).uri(target);
        if !headers.iter().any(|(name, _)| *name == http::header::HOST) {
            request = request.header(http::header::HOST, host);
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let (parts, ()) = request.body(()).context("the request is none")?.into_parts();
        let peer = from.identity.clone();
        Ok(Question { parts, scheme, entrance, peer, client: Some(self.client) })
    }

    fn fail(&mut self, because: impl Into<String>) {
        self.report.verdict = Verdict::new(Word::Failed, because);
    }

    /// What it comes to, of what every step says.
    fn conclude(&mut self) {
        if self.report.verdict.is == Word::Allowed {
            self.report.verdict = verdict(&self.report);
        }
        let report = &self.report;
        let mut names: Vec<String> = Vec::new();
        for it in &report.proxies {
            names.push(format!("Gateway {}", it.name));
            if let Some(rule) = &it.explained.rule {
                names.push(rule.route.replacen('/', " ", 1));
            }
            let (explained, backends) = (&it.explained, &it.explained.backends);
            let limits = explained.limits.iter().chain(backends.iter().flat_map(|it| &it.limits));
            let limited_by = limits.filter_map(|it| it.split(['@', ' ', ':']).next());
            names.extend(limited_by.map(|policy| format!("RateLimitPolicy {policy}")));
            let judged = explained.policies.iter().chain(backends.iter().flat_map(|it| &it.policies));
            names.extend(judged.map(|it| format!("AccessPolicy {}", it.policy)));
        }
        names.extend(
            report
                .to
                .names
                .strip_prefix("Service ")
                .map(|it| format!("Service {}", it.split(',').next().unwrap_or_default())),
        );
        let errors = self.scene.errors(|object| names.iter().any(|name| object == name));
        let mut errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        if !self.scene.has_secrets() && report.proxies.iter().any(|it| it.kind == "Gateway") {
            let text = "Secrets cannot be read with your rights: listeners that end TLS are shown as closed";
            errors.push(text.to_owned());
        }
        self.report.errors = errors;
    }
}

fn describe_refusal(refusal: &InboundRefusal) -> String {
    format!("its tunnel refuses it: {refusal}")
}

fn verdict(report: &Report) -> Verdict {
    if let Some(tunnel) = report.tunnel.as_ref().filter(|it| it.refused.is_some()) {
        return Verdict::new(Word::Failed, format!("the tunnel {}", tunnel.does));
    }
    for it in &report.proxies {
        let who = format!("{} {}", it.kind, it.name);
        if let Some(ended) = ended(&it.explained) {
            return Verdict::new(ended, format!("{who}: {}", it.explained.outcome));
        }
        for choice in &it.explained.backends {
            if choice.refused.is_some() || choice.reason.is_some() {
                let words = choice
                    .ended
                    .clone()
                    .or_else(|| choice.refused.as_ref().map(|it| format!("refused by {it}")));
                let word = if choice.refused.is_some() { Word::Refused } else { Word::Failed };
                return Verdict::new(
                    word,
                    format!("{who}: of its share for {}: {}", choice.backend, words.unwrap_or_default()),
                );
            }
        }
    }
    if let Some(it) = report.endpoints.iter().find(|it| it.refused.is_some()) {
        let name = it.pod.clone().unwrap_or_else(|| it.address.to_string());
        return Verdict::new(Word::Refused, format!("{name}: {}", it.says));
    }
    match (report.proxies.last(), report.endpoints.as_slice()) {
        (_, [only]) => Verdict::new(Word::Allowed, format!("it comes to {}", only.address)),
        (Some(last), []) if last.explained.status.is_some() => {
            Verdict::new(Word::Allowed, format!("{} {}: {}", last.kind, last.name, last.explained.outcome))
        }
        (_, []) => Verdict::new(Word::Failed, "it comes to no endpoint"),
        (_, many) => Verdict::new(Word::Allowed, format!("it comes to one of {} endpoints", many.len())),
    }
}

/// How a request ends at a proxy that lets it go no further; none if it goes on, or a stage answers it.
fn ended(explained: &Explained) -> Option<Word> {
    match explained.reason? {
        "denied" | "limited" | "unresolved_limit" => Some(Word::Refused),
        _ => Some(Word::Failed),
    }
}
