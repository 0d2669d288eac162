//! A policy as far as it can be read.

use super::{AccessPolicySpec, PodLabels, PolicyTarget};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// The spec of a policy as far as it can be read. Reading never fails.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// What the policy guards.
    pub targets: Vec<PolicyTarget>,
    /// What it says, or why that cannot be understood: then its targets are closed.
    pub spec: Result<AccessPolicySpec, Unreadable>,
}

/// Why a policy cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The path of the field, within the spec.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
}

// === impl Reading ===

impl<'de> Deserialize<'de> for Reading {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Value::deserialize(deserializer)?;
        let spec = read::<AccessPolicySpec>(&written);
        let targets = match &spec {
            Ok(spec) => spec.target_refs.clone(),
            Err(_) => targets(&written),
        };
        Ok(Self { targets, spec })
    }
}

/// What was written, if all of it can be read. A field that is passed over would make a rule wider than it was meant.
pub(in crate::resources) fn read<S: Serialize + DeserializeOwned>(written: &Value) -> Result<S, Unreadable> {
    let spec: S = serde_path_to_error::deserialize(written)
        .map_err(|error| Unreadable { field: error.path().to_string(), reason: error.inner().to_string() })?;
    let read = serde_json::to_value(&spec).unwrap_or_default();
    match unknown(written, &read) {
        None => Ok(spec),
        Some(field) => Err(Unreadable { field, reason: "unknown field".to_owned() }),
    }
}

/// The path of the first field that was written and not read.
fn unknown(written: &Value, read: &Value) -> Option<String> {
    match (written, read) {
        (Value::Object(written), Value::Object(read)) => written.iter().find_map(|(name, value)| {
            let inner = match read.get(name) {
                Some(read) => unknown(value, read)?,
                None if value.is_null() || value.as_object().is_some_and(|it| it.is_empty()) => return None,
                None => return Some(name.clone()),
            };
            Some(if inner.starts_with('[') { format!("{name}{inner}") } else { format!("{name}.{inner}") })
        }),
        (Value::Array(written), Value::Array(read)) => {
            written.iter().zip(read).enumerate().find_map(|(index, (written, read))| {
                let inner = unknown(written, read)?;
                Some(format!("[{index}].{inner}"))
            })
        }
        _ => None,
    }
}

/// The targets of a policy that cannot be read, as far as they can. A part that cannot be read is left out, and the target is
/// the wider for it: what is closed is then more than was meant, never less.
fn targets(written: &Value) -> Vec<PolicyTarget> {
    let target = |it: &Value| {
        let text = |name: &str| it[name].as_str().filter(|it| !it.is_empty()).map(str::to_owned);
        let labels = it["selector"]["matchLabels"].as_object();
        let labels = labels.into_iter().flatten();
        let labels = labels.filter_map(|(key, it)| Some((key.clone(), it.as_str()?.to_owned()))).collect();
        Some(PolicyTarget {
            group: text("group").unwrap_or_default(),
            kind: text("kind")?,
            name: text("name"),
            section_name: text("sectionName"),
            selector: (it["kind"] == "Pod").then_some(PodLabels { match_labels: labels }),
        })
    };
    written["targetRefs"].as_array().into_iter().flatten().filter_map(target).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(spec: Value) -> Reading {
        serde_json::from_value(spec).unwrap()
    }

    #[test]
    fn what_is_not_understood_keeps_its_targets() {
        let target = json!({ "group": "", "kind": "Service", "name": "s" });
        let base = |more: Value| {
            let mut spec = json!({ "targetRefs": [target], "action": "Allow" });
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            read(spec)
        };
        assert!(base(json!({})).spec.is_ok());
        assert!(base(json!({ "rules": null })).spec.is_ok());
        for (more, field) in [
            (json!({ "action": "Audit" }), "action"),
            (json!({ "mode": "Shadow" }), "mode"),
            (json!({ "when": [] }), "when"),
            (json!({ "rules": [{ "from": [{ "claims": [] }] }] }), "rules[0].from[0].claims"),
            (json!({ "rules": [{ "to": [{ "ports": ["http"] }] }] }), "rules[0].to[0].ports[0]"),
            (
                json!({ "rules": [{ "to": [{ "paths": [{ "type": "RegularExpression", "value": "/" }] }] }] }),
                "rules[0].to[0].paths[0].type",
            ),
        ] {
            let reading = base(more.clone());
            assert_eq!(reading.spec.unwrap_err().field, field, "{more}");
            assert_eq!(reading.targets.len(), 1, "{more}");
        }
        let pods = read(json!({
            "targetRefs": [{ "group": "", "kind": "Pod", "selector": { "matchLabels": { "a": "b" }, "x": 1 } }], "action": "Deny"
        }));
        assert!(pods.spec.is_err());
        assert_eq!(pods.targets[0].selector.as_ref().unwrap().match_labels["a"], "b");
        assert!(read(json!("nonsense")).targets.is_empty());
    }
}
