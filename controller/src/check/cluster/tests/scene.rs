//! What clusters in pictures are made of.

use crate::check::cluster::right::{Answered, Right, wanted};
use crate::check::cluster::snapshot::{self, Definition, Snapshot};
use crate::resources::Kind;
use crate::source::cluster::Inventory;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// A cluster before Fairway is installed.
pub(super) fn bare() -> Snapshot {
    let kinds = Kind::ALL.into_iter().filter(|it| *it != Kind::GatewayParameters);
    Snapshot {
        now: "2026-01-01T00:01:00Z".parse().unwrap(),
        address: "https://10.0.0.1:6443/".to_owned(),
        version: "v1.34.1".to_owned(),
        inventory: Inventory::with_objects(kinds, Vec::new()),
        definitions: Ok(vec![definition("gateways.gateway.networking.k8s.io", "v1.7.0", "standard")]),
        nodes: Ok(vec![node("n1", "6.12.9"), node("n2", "6.1.0-18-amd64")]),
        deployments: Ok(Vec::new()),
        daemon_sets: Ok(Vec::new()),
        lease: Ok(None),
        rights: answered(None, |_| Ok(true)),
        network_policies: Ok(Vec::new()),
    }
}

/// A cluster with Fairway, and these objects.
pub(super) fn installed(mut manifests: Vec<Value>) -> Snapshot {
    manifests.extend([
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": { "name": "fairway" },
            "spec": { "controllerName": "fairway.dev/controller" },
            "status": { "conditions": [condition("Accepted", "True", "Accepted", "")] },
        }),
        program("controller", "n1", "0.1.0", true),
        program("ztunnel", "n1", "0.1.0", true),
        program("ztunnel", "n2", "0.1.0", true),
    ]);
    let deployments: Vec<k8s_openapi::api::apps::v1::Deployment> = vec![from_json(json!({
        "metadata": { "name": "fairway-controller", "namespace": "fairway-system", "labels": part("controller") },
        "spec": { "replicas": 1, "selector": {}, "template": { "spec": {
            "serviceAccountName": "fairway-controller",
            "containers": [{ "name": "controller", "args": ["--kubernetes", "--mesh=on", "--trust-domain=shop.example"] }],
        } } },
        "status": { "readyReplicas": 1 },
    }))];
    let rights = answered(snapshot::installation(&deployments).as_ref(), |_| Ok(true));
    Snapshot {
        inventory: Inventory::with_objects(Kind::ALL, manifests),
        deployments: Ok(deployments),
        daemon_sets: Ok(vec![from_json(json!({
            "metadata": { "name": "fairway-ztunnel", "namespace": "fairway-system", "labels": part("ztunnel") },
            "status": {
                "currentNumberScheduled": 2, "desiredNumberScheduled": 2, "numberMisscheduled": 0, "numberReady": 2,
                "updatedNumberScheduled": 2,
            },
        }))]),
        lease: Ok(Some(lease("fairway-controller-a", "2026-01-01T00:00:55.000000Z"))),
        rights,
        ..bare()
    }
}

pub(super) fn from_json<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

pub(super) fn answered(
    installation: Option<&snapshot::Installation<'_>>,
    allowed: impl Fn(&str) -> snapshot::Seen<bool>,
) -> Vec<Answered> {
    let answer = |right: Right| Answered { allowed: allowed(&right.to_string()), right };
    wanted(installation).into_iter().map(answer).collect()
}

pub(super) fn definition(name: &str, bundle: &str, channel: &str) -> Definition {
    Definition { name: name.to_owned(), bundle: bundle.to_owned(), channel: channel.to_owned() }
}

pub(super) fn node(name: &str, kernel: &str) -> k8s_openapi::api::core::v1::Node {
    from_json(json!({
        "metadata": { "name": name },
        "status": {
            "conditions": [{ "type": "Ready", "status": "True" }],
            "nodeInfo": {
                "kernelVersion": kernel, "operatingSystem": "linux", "architecture": "amd64", "bootID": "",
                "containerRuntimeVersion": "containerd://2.1.4", "kubeProxyVersion": "", "kubeletVersion": "",
                "machineID": "", "osImage": "", "systemUUID": "",
            },
        },
    }))
}

pub(super) fn lease(holder: &str, renewed: &str) -> k8s_openapi::api::coordination::v1::Lease {
    from_json(
        json!({ "spec": { "holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": renewed } }),
    )
}

pub(super) fn part(component: &str) -> Value {
    json!({ "app.kubernetes.io/part-of": "fairway", "app.kubernetes.io/component": component })
}

pub(super) fn program(component: &str, node: &str, version: &str, ready: bool) -> Value {
    let mut pod = pod("fairway-system", &format!("{component}-{node}"), json!({}), None);
    pod["metadata"]["labels"] = part(component);
    let image = format!("ghcr.io/fairway-dev/fairway-{component}:{version}");
    pod["spec"] = json!({ "nodeName": node, "containers": [{ "name": component, "image": image }] });
    let ready = if ready { "True" } else { "False" };
    pod["status"]["conditions"] =
        json!([{ "type": "Ready", "status": ready, "message": "waiting for identity" }]);
    pod
}

pub(super) fn namespace(name: &str, labels: Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } })
}

/// What the condition says in a cluster.
fn captured_message(reason: &str) -> &'static str {
    match reason {
        "NotCaptured" => "the capture rules cannot be loaded: Operation not permitted (os error 1)",
        "HostNetwork" => "it has its node's network, and capturing that would cut the node off",
        "OptedOut" => "its label fairway.dev/mesh keeps it out of the mesh",
        "Capturing" => "ztunnel on its node is about to capture it",
        _ => "its TCP connections go through ztunnel on its node; all other traffic is refused",
    }
}

/// A pod, and the status and reason of its condition `Captured`.
pub(super) fn pod(namespace: &str, name: &str, labels: Value, captured: Option<(&str, &str)>) -> Value {
    let conditions = captured.map(|(status, reason)| {
        json!({ "type": "fairway.dev/Captured", "status": status, "reason": reason, "message": captured_message(reason) })
    });
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": namespace, "labels": labels },
        "spec": { "nodeName": "n1", "containers": [] },
        "status": { "phase": "Running", "conditions": Vec::from_iter(conditions) },
    })
}

pub(super) fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({ "type": kind, "status": status, "reason": reason, "message": message })
}

pub(super) fn route(name: &str, backend: &str, conditions: Value) -> Value {
    let parent = json!({ "group": "", "kind": "Service", "name": "web" });
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": { "name": name, "namespace": "shop" },
        "spec": { "parentRefs": [parent], "rules": [{ "backendRefs": [{ "name": backend, "port": 80 }] }] },
        "status": { "parents": [
            { "parentRef": parent, "controllerName": "fairway.dev/controller", "conditions": conditions },
            { "parentRef": parent, "controllerName": "example.com/other", "conditions": [condition("Accepted", "False", "No", "")] },
        ] },
    })
}

pub(super) fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": name, "namespace": "shop" },
        "spec": { "clusterIP": "10.0.0.10", "selector": { "app": name }, "ports": [{ "port": 80 }] },
        "status": { "conditions": [{
            "type": "fairway.dev/ThroughWaypoint", "status": "True", "reason": "ByWaypoint", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }] },
    })
}
