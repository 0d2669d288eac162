//! ClusterTrustBundles (GEP-5075), cut down to their certificates.

use super::{Authorities, Meta, Object};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use std::sync::Arc;

/// A ClusterTrustBundle; or, under the name [`Self::KIND`], that the cluster has the kind at all.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterTrustBundle {
    /// Its name, and its generation.
    pub meta: Meta,
    /// What is under `spec.trustBundle`.
    pub authorities: Authorities,
}

/// A ClusterTrustBundle as a manifest has it, in all of its versions.
#[derive(Deserialize)]
pub(super) struct Manifest {
    #[serde(default)]
    metadata: ObjectMeta,
    spec: Spec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default)]
    trust_bundle: String,
}

// === impl ClusterTrustBundle ===

impl ClusterTrustBundle {
    /// The name of the object that stands for the kind. It is there for as long as the cluster serves the kind, whether there are any
    /// bundles or not, so that compiling knows a bundle that is missing from a kind that is. No object of Kubernetes has this name.
    pub const KIND: &str = "";

    /// The object that stands for the kind.
    pub fn of_kind() -> Object {
        let authorities = Authorities::new("");
        Object::ClusterTrustBundle(Arc::new(Self { meta: Meta::default(), authorities }))
    }

    /// Takes what is needed.
    pub(super) fn new(full: Manifest) -> Self {
        let authorities = Authorities::new(full.spec.trust_bundle);
        Self { meta: Meta::without_labels(full.metadata, false), authorities }
    }
}
