//! What a policy is told, as the CRD has it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What became of a policy.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ClientPolicyStatus {
    /// One for each target; at most 16.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub ancestors: Vec<ClientPolicyAncestor>,
}

/// What became of a policy at one of its targets.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ClientPolicyAncestor {
    /// The target, as the policy names it.
    pub ancestor_ref: ClientPolicyAncestorRef,
    /// The controller that says so.
    pub controller_name: String,
    /// Accepted: the policy is carried out at the target. fairway.dev/Enforced: the proxies have acknowledged it.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

/// A target of a policy.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ClientPolicyAncestorRef {
    /// The group of its kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The kind of the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The namespace of the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The name of the object.
    pub name: String,
    /// The listener that the policy names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
}
