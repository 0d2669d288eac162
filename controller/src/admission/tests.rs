mod loopback;
mod pods;
mod rules;
mod stream_lifetime;
mod tokens;

use super::{AuthorizationIndex, ProxyProgram, Reviewed, ReviewedPod};
use crate::compile::Output;
use crate::provision::Rights;
use crate::provision::tests::proxy;
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
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": format!("{owner}-x"), "namespace": namespace, "uid": uid_of(namespace, account),
            "labels": {"app.kubernetes.io/part-of": "fairway"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": kind, "name": owner, "uid": "o", "controller": true}],
        },
        "spec": {
            "serviceAccountName": account,
            "nodeName": "n1",
            "containers": [
                {"name": "waypoint", "image": "fairway-waypoint:1", "args": ["--controller=https://controller:15010"]},
            ],
        },
    })
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
