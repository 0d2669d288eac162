//! `AccessPolicy`: who may do what. The CRD in `charts/fairway-crds` is generated from this file; a test says when it has to be
//! again. What the fields mean is decided in `compile::policy::access`.
//!
//! A policy that cannot be read must not be as one that is not there: it is read as [`Reading`], which is never an error, and its
//! targets are closed.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Who may do what.
///
/// Each level on the way of a request has to let it pass: Gateway and listener, route and rule, Service, pod. At a level that has
/// policies with action Allow one of them has to match. A policy with action Deny that matches refuses, whatever others say.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "fairway.dev",
    version = "v1alpha1",
    kind = "AccessPolicy",
    plural = "accesspolicies",
    shortname = "access",
    category = "fairway",
    category = "gateway-api",
    namespaced,
    status = "AccessPolicyStatus",
    derive = "PartialEq",
    label("gateway.networking.k8s.io/policy", "Inherited"),
    doc = "Who may do what. Each level on the way of a request has to let it pass: Gateway and listener, route and rule, Service, pod. At a level that has policies with action Allow one of them has to match. A policy with action Deny that matches refuses, whatever others say.",
    printcolumn = r#"{"name": "Action", "type": "string", "jsonPath": ".spec.action"}"#,
    printcolumn = r#"{"name": "Mode", "type": "string", "jsonPath": ".spec.mode"}"#,
    printcolumn = r#"{"name": "Target", "type": "string", "jsonPath": ".spec.targetRefs[0].kind"}"#,
    printcolumn = r#"{"name": "Accepted", "type": "string", "jsonPath": ".status.ancestors[0].conditions[?(@.type==\"Accepted\")].status"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct AccessPolicySpec {
    /// What the policy guards, in its own namespace.
    #[schemars(length(min = 1, max = 16))]
    pub target_refs: Vec<PolicyTarget>,
    /// Allow lets in what a rule matches, and refuses the rest at this level unless another Allow matches. Deny refuses what a
    /// rule matches.
    pub action: AccessAction,
    /// Observe decides, counts and logs, and lets pass. Without it Enforce.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<AccessMode>,
    /// The policy matches when one of these does. Without any it matches nothing, so an Allow without rules lets nobody in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub rules: Option<Vec<AccessRule>>,
}

/// What a policy does with what it matches.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessAction {
    /// Lets in.
    Allow,
    /// Refuses.
    Deny,
}

/// Whether a policy's decision counts.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccessMode {
    /// It is carried out.
    #[default]
    Enforce,
    /// It is counted and logged.
    Observe,
}

/// A Gateway, an HTTPRoute, a GRPCRoute or a Service by name, or pods by their labels.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.group == '' ? self.kind in ['Service', 'Pod'] : self.group == 'gateway.networking.k8s.io' && self.kind in ['Gateway', 'HTTPRoute', 'GRPCRoute']").message("a policy guards a Gateway, an HTTPRoute, a GRPCRoute, a Service, or pods"))]
#[x_kube(validation = Rule::new("self.kind == 'Pod' ? has(self.selector) && !has(self.name) && !has(self.sectionName) : has(self.name) && !has(self.selector)").message("pods are named by a selector, everything else by its name"))]
#[x_kube(validation = Rule::new("self.kind != 'Service' || !has(self.sectionName)").message("a policy guards all ports of a Service; name ports in its rules"))]
pub struct PolicyTarget {
    /// Empty for Services and pods, gateway.networking.k8s.io for the rest.
    #[schemars(length(max = 253))]
    pub group: String,
    /// Gateway, HTTPRoute, GRPCRoute, Service or Pod.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// The name of the object; pods have a selector instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,
    /// The listener of the Gateway, or the rule of the route, that is guarded; without it all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub section_name: Option<String>,
    /// The pods that are guarded; one without labels selects all pods of the namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<PodLabels>,
}

/// Pods by their labels.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PodLabels {
    /// Labels that a pod has to have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
}

/// A rule matches when one entry of `from` and one entry of `to` do. A list that is left out matches everything, an empty one
/// nothing.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AccessRule {
    /// A name for metrics and logs; without it the rule is called by its place, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub name: Option<String>,
    /// Who asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub from: Option<Vec<AccessSource>>,
    /// What is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub to: Option<Vec<AccessOperation>>,
}

/// Who asks. All of the fields have to hold; of the values of one field one.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.serviceAccounts) || has(self.namespaces) || has(self.spiffeIDs) || has(self.cidrs) || has(self.exceptCIDRs)").message("an entry needs a field; leave out the list to match everybody"))]
pub struct AccessSource {
    /// The service account of a client in the mesh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub service_accounts: Option<Vec<ServiceAccountName>>,
    /// The namespace of a client in the mesh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub namespaces: Option<Vec<String>>,
    /// The whole identity of a client in the mesh, spiffe://<trust domain>/ns/<namespace>/sa/<service account>.
    #[serde(default, rename = "spiffeIDs", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub spiffe_ids: Option<Vec<String>>,
    /// The address of the client is in one of these ranges. Not for Services: behind a waypoint that address is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 10000))]
    pub cidrs: Option<Vec<String>>,
    /// And in none of these.
    #[serde(default, rename = "exceptCIDRs", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 10000))]
    pub except_cidrs: Option<Vec<String>>,
}

/// A service account.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccountName {
    /// Its namespace; without it that of the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// What is asked for. All of the fields have to hold; of the values of one field one, of headers all.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.ports) || has(self.hosts) || has(self.methods) || has(self.paths) || has(self.grpc) || has(self.headers)").message("an entry needs a field; leave out the list to match everything"))]
pub struct AccessOperation {
    /// The port: of the listener, of the Service, or of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub ports: Option<Vec<u16>>,
    /// The host of the request, `*.` and a suffix for all below it. Not for pods, nor are the fields that follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub hosts: Option<Vec<String>>,
    /// The method of the request, with its case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub methods: Option<Vec<String>>,
    /// The path of the request, without the query. A Deny matches it as it is written and as lenient servers read it (`//`, `;x`,
    /// `%2F`), an Allow only in both ways.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub paths: Option<Vec<AccessPath>>,
    /// The method of gRPC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub grpc: Option<Vec<AccessGrpcMethod>>,
    /// Headers, each of which has to be there with its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub headers: Option<Vec<AccessHeader>>,
}

/// A path.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct AccessPath {
    /// How it is compared; without it PathPrefix.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<AccessPathType>,
    /// The path, or whole elements that it begins with.
    #[schemars(length(min = 1, max = 1024), regex(pattern = "^/"))]
    pub value: String,
}

/// How a path is compared.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccessPathType {
    /// The whole path.
    Exact,
    /// Whole elements of the path: `/abc` matches `/abc/d` and not `/abcd`.
    #[default]
    PathPrefix,
}

/// A method of gRPC; a part that is left out matches all.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.service) || has(self.method)").message("name a service, a method, or both"))]
pub struct AccessGrpcMethod {
    /// The full name of the service, package.Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub service: Option<String>,
    /// The name of the method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub method: Option<String>,
}

/// A header and its whole value.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AccessHeader {
    /// The name; case does not matter.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// The value, byte by byte.
    #[schemars(length(min = 1, max = 4096))]
    pub value: String,
}

/// What became of a policy.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AccessPolicyStatus {
    /// One for each target; at most 16.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub ancestors: Vec<AccessPolicyAncestor>,
}

/// What became of a policy at one of its targets.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AccessPolicyAncestor {
    /// The target. For pods it is their namespace.
    pub ancestor_ref: AccessPolicyAncestorRef,
    /// Who says so.
    pub controller_name: String,
    /// Accepted: the policy can be carried out as it is written; else its target is closed. Programmed: the proxies that serve the
    /// target have acknowledged it.
    #[serde(default)]
    pub conditions: Vec<k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition>,
}

/// A target of a policy.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AccessPolicyAncestorRef {
    /// The group of its kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Its kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// The part of it that the policy names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
}

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
        let spec = serde_path_to_error::deserialize::<_, AccessPolicySpec>(&written).map_err(|error| {
            Unreadable { field: error.path().to_string(), reason: error.inner().to_string() }
        });
        // A field that is passed over would make a rule wider than it was meant.
        let spec = spec.and_then(|spec| {
            let read = serde_json::to_value(&spec).unwrap_or_default();
            match unknown(&written, &read) {
                None => Ok(spec),
                Some(field) => Err(Unreadable { field, reason: "unknown field".to_owned() }),
            }
        });
        let targets = match &spec {
            Ok(spec) => spec.target_refs.clone(),
            Err(_) => targets(&written),
        };
        Ok(Self { targets, spec })
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
    use kube::CustomResourceExt;
    use serde_json::json;

    /// Where the chart has it.
    const CRD: &str =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/fairway-crds/files/fairway.dev_accesspolicies.yaml");
    /// Set it to write the file instead of comparing it.
    const WRITE: &str = "FAIRWAY_WRITE_CRDS";

    #[test]
    fn the_crd_of_the_chart_is_the_one_of_these_types() {
        let ours = serde_json::to_value(AccessPolicy::crd()).unwrap();
        if std::env::var_os(WRITE).is_some() {
            let note = "# Generated from controller/src/resources/access_policy.rs; do not edit.\n";
            std::fs::write(CRD, format!("{note}{}", serde_saphyr::to_string(&ours).unwrap())).unwrap();
        }
        let charts: Value = serde_saphyr::from_str(&std::fs::read_to_string(CRD).unwrap()).unwrap();
        assert_eq!(charts, ours, "run this test with {WRITE}=1, and commit what changes");
        assert_eq!(ours["metadata"]["labels"]["gateway.networking.k8s.io/policy"], "Inherited");
        assert!(ours["spec"]["versions"][0]["subresources"]["status"].is_object());
    }

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
