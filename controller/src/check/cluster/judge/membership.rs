//! Who is in the mesh, who is not although its namespace is, and why.

use super::super::picture::Picture;
use super::super::report::{Grade, Verdict};
use super::objects::Compiled;
use super::words::{self, MESH};
use crate::resources::Kind;
use crate::status::reason;
use k8s_openapi::api::core::v1::{Namespace, Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::collections::BTreeSet;

pub(super) fn judge(picture: &Picture, compiled: &Compiled) -> Vec<Verdict> {
    let namespaces: Vec<Namespace> = picture.inventory.all(Kind::Namespace);
    let pods: Vec<Pod> = picture.inventory.all(Kind::Pod);
    let services: Vec<Service> = picture.inventory.all(Kind::Service);
    let mut found = Vec::new();
    let named = (namespaces.iter().map(|it| (Kind::Namespace, &it.metadata)))
        .chain(pods.iter().map(|it| (Kind::Pod, &it.metadata)))
        .chain(services.iter().map(|it| (Kind::Service, &it.metadata)));
    for (kind, metadata) in named {
        let object = name(kind, metadata);
        found.extend(words::judge(&object, metadata, |key| compiled.says_of(&object, key)));
    }
    if picture.installation().is_none() || !picture.has_mesh() {
        return found;
    }
    let meshed: BTreeSet<&str> = namespaces
        .iter()
        .filter(|it| label(&it.metadata, MESH) == Some("enabled"))
        .filter_map(|it| it.metadata.name.as_deref())
        .collect();
    if meshed.is_empty() {
        let remedy = format!("kubectl label namespace NAME {MESH}=enabled");
        found.push(Verdict::new(Grade::Note, "no namespace is in the mesh", remedy));
        return found;
    }
    let mut captured = 0;
    for pod in &pods {
        if !meshed.contains(pod.metadata.namespace.as_deref().unwrap_or_default()) {
            continue;
        }
        match outside(pod) {
            None => captured += 1,
            Some(verdict) => found.extend(verdict.map(|it| it.of(name(Kind::Pod, &pod.metadata)))),
        }
    }
    found.push(Verdict::ok(format!("pods captured: {captured}; namespaces in the mesh: {}", meshed.len())));
    found
}

/// What is to be said of a pod that is not captured, if anything; none if it is.
fn outside(pod: &Pod) -> Option<Option<Verdict>> {
    let status = pod.status.as_ref();
    let condition = status.and_then(|it| it.conditions.as_ref()).into_iter().flatten();
    let condition = condition.into_iter().find(|it| it.type_ == reason::CAPTURED);
    if condition.is_some_and(|it| it.status == "True") {
        return None;
    }
    if pod.metadata.deletion_timestamp.is_some() {
        return Some(None);
    }
    let said = condition.and_then(|it| it.message.as_deref()).unwrap_or_default();
    let verdict = match condition.and_then(|it| it.reason.as_deref()) {
        Some("Proxy") => return Some(None),
        Some("OptedOut") => Verdict::new(
            Grade::Warning,
            format!(
                "opted out of the mesh of its namespace (label {MESH}: disabled): its traffic is plaintext"
            ),
            "if that is not meant, take the label off its template",
        ),
        Some("HostNetwork") => Verdict::new(
            Grade::Warning,
            "not in the mesh of its namespace, for it has its node's network: its traffic is plaintext",
            "run it without hostNetwork, or in a namespace of its own",
        ),
        Some("Capturing") => Verdict::new(Grade::Warning, "about to be captured", "look again in a moment"),
        Some(_) => Verdict::new(
            Grade::Error,
            format!("not captured, so that it reaches nobody: {said}"),
            "see the pod's events, and kubectl logs of the tunnel on its node",
        ),
        None if status.and_then(|it| it.phase.as_deref()) == Some("Pending") => Verdict::new(
            Grade::Warning,
            "waiting to start; a pod of the mesh waits for its node's tunnel",
            "see its events: kubectl describe pod",
        ),
        None => Verdict::new(
            Grade::Error,
            "its namespace is in the mesh, and no tunnel has said that it captured it",
            "see whether its node's tunnel is ready (above), and which controller leads",
        ),
    };
    Some(Some(verdict))
}

fn label<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    metadata.labels.as_ref()?.get(key).map(String::as_str)
}

fn name(kind: Kind, metadata: &ObjectMeta) -> String {
    let name = metadata.name.as_deref().unwrap_or_default();
    match metadata.namespace.as_deref() {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}
