//! `GatewayParameters`: how the proxy of a Gateway is run. The one kind of object that is Fairway's own.
//!
//! The CRD in `charts/fairway-crds` is generated from this file; a test says when it has to be again. What the fields
//! mean together, and what they must be, is decided in `provision::Parameters`.

use k8s_openapi::api::core::v1::{
    Affinity, LocalObjectReference, ResourceRequirements, Toleration, TopologySpreadConstraint,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How the proxy of a Gateway is run.
///
/// A Gateway names it in `spec.infrastructure.parametersRef`; a GatewayClass, for the defaults of all its Gateways, in
/// `spec.parametersRef`. Where both say something, the Gateway's wins, field by field.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "fairway.dev",
    version = "v1alpha1",
    kind = "GatewayParameters",
    plural = "gatewayparameters",
    shortname = "gwparams",
    category = "fairway",
    category = "gateway-api",
    namespaced,
    derive = "PartialEq",
    doc = "How the proxy of a Gateway is run. A Gateway names it in spec.infrastructure.parametersRef; a GatewayClass, for the defaults of all its Gateways, in spec.parametersRef. Where both say something, the Gateway's wins, field by field.",
    printcolumn = r#"{"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas"}"#,
    printcolumn = r#"{"name": "Max", "type": "integer", "jsonPath": ".spec.autoscaling.maxReplicas"}"#,
    printcolumn = r#"{"name": "Service", "type": "string", "jsonPath": ".spec.service.type"}"#,
    printcolumn = r#"{"name": "Image", "type": "string", "jsonPath": ".spec.pod.image", "priority": 1}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.replicas) || !has(self.autoscaling)").message("write replicas or autoscaling, not both"))]
pub struct GatewayParametersSpec {
    /// How many pods run: without it 1 for a Gateway and 2 for a waypoint. 0 stops the proxy and keeps its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: Option<i32>,
    /// Lets the load decide how many pods run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// How many pods may be taken away at once, by the drain of a node say; without it one at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disruption_budget: Option<DisruptionBudget>,
    /// What the pods of the proxy are like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodParameters>,
    /// The Service through which clients reach them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceParameters>,
    /// Which requests are logged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_log: Option<AccessLogParameters>,
    /// What the metrics tell apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<MetricsParameters>,
    /// How a pod ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<DrainParameters>,
}

/// How the load decides how many pods run: by a HorizontalPodAutoscaler, which needs the cluster's metrics server.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.minReplicas) || self.minReplicas <= self.maxReplicas").message("minReplicas is more than maxReplicas"))]
pub struct Autoscaling {
    /// The least; without it 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub min_replicas: Option<i32>,
    /// The most pods that may run.
    #[schemars(range(min = 1, max = 1000))]
    pub max_replicas: i32,
    /// How busy the pods shall be on average, in percent of the CPU they request; without it 70. Write
    /// pod.resources.requests.cpu with it: the request without parameters is that of an idle proxy.
    #[serde(default, rename = "targetCPUUtilization", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub target_cpu_utilization: Option<i32>,
}

/// How many pods may be taken away at once.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.minAvailable) != has(self.maxUnavailable)").message("write minAvailable or maxUnavailable, one of them"))]
pub struct DisruptionBudget {
    /// How many must be left: a number, or a share such as 50%.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_available: Option<IntOrString>,
    /// How many may be missing: a number, or a share such as 50%.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<IntOrString>,
}

/// The pods of a proxy. Lists are taken as they are, maps are added to what the GatewayClass and the Gateway say.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PodParameters {
    /// Labels for the pods; those of the Gateway API and of Kubernetes stay as they are.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations for the pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Another image of the proxy, such as that of a mirror.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub image: Option<String>,
    /// Secrets with which the image is pulled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_secrets: Option<Vec<LocalObjectReference>>,
    /// CPU and memory; without it 10m and 32Mi are requested, and nothing is limited. A CPU limit also decides how many
    /// threads carry traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Labels of the nodes on which the pods may run.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints the pods put up with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerations: Option<Vec<Toleration>>,
    /// Which nodes the pods prefer, and which other pods they want near or far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// How the pods are spread; without it over nodes, as far as it goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topology_spread_constraints: Option<Vec<TopologySpreadConstraint>>,
    /// How important the pods are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
}

/// The Service of a proxy.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.loadBalancerClass) || !has(self.type) || self.type == 'LoadBalancer'").message("loadBalancerClass is for type LoadBalancer"))]
#[x_kube(validation = Rule::new("!has(self.externalTrafficPolicy) || !has(self.type) || self.type != 'ClusterIP'").message("externalTrafficPolicy is for types LoadBalancer and NodePort"))]
pub struct ServiceParameters {
    /// Without it LoadBalancer for a Gateway and ClusterIP for a waypoint.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub r#type: Option<ServiceType>,
    /// Annotations for the Services; load balancers are told with them what to do.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Which load balancer takes the Services. It cannot be changed later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub load_balancer_class: Option<String>,
    /// Local keeps the client's address and goes only to nodes that run a pod; without it Cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_traffic_policy: Option<ExternalTrafficPolicy>,
}

/// How a Service is reached.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServiceType {
    /// From anywhere, at an address of its own.
    #[default]
    LoadBalancer,
    /// Through a port of every node.
    NodePort,
    /// From pods and nodes of the cluster, at a cluster IP.
    ClusterIP,
}

/// Where a node sends what arrives for a Service.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExternalTrafficPolicy {
    /// To any ready pod; the client's address may be lost on the way.
    Cluster,
    /// To its own pods, with the client's address.
    Local,
}

/// Which requests are logged.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AccessLogParameters {
    /// Without it Errors: those the proxy itself answered with an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<LoggedRequests>,
    /// With All: one request in this many; without it every one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub one_in: Option<i32>,
}

/// Which requests are logged.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoggedRequests {
    /// No request, not even one that the proxy answers with an error.
    None,
    /// Those the proxy itself answered with an error.
    #[default]
    Errors,
    /// Every request, or one in `oneIn`.
    All,
}

/// What the metrics tell apart.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct MetricsParameters {
    /// How many series a pod keeps apart; without it 2000. What is beyond is counted together, with the label value other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100000))]
    pub series_limit: Option<i32>,
}

/// How a pod ends. Both together are its terminationGracePeriodSeconds, but for a few seconds.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct DrainParameters {
    /// How long a pod that ends goes on accepting, until all load balancers know; without it 5s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"))]
    pub linger: Option<String>,
    /// How long open connections may then take before they are cut off; without it 20s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"))]
    pub grace: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::CustomResourceExt;
    use serde_json::Value;

    /// Where the chart has it.
    const CRD: &str = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../charts/fairway-crds/files/fairway.dev_gatewayparameters.yaml"
    );
    /// Set it to write the file instead of comparing it.
    const WRITE: &str = "FAIRWAY_WRITE_CRDS";

    #[test]
    fn the_crd_of_the_chart_is_the_one_of_these_types() {
        let ours = serde_json::to_value(GatewayParameters::crd()).unwrap();
        if std::env::var_os(WRITE).is_some() {
            let note = "# Generated from controller/src/resources/gateway_parameters.rs; do not edit.\n";
            std::fs::write(CRD, format!("{note}{}", serde_saphyr::to_string(&ours).unwrap())).unwrap();
        }
        let charts: Value = serde_saphyr::from_str(&std::fs::read_to_string(CRD).unwrap()).unwrap();
        assert_eq!(charts, ours, "run this test with {WRITE}=1, and commit what changes");
    }

    #[test]
    fn its_schema_is_structural() {
        let crd = serde_json::to_value(GatewayParameters::crd()).unwrap();
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let mut open = Vec::new();
        look(schema, "", &mut open);
        assert!(open.is_empty(), "without a type, or with one that is not known: {open:?}");
        assert_eq!(schema["properties"]["spec"]["x-kubernetes-validations"].as_array().unwrap().len(), 1);
    }

    fn look(schema: &Value, path: &str, open: &mut Vec<String>) {
        let is_number_or_share = schema["x-kubernetes-int-or-string"] == true;
        let known = matches!(
            schema["type"].as_str(),
            Some("object" | "array" | "string" | "integer" | "boolean" | "number")
        );
        if !known && !is_number_or_share {
            open.push(path.to_owned());
        }
        for (name, it) in schema["properties"].as_object().into_iter().flatten() {
            look(it, &format!("{path}.{name}"), open);
        }
        for inner in
            ["items", "additionalProperties"].map(|it| &schema[it]).into_iter().filter(|it| it.is_object())
        {
            look(inner, &format!("{path}[]"), open);
        }
    }
}
