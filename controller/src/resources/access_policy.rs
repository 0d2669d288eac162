//! `AccessPolicy`: who may do what. The CRD in `charts/fairway-crds` is generated from this file; a test says when it has to be
//! again. What the fields mean is decided in `compile::policy::access`.
//!
//! A policy that cannot be read must not be as one that is not there: it is read as [`Reading`], which is never an error, and its
//! targets are closed.

mod reading;

pub use reading::Reading;
pub(in crate::resources) use reading::named;

pub use super::policy_status::{
    PolicyAncestor as AccessPolicyAncestor, PolicyAncestorRef as AccessPolicyAncestorRef,
    PolicyStatus as AccessPolicyStatus,
};

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
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
    printcolumn = r#"{"name": "Enforced", "type": "string", "jsonPath": ".status.ancestors[0].conditions[?(@.type==\"fairway.dev/Enforced\")].status"}"#,
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
    /// Lets in what a rule matches. The rest is refused unless another Allow of the level matches.
    Allow,
    /// Refuses what a rule matches, whatever an Allow says.
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

// The schema keeps unknown fields of rules. Where the API server took them away, a rule with a slip of the pen, or of a newer version,
// would match more than it was meant to; so the controller sees them, and closes.

/// A rule matches when one entry of `from` and one entry of `to` do. A list that is left out matches everything, an empty one
/// nothing.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
#[serde(rename_all = "camelCase")]
pub struct AccessRule {
    /// A name for metrics and logs; without it the rule is called by its place, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub name: Option<String>,
    /// Clients, of which one entry has to match; without it every client does.
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
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
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
    /// The whole identity of a client in the mesh, `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`.
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

/// A service account of the mesh's own trust domain.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccountName {
    /// Its namespace; without it that of the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// The name of the ServiceAccount object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// What is asked for. All of the fields have to hold; of the values of one field one, of headers all.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
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

/// A path, compared with that of a request without its query.
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
    /// The whole path: `/abc` does not match `/abc/d`.
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

#[cfg(test)]
mod tests {
    use super::*;
    use kube::CustomResourceExt;
    use serde_json::Value;

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
}
