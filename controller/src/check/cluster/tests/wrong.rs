//! Clusters with every fault that the checks know, for the file of all messages.

use super::scene::*;
use super::{namespace_in_mesh, policy};
use crate::check::cluster::snapshot::Snapshot;
use crate::resources::Kind;
use serde_json::{Value, json};

/// Clusters that have together every fault.
pub(crate) fn everything_wrong() -> Vec<Snapshot> {
    let mut all = before_the_install();
    all.extend(programs());
    all.extend(mesh());
    all
}

fn change(mut snapshot: Snapshot, change: impl Fn(&mut Snapshot)) -> Snapshot {
    change(&mut snapshot);
    snapshot
}

fn before_the_install() -> Vec<Snapshot> {
    let bundle = |version: &str, channel: &str| {
        definition(&format!("{channel}.gateway.networking.k8s.io"), version, channel)
    };
    let bundles = |bundles: Vec<_>| change(bare(), |it| it.definitions = Ok(bundles.clone()));
    let version = |version: &str| change(bare(), |it| it.version = version.to_owned());
    let info = |edit: &dyn Fn(&mut k8s_openapi::api::core::v1::NodeSystemInfo)| {
        change(bare(), |it| {
            let status = it.nodes.as_mut().unwrap()[0].status.as_mut().unwrap();
            edit(status.node_info.as_mut().unwrap());
        })
    };
    vec![
        bare(),
        version("v1.30.9"),
        version("v1.99.0"),
        version("unknown"),
        change(bare(), |it| it.rights = answered(None, |_| Ok(false))),
        change(bare(), |it| it.rights = answered(None, |_| Err("503 unavailable".to_owned()))),
        change(bare(), |it| it.inventory.listings.get_mut(&Kind::Secret).unwrap().1 = Err("403 no".into())),
        change(bare(), |it| drop(it.inventory.listings.remove(&Kind::Gateway))),
        change(bare(), |it| drop(it.inventory.listings.remove(&Kind::TcpRoute))),
        change(bare(), |it| it.definitions = Err("403 customresourcedefinitions".to_owned())),
        bundles(vec![bundle("v1.3.0", "standard")]),
        bundles(vec![bundle("v1.99.0", "standard")]),
        bundles(vec![bundle("", "standard")]),
        bundles(vec![bundle("v1.7.0", "standard"), bundle("v1.6.0", "experimental")]),
        change(bare(), |it| it.nodes = Err("403 nodes".to_owned())),
        change(bare(), |it| it.nodes = Ok(vec![node("old", "4.19.0")])),
        change(bare(), |it| it.nodes.as_mut().unwrap()[0].status.as_mut().unwrap().conditions = None),
        info(&|it| it.operating_system = "windows".to_owned()),
        info(&|it| it.architecture = "s390x".to_owned()),
        info(&|it| it.container_runtime_version = "docker://20.10.0".to_owned()),
        change(bare(), |it| it.deployments = Err("403 deployments".to_owned())),
    ]
}

fn programs() -> Vec<Snapshot> {
    let here = || installed(vec![namespace("shop", json!({}))]);
    let pods = |pods: Vec<Value>| {
        change(here(), |it| it.inventory.listings.get_mut(&Kind::Pod).unwrap().1 = Ok(pods.clone()))
    };
    let tunnels = |edit: &dyn Fn(&mut k8s_openapi::api::apps::v1::DaemonSetStatus)| {
        change(here(), |it| edit(it.daemon_sets.as_mut().unwrap()[0].status.as_mut().unwrap()))
    };
    let restricted =
        namespace("fairway-system", json!({ "pod-security.kubernetes.io/enforce": "restricted" }));
    vec![
        change(here(), |it| it.rights = answered(it.installation().as_ref(), |_| Ok(false))),
        change(here(), |it| it.deployments.as_mut().unwrap()[0].status = None),
        change(here(), |it| it.lease = Err("403 leases".to_owned())),
        change(here(), |it| it.lease = Ok(None)),
        change(here(), |it| it.lease = Ok(Some(lease("a", "2026-01-01T00:00:00.000000Z")))),
        change(here(), |it| it.daemon_sets = Ok(vec![])),
        tunnels(&|it| it.number_ready = 1),
        tunnels(&|it| it.updated_number_scheduled = Some(1)),
        change(tunnels(&|it| it.number_ready = 0), |it| {
            it.inventory.listings.get_mut(&Kind::Namespace).unwrap().1 = Ok(vec![restricted.clone()]);
        }),
        pods(vec![program("ztunnel", "n1", "0.1.0", true)]),
        pods(vec![program("ztunnel", "n1", "0.1.0", true), program("ztunnel", "n2", "0.2.0", false)]),
        change(here(), |it| it.inventory.listings.get_mut(&Kind::GatewayClass).unwrap().1 = Ok(vec![])),
        change(here(), |it| drop(it.inventory.listings.remove(&Kind::GatewayParameters))),
    ]
}

fn mesh() -> Vec<Snapshot> {
    let captured = |reason: &str| {
        installed(vec![namespace_in_mesh(), pod("shop", "a", json!({}), Some(("False", reason)))])
    };
    let pending = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "a", "namespace": "shop" },
        "spec": { "nodeName": "n1", "containers": [] }, "status": { "phase": "Pending" },
    });
    let probing = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "a", "namespace": "shop" },
        "spec": { "nodeName": "n1", "containers": [
            { "name": "c", "livenessProbe": { "httpGet": { "host": "10.0.0.7", "port": 80 } } },
        ] },
        "status": { "phase": "Running" },
    });
    let labelled = [
        namespace("a", json!({ "fairway.dev/mesh": "enable", "fairway.dev/mtls": "strikt" })),
        pod("b", "p", json!({ "fairway.dev/mtsl": "strict" }), None),
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "c", "annotations": { "fairway.dev/mesh": "enabled" } } }),
    ];
    let policies = |way: &str| {
        change(captured("OptedOut"), |it| {
            let rules = json!([{ "ports": [{ "protocol": "TCP", "port": 8080 }] }]);
            let mut pod = pod("shop", "a", json!({}), Some(("True", "Captured")));
            pod["metadata"]["uid"] = json!("u");
            it.inventory.listings.get_mut(&Kind::Pod).unwrap().1 = Ok(vec![pod]);
            it.network_policies = Ok(vec![policy(json!({}), way, rules)]);
        })
    };
    let unenforced = json!([condition("fairway.dev/Enforced", "False", "Pending", "no waypoint is ready")]);
    let of_route = |conditions: Value| {
        installed(vec![namespace_in_mesh(), service("web"), route("r", "web", conditions)])
    };
    vec![
        installed(vec![]),
        captured("OptedOut"),
        captured("HostNetwork"),
        captured("Capturing"),
        captured("NotCaptured"),
        installed(vec![namespace_in_mesh(), pod("shop", "a", json!({}), None)]),
        installed(vec![namespace_in_mesh(), pending]),
        installed(vec![namespace_in_mesh(), probing]),
        installed(labelled.to_vec()),
        change(captured("OptedOut"), |it| it.network_policies = Err("403 networkpolicies".to_owned())),
        policies("Ingress"),
        policies("Egress"),
        of_route(unenforced),
        of_route(json!([])),
    ]
}
