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

/// Writes a field; `-` is the place behind a list.
fn write(pod: &mut Value, pointer: &str, value: Value) {
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    match pod.pointer_mut(parent).unwrap() {
        Value::Array(list) if field == "-" => list.push(value),
        Value::Array(list) => list[field.parse::<usize>().unwrap()] = value,
        into => into[field] = value,
    }
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
            "/spec/containers/0/args/1",
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
        write(&mut pod, pointer, value);
        let refused = as_gateway(&with(pod)).await.unwrap_err();
        assert!(refused.contains(why), "{pointer}: {refused}");
    }
}

/// Owners can be written by hand: what keeps the keys is that nothing of such a pod shows them to its author.
#[tokio::test]
async fn a_hand_made_copy_that_shows_its_keys_to_anybody_gets_nothing() {
    const CONTAINER: &str = "/spec/containers/0";
    let arguments = |argument: &str| (format!("{CONTAINER}/args/-"), json!(argument));
    let field = |name: &str, value: Value| (format!("/spec/{name}"), value);
    let of_container = |name: &str, value: Value| (format!("{CONTAINER}/{name}"), value);
    let volume = |source: Value| {
        let mut volume = json!({"name": "x"});
        volume.as_object_mut().unwrap().extend(source.as_object().cloned().unwrap());
        ("/spec/volumes/-".to_owned(), volume)
    };
    let volume_as = |at: usize, value: Value| (format!("/spec/volumes/{at}"), value);
    let mount = |value: Value| (format!("{CONTAINER}/volumeMounts/-"), value);
    let env = |name: &str| (format!("{CONTAINER}/env/-"), json!({"name": name, "value": "x"}));
    let claim = json!({"persistentVolumeClaim": {"claimName": "mine"}});
    for changes in [
        // Where the configuration is kept, and what is there.
        vec![(
            format!("{CONTAINER}/args/5"),
            json!("--state-file=/var/lib/fairway/../../run/secrets/x/state"),
        )],
        vec![(format!("{CONTAINER}/args/5"), json!("--state-file=/var/run/secrets/x/state"))],
        vec![(format!("{CONTAINER}/args/2"), json!("--controller-roots=/var/run/fairway.dev/roots/../x"))],
        vec![(format!("{CONTAINER}/args/3"), json!("--token=/var/run/secrets/x/token"))],
        vec![arguments("--state-file=/var/lib/fairway/state")],
        vec![arguments("--admin-address=0.0.0.0:15000")],
        vec![arguments("--anything-new=1")],
        vec![volume(claim.clone()), mount(json!({"name": "x", "mountPath": "/var/run/secrets/x"}))],
        vec![volume(claim.clone())],
        vec![volume(json!({"hostPath": {"path": "/x"}}))],
        vec![volume(json!({"csi": {"driver": "x"}}))],
        vec![volume(json!({"ephemeral": {}}))],
        vec![volume(json!({"emptyDir": {}}))],
        vec![volume(json!({"nfs": {"server": "x", "path": "/"}}))],
        vec![volume(json!({"image": {"reference": "x"}}))],
        vec![volume(json!({"secret": {"secretName": "x"}}))],
        vec![volume(json!({"source-of-a-later-version": {}}))],
        vec![volume(json!({}))],
        vec![volume_as(0, json!({"name": "roots", "configMap": {"name": "mine"}}))],
        vec![volume_as(0, json!({"name": "roots", "projected": {}}))],
        vec![volume_as(1, json!({"name": "token", "projected": {"sources": [{"secret": {"name": "x"}}]}}))],
        vec![volume_as(2, json!({"name": "state", "persistentVolumeClaim": {"claimName": "mine"}}))],
        vec![volume_as(2, json!({"name": "state", "hostPath": {"path": "/x"}}))],
        vec![volume_as(2, json!({"name": "state", "emptyDir": {}, "hostPath": {"path": "/x"}}))],
        vec![volume_as(2, json!({"name": "state", "emptyDir": {"medium": "HugePages-2Mi"}}))],
        vec![volume_as(2, json!({"name": "state", "emptyDir": {"field-of-a-later-version": "x"}}))],
        vec![mount(json!({"name": "token", "mountPath": "/usr/local/bin"}))],
        vec![mount(json!({"name": "token", "mountPath": "/var/run/secrets/../../x"}))],
        vec![mount(json!({"name": "state", "mountPath": "/var/lib/fairway", "subPath": "x"}))],
        vec![mount(
            json!({"name": "state", "mountPath": "/var/lib/fairway", "mountPropagation": "Bidirectional"}),
        )],
        vec![of_container("volumeDevices", json!([{"name": "x", "devicePath": "/dev/x"}]))],
        // What the kubelet publishes in the status, and what runs beside the program.
        vec![of_container("terminationMessagePath", json!("/var/lib/fairway/state"))],
        vec![of_container("workingDir", json!("/var/lib/fairway"))],
        vec![of_container("stdin", json!(true))],
        vec![of_container("command", json!(["sh"]))],
        vec![of_container("lifecycle", json!({"preStop": {"exec": {"command": ["x"]}}}))],
        vec![of_container("livenessProbe", json!({"exec": {"command": ["x"]}}))],
        vec![of_container("resources", json!({"claims": [{"name": "x"}]}))],
        vec![of_container("field-of-a-later-version", json!("x"))],
        vec![("/spec/containers/-".to_owned(), json!({"name": "waypoint-2", "image": "fairway-waypoint:1"}))],
        vec![field("initContainers", json!([{"name": "x", "image": "fairway-waypoint:1"}]))],
        vec![field("shareProcessNamespace", json!(true))],
        vec![field("hostPID", json!(true))],
        // Where the program finds the controller, which gets its token.
        vec![field("hostnameOverride", json!("controller"))],
        vec![field("hostname", json!("controller"))],
        vec![field("subdomain", json!("x"))],
        vec![field("dnsPolicy", json!("Default"))],
        vec![field("dnsConfig", json!({"searches": ["evil"]}))],
        vec![field("enableServiceLinks", json!(true))],
        vec![field("enableServiceLinks", Value::Null)],
        vec![env("LOCALDOMAIN")],
        vec![env("HOSTALIASES")],
        vec![env("LD_PRELOAD")],
        vec![env("FAIRWAY_STATE_FILE")],
        vec![field("field-of-a-later-version", json!("x"))],
    ] {
        let mut pod = good();
        pod["metadata"]["ownerReferences"][0]["name"] = "public-fairway-evil".into();
        changes.iter().for_each(|(pointer, value)| write(&mut pod, pointer, value.clone()));
        let refused = as_gateway(&with(pod)).await.expect_err(&format!("{changes:?}"));
        assert!(refused.contains("which Fairway's proxies do not have"), "{changes:?}: {refused}");
    }
}

#[tokio::test]
async fn what_clouds_add_to_every_pod_turns_no_proxy_away() {
    let token = json!({"serviceAccountToken": {"audience": "sts.amazonaws.com", "path": "token"}});
    let mut pod = good();
    for (pointer, value) in [
        ("/spec/volumes/-", json!({"name": "aws", "projected": {"sources": [token], "defaultMode": 420}})),
        (
            "/spec/containers/0/volumeMounts/-",
            json!({"name": "aws", "mountPath": "/var/run/secrets/eks.amazonaws.com/serviceaccount", "readOnly": true}),
        ),
        ("/spec/containers/0/env/-", json!({"name": "AWS_ROLE_ARN", "value": "x"})),
        ("/spec/containers/0/resizePolicy", json!([{"resourceName": "cpu", "restartPolicy": "NotRequired"}])),
        ("/spec/readinessGates", json!([{"conditionType": "target-health.elbv2.k8s.aws/x"}])),
        ("/spec/runtimeClassName", json!("gvisor")),
        ("/spec/ephemeralContainers", json!([{"name": "debugger", "image": "busybox"}])),
    ] {
        write(&mut pod, pointer, value);
    }
    assert_eq!(as_gateway(&with(pod)).await, Ok(()));
}

#[tokio::test]
async fn a_proxy_whose_directory_is_limited_or_in_memory_is_one_of_ours() {
    for directory in [
        json!({}),
        json!({"sizeLimit": "64Mi"}),
        json!({"medium": ""}),
        json!({"medium": "Memory"}),
        json!({"medium": "Memory", "sizeLimit": "1Gi"}),
    ] {
        let mut pod = good();
        write(&mut pod, "/spec/volumes/2", json!({"name": "state", "emptyDir": directory}));
        assert_eq!(as_gateway(&with(pod)).await, Ok(()), "{directory}");
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
