//! Which fields of `GatewayParameters` are rights, and who may use them.
//!
//! The controller makes Deployments with its own rights, for people who may have none but to write Gateways. So a field that
//! decides which code runs, where it runs, before whom it runs, or what others take the pod for, is for the administrator, who
//! writes it in the parameters of a GatewayClass, or allows tenants to.

use super::parameters::InvalidParameters;
use crate::resources::gateway_parameters::{
    AccessLogParameters, Autoscaling, GatewayParametersSpec, MetricsParameters, PodParameters,
    ServiceParameters,
};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// A field of `GatewayParameters` that is a right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Right {
    /// Which code runs, with the Gateway's identity.
    Image,
    /// With whose credentials the image is pulled.
    ImagePullSecrets,
    /// What others take the pod for, where the key has a domain: injectors, networks, cloud roles, AppArmor.
    PodAnnotations,
    /// On which nodes it runs.
    NodeSelector,
    /// On which tainted nodes it runs.
    Tolerations,
    /// On which nodes, and beside whom, it runs.
    Affinity,
    /// What it gets of a node beside CPU, memory and ephemeral storage: devices.
    Devices,
    /// Whose pods make room for it.
    PriorityClassName,
    /// What load balancers and DNS controllers do for it, where the key has a domain.
    ServiceAnnotations,
    /// Which load balancer takes it.
    LoadBalancerClass,
    /// More series than the usual limit: what the cluster's Prometheus has to hold.
    SeriesLimit,
}

/// What parameters may choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    /// The fields that the parameters of a Gateway, which are its tenant's, may set.
    pub tenant_fields: BTreeSet<Right>,
    /// The images that proxies may run, whoever names them; none: any.
    pub images: Option<Vec<String>>,
    /// The priority classes that proxies may have, whoever names them; none: any.
    pub priority_classes: Option<Vec<String>>,
    /// The annotations with a domain that the proxies' pods may have, whoever writes them: keys, and domains that end in `/`;
    /// none: any.
    pub annotations: Option<Vec<String>>,
    /// The most replicas of one proxy.
    pub max_replicas: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    /// Whoever names them in a GatewayClass: the cluster's administrator.
    Class,
    /// Whoever writes in the Gateway's namespace.
    Tenant,
}

/// A field of that name is no right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a field that can be allowed; those that can are {list}", list = names())]
pub struct NotARight(String);

/// Resources that a proxy may ask for without further rights; the namespace's quota limits them.
const PLAIN_RESOURCES: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
/// Annotations of the pods that we write ourselves, and that mean nothing but where metrics are.
const SCRAPED: [&str; 3] = ["prometheus.io/scrape", "prometheus.io/port", "prometheus.io/path"];
/// The series that a proxy keeps apart where nobody says otherwise: the default of its flag.
const SERIES_LIMIT: i32 = 2000;
/// The most replicas where nobody says otherwise.
const MAX_REPLICAS: i32 = 50;

// === impl Right ===

impl Right {
    pub const ALL: [Self; 11] = [
        Self::Image,
        Self::ImagePullSecrets,
        Self::PodAnnotations,
        Self::NodeSelector,
        Self::Tolerations,
        Self::Affinity,
        Self::Devices,
        Self::PriorityClassName,
        Self::ServiceAnnotations,
        Self::LoadBalancerClass,
        Self::SeriesLimit,
    ];

    /// The field, below `spec`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Image => "pod.image",
            Self::ImagePullSecrets => "pod.imagePullSecrets",
            Self::PodAnnotations => "pod.annotations",
            Self::NodeSelector => "pod.nodeSelector",
            Self::Tolerations => "pod.tolerations",
            Self::Affinity => "pod.affinity",
            Self::Devices => "pod.resources",
            Self::PriorityClassName => "pod.priorityClassName",
            Self::ServiceAnnotations => "service.annotations",
            Self::LoadBalancerClass => "service.loadBalancerClass",
            Self::SeriesLimit => "metrics.seriesLimit",
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Right {
    type Err = NotARight;

    fn from_str(text: &str) -> Result<Self, NotARight> {
        Self::ALL.into_iter().find(|it| it.as_str() == text).ok_or_else(|| NotARight(text.to_owned()))
    }
}

fn names() -> String {
    Right::ALL.map(Right::as_str).join(", ")
}

// === impl Rights ===

impl Default for Rights {
    /// Nothing that is a right.
    fn default() -> Self {
        Self {
            tenant_fields: BTreeSet::new(),
            images: Some(Vec::new()),
            priority_classes: Some(Vec::new()),
            annotations: Some(Vec::new()),
            max_replicas: MAX_REPLICAS,
        }
    }
}

impl Rights {
    /// Everything: where nothing is made, nobody needs a right for it.
    pub fn unlimited() -> Self {
        Self {
            tenant_fields: Right::ALL.into(),
            images: None,
            priority_classes: None,
            annotations: None,
            max_replicas: i32::MAX,
        }
    }

    /// Whether parameters choose only what their author may. Every field is looked at, so that a new one has to be judged.
    pub(crate) fn check(
        &self,
        spec: &GatewayParametersSpec,
        author: Author,
    ) -> Result<(), InvalidParameters> {
        let GatewayParametersSpec {
            replicas,
            autoscaling,
            disruption_budget: _,
            pod,
            service,
            access_log: None | Some(AccessLogParameters { .. }),
            metrics,
            drain: _,
        } = spec;
        self.check_replicas("spec.replicas", replicas.unwrap_or_default())?;
        if let Some(Autoscaling { max_replicas, .. }) = autoscaling {
            self.check_replicas("spec.autoscaling.maxReplicas", *max_replicas)?;
        }
        if let Some(MetricsParameters { series_limit: Some(limit) }) = metrics
            && *limit > SERIES_LIMIT
        {
            self.may(Right::SeriesLimit, author)?;
        }
        pod.iter().try_for_each(|it| self.check_pod(it, author))?;
        service.iter().try_for_each(|it| self.check_service(it, author))
    }

    fn check_replicas(&self, field: &str, count: i32) -> Result<(), InvalidParameters> {
        if count <= self.max_replicas {
            return Ok(());
        }
        let most = self.max_replicas;
        Err(refused(
            field.to_owned(),
            format!("{count} is more than {most}, the most that the installation allows"),
            format!("write {most} or less, or raise the chart value gatewayParameters.maxReplicas"),
        ))
    }

    fn check_pod(&self, pod: &PodParameters, author: Author) -> Result<(), InvalidParameters> {
        let PodParameters {
            // Labels select among the objects of the namespace itself, and a Gateway's `infrastructure` has them too.
            labels: _,
            annotations,
            image,
            image_pull_secrets,
            resources,
            node_selector,
            tolerations,
            affinity,
            // It spreads the pods over the nodes that the fields above leave.
            topology_spread_constraints: _,
            priority_class_name,
        } = pod;
        let needed = [
            (Right::Image, image.is_some()),
            (Right::ImagePullSecrets, image_pull_secrets.is_some()),
            (Right::NodeSelector, !node_selector.is_empty()),
            (Right::Tolerations, tolerations.is_some()),
            (Right::Affinity, affinity.is_some()),
            (Right::Devices, resources.as_ref().is_some_and(asks_for_devices)),
            (Right::PriorityClassName, priority_class_name.is_some()),
        ];
        needed.into_iter().filter(|(_, is_used)| *is_used).try_for_each(|(it, _)| self.may(it, author))?;
        for key in annotations.keys().filter(|it| has_meaning(it)) {
            self.may(Right::PodAnnotations, author)?;
            if !self.allows_annotation(key) {
                return Err(not_listed(&format!("spec.pod.annotations[{key}]"), key, "allowedAnnotations"));
            }
        }
        if let Some(image) = image.as_ref().filter(|it| !self.allows_image(it)) {
            return Err(not_listed("spec.pod.image", image, "allowedImages"));
        }
        let among = |it: &String| self.priority_classes.as_ref().is_none_or(|all| all.contains(it));
        if let Some(class) = priority_class_name.as_ref().filter(|it| !among(it)) {
            return Err(not_listed("spec.pod.priorityClassName", class, "allowedPriorityClasses"));
        }
        Ok(())
    }

    fn check_service(&self, service: &ServiceParameters, author: Author) -> Result<(), InvalidParameters> {
        // Who may make a Gateway gets a load balancer with node ports anyway, and by `externalTrafficPolicy` only less.
        let ServiceParameters { r#type: _, annotations, load_balancer_class, external_traffic_policy: _ } =
            service;
        if load_balancer_class.is_some() {
            self.may(Right::LoadBalancerClass, author)?;
        }
        match annotations.keys().any(|it| has_domain(it)) {
            true => self.may(Right::ServiceAnnotations, author),
            false => Ok(()),
        }
    }

    fn may(&self, right: Right, author: Author) -> Result<(), InvalidParameters> {
        if author == Author::Class || self.tenant_fields.contains(&right) {
            return Ok(());
        }
        let what = match right {
            Right::PodAnnotations | Right::ServiceAnnotations => "a key with a domain is",
            Right::SeriesLimit => "more than the usual 2000 is",
            Right::Devices => "anything but cpu, memory and ephemeral-storage is",
            _ => "it is",
        };
        Err(refused(
            format!("spec.{right}"),
            format!(
                "{what} for the cluster's administrator to choose, and these parameters are the Gateway's own"
            ),
            format!(
                "take it out, or have it written in the GatewayClass's parameters, or `{right}` in the chart value \
                 gatewayParameters.tenantFields"
            ),
        ))
    }

    /// Whether proxies may run an image.
    pub fn allows_image(&self, image: &str) -> bool {
        self.images.as_ref().is_none_or(|all| all.iter().any(|it| is_image_of(image, it)))
    }

    fn allows_annotation(&self, key: &str) -> bool {
        let allowed = |it: &String| key == it || (it.ends_with('/') && key.starts_with(it.as_str()));
        self.annotations.as_ref().is_none_or(|all| all.iter().any(allowed))
    }

    /// Whether an annotation of a Gateway's `infrastructure` is put on pods and service accounts too. The API has it put on
    /// everything; but there a key with a domain is an order to others, and whoever writes a Gateway may have no right to it.
    pub(crate) fn reaches_pods(&self, key: &str) -> bool {
        let is_allowed =
            || self.tenant_fields.contains(&Right::PodAnnotations) && self.allows_annotation(key);
        !has_meaning(key) || is_allowed()
    }
}

/// A key without a domain is private to whoever wrote it: nobody else acts on it.
fn has_domain(key: &str) -> bool {
    key.contains('/')
}

fn has_meaning(key: &str) -> bool {
    has_domain(key) && !SCRAPED.contains(&key)
}

fn asks_for_devices(resources: &k8s_openapi::api::core::v1::ResourceRequirements) -> bool {
    let k8s_openapi::api::core::v1::ResourceRequirements { claims, limits, requests } = resources;
    let names = limits.iter().chain(requests).flat_map(|it| it.keys());
    claims.as_ref().is_some_and(|it| !it.is_empty())
        || names.into_iter().any(|it| !PLAIN_RESOURCES.contains(&it.as_str()))
}

/// Whether an image is one of those that an entry names: the image itself, one with a tag or digest more, or, where the entry
/// ends in `/`, any below it. A port looks like a tag, so nothing with a path may follow.
fn is_image_of(image: &str, entry: &str) -> bool {
    let Some(rest) = image.strip_prefix(entry).filter(|_| !entry.is_empty()) else { return false };
    match entry.ends_with('/') {
        true => !rest.is_empty(),
        false => rest.is_empty() || (rest.starts_with([':', '@']) && !rest.contains('/')),
    }
}

fn not_listed(field: &str, value: &str, list: &str) -> InvalidParameters {
    refused(
        field.to_owned(),
        format!("`{value}` is not among those that the installation allows"),
        format!("take it out, or add it to the chart value gatewayParameters.{list}"),
    )
}

fn refused(field: String, message: String, remedy: String) -> InvalidParameters {
    InvalidParameters { field, message, remedy }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(rights: &Rights, author: Author, spec: &serde_json::Value) -> Result<(), InvalidParameters> {
        rights.check(&serde_json::from_value(spec.clone()).unwrap(), author)
    }

    fn lists() -> Rights {
        Rights {
            images: Some(vec!["mirror/waypoint".into(), "registry.example:5000/proxies/".into()]),
            priority_classes: Some(vec!["edge".into()]),
            annotations: Some(vec!["vault.example/role".into(), "net.example/".into()]),
            ..Rights::default()
        }
    }

    /// A use of each right, and of each in every form.
    fn uses() -> Vec<(Right, serde_json::Value)> {
        vec![
            (Right::Image, json!({"pod": {"image": "mirror/waypoint:2"}})),
            (Right::ImagePullSecrets, json!({"pod": {"imagePullSecrets": [{"name": "mirror"}]}})),
            (Right::ImagePullSecrets, json!({"pod": {"imagePullSecrets": []}})),
            (Right::PodAnnotations, json!({"pod": {"annotations": {"vault.example/role": "x"}}})),
            (Right::PodAnnotations, json!({"pod": {"annotations": {"net.example/a": "x"}}})),
            (Right::NodeSelector, json!({"pod": {"nodeSelector": {"pool": "edge"}}})),
            (Right::Tolerations, json!({"pod": {"tolerations": [{"operator": "Exists"}]}})),
            (Right::Tolerations, json!({"pod": {"tolerations": []}})),
            (Right::Affinity, json!({"pod": {"affinity": {"nodeAffinity": {}}}})),
            (Right::Devices, json!({"pod": {"resources": {"limits": {"example.com/gpu": "1"}}}})),
            (Right::Devices, json!({"pod": {"resources": {"requests": {"hugepages-2Mi": "2Mi"}}}})),
            (Right::Devices, json!({"pod": {"resources": {"claims": [{"name": "gpu"}]}}})),
            (Right::PriorityClassName, json!({"pod": {"priorityClassName": "edge"}})),
            (Right::ServiceAnnotations, json!({"service": {"annotations": {"dns.example/host": "x"}}})),
            (Right::LoadBalancerClass, json!({"service": {"loadBalancerClass": "example.com/lb"}})),
            (Right::SeriesLimit, json!({"metrics": {"seriesLimit": 2001}})),
        ]
    }

    #[test]
    fn each_right_is_the_administrators_unless_tenants_are_given_it() {
        assert!(Right::ALL.iter().all(|right| uses().iter().any(|(it, _)| it == right)));
        for (right, spec) in uses() {
            let error = check(&lists(), Author::Tenant, &spec).unwrap_err();
            assert_eq!(error.field, format!("spec.{right}"), "{spec}");
            assert!(error.remedy.contains("gatewayParameters.tenantFields"), "{error}");
            assert_eq!(check(&lists(), Author::Class, &spec), Ok(()), "{spec}");
            let given = Rights { tenant_fields: [right].into(), ..lists() };
            assert_eq!(check(&given, Author::Tenant, &spec), Ok(()), "{spec}");
            let others = Right::ALL.into_iter().filter(|it| *it != right).collect();
            let without = Rights { tenant_fields: others, ..lists() };
            assert!(check(&without, Author::Tenant, &spec).is_err(), "{spec}");
        }
    }

    #[test]
    fn what_is_no_right_is_anybodys() {
        let spec = json!({
            "autoscaling": {"maxReplicas": 50},
            "disruptionBudget": {"minAvailable": 1},
            "pod": {
                "labels": {"team": "shop", "example.com/team": "shop"},
                "annotations": {"owner": "shop", "prometheus.io/scrape": "false"},
                "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"ephemeral-storage": "1Gi"}},
                "topologySpreadConstraints": [],
            },
            "service": {"type": "NodePort", "annotations": {"owner": "shop"}, "externalTrafficPolicy": "Local"},
            "accessLog": {"requests": "All"},
            "metrics": {"seriesLimit": 2000},
            "drain": {"linger": "1s"},
        });
        assert_eq!(check(&Rights::default(), Author::Tenant, &spec), Ok(()));
    }

    #[test]
    fn what_is_not_listed_is_nobodys() {
        let all = Rights { tenant_fields: Right::ALL.into(), ..lists() };
        for (spec, list) in [
            (json!({"pod": {"image": "evil/waypoint"}}), "allowedImages"),
            (json!({"pod": {"image": "mirror/waypoint-debug"}}), "allowedImages"),
            (json!({"pod": {"image": "mirror/waypoint:5000/evil"}}), "allowedImages"),
            (json!({"pod": {"image": "registry.example:5000/other/x"}}), "allowedImages"),
            (json!({"pod": {"image": "registry.example:5000/proxies/"}}), "allowedImages"),
            (json!({"pod": {"priorityClassName": "system-node-critical"}}), "allowedPriorityClasses"),
            (json!({"pod": {"annotations": {"vault.example/role-x": "x"}}}), "allowedAnnotations"),
            (json!({"pod": {"annotations": {"net.example.evil/a": "x"}}}), "allowedAnnotations"),
            (json!({"replicas": 51}), "maxReplicas"),
            (json!({"autoscaling": {"maxReplicas": 51}}), "maxReplicas"),
        ] {
            for author in [Author::Class, Author::Tenant] {
                let error = check(&all, author, &spec).unwrap_err();
                assert!(error.remedy.contains(&format!("gatewayParameters.{list}")), "{spec}: {error}");
            }
        }
        for image in ["mirror/waypoint", "mirror/waypoint@sha256:0", "mirror/waypoint:1@sha256:0"] {
            assert!(all.allows_image(image), "{image}");
        }
        assert!(all.allows_image("registry.example:5000/proxies/a/b:1"));
    }

    #[test]
    fn a_gateways_annotations_reach_pods_only_where_they_are_no_orders_to_others() {
        let given = Rights { tenant_fields: [Right::PodAnnotations].into(), ..lists() };
        for (key, by_default, when_given) in [
            ("owner", true, true),
            ("prometheus.io/scrape", true, true),
            ("net.example/a", false, true),
            ("sidecar.istio.io/proxyImage", false, false),
            ("container.apparmor.security.beta.kubernetes.io/waypoint", false, false),
        ] {
            assert_eq!(lists().reaches_pods(key), by_default, "{key}");
            assert_eq!(given.reaches_pods(key), when_given, "{key}");
        }
    }

    #[test]
    fn the_chart_offers_each_field_and_no_other() {
        let schema = include_str!("../../../charts/fairway/values.schema.json");
        let schema: serde_json::Value = serde_json::from_str(schema).unwrap();
        let fields = "/properties/gatewayParameters/properties/tenantFields/items/enum";
        assert_eq!(schema.pointer(fields), Some(&json!(Right::ALL.map(Right::as_str))));
    }

    #[test]
    fn fields_are_read_by_their_names() {
        for it in Right::ALL {
            assert_eq!(it.as_str().parse(), Ok(it));
        }
        let error = "pod.labels".parse::<Right>().unwrap_err().to_string();
        assert!(error.contains("`pod.labels`") && error.contains("pod.image"), "{error}");
    }
}
