//! Static pods: the kubelet runs them from files of its node, and makes an object of each, with another uid than the pod's.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::sync::Arc;

/// The annotation with the uid that the pod has on its node.
const UID: &str = "kubernetes.io/config.hash";
/// The annotation by which the object of a static pod is known.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// The uid that a static pod has on its node, as the kubelet says it. Whoever may make pods can write the same, so it proves nothing.
pub(super) fn node_uid(metadata: &ObjectMeta, node: Option<&str>) -> Option<Arc<str>> {
    let annotations = metadata.annotations.as_ref().filter(|it| it.contains_key(MIRROR))?;
    let is_of_node = metadata.owner_references.iter().flatten().any(|it| {
        it.controller == Some(true) && it.api_version == "v1" && it.kind == "Node" && Some(&*it.name) == node
    });
    let hash = annotations.get(UID).filter(|_| is_of_node)?;
    let is_digit = |it: u8| it.is_ascii_digit() || (b'a'..=b'f').contains(&it);
    (hash.len() == 32 && hash.bytes().all(is_digit)).then(|| hash.as_str().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const HASH: &str = "8a5edab282632443219e051e4ade2d1d";

    fn uid(metadata: Value) -> Option<Arc<str>> {
        node_uid(&serde_json::from_value(metadata).unwrap(), Some("n1"))
    }

    #[test]
    fn what_a_kubelet_makes_of_a_static_pod_says_its_uid_on_the_node_and_nothing_else_does() {
        let mirror = || {
            json!({
                "annotations": {"kubernetes.io/config.hash": HASH, "kubernetes.io/config.mirror": HASH},
                "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "n", "controller": true}],
            })
        };
        assert_eq!(uid(mirror()).as_deref(), Some(HASH));
        for (pointer, value) in [
            ("/annotations", json!({})),
            ("/annotations", json!({"kubernetes.io/config.hash": HASH})),
            ("/annotations/kubernetes.io~1config.hash", json!("0f4c6b2a-6a55-4a1e-9a0e-2c1f3b7a9d10")),
            ("/annotations/kubernetes.io~1config.hash", json!("../../8a5edab282632443219e051e4")),
            ("/annotations/kubernetes.io~1config.hash", json!("")),
            ("/ownerReferences", json!([])),
            ("/ownerReferences/0/controller", json!(false)),
            ("/ownerReferences/0/kind", json!("ReplicaSet")),
            ("/ownerReferences/0/name", json!("n2")),
        ] {
            let mut other = mirror();
            *other.pointer_mut(pointer).unwrap() = value;
            assert_eq!(uid(other.clone()), None, "{other}");
        }
    }
}
