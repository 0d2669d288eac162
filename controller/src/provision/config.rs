//! The ServiceAccount a proxy runs as, and the ConfigMap with the roots by which it knows the controller.

use super::manifest::{Manifest, ManifestKind};
use super::plan::Planned;
use crate::resources::proxy_pod::ROOTS;
use fairway_identity::TrustBundle;
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::collections::BTreeMap;

/// Who it is. Its token for the API server is mounted nowhere: a proxy has nothing to say to that.
pub(super) fn service_account(planned: Planned<'_>) -> Manifest {
    let object = ServiceAccount {
        metadata: ObjectMeta {
            annotations: Some(planned.trusted_annotations()),
            ..planned.metadata(planned.name())
        },
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    };
    planned.manifest(ManifestKind::ServiceAccount, planned.name(), &object)
}

pub(super) fn roots(planned: Planned<'_>, roots: &TrustBundle) -> Manifest {
    let object = ConfigMap {
        metadata: planned.metadata(planned.name()),
        data: Some(BTreeMap::from([(ROOTS.to_owned(), roots.to_pem())])),
        ..ConfigMap::default()
    };
    planned.manifest(ManifestKind::ConfigMap, planned.name(), &object)
}
