//! Whether a pod is in the mesh, by its and its namespace's labels. Pure. The controller decides by the same rule.

use super::request::PodName;
use fairway_config::model::MESH_LABEL;
use serde::Deserialize;
use std::collections::BTreeMap;

/// On the API server's picture of a static pod: the uid the pod has on its node.
const STATIC_UID: &str = "kubernetes.io/config.hash";

/// An object as far as it matters.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Object {
    /// Its metadata.
    #[serde(default)]
    pub metadata: Metadata,
}

/// Metadata as far as they matter.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Metadata {
    #[serde(default)]
    uid: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    /// Set while it is being deleted.
    #[serde(default, rename = "deletionTimestamp")]
    pub deletion: Option<String>,
}

/// Whether the pods of a namespace are in the mesh, unless they say otherwise.
pub fn is_meshed(namespace: &Object) -> bool {
    namespace.metadata.labels.get(MESH_LABEL).is_some_and(|it| it == "enabled")
}

/// The uid of a pod that is in the mesh of its namespace; none if it is not. Errs if it is another pod than the one
/// that was asked about.
pub fn captured(pod: &Object, asked: &PodName) -> Result<Option<String>, String> {
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
    fn labels_say_whether_a_pod_is_in() {
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
            let found = captured(&object(metadata), &asked(uid));
            assert_eq!(found, expected.map(|it| it.map(str::to_owned)).map_err(str::to_owned), "{metadata}");
        }
    }
}
