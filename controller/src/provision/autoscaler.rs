//! The HorizontalPodAutoscaler, if the load shall decide how many pods run.

use super::Scale;
use super::manifest::{Manifest, ManifestKind};
use super::plan::Planned;
use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec, MetricSpec,
    MetricTarget, ResourceMetricSource,
};

/// Its autoscaler, if one is asked for.
pub(super) fn plan(planned: Planned<'_>) -> Option<Manifest> {
    let Some(Scale::Automatic { min, max, target }) = planned.proxy.parameters.scale else { return None };
    let busy = MetricSpec {
        type_: "Resource".to_owned(),
        resource: Some(ResourceMetricSource {
            name: "cpu".to_owned(),
            target: MetricTarget {
                type_: "Utilization".to_owned(),
                average_utilization: Some(target),
                ..MetricTarget::default()
            },
        }),
        ..MetricSpec::default()
    };
    let object = HorizontalPodAutoscaler {
        metadata: planned.metadata(planned.name()),
        spec: Some(HorizontalPodAutoscalerSpec {
            scale_target_ref: CrossVersionObjectReference {
                api_version: Some("apps/v1".to_owned()),
                kind: "Deployment".to_owned(),
                name: planned.name().to_owned(),
            },
            min_replicas: Some(min),
            max_replicas: max,
            metrics: Some(vec![busy]),
            behavior: None,
        }),
        ..HorizontalPodAutoscaler::default()
    };
    Some(planned.manifest(ManifestKind::HorizontalPodAutoscaler, planned.name(), &object))
}
