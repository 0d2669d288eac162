//! Objects of kinds that Fairway knows and does not carry out: read so that they can be told so.

use super::object::InvalidObject;
use super::{Kind, Meta};
use fairway_config::model::ObjectName;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde_json::Value;

/// An object of a kind that is not carried out: who it is, and whom it is about.
#[derive(Clone, Debug, PartialEq)]
pub struct Unhandled {
    /// The kind, which Fairway reads and does not implement.
    pub kind: Kind,
    /// Name, namespace, labels, generation.
    pub meta: Meta,
    /// The Gateways that it names as its targets.
    pub gateways: Vec<ObjectName>,
}

// === impl Unhandled ===

impl Unhandled {
    /// Takes what is needed. What else it says is not looked at: it has no effect.
    pub(super) fn new(kind: Kind, manifest: Value) -> Result<Self, InvalidObject> {
        let metadata = manifest.get("metadata").cloned().unwrap_or_default();
        let metadata = ObjectMeta::deserialize(metadata)
            .map_err(|error| InvalidObject { field: "metadata".to_owned(), reason: error.to_string() })?;
        let meta = Meta::without_labels(metadata, kind.is_namespaced());
        let targets = manifest.pointer("/spec/targetRefs").and_then(Value::as_array);
        let gateway = |it: &Value| {
            let is_gateway = it["group"] == fairway_gateway_api::GROUP && it["kind"] == "Gateway";
            let name = it["name"].as_str().filter(|_| is_gateway)?;
            Some(ObjectName::new(meta.namespace.clone(), name))
        };
        let gateways = targets.into_iter().flatten().filter_map(gateway).collect();
        Ok(Self { kind, meta, gateways })
    }
}
