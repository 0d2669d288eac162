//! `RateLimitPolicy`: how often requests may come. The CRD in `charts/fairway-crds` is generated from this file; a test says when it
//! has to be again. What the fields mean is decided in `compile::policy::limit`.
//!
//! Like an AccessPolicy it is read as [`Reading`], which is never an error: what cannot be read closes its targets.

mod reading;

pub use reading::Reading;

pub use super::policy_status::PolicyStatus as RateLimitPolicyStatus;

use super::access_policy::AccessOperation;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How often requests may come.
///
/// Every limit on the way of a request counts it: Gateway and listener, route and rule, Service. No level widens what another
/// limits. Each replica of a proxy counts by itself.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "fairway.dev",
    version = "v1alpha1",
    kind = "RateLimitPolicy",
    plural = "ratelimitpolicies",
    shortname = "ratelimit",
    category = "fairway",
    category = "gateway-api",
    namespaced,
    status = "RateLimitPolicyStatus",
    derive = "PartialEq",
    label("gateway.networking.k8s.io/policy", "Inherited"),
    doc = "How often requests may come. Every limit on the way of a request counts it: Gateway and listener, route and rule, Service. No level widens what another limits. Each replica of a proxy counts by itself.",
    printcolumn = r#"{"name": "Mode", "type": "string", "jsonPath": ".spec.mode"}"#,
    printcolumn = r#"{"name": "Target", "type": "string", "jsonPath": ".spec.targetRefs[0].kind"}"#,
    printcolumn = r#"{"name": "Requests", "type": "integer", "jsonPath": ".spec.local[0].requests"}"#,
    printcolumn = r#"{"name": "Per", "type": "string", "jsonPath": ".spec.local[0].per"}"#,
    printcolumn = r#"{"name": "Accepted", "type": "string", "jsonPath": ".status.ancestors[0].conditions[?(@.type==\"Accepted\")].status"}"#,
    printcolumn = r#"{"name": "Enforced", "type": "string", "jsonPath": ".status.ancestors[0].conditions[?(@.type==\"fairway.dev/Enforced\")].status"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.local.all(one, !has(one.name) || self.local.exists_one(other, has(other.name) && other.name == one.name))").message("two limits have one name"))]
pub struct RateLimitPolicySpec {
    /// What the policy limits, in its own namespace. It counts at each target by itself.
    #[schemars(length(min = 1, max = 16))]
    pub target_refs: Vec<LimitTarget>,
    /// Observe decides, counts and logs, and lets pass. Without it Enforce.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<LimitMode>,
    /// Limits that each replica of a proxy counts by itself. Every one of them counts.
    #[schemars(length(min = 1, max = 16))]
    pub local: Vec<LocalLimit>,
}

/// Whether a policy's decision counts.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LimitMode {
    /// It is carried out.
    #[default]
    Enforce,
    /// It is counted and logged.
    Observe,
}

/// A Gateway, a ListenerSet, an HTTPRoute, a GRPCRoute or a Service.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.group == '' ? self.kind == 'Service' : self.group == 'gateway.networking.k8s.io' && self.kind in ['Gateway', 'ListenerSet', 'HTTPRoute', 'GRPCRoute']").message("a policy limits a Gateway, a ListenerSet, an HTTPRoute, a GRPCRoute or a Service"))]
#[x_kube(validation = Rule::new("self.kind != 'Service' || !has(self.sectionName)").message("a policy limits all ports of a Service; name ports in matches"))]
pub struct LimitTarget {
    /// Empty for Services, gateway.networking.k8s.io for the rest.
    #[schemars(length(max = 253))]
    pub group: String,
    /// Gateway, ListenerSet, HTTPRoute, GRPCRoute or Service.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// The name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The listener of the Gateway or the ListenerSet, or the rule of the route, that is limited; without it all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub section_name: Option<String>,
}

// The schema keeps unknown fields of limits. Where the API server took them away, a limit with a slip of the pen, or of a newer version,
// would count less than it was meant to; so the controller sees them, and closes.

/// So many requests pass in a time, evenly spread, and so many at once. What is beyond is answered with 429, a call of gRPC with
/// RESOURCE_EXHAUSTED.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
#[serde(rename_all = "camelCase")]
pub struct LocalLimit {
    /// A name for metrics and logs; without it the limit is called by its place, from 0. One with a name goes on counting where others
    /// are added or taken away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub name: Option<String>,
    /// As many requests pass in the time `per`, at each replica of the proxy.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests: u32,
    /// The time in which they pass.
    pub per: LimitUnit,
    /// As many pass at once after a silence. Without it as many as `requests`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub burst: Option<u32>,
    /// What tells clients apart that are counted each by itself. Clients that do not have it are counted as one. Without it all are
    /// counted together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4))]
    pub key: Option<Vec<LimitKey>>,
    /// What is counted: requests that one of the entries matches. Without it all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub matches: Option<Vec<AccessOperation>>,
}

/// The time in which requests pass.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitUnit {
    /// A second, evenly spread.
    Second,
    /// A minute of 60 seconds.
    Minute,
    /// An hour of 60 minutes.
    Hour,
    /// A day of 24 hours.
    Day,
}

/// Something that tells clients apart.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.type == 'Header' ? has(self.name) : !has(self.name)").message("a header has a name, nothing else has one"))]
pub struct LimitKey {
    /// ClientAddress, Identity or Header.
    #[serde(rename = "type")]
    pub kind: LimitKeyType,
    /// The name of the header. Clients choose what they send: name one that is set or checked before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub name: Option<String>,
}

/// What tells clients apart.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitKeyType {
    /// The address of the client; of IPv6 the first 64 bits. Not for Services: behind a waypoint that address is not known.
    ClientAddress,
    /// The identity of a client in the mesh.
    Identity,
    /// The value of a header.
    Header,
}

// === impl LimitUnit ===

impl LimitUnit {
    /// How long it is.
    pub fn duration(self) -> Duration {
        Duration::from_secs(match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 60 * 60,
            Self::Day => 24 * 60 * 60,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::CustomResourceExt;
    use serde_json::Value;

    /// Where the chart has it.
    const CRD: &str = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../charts/fairway-crds/files/fairway.dev_ratelimitpolicies.yaml"
    );
    /// Set it to write the file instead of comparing it.
    const WRITE: &str = "FAIRWAY_WRITE_CRDS";

    #[test]
    fn the_crd_of_the_chart_is_the_one_of_these_types() {
        let ours = serde_json::to_value(RateLimitPolicy::crd()).unwrap();
        if std::env::var_os(WRITE).is_some() {
            let note = "# Generated from controller/src/resources/rate_limit_policy.rs; do not edit.\n";
            std::fs::write(CRD, format!("{note}{}", serde_saphyr::to_string(&ours).unwrap())).unwrap();
        }
        let charts: Value = serde_saphyr::from_str(&std::fs::read_to_string(CRD).unwrap()).unwrap();
        assert_eq!(charts, ours, "run this test with {WRITE}=1, and commit what changes");
        assert_eq!(ours["metadata"]["labels"]["gateway.networking.k8s.io/policy"], "Inherited");
        assert!(ours["spec"]["versions"][0]["subresources"]["status"].is_object());
    }
    #[test]
    fn the_page_has_every_field_of_the_crd_and_no_other() {
        let page = include_str!("../../../docs/rate-limit-policy.md");
        let fields = page.split("## Fields").nth(1).unwrap().split("\n## ").next().unwrap();
        let crd = serde_json::to_value(RateLimitPolicy::crd()).unwrap();
        let spec =
            &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
        let names = |it: &Value| it["properties"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        let own = spec.as_object().unwrap().keys().cloned();
        let written: Vec<String> =
            own.chain(names(&spec["local"]["items"])).chain(names(&spec["targetRefs"]["items"])).collect();
        for name in &written {
            assert!(fields.contains(&format!("`{name}")), "{name} is not on the page");
        }
        for row in fields.lines().filter(|it| it.starts_with("| `")) {
            let cell = row.split('|').nth(1).unwrap();
            let named = cell.split('`').skip(1).step_by(2);
            for name in named.map(|it| it.split(['[', '.', ':']).next().unwrap()) {
                assert!(written.iter().any(|it| it == name), "{name} is on the page and in no CRD");
            }
        }
    }
}
