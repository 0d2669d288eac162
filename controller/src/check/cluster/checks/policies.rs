//! NetworkPolicies that keep the mesh's own port shut. Between pods of the mesh everything is one connection to that port
//! (docs/mesh.md), so a policy that lets in port 8080 lets nothing in.
//!
//! A rule by ports is excused by one that admits the tunnels' port for the same peers. Whether peers that are written in two
//! ways are the same is not worked out.

use super::super::results::Results;
use super::super::snapshot::{Snapshot, is_part};
use super::labels::MESH;
use crate::diagnostic::{Diagnostic, Reason, Subject};
use crate::resources::{Kind, Requirement, Selector};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::BTreeMap;
use std::sync::Arc;

const TUNNEL: i32 = 15008;
/// To let pods ask for names and nothing else is a way to cut them off.
const DNS: [i32; 2] = [53, 5353];

const REMEDY: &str =
    "allow port 15008 for the same peers (docs/mesh.md#networkpolicy), or take the pods out of the mesh";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    In,
    Out,
}

/// A rule of a policy, of one way.
#[derive(Clone, Copy)]
struct Rule<'a> {
    policy: &'a NetworkPolicy,
    peers: &'a [NetworkPolicyPeer],
    ports: Ports<'a>,
}

/// What a rule says of ports.
#[derive(Clone, Copy)]
enum Ports<'a> {
    /// The tunnel's is among them.
    Admit,
    /// These only: the first one is named.
    Only(&'a NetworkPolicyPort),
    /// None of TCP, or names alone.
    Silent,
}

/// The namespaces of the mesh, with their labels.
struct Meshed<'a>(BTreeMap<&'a str, Labels>);

type Labels = BTreeMap<Arc<str>, Arc<str>>;

pub(super) fn check(snapshot: &Snapshot) -> Results {
    let mut results = Results::default();
    if snapshot.installation().is_none() || !snapshot.has_mesh() {
        return results;
    }
    let policies = match &snapshot.network_policies {
        Ok(policies) => policies,
        Err(why) => {
            let message = format!("NetworkPolicies cannot be listed, so they are not checked: {why}");
            let remedy = "check with an account that may list them";
            results.report(Diagnostic::note(Reason::NetworkPoliciesUnreadable, "", message, remedy));
            return results;
        }
    };
    let namespaces: Vec<Namespace> = snapshot.inventory.all(Kind::Namespace);
    let meshed = Meshed::from_namespaces(&namespaces);
    let pods: Vec<Pod> = snapshot.inventory.all(Kind::Pod);
    let mut shut = BTreeMap::new();
    for pod in pods.iter().filter(|it| !is_over(it)) {
        for way in [Way::In, Way::Out] {
            if !meshed.has_tunnels(pod, way) {
                continue;
            }
            let theirs = policies.iter().filter(|it| applies(it, way) && selects(it, pod));
            let rules: Vec<Rule<'_>> = theirs.flat_map(|it| rules(it, way)).collect();
            let admitting = || rules.iter().filter(|it| matches!(it.ports, Ports::Admit));
            for rule in &rules {
                let Ports::Only(port) = rule.ports else { continue };
                let is_excused = admitting().any(|it| it.has_all_peers_of(rule));
                if !is_excused && meshed.may_be_peers(rule) {
                    let metadata = &rule.policy.metadata;
                    let name = (metadata.namespace.as_deref(), metadata.name.as_deref());
                    shut.entry((name, way)).or_insert_with(|| describe(metadata, way, port));
                }
            }
        }
    }
    results.diagnostics.extend(shut.into_values());
    results
}

fn describe(policy: &ObjectMeta, way: Way, port: &NetworkPolicyPort) -> Diagnostic {
    let port = match &port.port {
        Some(IntOrString::Int(port)) => port.to_string(),
        Some(IntOrString::String(name)) => name.clone(),
        None => "all".to_owned(),
    };
    let warning = match way {
        Way::In => {
            let message = format!(
                "it allows ingress to port {port} and not {TUNNEL}, so pods of the mesh cannot reach its pods"
            );
            Diagnostic::warning(Reason::NetworkPolicyIngress, "spec.ingress", message, REMEDY)
        }
        Way::Out => {
            let message = format!(
                "it allows egress to port {port} and not {TUNNEL}, so its pods cannot reach pods of the mesh"
            );
            Diagnostic::warning(Reason::NetworkPolicyEgress, "spec.egress", message, REMEDY)
        }
    };
    let text = |text: &Option<String>| Arc::<str>::from(text.as_deref().unwrap_or_default());
    warning.about(Subject::named("NetworkPolicy", text(&policy.namespace), text(&policy.name)))
}

fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|it| it.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

// === impl Meshed ===

impl<'a> Meshed<'a> {
    fn from_namespaces(namespaces: &'a [Namespace]) -> Self {
        let named = |it: &'a Namespace| Some((it.metadata.name.as_deref()?, labels(&it.metadata)));
        let meshed = namespaces.iter().filter_map(named);
        Self(meshed.filter(|(_, it)| it.get(MESH).is_some_and(|it| &**it == "enabled")).collect())
    }

    /// Whether tunnels go to a pod, or from it. A Gateway's proxy only makes some, and makes them wherever it is.
    fn has_tunnels(&self, pod: &Pod, way: Way) -> bool {
        let labels = pod.metadata.labels.as_ref();
        if is_part(labels, "waypoint") || is_part(labels, "gateway") {
            return is_part(labels, "waypoint") || way == Way::Out;
        }
        let host_network = pod.spec.as_ref().and_then(|it| it.host_network).unwrap_or_default();
        self.0.contains_key(pod.metadata.namespace.as_deref().unwrap_or_default())
            && labels.and_then(|it| it.get(MESH)).is_none_or(|it| it != "disabled")
            && !host_network
    }

    /// Whether pods of the mesh may be among a rule's peers.
    fn may_be_peers(&self, rule: &Rule<'_>) -> bool {
        let namespace = rule.policy.metadata.namespace.as_deref().unwrap_or_default();
        let may_be = |it: &NetworkPolicyPeer| match &it.namespace_selector {
            _ if it.ip_block.is_some() => false,
            None => self.0.contains_key(namespace),
            Some(written) => {
                selector(written).is_some_and(|it| self.0.values().any(|labels| it.matches(labels)))
            }
        };
        rule.peers.is_empty() || rule.peers.iter().any(may_be)
    }
}

// === impl Rule ===

impl<'a> Rule<'a> {
    fn new(
        policy: &'a NetworkPolicy,
        way: Way,
        peers: Option<&'a Vec<NetworkPolicyPeer>>,
        written: Option<&'a Vec<NetworkPolicyPort>>,
    ) -> Self {
        let ports = ports(written.map(Vec::as_slice).unwrap_or_default(), way);
        Self { policy, peers: peers.map(Vec::as_slice).unwrap_or_default(), ports }
    }

    fn has_all_peers_of(&self, other: &Self) -> bool {
        let has = |it: &NetworkPolicyPeer| self.peers.contains(it);
        self.peers.is_empty() || (!other.peers.is_empty() && other.peers.iter().all(has))
    }
}

/// Where the types are not written, every policy is about ingress, and about egress one that has rules for it.
fn applies(policy: &NetworkPolicy, way: Way) -> bool {
    let Some(spec) = policy.spec.as_ref() else { return false };
    match (&spec.policy_types, way) {
        (Some(types), Way::In) if !types.is_empty() => types.iter().any(|it| it == "Ingress"),
        (Some(types), Way::Out) if !types.is_empty() => types.iter().any(|it| it == "Egress"),
        (_, Way::In) => true,
        (_, Way::Out) => spec.egress.as_ref().is_some_and(|it| !it.is_empty()),
    }
}

fn selects(policy: &NetworkPolicy, pod: &Pod) -> bool {
    if policy.metadata.namespace != pod.metadata.namespace {
        return false;
    }
    let Some(spec) = policy.spec.as_ref() else { return false };
    // Absent, or empty: every pod.
    let Some(selector) = spec.pod_selector.as_ref().map(selector) else { return true };
    selector.is_some_and(|it| it.matches(&labels(&pod.metadata)))
}

fn labels(metadata: &ObjectMeta) -> Labels {
    let labels = metadata.labels.iter().flatten();
    labels.map(|(key, value)| (Arc::from(key.as_str()), Arc::from(value.as_str()))).collect()
}

fn selector(written: &LabelSelector) -> Option<Selector> {
    let exact = written.match_labels.iter().flatten().map(|(key, value)| (key.as_str(), value.as_str()));
    let mut selector = Selector::of_labels(exact);
    for it in written.match_expressions.iter().flatten() {
        let values = it.values.as_deref().unwrap_or_default();
        selector.requirements.push(Requirement::parse(&it.key, &it.operator, values).ok()?);
    }
    Some(selector)
}

fn rules(policy: &NetworkPolicy, way: Way) -> Vec<Rule<'_>> {
    let Some(spec) = policy.spec.as_ref() else { return Vec::new() };
    match way {
        Way::In => {
            let written = spec.ingress.iter().flatten();
            written.map(|it| Rule::new(policy, way, it.from.as_ref(), it.ports.as_ref())).collect()
        }
        Way::Out => {
            let written = spec.egress.iter().flatten();
            written.map(|it| Rule::new(policy, way, it.to.as_ref(), it.ports.as_ref())).collect()
        }
    }
}

fn ports(written: &[NetworkPolicyPort], way: Way) -> Ports<'_> {
    if written.is_empty() {
        return Ports::Admit;
    }
    let of_tcp = || written.iter().filter(|it| it.protocol.as_deref().is_none_or(|it| it == "TCP"));
    let admits = |it: &NetworkPolicyPort| match (&it.port, it.end_port) {
        (None, _) => true,
        (Some(IntOrString::Int(from)), Some(to)) => (*from..=to).contains(&TUNNEL),
        (Some(IntOrString::Int(port)), None) => *port == TUNNEL,
        (Some(IntOrString::String(_)), _) => false,
    };
    if of_tcp().any(admits) {
        return Ports::Admit;
    }
    let is_dns = |it: &NetworkPolicyPort| match &it.port {
        Some(IntOrString::Int(port)) => DNS.contains(port),
        Some(IntOrString::String(name)) => name.starts_with("dns"),
        None => false,
    };
    of_tcp().find(|it| way == Way::In || !is_dns(it)).map_or(Ports::Silent, Ports::Only)
}
