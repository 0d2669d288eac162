//! What a policy of ours is told, as the CRDs have it: the same for all of them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What became of a policy.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// One for each target; at most 16.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub ancestors: Vec<PolicyAncestor>,
}

/// What became of a policy at one of its targets.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PolicyAncestor {
    /// The target. For pods it is their namespace.
    pub ancestor_ref: PolicyAncestorRef,
    /// The controller that wrote the entry, such as fairway.dev/controller.
    pub controller_name: String,
    /// Accepted: the policy can be carried out as it is written; else its target is closed. fairway.dev/Enforced: the proxies that
    /// carry it out have acknowledged it.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

/// A target of a policy.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PolicyAncestorRef {
    /// The group of its kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The kind of the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The namespace of the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The name of the target.
    pub name: String,
    /// The part of it that the policy names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
}
