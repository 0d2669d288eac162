//! What is known of an object that is there.

use super::manifest::{ManifestKey, ManifestKind};
use super::metadata::{GATEWAY, MANAGED_BY, MANAGER};
use fairway_config::model::ObjectName;
use serde_json::Value;
use std::sync::Arc;

/// Who has our fields, in server-side apply.
pub const FIELD_MANAGER: &str = "fairway.dev/controller";

/// An object that is there.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Live {
    pub uid: Arc<str>,
    pub version: Arc<str>,
    /// Whether it is on its way out.
    pub ending: bool,
    /// The Gateway it was made for; none when it is not ours.
    pub gateway: Option<ObjectName>,
    /// Whether nobody but us says how many pods run: if we stop saying it, it is one.
    pub only_we_say_replicas: bool,
    /// Everything else of it.
    pub fields: Value,
}

// === impl Live ===

impl Live {
    /// Takes an object as the API server has it.
    pub fn read(kind: ManifestKind, mut object: Value) -> Option<(ManifestKey, Self)> {
        let metadata = object.get("metadata")?;
        let text = |name: &str| metadata.get(name).and_then(Value::as_str).unwrap_or_default();
        let key = ManifestKey { kind, namespace: text("namespace").into(), name: text("name").into() };
        if key.name.is_empty() {
            return None;
        }
        let (uid, version) = (text("uid").into(), text("resourceVersion").into());
        let ending = metadata.get("deletionTimestamp").is_some_and(|it| !it.is_null());
        let gateway = made_for(metadata).map(|name| ObjectName::new(key.namespace.clone(), name));
        let only_we_say_replicas = only_we_say_replicas(metadata);
        // Nothing of ours is in there, and together they are the larger part.
        object.as_object_mut()?.remove("status");
        object.get_mut("metadata")?.as_object_mut()?.remove("managedFields");
        Some((key, Self { uid, version, ending, gateway, only_we_say_replicas, fields: object }))
    }

    /// Whether `other` is the same object at a later time.
    pub fn is_before(&self, other: &Self) -> bool {
        let number = |it: &Self| it.version.parse::<u128>().ok();
        self.uid == other.uid
            && matches!((number(self), number(other)), (Some(ours), Some(theirs)) if ours < theirs)
    }
}

fn managers(metadata: &Value) -> &[Value] {
    metadata["managedFields"].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn only_we_say_replicas(metadata: &Value) -> bool {
    let mut says = managers(metadata).iter().filter(|it| !it["fieldsV1"]["f:spec"]["f:replicas"].is_null());
    matches!((says.next(), says.next()), (Some(it), None) if it["manager"] == FIELD_MANAGER)
}

/// The name of the Gateway for which we made an object: by its label and annotation, which others may copy, and because
/// we have fields of it.
fn made_for(metadata: &Value) -> Option<&str> {
    let has_our_fields = managers(metadata).iter().any(|it| it["manager"] == FIELD_MANAGER);
    let is_ours = has_our_fields && metadata["labels"][MANAGED_BY] == MANAGER;
    metadata["annotations"][GATEWAY].as_str().filter(|_| is_ours)
}
