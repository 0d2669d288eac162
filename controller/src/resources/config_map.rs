//! ConfigMaps, cut down to authorities in PEM.

use super::{Authorities, Meta};
use k8s_openapi::api::core::v1 as full;

/// A ConfigMap; of its data only the authorities are kept.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigMap {
    /// Name, namespace, labels, generation.
    pub meta: Meta,
    /// What is under `ca.crt`; none where there is no such key.
    pub authorities: Option<Authorities>,
}

// === impl ConfigMap ===

impl ConfigMap {
    /// Takes what is needed.
    pub fn new(full: full::ConfigMap) -> Self {
        let text = full.data.and_then(|mut it| it.remove(super::secret::AUTHORITIES));
        Self { meta: Meta::without_labels(full.metadata, true), authorities: text.map(Authorities::new) }
    }
}
