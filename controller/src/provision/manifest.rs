//! An object as it is to be.

use fairway_config::model::ObjectName;
use k8s_openapi::Resource;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::{ApiResource, GroupVersionKind};
use serde::Serialize;
use serde_json::Value;
use std::fmt;
use std::sync::Arc;

/// The kinds of objects that are made for a proxy, in the order in which they are applied: what a pod needs before the
/// pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ManifestKind {
    /// Gateway: a waypoint that nobody wrote
    Gateway,
    ServiceAccount,
    ConfigMap,
    Service,
    Deployment,
    PodDisruptionBudget,
    HorizontalPodAutoscaler,
}

/// Names an object that is made for a proxy.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ManifestKey {
    pub kind: ManifestKind,
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

/// An object as it is to be: the fields that are ours, for server-side apply.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    pub key: ManifestKey,
    /// The Gateway it is made for.
    pub gateway: ObjectName,
    /// The uid of the Gateway object; none when no object stands behind it.
    pub owner: Option<Arc<str>>,
    pub fields: Value,
}

// === impl ManifestKind ===

impl ManifestKind {
    pub const ALL: [Self; 7] = [
        Self::Gateway,
        Self::ServiceAccount,
        Self::ConfigMap,
        Self::Service,
        Self::Deployment,
        Self::PodDisruptionBudget,
        Self::HorizontalPodAutoscaler,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "Gateway",
            Self::ServiceAccount => ServiceAccount::KIND,
            Self::ConfigMap => ConfigMap::KIND,
            Self::Service => Service::KIND,
            Self::Deployment => Deployment::KIND,
            Self::PodDisruptionBudget => PodDisruptionBudget::KIND,
            Self::HorizontalPodAutoscaler => HorizontalPodAutoscaler::KIND,
        }
    }

    /// Where the API server has it.
    pub fn api_resource(self) -> ApiResource {
        let (group, version, plural) = match self {
            Self::Gateway => (fairway_gateway_api::GROUP, "v1", "gateways"),
            Self::ServiceAccount => ("", "v1", "serviceaccounts"),
            Self::ConfigMap => ("", "v1", "configmaps"),
            Self::Service => ("", "v1", "services"),
            Self::Deployment => ("apps", "v1", "deployments"),
            Self::PodDisruptionBudget => ("policy", "v1", "poddisruptionbudgets"),
            Self::HorizontalPodAutoscaler => ("autoscaling", "v2", "horizontalpodautoscalers"),
        };
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, self.as_str()), plural)
    }
}

impl fmt::Display for ManifestKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl ManifestKey ===

impl fmt::Display for ManifestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

// === impl Manifest ===

impl Manifest {
    /// The fields of a typed object; those that are not set are left to others.
    pub(super) fn fields_of(object: &impl Serialize) -> Value {
        // Our own types of plain data always can be written as JSON.
        serde_json::to_value(object).unwrap_or_default()
    }

    /// The same Deployment whose pods have one annotation more.
    pub(super) fn with_pod_annotation(&self, key: &str, value: &str) -> Self {
        let mut with = self.clone();
        if let Some(Value::Object(annotations)) =
            with.fields.pointer_mut("/spec/template/metadata/annotations")
        {
            annotations.insert(key.to_owned(), value.into());
        }
        with
    }
}
