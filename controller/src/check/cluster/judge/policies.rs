//! NetworkPolicies that keep the mesh's own port shut. Between pods of the mesh everything is one connection to that port
//! (docs/mesh.md), so a policy that lets in port 8080 lets nothing in.

use super::super::picture::Picture;
use super::super::report::{Grade, Verdict};
use super::words::MESH;
use crate::resources::{Kind, Requirement, Selector};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyPort};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Where tunnels end.
const TUNNEL: i32 = 15008;
/// To let pods ask for names and nothing else is a way to cut them off.
const DNS: i32 = 53;

const REMEDY: &str =
    "let the same peers use port 15008, too (docs/mesh.md#networkpolicy), or take the pods out of the mesh";

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    In,
    Out,
}

/// What one rule says of ports.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ports<'a> {
    /// The tunnel's is among them.
    Admit,
    /// These only: the first one is named.
    Only(&'a NetworkPolicyPort),
    /// None of TCP, or names alone.
    Silent,
}

pub(super) fn judge(picture: &Picture) -> Vec<Verdict> {
    if picture.installation().is_none() || !picture.has_mesh() {
        return Vec::new();
    }
    let policies = match &picture.network_policies {
        Ok(policies) => policies,
        Err(why) => {
            let message = format!("NetworkPolicies cannot be seen, so nothing is said of them: {why}");
            return vec![Verdict::new(Grade::Note, message, "ask as somebody who may list them")];
        }
    };
    let namespaces: Vec<Namespace> = picture.inventory.all(Kind::Namespace);
    let meshed: BTreeSet<&str> = namespaces
        .iter()
        .filter(|it| {
            it.metadata.labels.as_ref().and_then(|it| it.get(MESH)).is_some_and(|it| it == "enabled")
        })
        .filter_map(|it| it.metadata.name.as_deref())
        .collect();
    let pods: Vec<Pod> = picture.inventory.all(Kind::Pod);
    let members = pods.iter().filter(|it| is_member(it, &meshed));
    let mut shut = BTreeMap::new();
    for pod in members {
        for way in [Way::In, Way::Out] {
            let theirs =
                policies.iter().filter(|it| applies(it, way) && selects(it, pod)).collect::<Vec<_>>();
            let said = theirs.iter().flat_map(|it| rules(it, way).into_iter().map(move |said| (*it, said)));
            let said: Vec<_> = said.collect();
            if said.iter().any(|(_, it)| *it == Ports::Admit) {
                continue;
            }
            for (policy, it) in said {
                if let Ports::Only(port) = it {
                    let name = (policy.metadata.namespace.as_deref(), policy.metadata.name.as_deref());
                    shut.entry((name, way)).or_insert(verdict(policy, way, port));
                }
            }
        }
    }
    shut.into_values().collect()
}

fn verdict(policy: &NetworkPolicy, way: Way, port: &NetworkPolicyPort) -> Verdict {
    let port = match &port.port {
        Some(IntOrString::Int(port)) => port.to_string(),
        Some(IntOrString::String(name)) => name.clone(),
        None => "all".to_owned(),
    };
    let message = match way {
        Way::In => format!("lets in port {port} and not {TUNNEL}: pods of the mesh cannot reach its pods"),
        Way::Out => {
            format!("lets out to port {port} and not {TUNNEL}: its pods cannot reach pods of the mesh")
        }
    };
    let metadata = &policy.metadata;
    let (namespace, name) = (metadata.namespace.as_deref(), metadata.name.as_deref());
    let object = format!("NetworkPolicy {}/{}", namespace.unwrap_or_default(), name.unwrap_or_default());
    Verdict::new(Grade::Warning, message, REMEDY).of(object)
}

/// Whether a pod is, or is to be, in the mesh or one of its waypoints.
fn is_member(pod: &Pod, meshed: &BTreeSet<&str>) -> bool {
    let metadata = &pod.metadata;
    let label = metadata.labels.as_ref().and_then(|it| it.get(MESH));
    let host_network = pod.spec.as_ref().and_then(|it| it.host_network).unwrap_or_default();
    let is_over = pod.status.as_ref().and_then(|it| it.phase.as_deref());
    meshed.contains(metadata.namespace.as_deref().unwrap_or_default())
        && label.is_none_or(|it| it != "disabled")
        && !host_network
        && !matches!(is_over, Some("Succeeded" | "Failed"))
}

/// What is said of a way is said of ingress by every policy, and of egress by those that have rules for it, where the
/// types are not written.
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
    let labels = pod.metadata.labels.iter().flatten();
    let labels = labels.map(|(key, value)| (Arc::from(key.as_str()), Arc::from(value.as_str()))).collect();
    selector.is_some_and(|it| it.matches(&labels))
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

fn rules(policy: &NetworkPolicy, way: Way) -> Vec<Ports<'_>> {
    let Some(spec) = policy.spec.as_ref() else { return Vec::new() };
    match way {
        Way::In => spec.ingress.iter().flatten().map(|it| ports(it.ports.as_deref(), way)).collect(),
        Way::Out => spec.egress.iter().flatten().map(|it| ports(it.ports.as_deref(), way)).collect(),
    }
}

fn ports(written: Option<&[NetworkPolicyPort]>, way: Way) -> Ports<'_> {
    let written = written.unwrap_or_default();
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
    let is_dns = |it: &NetworkPolicyPort| matches!(way, Way::Out) && it.port == Some(IntOrString::Int(DNS));
    of_tcp().find(|it| !is_dns(it)).map_or(Ports::Silent, Ports::Only)
}
