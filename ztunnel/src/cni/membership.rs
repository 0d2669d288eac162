//! Whether a pod is in the mesh, by the labels of the pod and its namespace. Pure. The controller uses the same rule.

use super::request::PodName;
use fairway_config::model::MESH_LABEL;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Annotation on the mirror pod of a static pod: the uid that the pod has on its node.
const STATIC_UID: &str = "kubernetes.io/config.hash";

/// The part of a Kubernetes object that is read.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Object {
    /// `metadata` of the object.
    #[serde(default)]
    pub metadata: Metadata,
}

/// The part of an object's metadata that is read.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Metadata {
    #[serde(default)]
    uid: String,
    /// The version of the object, from which on it can be watched.
    #[serde(default, rename = "resourceVersion")]
    pub version: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    /// Set while the object is being deleted.
    #[serde(default, rename = "deletionTimestamp")]
    pub deletion: Option<String>,
}

/// Whether the pods of a namespace are in the mesh, unless they opt out.
pub fn is_meshed(namespace: &Object) -> bool {
    namespace.metadata.labels.get(MESH_LABEL).is_some_and(|it| it == "enabled")
}

/// The uid of a pod in a meshed namespace. `None` if the pod has opted out. Fails if the API server has another pod of that name.
pub fn uid_if_meshed(pod: &Object, asked: &PodName) -> Result<Option<String>, String> {
    let Metadata { uid, labels, annotations, .. } = &pod.metadata;
    if let Some(wanted) = &asked.uid
        && wanted != uid
        && annotations.get(STATIC_UID) != Some(wanted)
    {
        return Err(format!(
            "the API server has another pod {}/{} (uid {uid}, not {wanted})",
            asked.namespace, asked.name
        ));
    }
    if labels.get(MESH_LABEL).is_some_and(|it| it == "disabled") {
        return Ok(None);
    }
    Ok(Some(uid.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(metadata: &str) -> Object {
        serde_json::from_str(&format!(r#"{{"kind":"PartialObjectMetadata","metadata":{{{metadata}}}}}"#))
            .unwrap()
    }

    #[test]
    fn labels_decide_whether_a_pod_is_in_the_mesh() {
        for (labels, meshed) in [
            ("", false),
            (r#""labels":{"fairway.dev/mesh":"enabled"}"#, true),
            (r#""labels":{"fairway.dev/mesh":"true"}"#, false),
            (r#""labels":{"mesh":"enabled"}"#, false),
        ] {
            assert_eq!(is_meshed(&object(labels)), meshed, "{labels}");
        }
        let asked = |uid: Option<&str>| PodName {
            namespace: "shop".into(),
            name: "web".into(),
            uid: uid.map(str::to_owned),
        };
        for (metadata, uid, expected) in [
            (r#""uid":"u-1""#, Some("u-1"), Ok(Some("u-1"))),
            (r#""uid":"u-1""#, None, Ok(Some("u-1"))),
            (r#""uid":"u-1","labels":{"fairway.dev/mesh":"disabled"}"#, Some("u-1"), Ok(None)),
            (r#""uid":"u-1","labels":{"fairway.dev/mesh":"enabled"}"#, Some("u-1"), Ok(Some("u-1"))),
            // A pod of a StatefulSet that was made anew under its name.
            (
                r#""uid":"u-2""#,
                Some("u-1"),
                Err("the API server has another pod shop/web (uid u-2, not u-1)"),
            ),
            // A static pod: what kubelet made of it in the API server has a uid of its own.
            (
                r#""uid":"u-2","annotations":{"kubernetes.io/config.hash":"u-1"}"#,
                Some("u-1"),
                Ok(Some("u-2")),
            ),
        ] {
            let found = uid_if_meshed(&object(metadata), &asked(uid));
            assert_eq!(found, expected.map(|it| it.map(str::to_owned)).map_err(str::to_owned), "{metadata}");
        }
    }
}
