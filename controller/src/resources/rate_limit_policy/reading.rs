//! A policy as far as it can be read.

use super::{LimitMode, LimitTarget, RateLimitPolicySpec};
use crate::resources::access_policy::named;
use crate::resources::unreadable::{Unreadable, read};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// The spec of a policy as far as it can be read. Reading never fails.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// What the policy limits.
    pub targets: Vec<LimitTarget>,
    /// Whether its decision counts, as far as that can be read.
    pub mode: LimitMode,
    /// What it says, or why that cannot be understood: then its targets are closed.
    pub spec: Result<RateLimitPolicySpec, Unreadable>,
}

// === impl Reading ===

impl<'de> Deserialize<'de> for Reading {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Value::deserialize(deserializer)?;
        let spec = read::<RateLimitPolicySpec>(&written);
        let (targets, mode) = match &spec {
            Ok(spec) => (spec.target_refs.clone(), spec.mode.unwrap_or_default()),
            Err(_) => (targets(&written), LimitMode::deserialize(&written["mode"]).unwrap_or_default()),
        };
        Ok(Self { targets, mode, spec })
    }
}

/// The targets of a policy that cannot be read, as far as they can. A section that cannot be read is left out, and the target is the
/// wider for it: what is closed is then more than was meant, never less.
fn targets(written: &Value) -> Vec<LimitTarget> {
    let target = |it: &Value| {
        let text = |name: &str| it[name].as_str().filter(|it| !it.is_empty()).map(str::to_owned);
        let (group, kind) = named(text("group"), text("kind")?);
        Some(LimitTarget { group, kind, name: text("name")?, section_name: text("sectionName") })
    };
    written["targetRefs"].as_array().into_iter().flatten().filter_map(target).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_not_understood_keeps_its_targets() {
        let target = json!({ "group": "", "kind": "Service", "name": "s" });
        let base = |local: Value, more: Value| -> Reading {
            let mut spec = json!({ "targetRefs": [target], "local": local });
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            serde_json::from_value(spec).unwrap()
        };
        let limit = json!([{ "requests": 1, "per": "Second" }]);
        assert!(base(limit.clone(), json!({})).spec.is_ok());
        for (local, more, field) in [
            (limit.clone(), json!({ "mode": "Shadow" }), "mode"),
            (limit.clone(), json!({ "global": { "domain": "shop" } }), "global"),
            (limit, json!({ "local": null }), "local"),
            (json!([{ "requests": -1, "per": "Second" }]), json!({}), "local[0].requests"),
            (json!([{ "requests": 1, "per": "Year" }]), json!({}), "local[0].per"),
            (json!([{ "requests": 1, "per": "Second", "cost": 2 }]), json!({}), "local[0].cost"),
            // Nothing behind the colon: it does not mean that all are counted together.
            (json!([{ "requests": 1, "per": "Second", "key": null }]), json!({}), "local[0].key"),
            (
                json!([{ "requests": 1, "per": "Second", "key": [{ "type": "Claim" }] }]),
                json!({}),
                "local[0].key[0].type",
            ),
            (
                json!([{ "requests": 1, "per": "Second", "matches": [{ "queryParams": [] }] }]),
                json!({}),
                "local[0].matches[0].queryParams",
            ),
        ] {
            let reading = base(local.clone(), more.clone());
            assert_eq!(reading.spec.unwrap_err().field, field, "{local} {more}");
            assert_eq!(reading.targets.len(), 1, "{local} {more}");
        }
        // What only observes closes nothing, if that much can be read.
        assert_eq!(base(json!(7), json!({ "mode": "Observe" })).mode, LimitMode::Observe);
        assert_eq!(base(json!(7), json!({ "mode": "observe" })).mode, LimitMode::Enforce);
        // A slip in group or kind does not open what is meant.
        let slip: Reading =
            serde_json::from_value(json!({ "targetRefs": [{ "kind": "HttpRoute", "name": "a" }] })).unwrap();
        assert_eq!(
            (&*slip.targets[0].group, &*slip.targets[0].kind),
            ("gateway.networking.k8s.io", "HTTPRoute")
        );
        let nonsense: Reading = serde_json::from_value(json!("nonsense")).unwrap();
        assert!(nonsense.targets.is_empty());
    }
}
