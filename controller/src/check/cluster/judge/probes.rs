//! Probes and lifecycle hooks that have kubelet ask somebody other than the pod itself. Whoever can write such a pod sends
//! requests from the node, where NetworkPolicies do not apply.

use super::super::picture::Picture;
use super::super::report::{Grade, Verdict};
use crate::resources::{Kind, probe};
use k8s_openapi::api::core::v1::Pod;

const REMEDY: &str = "take `host` out of its probes and lifecycle hooks; the PodSecurity level baseline refuses it from \
                      Kubernetes 1.34 on (docs/mesh.md#probes)";

pub(super) fn judge(picture: &Picture) -> Vec<Verdict> {
    let pods: Vec<Pod> = picture.inventory.all(Kind::Pod);
    pods.iter().filter_map(verdict).collect()
}

fn verdict(pod: &Pod) -> Option<Verdict> {
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
    let name = (pod.metadata.namespace.as_deref(), pod.metadata.name.as_deref());
    let object = format!("Pod {}/{}", name.0.unwrap_or_default(), name.1.unwrap_or_default());
    let message = format!("has its node's kubelet ask another host than the pod: {}", hosts.join(", "));
    Some(Verdict::new(Grade::Warning, message, REMEDY).of(object))
}
