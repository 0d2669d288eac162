//! What stands in for a policy that cannot be read, where no version of it ever could be.

use crate::diagnostic::Diagnostic;
use crate::resources::{Kind, Object, ObjectRef};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// A policy with the targets of one that cannot be read, as far as these can be. Compiling closes what it names.
#[derive(Debug)]
pub(super) struct StandIn(Object);

impl StandIn {
    /// The one for a manifest; none for an object that closes nothing.
    pub(super) fn for_manifest(object: &ObjectRef, written: &Value) -> Option<Self> {
        let targets = &written["spec"]["targetRefs"];
        let spec = match object.kind {
            // Who writes one wants nothing sent to its Services in the clear, whatever else is wrong with it.
            Kind::BackendTlsPolicy => {
                json!({ "targetRefs": services(targets)?, "validation": { "hostname": "" } })
            }
            _ => return None,
        };
        let manifest = json!({ "metadata": metadata(object, &written["metadata"]), "spec": spec });
        Object::parse(object.kind, manifest).ok().map(Self)
    }

    /// The object, which says why the one that it stands for cannot be read.
    pub(super) fn because(mut self, error: &Diagnostic) -> Object {
        let why = match error.field.is_empty() {
            true => error.message.clone(),
            false => format!("{}: {}", error.field, error.message),
        };
        if let Object::BackendTlsPolicy(it) = &mut self.0 {
            Arc::make_mut(it).meta.unreadable = Some(why.into());
        }
        self.0
    }
}

/// Targets as whole Services, by the names that can be read.
fn services(targets: &Value) -> Option<Vec<Value>> {
    let target = |it: &Value| {
        let name = it["name"].as_str().filter(|it| !it.is_empty())?;
        Some(json!({ "group": "", "kind": "Service", "name": name }))
    };
    Some(targets.as_array()?.iter().filter_map(target).collect())
}

/// Of the metadata what conditions and the order of policies go by, as far as it can be read.
fn metadata(object: &ObjectRef, written: &Value) -> Map<String, Value> {
    let mut kept = Map::new();
    kept.insert("namespace".to_owned(), json!(object.namespace));
    kept.insert("name".to_owned(), json!(object.name));
    for (field, is_kept) in [
        ("uid", written["uid"].is_string()),
        ("creationTimestamp", written["creationTimestamp"].is_string()),
        ("generation", written["generation"].is_i64()),
    ] {
        if is_kept {
            kept.insert(field.to_owned(), written[field].clone());
        }
    }
    kept
}
