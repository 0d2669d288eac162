//! A policy as far as it can be read.

use super::{AccessMode, AccessPolicySpec, PodLabels, PolicyTarget};
use crate::resources::Kind;
use crate::resources::unreadable::{Unreadable, read};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// The spec of a policy as far as it can be read. Reading never fails.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// What the policy guards.
    pub targets: Vec<PolicyTarget>,
    /// Whether its decision counts, as far as that can be read.
    pub mode: AccessMode,
    /// What it says, or why that cannot be understood: then its targets are closed.
    pub spec: Result<AccessPolicySpec, Unreadable>,
}

// === impl Reading ===

impl<'de> Deserialize<'de> for Reading {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Value::deserialize(deserializer)?;
        let spec = read::<AccessPolicySpec>(&written);
        let (targets, mode) = match &spec {
            Ok(spec) => (spec.target_refs.clone(), spec.mode.unwrap_or_default()),
            Err(_) => (targets(&written), AccessMode::deserialize(&written["mode"]).unwrap_or_default()),
        };
        Ok(Self { targets, mode, spec })
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
        let (group, kind) = named(text("group"), text("kind")?);
        Some(PolicyTarget {
            group,
            kind,
            name: text("name"),
            section_name: text("sectionName"),
            selector: it["name"].is_null().then_some(PodLabels { match_labels: labels }),
        })
    };
    written["targetRefs"].as_array().into_iter().flatten().filter_map(target).collect()
}

/// The group and the kind that are meant: one that is written without its group, or in other letters, is meant all the same.
pub(in crate::resources) fn named(group: Option<String>, kind: String) -> (String, String) {
    let group = group.unwrap_or_default();
    if Kind::named(&group, &kind).is_some() {
        return (group, kind);
    }
    match Kind::ALL.into_iter().find(|it| it.as_str().eq_ignore_ascii_case(&kind)) {
        Some(meant) => (meant.group().to_owned(), meant.as_str().to_owned()),
        None => (group, kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn reading(spec: Value) -> Reading {
        serde_json::from_value(spec).unwrap()
    }

    #[test]
    fn what_is_not_understood_keeps_its_targets() {
        let target = json!({ "group": "", "kind": "Service", "name": "s" });
        let base = |more: Value| {
            let mut spec = json!({ "targetRefs": [target], "action": "Allow" });
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            reading(spec)
        };
        assert!(base(json!({})).spec.is_ok());
        assert!(base(json!({ "rules": null })).spec.is_ok());
        for (more, field) in [
            (json!({ "action": "Audit" }), "action"),
            (json!({ "mode": "Shadow" }), "mode"),
            (json!({ "when": [] }), "when"),
            (json!({ "when": {} }), "when"),
            // Nothing behind the colon: it does not mean everybody.
            (json!({ "rules": [{ "from": null }] }), "rules[0].from"),
            (
                json!({ "rules": [{ "from": [{ "namespaces": null, "cidrs": ["10.0.0.0/8"] }] }] }),
                "rules[0].from[0].namespaces",
            ),
            (json!({ "rules": [{ "form": {} }] }), "rules[0].form"),
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
        let pods = reading(json!({
            "targetRefs": [{ "group": "", "kind": "Pod", "selector": { "matchLabels": { "a": "b" }, "x": 1 } }], "action": "Deny"
        }));
        assert!(pods.spec.is_err());
        assert_eq!(pods.targets[0].selector.as_ref().unwrap().match_labels["a"], "b");
        assert!(reading(json!("nonsense")).targets.is_empty());
        // A slip in group or kind does not open what is meant.
        for (kind, meant) in [
            ("Gateway", ("gateway.networking.k8s.io", "Gateway")),
            ("HttpRoute", ("gateway.networking.k8s.io", "HTTPRoute")),
            ("service", ("", "Service")),
            ("pod", ("", "Pod")),
            ("Moon", ("", "Moon")),
        ] {
            let target = &reading(json!({ "targetRefs": [{ "kind": kind, "name": "a" }], "action": "Deny" }))
                .targets[0];
            assert_eq!((target.group.as_str(), target.kind.as_str()), meant, "{kind}");
        }
        // What only observes closes nothing, if that much can be read.
        assert_eq!(base(json!({ "mode": "Observe", "when": [] })).mode, AccessMode::Observe);
        assert_eq!(base(json!({ "mode": "observe" })).mode, AccessMode::Enforce);
    }
}
