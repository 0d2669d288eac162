//! Who is in the mesh, who is not although its namespace is, and why.

use super::super::results::Results;
use super::super::snapshot::Snapshot;
use super::labels::{self, MESH};
use super::objects::Compiled;
use crate::diagnostic::{Diagnostic, Reason, Subject};
use crate::resources::Kind;
use crate::status::reason;
use k8s_openapi::api::core::v1::{Namespace, Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::collections::BTreeSet;
use std::sync::Arc;

pub(super) fn check(snapshot: &Snapshot, compiled: &Compiled) -> Results {
    let namespaces: Vec<Namespace> = snapshot.inventory.all(Kind::Namespace);
    let pods: Vec<Pod> = snapshot.inventory.all(Kind::Pod);
    let services: Vec<Service> = snapshot.inventory.all(Kind::Service);
    let mut results = Results::default();
    let named = (namespaces.iter().map(|it| (Kind::Namespace, &it.metadata)))
        .chain(pods.iter().map(|it| (Kind::Pod, &it.metadata)))
        .chain(services.iter().map(|it| (Kind::Service, &it.metadata)));
    for (kind, metadata) in named {
        let object = subject(kind, metadata);
        let is_reported = |key: &str| compiled.reports_key(&object, key);
        results.diagnostics.extend(labels::check(&object, metadata, is_reported));
    }
    if snapshot.installation().is_none() || !snapshot.has_mesh() {
        return results;
    }
    let meshed: BTreeSet<&str> = namespaces
        .iter()
        .filter(|it| label(&it.metadata, MESH) == Some("enabled"))
        .filter_map(|it| it.metadata.name.as_deref())
        .collect();
    if meshed.is_empty() {
        let remedy = format!("kubectl label namespace NAME {MESH}=enabled");
        results.report(Diagnostic::note(Reason::MeshEmpty, "", "no namespace is in the mesh", remedy));
        return results;
    }
    let mut captured = 0;
    for pod in &pods {
        if !meshed.contains(pod.metadata.namespace.as_deref().unwrap_or_default()) {
            continue;
        }
        match outside(pod) {
            None => captured += 1,
            Some(fault) => {
                let fault = fault.map(|fault| fault.about(subject(Kind::Pod, &pod.metadata)));
                results.diagnostics.extend(fault);
            }
        }
    }
    results.pass(format!("pods captured: {captured}; namespaces in the mesh: {}", meshed.len()));
    results
}

/// What is wrong with a pod that is not captured, if anything; none if it is captured.
fn outside(pod: &Pod) -> Option<Option<Diagnostic>> {
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
    let fault = match condition.and_then(|it| it.reason.as_deref()) {
        Some("Proxy") => return Some(None),
        Some("OptedOut") => Diagnostic::warning(
            Reason::PodOptedOut,
            format!("metadata.labels[{MESH}]"),
            "the pod opted out of the mesh of its namespace: its traffic is plaintext",
            "if this is not intended, remove the label from the pod template",
        ),
        Some("HostNetwork") => Diagnostic::warning(
            Reason::PodOnHostNetwork,
            "spec.hostNetwork",
            "the pod uses its node's network, so it is not in the mesh of its namespace: its traffic is plaintext",
            "run it without hostNetwork, or in another namespace",
        ),
        Some("Capturing") => {
            let remedy = "check again in a moment";
            Diagnostic::warning(Reason::PodBeingCaptured, "", "the pod is about to be captured", remedy)
        }
        Some(_) => Diagnostic::error(
            Reason::PodNotCaptured,
            "",
            format!("the pod is not captured, so it can reach no other pod: {said}"),
            "see the pod's events, and the log of ztunnel on its node",
        ),
        None if status.and_then(|it| it.phase.as_deref()) == Some("Pending") => Diagnostic::warning(
            Reason::PodPending,
            "",
            "the pod has not started; a pod of the mesh waits for ztunnel on its node",
            "see its events: kubectl describe pod",
        ),
        None => Diagnostic::error(
            Reason::PodWithoutCaptureCondition,
            "",
            "its namespace is in the mesh, but no ztunnel has reported that the pod is captured",
            "see whether ztunnel is ready on its node (above), and which controller leads",
        ),
    };
    Some(Some(fault))
}

fn label<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    metadata.labels.as_ref()?.get(key).map(String::as_str)
}

fn subject(kind: Kind, metadata: &ObjectMeta) -> Subject {
    let text = |text: &Option<String>| Arc::<str>::from(text.as_deref().unwrap_or_default());
    Subject::named(kind.as_str(), text(&metadata.namespace), text(&metadata.name))
}
