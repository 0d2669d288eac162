//! The PodDisruptionBudget: how many pods may be taken away at once.

use super::Disruption;
use super::manifest::{Manifest, ManifestKind};
use super::plan::Planned;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// Its budget. Without parameters one pod at a time: that also lets the drain of a node go on where there is only one.
pub(super) fn plan(planned: Planned<'_>) -> Manifest {
    let one = Disruption::Missing(IntOrString::Int(1));
    let (min_available, max_unavailable) = match planned.proxy.parameters.disruption.clone().unwrap_or(one) {
        Disruption::Left(it) => (Some(it), None),
        Disruption::Missing(it) => (None, Some(it)),
    };
    let object = PodDisruptionBudget {
        metadata: planned.metadata(planned.name()),
        spec: Some(PodDisruptionBudgetSpec {
            selector: Some(planned.selector()),
            min_available,
            max_unavailable,
            // A pod that never became ready serves nobody; it must not hold up a node.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
        }),
        ..PodDisruptionBudget::default()
    };
    planned.manifest(ManifestKind::PodDisruptionBudget, planned.name(), &object)
}
