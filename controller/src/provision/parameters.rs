//! How a proxy is run: what `GatewayParameters` say, checked, and those of the Gateway laid over those of its class.

use super::metadata::{InvalidMetadata, check_annotations, check_labels};
use crate::resources::gateway_parameters::{
    AccessLogParameters, Autoscaling, DisruptionBudget, DrainParameters, GatewayParametersSpec,
    MetricsParameters, PodParameters, ServiceParameters, ServiceType,
};
use crate::resources::parse_duration;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

/// How a proxy is run. What is not said is decided in the plan, as it depends on what the proxy is for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parameters {
    /// How many pods run.
    pub scale: Option<Scale>,
    /// How many may be taken away at once.
    pub disruption: Option<Disruption>,
    pub pod: PodParameters,
    pub service: ServiceParameters,
    /// Which requests are logged.
    pub access_log: AccessLogParameters,
    /// What the metrics tell apart.
    pub metrics: MetricsParameters,
    /// How a pod ends.
    pub drain: Drain,
}

/// How many pods run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    Fixed(i32),
    /// As many as the load asks for.
    Automatic {
        min: i32,
        max: i32,
        /// How busy they shall be, in percent of the CPU they request.
        target: i32,
    },
}

/// How many pods may be taken away at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disruption {
    /// So many must be left.
    Left(IntOrString),
    /// So many may be missing.
    Missing(IntOrString),
}

/// How a pod ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// How long it goes on accepting.
    pub linger: Duration,
    /// How long open connections may then take.
    pub grace: Duration,
}

/// Why parameters cannot be used: what a `Diagnostic` says, without the object and the reason, which this module does not know. (It
/// stands below `diagnostic`, which knows the status of what is provisioned.)
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}; {remedy}")]
pub struct InvalidParameters {
    /// The path of the field.
    pub field: String,
    pub message: String,
    pub remedy: String,
}

/// How many series a pod may keep apart. Each takes a few hundred bytes, and Prometheus up to 30 lines.
const SERIES_LIMITS: RangeInclusive<i32> = 1..=100_000;
/// More than an hour of either is a mistake: nobody waits so long for a pod to end.
const LONGEST_DRAIN: Duration = Duration::from_secs(3600);
const TARGET_UTILIZATION: i32 = 70;

// === impl Parameters ===

impl Parameters {
    /// What a GatewayClass's parameters and those of one of its Gateways come to. Pure.
    pub fn resolve(
        class: Option<&GatewayParametersSpec>,
        gateway: Option<&GatewayParametersSpec>,
    ) -> Result<Self, InvalidParameters> {
        let class = class.map(Self::check).transpose()?.unwrap_or_default();
        let gateway = gateway.map(Self::check).transpose()?.unwrap_or_default();
        Ok(gateway.over(class))
    }

    /// What these parameters say by themselves, if they are in order. The API server has checked most of it, where there
    /// is one.
    pub fn check(spec: &GatewayParametersSpec) -> Result<Checked, InvalidParameters> {
        let pod = spec.pod.clone().unwrap_or_default();
        check_labels(&pod.labels).map_err(|it| metadata("spec.pod.labels", it))?;
        check_annotations(&pod.annotations).map_err(|it| metadata("spec.pod.annotations", it))?;
        check_labels(&pod.node_selector).map_err(|it| metadata("spec.pod.nodeSelector", it))?;
        if pod.image.as_ref().is_some_and(|it| it.is_empty() || it.contains(char::is_whitespace)) {
            return Err(invalid(
                "spec.pod.image",
                "it is not the name of an image",
                "write registry/name:tag",
            ));
        }
        let service = spec.service.clone().unwrap_or_default();
        check_annotations(&service.annotations).map_err(|it| metadata("spec.service.annotations", it))?;
        if service.load_balancer_class.is_some()
            && service.r#type.is_some_and(|it| it != ServiceType::LoadBalancer)
        {
            let message = "it is for type LoadBalancer";
            return Err(invalid("spec.service.loadBalancerClass", message, "remove it, or change the type"));
        }
        if service.external_traffic_policy.is_some() && service.r#type == Some(ServiceType::ClusterIP) {
            let message = "it is for types LoadBalancer and NodePort";
            return Err(invalid(
                "spec.service.externalTrafficPolicy",
                message,
                "remove it, or change the type",
            ));
        }
        let access_log = spec.access_log.clone().unwrap_or_default();
        if access_log.one_in.is_some_and(|it| it < 1) {
            return Err(invalid("spec.accessLog.oneIn", "it is less than 1", "write 1 or more"));
        }
        let metrics = spec.metrics.clone().unwrap_or_default();
        if metrics.series_limit.is_some_and(|it| !SERIES_LIMITS.contains(&it)) {
            let (least, most) = (*SERIES_LIMITS.start(), *SERIES_LIMITS.end());
            let message = format!("it is not between {least} and {most}");
            return Err(invalid("spec.metrics.seriesLimit", message, "write a number in this range"));
        }
        Ok(Checked {
            scale: scale(spec)?,
            disruption: spec.disruption_budget.as_ref().map(disruption).transpose()?,
            pod,
            service,
            access_log,
            metrics,
            drain: spec.drain.as_ref().map(drain).transpose()?.unwrap_or_default(),
        })
    }
}

/// What one object says, in order by itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checked {
    scale: Option<Scale>,
    disruption: Option<Disruption>,
    pod: PodParameters,
    service: ServiceParameters,
    access_log: AccessLogParameters,
    metrics: MetricsParameters,
    drain: CheckedDrain,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct CheckedDrain {
    linger: Option<Duration>,
    grace: Option<Duration>,
}

// === impl Checked ===

impl Checked {
    /// This laid over those: maps are put together, everything else is the one's or the other's.
    fn over(self, under: Self) -> Parameters {
        let Self { scale, disruption, pod, service, access_log, metrics, drain } = self;
        let defaults = Drain::default();
        Parameters {
            scale: scale.or(under.scale),
            disruption: disruption.or(under.disruption),
            pod: PodParameters {
                labels: joined(under.pod.labels, pod.labels),
                annotations: joined(under.pod.annotations, pod.annotations),
                image: pod.image.or(under.pod.image),
                image_pull_secrets: pod.image_pull_secrets.or(under.pod.image_pull_secrets),
                resources: pod.resources.or(under.pod.resources),
                node_selector: joined(under.pod.node_selector, pod.node_selector),
                tolerations: pod.tolerations.or(under.pod.tolerations),
                affinity: pod.affinity.or(under.pod.affinity),
                topology_spread_constraints: pod
                    .topology_spread_constraints
                    .or(under.pod.topology_spread_constraints),
                priority_class_name: pod.priority_class_name.or(under.pod.priority_class_name),
            },
            service: ServiceParameters {
                r#type: service.r#type.or(under.service.r#type),
                annotations: joined(under.service.annotations, service.annotations),
                load_balancer_class: service.load_balancer_class.or(under.service.load_balancer_class),
                external_traffic_policy: service
                    .external_traffic_policy
                    .or(under.service.external_traffic_policy),
            },
            access_log: AccessLogParameters {
                requests: access_log.requests.or(under.access_log.requests),
                one_in: access_log.one_in.or(under.access_log.one_in),
            },
            metrics: MetricsParameters { series_limit: metrics.series_limit.or(under.metrics.series_limit) },
            drain: Drain {
                linger: drain.linger.or(under.drain.linger).unwrap_or(defaults.linger),
                grace: drain.grace.or(under.drain.grace).unwrap_or(defaults.grace),
            },
        }
    }
}

// === impl Drain ===

impl Default for Drain {
    fn default() -> Self {
        Self { linger: Duration::from_secs(5), grace: Duration::from_secs(20) }
    }
}

fn joined(mut under: BTreeMap<String, String>, over: BTreeMap<String, String>) -> BTreeMap<String, String> {
    under.extend(over);
    under
}

fn scale(spec: &GatewayParametersSpec) -> Result<Option<Scale>, InvalidParameters> {
    match (spec.replicas, &spec.autoscaling) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => {
            Err(invalid("spec.autoscaling", "it stands beside spec.replicas", "remove one of the two"))
        }
        (Some(count), None) if count < 0 => {
            Err(invalid("spec.replicas", "it is less than 0", "write 0 or more"))
        }
        (Some(count), None) => Ok(Some(Scale::Fixed(count))),
        (None, Some(Autoscaling { min_replicas, max_replicas, target_cpu_utilization })) => {
            let (min, max) = (min_replicas.unwrap_or(1), *max_replicas);
            let target = target_cpu_utilization.unwrap_or(TARGET_UTILIZATION);
            if min < 1 || max < min {
                let message = format!("from {min} to {max} is not a range");
                return Err(invalid("spec.autoscaling", message, "let 1 <= minReplicas <= maxReplicas"));
            }
            if target < 1 {
                let field = "spec.autoscaling.targetCPUUtilization";
                return Err(invalid(field, "it is less than 1", "write a number of percent, such as 70"));
            }
            Ok(Some(Scale::Automatic { min, max, target }))
        }
    }
}

fn disruption(budget: &DisruptionBudget) -> Result<Disruption, InvalidParameters> {
    match (&budget.min_available, &budget.max_unavailable) {
        (Some(it), None) => amount("spec.disruptionBudget.minAvailable", it).map(Disruption::Left),
        (None, Some(it)) => amount("spec.disruptionBudget.maxUnavailable", it).map(Disruption::Missing),
        _ => Err(invalid(
            "spec.disruptionBudget",
            "it needs one number",
            "write minAvailable or maxUnavailable",
        )),
    }
}

fn amount(field: &str, written: &IntOrString) -> Result<IntOrString, InvalidParameters> {
    let in_order = match written {
        IntOrString::Int(it) => *it >= 0,
        IntOrString::String(it) => {
            it.strip_suffix('%').is_some_and(|it| it.parse::<u8>().is_ok_and(|it| it <= 100))
        }
    };
    match in_order {
        true => Ok(written.clone()),
        false => Err(invalid(field, "it is neither a number nor a share", "write 1, say, or 50%")),
    }
}

fn drain(written: &DrainParameters) -> Result<CheckedDrain, InvalidParameters> {
    let read = |field: &str, text: &Option<String>| {
        let Some(text) = text else { return Ok(None) };
        let remedy = "write a duration such as 5s or 1m30s, at most 1h";
        match parse_duration(text) {
            Ok(it) if it <= LONGEST_DRAIN => Ok(Some(it)),
            Ok(_) => Err(invalid(field, format!("{text} is more than an hour"), remedy)),
            Err(error) => Err(invalid(field, error.to_string(), remedy)),
        }
    };
    Ok(CheckedDrain {
        linger: read("spec.drain.linger", &written.linger)?,
        grace: read("spec.drain.grace", &written.grace)?,
    })
}

fn metadata(field: &str, it: InvalidMetadata) -> InvalidParameters {
    invalid(&format!("{field}[{}]", it.key), it.message, it.remedy)
}

fn invalid(field: &str, message: impl Into<String>, remedy: impl Into<String>) -> InvalidParameters {
    InvalidParameters { field: field.to_owned(), message: message.into(), remedy: remedy.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn spec(value: serde_json::Value) -> GatewayParametersSpec {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_gateways_parameters_are_laid_over_those_of_its_class() {
        let class = spec(json!({
            "replicas": 3,
            "disruptionBudget": {"minAvailable": "50%"},
            "pod": {"labels": {"team": "edge", "tier": "front"}, "image": "mirror/waypoint:1",
                    "tolerations": [{"key": "edge"}], "nodeSelector": {"pool": "edge"}},
            "service": {"type": "NodePort", "annotations": {"lb/a": "1"}, "externalTrafficPolicy": "Local"},
            "accessLog": {"requests": "All", "oneIn": 100},
            "metrics": {"seriesLimit": 500},
            "drain": {"linger": "30s"},
        }));
        let gateway = spec(json!({
            "autoscaling": {"maxReplicas": 9},
            "pod": {"labels": {"team": "shop"}, "tolerations": []},
            "service": {"annotations": {"lb/b": "2"}},
            "accessLog": {"oneIn": 1},
            "drain": {"grace": "1m30s"},
        }));
        let merged = Parameters::resolve(Some(&class), Some(&gateway)).unwrap();
        assert_eq!(merged.scale, Some(Scale::Automatic { min: 1, max: 9, target: 70 }));
        assert_eq!(merged.disruption, Some(Disruption::Left(IntOrString::String("50%".into()))));
        assert_eq!(
            serde_json::to_value(&merged.pod).unwrap(),
            json!({"labels": {"team": "shop", "tier": "front"}, "image": "mirror/waypoint:1",
                   "tolerations": [], "nodeSelector": {"pool": "edge"}})
        );
        assert_eq!(
            serde_json::to_value(&merged.service).unwrap(),
            json!({"type": "NodePort", "annotations": {"lb/a": "1", "lb/b": "2"}, "externalTrafficPolicy": "Local"})
        );
        assert_eq!(serde_json::to_value(&merged.access_log).unwrap(), json!({"requests": "All", "oneIn": 1}));
        assert_eq!(merged.metrics.series_limit, Some(500));
        assert_eq!(merged.drain, Drain { linger: Duration::from_secs(30), grace: Duration::from_secs(90) });
    }

    #[test]
    fn nothing_said_is_the_default() {
        assert_eq!(Parameters::resolve(None, None).unwrap(), Parameters::default());
        assert_eq!(Parameters::resolve(Some(&spec(json!({}))), None).unwrap(), Parameters::default());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (written, field) in [
            (json!({"replicas": 1, "autoscaling": {"maxReplicas": 2}}), "spec.autoscaling"),
            (json!({"replicas": -1}), "spec.replicas"),
            (json!({"autoscaling": {"minReplicas": 3, "maxReplicas": 2}}), "spec.autoscaling"),
            (json!({"disruptionBudget": {}}), "spec.disruptionBudget"),
            (json!({"disruptionBudget": {"minAvailable": 1, "maxUnavailable": 1}}), "spec.disruptionBudget"),
            (json!({"disruptionBudget": {"minAvailable": "half"}}), "spec.disruptionBudget.minAvailable"),
            (json!({"drain": {"linger": "soon"}}), "spec.drain.linger"),
            (json!({"drain": {"grace": "2h"}}), "spec.drain.grace"),
            (json!({"pod": {"image": "a b"}}), "spec.pod.image"),
            (json!({"pod": {"labels": {"a b": "c"}}}), "spec.pod.labels[a b]"),
            (json!({"pod": {"labels": {"a": "c d"}}}), "spec.pod.labels[a]"),
            (json!({"service": {"annotations": {"/x": ""}}}), "spec.service.annotations[/x]"),
            (
                json!({"service": {"type": "ClusterIP", "loadBalancerClass": "x"}}),
                "spec.service.loadBalancerClass",
            ),
            (
                json!({"service": {"type": "ClusterIP", "externalTrafficPolicy": "Local"}}),
                "spec.service.externalTrafficPolicy",
            ),
            (json!({"accessLog": {"oneIn": 0}}), "spec.accessLog.oneIn"),
            (json!({"metrics": {"seriesLimit": 0}}), "spec.metrics.seriesLimit"),
            (json!({"metrics": {"seriesLimit": 100_001}}), "spec.metrics.seriesLimit"),
        ] {
            let error = Parameters::resolve(None, Some(&spec(written.clone()))).unwrap_err();
            assert_eq!(error.field, field, "{written}: {error}");
            assert!(Parameters::resolve(Some(&spec(written)), None).is_err(), "as a class's parameters too");
        }
    }
}
