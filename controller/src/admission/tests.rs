mod loopback;
mod rules;
mod tokens;

use super::{Reviewed, ReviewedPod, Roster};
use crate::compile::Output;
use crate::provision::tests::proxy;
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

fn roster() -> Arc<Roster> {
    let roster = Arc::new(Roster::default());
    roster.take(&output());
    roster
}

fn reviewed(namespace: &str, account: &str, node: Option<&str>) -> Reviewed {
    Reviewed {
        service_account: ObjectName::new(namespace, account),
        pod: ReviewedPod { name: "pod".into(), uid: "uid".into() },
        node: node.map(Arc::from),
    }
}

/// What the API server says of a good token.
fn verdict(account: &str, node: &str) -> Value {
    json!({
        "authenticated": true,
        "audiences": ["fairway.dev"],
        "user": {
            "username": format!("system:serviceaccount:{}", account.replace('/', ":")),
            "extra": {
                "authentication.kubernetes.io/pod-name": ["pod"],
                "authentication.kubernetes.io/pod-uid": ["uid"],
                "authentication.kubernetes.io/node-name": [node],
            },
        },
    })
}
