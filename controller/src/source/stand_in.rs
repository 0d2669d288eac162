//! What stands in for a policy that cannot be read, where no version of it ever could be.

use crate::diagnostic::Diagnostic;
use crate::resources::{BackendTlsPolicy, Kind, Object, ObjectRef};
use serde_json::{Value, json};
use std::sync::Arc;

/// A policy with the targets of one that cannot be read, as far as these can be. Compiling closes what it names: who writes a
/// BackendTLSPolicy wants nothing sent to its Services in the clear, whatever else is wrong with it.
#[derive(Debug)]
pub(super) struct StandIn(Arc<BackendTlsPolicy>);

impl StandIn {
    /// The one for a manifest; none for an object that closes nothing.
    pub(super) fn for_manifest(object: &ObjectRef, written: &Value) -> Option<Self> {
        if object.kind != Kind::BackendTlsPolicy {
            return None;
        }
        let target = |it: &Value| {
            let name = it["name"].as_str().filter(|it| !it.is_empty())?;
            Some(json!({ "group": "", "kind": "Service", "name": name }))
        };
        let targets: Vec<Value> =
            written["spec"]["targetRefs"].as_array()?.iter().filter_map(target).collect();
        let mut metadata = json!({ "namespace": object.namespace, "name": object.name });
        for (field, value) in written["metadata"].as_object().into_iter().flatten() {
            let is_kept = match field.as_str() {
                "uid" | "creationTimestamp" => value.is_string(),
                "generation" => value.is_i64(),
                _ => false,
            };
            if is_kept {
                metadata[field] = value.clone();
            }
        }
        let spec = json!({ "targetRefs": targets, "validation": { "hostname": "" } });
        let parsed = Object::parse(object.kind, json!({ "metadata": metadata, "spec": spec }));
        match parsed {
            Ok(Object::BackendTlsPolicy(it)) => Some(Self(it)),
            _ => None,
        }
    }

    /// The object, which says why the one that it stands for cannot be read.
    pub(super) fn because(mut self, error: &Diagnostic) -> Object {
        let why = match error.field.is_empty() {
            true => error.message.clone(),
            false => format!("{}: {}", error.field, error.message),
        };
        Arc::make_mut(&mut self.0).meta.unreadable = Some(why.into());
        Object::BackendTlsPolicy(self.0)
    }
}
