//! What a policy is told, as the CRD has it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What became of a policy.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AuthenticationPolicyStatus {
    /// One for each target; at most 16.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub ancestors: Vec<AuthenticationPolicyAncestor>,
}

/// What became of a policy at one of its targets.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AuthenticationPolicyAncestor {
    /// The target, as it is written in the policy.
    pub ancestor_ref: AuthenticationPolicyAncestorRef,
    /// The controller that says so.
    pub controller_name: String,
    /// Accepted: the policy can be carried out as it is written; else its target is closed.
    /// fairway.dev/Enforced: the proxies that carry it out have acknowledged it.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

/// A target of a policy.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AuthenticationPolicyAncestorRef {
    /// The group of its kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Gateway, ListenerSet, HTTPRoute, GRPCRoute or Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The namespace of the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The name of the target.
    pub name: String,
    /// The part of it that the policy names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
}
