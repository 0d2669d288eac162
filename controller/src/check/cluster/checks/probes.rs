//! Probes and lifecycle hooks that have kubelet ask somebody other than the pod itself. Whoever can write such a pod sends
//! requests from the node, where NetworkPolicies do not apply.

use super::super::results::Results;
use super::super::snapshot::Snapshot;
use crate::diagnostic::{Diagnostic, Reason, Subject};
use crate::resources::{Kind, probe};
use k8s_openapi::api::core::v1::Pod;
use std::sync::Arc;

const REMEDY: &str = "remove `host` from its probes and lifecycle hooks; the Pod Security level baseline refuses it from \
                      Kubernetes 1.34 on (docs/mesh.md#probes)";

pub(super) fn check(snapshot: &Snapshot) -> Results {
    let pods: Vec<Pod> = snapshot.inventory.all(Kind::Pod);
    Results { diagnostics: pods.iter().filter_map(check_pod).collect(), ..Results::default() }
}

fn check_pod(pod: &Pod) -> Option<Diagnostic> {
    let hosts = probe::other_hosts(pod.spec.as_ref()?);
    // With its node's network a pod is at loopback, too: so are those of the control plane.
    let is_loopback = |host: &str| {
        pod.spec.as_ref().is_some_and(|it| it.host_network == Some(true))
            && matches!(host, "localhost" | "127.0.0.1" | "::1")
    };
    let addresses = || pod.status.iter().flat_map(|it| it.pod_ips.iter().flatten());
    let is_itself = |host: &str| addresses().any(|it| it.ip == host) || is_loopback(host);
    let hosts: Vec<&str> = hosts.into_iter().filter(|it| !is_itself(it)).collect();
    if hosts.is_empty() {
        return None;
    }
    let message = format!(
        "a probe or hook makes the kubelet send requests to another host than the pod: {}",
        hosts.join(", ")
    );
    let text = |text: &Option<String>| Arc::<str>::from(text.as_deref().unwrap_or_default());
    let object = Subject::named("Pod", text(&pod.metadata.namespace), text(&pod.metadata.name));
    Some(Diagnostic::warning(Reason::ProbeOfAnotherHost, "spec.containers", message, REMEDY).about(object))
}
