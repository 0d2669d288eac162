//! Pods with the right service account that Fairway did not make.

use super::{authorization_index, edit, made, made_pod, output, program, reviewed, uid_of, ztunnel};
use crate::admission::{AuthorizationIndex, ClusterAdmission, ClusterEntitlement, Reviewed};
use crate::admission::{Caller, Entitlement, NotEntitled};
use crate::resources::{Edit, Kind, ObjectRef};
use crate::serve::{Admission, Peer};
use fairway_config::model::ObjectName;
use fairway_config::stream::{Proxy, Subscription};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tonic::Extensions;
use tonic::metadata::MetadataMap;

/// Whether a token's pod gets what it asks for, and whether it gets its identity; both say the same.
async fn asked(
    authorization_index: &Arc<AuthorizationIndex>,
    caller: Reviewed,
    proxy: Proxy,
    id: &str,
) -> Result<(), String> {
    let caller = Arc::new(caller);
    let mut extensions = Extensions::new();
    extensions.insert(caller.clone());
    let peer = Peer { extensions: &extensions, metadata: &MetadataMap::new() };
    let admission = ClusterAdmission::new(authorization_index.clone(), ztunnel(), program());
    let admitted = admission.admit(peer, &Subscription::new(proxy, "1"));
    let admitted = admitted.map(drop).map_err(|it| it.to_string());
    let entitlement = ClusterEntitlement::new(authorization_index.clone(), ztunnel(), program());
    let id = format!("spiffe://cluster.local/{id}").parse().unwrap();
    let entitled = entitlement.check(&Caller::Proxy(caller), &id).await;
    assert!(admitted.is_ok() == entitled.is_ok(), "{admitted:?}, {entitled:?}");
    if entitled.is_err() {
        assert!(matches!(entitled, Err(NotEntitled::Doubtful(_))), "{entitled:?}");
    }
    admitted
}

async fn as_gateway(authorization_index: &Arc<AuthorizationIndex>) -> Result<(), String> {
    let gateway = Proxy::Gateway(ObjectName::new("edge", "public"));
    asked(
        authorization_index,
        reviewed("edge", "public-fairway", Some("n1")),
        gateway,
        "ns/edge/sa/public-fairway",
    )
    .await
}

/// A cluster whose only pod with the Gateway's service account is this.
fn with(pod: Value) -> Arc<AuthorizationIndex> {
    let authorization_index = Arc::new(AuthorizationIndex::default());
    authorization_index.see(&[edit(pod)]);
    authorization_index.take(&output());
    authorization_index
}

fn good() -> Value {
    made_pod("edge", "public-fairway", "ReplicaSet", "public-fairway-5d9f")
}

#[tokio::test]
async fn a_hand_made_pod_with_the_right_service_account_gets_nothing() {
    assert_eq!(as_gateway(&with(good())).await, Ok(()));
    for (pointer, value, why) in [
        ("/metadata/labels", json!({}), "not among those that Fairway made"),
        ("/metadata/uid", json!("another"), "not among those that Fairway made"),
        ("/metadata/ownerReferences", json!([]), "does not belong to the Deployment public-fairway"),
        ("/metadata/ownerReferences/0/controller", json!(false), "does not belong to the Deployment"),
        ("/metadata/ownerReferences/0/apiVersion", json!("batch/v1"), "does not belong to the Deployment"),
        ("/metadata/ownerReferences/0/kind", json!("StatefulSet"), "does not belong to the Deployment"),
        ("/metadata/ownerReferences/0/name", json!("mine"), "does not belong to the Deployment"),
        ("/metadata/ownerReferences/0/name", json!("public-fairway-"), "does not belong to the Deployment"),
        (
            "/metadata/ownerReferences/0/name",
            json!("public-fairway-mine-5d9f"),
            "does not belong to the Deployment",
        ),
        ("/spec/serviceAccountName", json!("other"), "does not run as service account edge/public-fairway"),
        ("/metadata/namespace", json!("shop"), "does not run as service account edge/public-fairway"),
        ("/spec/containers/0/image", json!("evil"), "runs the image evil"),
        ("/spec/containers/0/image", json!("evil.example/fairway-waypoint:1"), "runs the image evil.example"),
        (
            "/spec/containers/0/args/0",
            json!("--controller=https://evil:15010"),
            "does not talk to this controller",
        ),
        ("/spec/containers/0/args", json!([]), "does not talk to this controller"),
        (
            "/spec/hostAliases",
            json!([{"ip": "10.0.0.1", "hostnames": ["controller"]}]),
            "has names of its own",
        ),
        ("/spec/containers/0/command", json!(["cat"]), "has a command"),
        (
            "/spec/initContainers",
            json!([{"name": "thief", "image": "fairway-waypoint:1"}]),
            "has the init container thief",
        ),
        ("/status", json!({"phase": "Succeeded"}), "not among those that Fairway made"),
    ] {
        let mut pod = good();
        match pod.pointer_mut(pointer) {
            Some(at) => *at = value,
            None => {
                let (parent, field) = pointer.rsplit_once('/').unwrap();
                pod.pointer_mut(parent).unwrap()[field] = value;
            }
        }
        let refused = as_gateway(&with(pod)).await.unwrap_err();
        assert!(refused.contains(why), "{pointer}: {refused}");
    }
}

#[tokio::test]
async fn a_pod_beside_the_daemon_set_is_no_tunnel() {
    let tunnel = || reviewed("fairway-system", "fairway-ztunnel", Some("n1"));
    let node = || Proxy::Node("n1".into());
    assert_eq!(asked(&authorization_index(), tunnel(), node(), "ns/shop/sa/web").await, Ok(()));
    for (kind, owner) in [("ReplicaSet", "fairway-ztunnel"), ("DaemonSet", "mine")] {
        let authorization_index = Arc::new(AuthorizationIndex::default());
        authorization_index.see(&[made("fairway-system", "fairway-ztunnel", kind, owner)]);
        authorization_index.take(&output());
        let refused = asked(&authorization_index, tunnel(), node(), "ns/shop/sa/web").await.unwrap_err();
        assert!(refused.contains("does not belong to the DaemonSet fairway-ztunnel"), "{refused}");
    }
}

#[tokio::test]
async fn a_pod_that_is_gone_or_changed_is_nobody_any_more() {
    let authorization_index = with(good());
    let mut changed = good();
    changed["spec"]["containers"][0]["image"] = "evil".into();
    authorization_index.see(&[edit(changed)]);
    assert!(as_gateway(&authorization_index).await.is_err(), "an image can be changed where it runs");
    authorization_index.see(&[edit(good())]);
    assert_eq!(as_gateway(&authorization_index).await, Ok(()));
    authorization_index.see(&[Edit::Remove(ObjectRef::new(Kind::Pod, "edge", "public-fairway-5d9f-x"))]);
    assert!(as_gateway(&authorization_index).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_calls_before_it_is_seen_is_waited_for_and_not_for_ever() {
    let authorization_index = Arc::new(AuthorizationIndex::default());
    let began = Instant::now();
    let uid = uid_of("edge", "public-fairway");
    let seeing = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        authorization_index.see(&[edit(good())]);
    };
    tokio::join!(authorization_index.wait_for_pod(&uid), seeing);
    assert_eq!(began.elapsed(), Duration::from_millis(200));
    authorization_index.wait_for_pod("never-seen").await;
    assert!(began.elapsed() < Duration::from_secs(10));
}
