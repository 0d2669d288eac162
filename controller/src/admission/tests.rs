mod loopback;
mod pods;
mod rules;
mod stream_lifetime;
mod tokens;

use super::{AuthorizationIndex, ProxyProgram, Reviewed, ReviewedPod};
use crate::compile::{Output, Proxy};
use crate::provision::tests::{proxy, roots};
use crate::provision::{Rights, Settings, plan};
use crate::resources::{Edit, Kind, Object};
use fairway_config::model::{Mesh, MutualTls, ObjectName, Resource, Workload};
use serde_json::{Value, json};
use std::sync::Arc;

/// The service account of the tunnels.
fn ztunnel() -> ObjectName {
    ObjectName::new("fairway-system", "fairway-ztunnel")
}

/// Two Gateways; `web` is captured on n1, `db` on n2, `plain` is on n1 and not in the mesh.
fn output() -> Output {
    let pod = |name: &str, node: &str, mesh| {
        Resource::Workload(Arc::new(Workload {
            key: format!("shop/{name}").into(),
            uid: format!("uid-{name}").into(),
            addresses: Vec::new(),
            identity: format!("spiffe://cluster.local/ns/shop/sa/{name}").parse().unwrap(),
            node: node.into(),
            node_uid: None,
            mesh,
            aside: None,
            probes: Vec::new(),
            authorizations: Vec::new(),
        }))
    };
    let captured = Mesh::Captured(MutualTls::Permissive);
    let upserts =
        vec![pod("web", "n1", captured), pod("db", "n2", captured), pod("plain", "n1", Mesh::Outside)];
    Output { proxies: vec![proxy("public"), proxy("other")], upserts, ..Output::default() }
}

/// And the pods of theirs that Fairway made.
fn authorization_index() -> Arc<AuthorizationIndex> {
    let authorization_index = Arc::new(AuthorizationIndex::default());
    authorization_index.see(&[
        made("edge", "public-fairway", "ReplicaSet", "public-fairway-5d9f"),
        made("fairway-system", "fairway-ztunnel", "DaemonSet", "fairway-ztunnel"),
    ]);
    authorization_index.take(&output());
    authorization_index
}

fn program() -> ProxyProgram {
    ProxyProgram::new("fairway-waypoint:2", Rights::default(), "https://controller:15010")
}

fn uid_of(namespace: &str, account: &str) -> String {
    format!("uid-of-{namespace}-{account}")
}

/// A pod as the controllers of Kubernetes make it from what Fairway makes.
fn made_pod(namespace: &str, account: &str, kind: &str, owner: &str) -> Value {
    let proxy = Proxy { service_account: account.into(), ..proxy("public") };
    let settings = Settings::new("fairway-waypoint:1", "https://controller:15010");
    let mut manifests = plan(&proxy, &roots("root"), &settings).into_iter().map(|it| it.fields);
    let deployment = manifests.find(|it| it["kind"] == "Deployment").unwrap();
    let mut pod = deployment["spec"]["template"].clone();
    (pod["apiVersion"], pod["kind"]) = (json!("v1"), json!("Pod"));
    pod["metadata"]["name"] = format!("{owner}-x").into();
    pod["metadata"]["namespace"] = namespace.into();
    pod["metadata"]["uid"] = uid_of(namespace, account).into();
    pod["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "apps/v1", "kind": kind, "name": owner, "uid": "o", "controller": true}]);
    // What the API server and the scheduler fill in.
    let filled = json!({
        "nodeName": "n1", "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler",
        "serviceAccount": account, "priority": 0, "preemptionPolicy": "PreemptLowerPriority", "hostNetwork": false,
        "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}],
    });
    pod["spec"].as_object_mut().unwrap().extend(filled.as_object().cloned().unwrap());
    let container = &mut pod["spec"]["containers"][0];
    container["terminationMessagePath"] = "/dev/termination-log".into();
    container["terminationMessagePolicy"] = "File".into();
    pod["spec"]["volumes"][0]["configMap"]["defaultMode"] = 420.into();
    pod["spec"]["volumes"][1]["projected"]["defaultMode"] = 420.into();
    pod
}

fn made(namespace: &str, account: &str, kind: &str, owner: &str) -> Edit {
    edit(made_pod(namespace, account, kind, owner))
}

fn edit(pod: Value) -> Edit {
    Edit::Upsert(Object::parse(Kind::Pod, pod).unwrap())
}

fn reviewed(namespace: &str, account: &str, node: Option<&str>) -> Reviewed {
    Reviewed {
        service_account: ObjectName::new(namespace, account),
        pod: ReviewedPod { name: "pod".into(), uid: uid_of(namespace, account).into() },
        node: node.map(Arc::from),
        expires: None,
    }
}

/// What the API server says of a good token.
fn verdict(account: &str, node: &str) -> Value {
    let uid = uid_of(account.split_once('/').unwrap().0, account.split_once('/').unwrap().1);
    json!({
        "authenticated": true,
        "audiences": ["fairway.dev"],
        "user": {
            "username": format!("system:serviceaccount:{}", account.replace('/', ":")),
            "extra": {
                "authentication.kubernetes.io/pod-name": ["pod"],
                "authentication.kubernetes.io/pod-uid": [uid],
                "authentication.kubernetes.io/node-name": [node],
            },
        },
    })
}
