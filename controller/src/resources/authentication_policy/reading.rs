//! A policy as far as it can be read.

use super::{AuthenticationMode, AuthenticationPolicySpec, AuthenticationTarget};
use crate::resources::access_policy::named;
use crate::resources::unreadable::{Unreadable, read};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// The spec of a policy as far as it can be read. Reading never fails.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Where clients are asked.
    pub targets: Vec<AuthenticationTarget>,
    /// Whether its decision counts, as far as that can be read.
    pub mode: AuthenticationMode,
    /// What it says, or why that cannot be understood: then its targets are closed.
    pub spec: Result<AuthenticationPolicySpec, Unreadable>,
}

// === impl Reading ===

impl<'de> Deserialize<'de> for Reading {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Value::deserialize(deserializer)?;
        let spec = read::<AuthenticationPolicySpec>(&written);
        let (targets, mode) = match &spec {
            Ok(spec) => (spec.target_refs.clone(), spec.mode.unwrap_or_default()),
            Err(_) => {
                (targets(&written), AuthenticationMode::deserialize(&written["mode"]).unwrap_or_default())
            }
        };
        Ok(Self { targets, mode, spec })
    }
}

/// The targets of a policy that cannot be read, as far as they can. A section that cannot be read is left out, and the target is the
/// wider for it: what is closed is then more than was meant, never less.
fn targets(written: &Value) -> Vec<AuthenticationTarget> {
    let target = |it: &Value| {
        let text = |name: &str| it[name].as_str().filter(|it| !it.is_empty()).map(str::to_owned);
        let (group, kind) = named(text("group"), text("kind")?);
        Some(AuthenticationTarget { group, kind, name: text("name")?, section_name: text("sectionName") })
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
        let base = |more: Value| -> Reading {
            let mut spec = json!({ "targetRefs": [target] });
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            serde_json::from_value(spec).unwrap()
        };
        let keys = |more: Value| {
            let mut keys = json!({ "credentialRefs": [{ "name": "keys" }] });
            keys.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({ "apiKey": keys })
        };
        assert!(base(keys(json!({}))).spec.is_ok());
        for (more, field) in [
            (json!({ "mode": "Shadow" }), "mode"),
            (json!({ "oidc": {} }), "oidc"),
            (json!({ "optional": "yes" }), "optional"),
            (keys(json!({ "credentialRefs": null })), "apiKey.credentialRefs"),
            (keys(json!({ "sanitize": true })), "apiKey.sanitize"),
            (keys(json!({ "extractFrom": [{ "type": "Body", "name": "a" }] })), "apiKey.extractFrom[0].type"),
            // Nothing behind the colon: it does not mean the header that is looked at without it.
            (keys(json!({ "extractFrom": null })), "apiKey.extractFrom"),
        ] {
            let reading = base(more.clone());
            assert_eq!(reading.spec.unwrap_err().field, field, "{more}");
            assert_eq!(reading.targets.len(), 1, "{more}");
        }
        // What only observes closes nothing, if that much can be read.
        assert_eq!(base(json!({ "apiKey": 7, "mode": "Observe" })).mode, AuthenticationMode::Observe);
        assert_eq!(base(json!({ "apiKey": 7, "mode": "observe" })).mode, AuthenticationMode::Enforce);
        // A slip in group or kind does not open what is meant.
        let slip: Reading =
            serde_json::from_value(json!({ "targetRefs": [{ "kind": "HttpRoute", "name": "a" }] })).unwrap();
        assert_eq!(
            (&*slip.targets[0].group, &*slip.targets[0].kind),
            ("gateway.networking.k8s.io", "HTTPRoute")
        );
        let nonsense: Reading = serde_json::from_value(json!("nonsense")).unwrap();
        assert!(nonsense.targets.is_empty() && nonsense.spec.is_err());
    }
}
