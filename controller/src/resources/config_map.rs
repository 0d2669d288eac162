//! ConfigMaps, cut down.

use super::Meta;
use k8s_openapi::api::core::v1 as full;
use std::sync::Arc;

/// A ConfigMap; of its data only the authorities are kept.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigMap {
    /// Name, namespace, labels, generation.
    pub meta: Meta,
    /// The PEM text under `ca.crt`; none where there is no such key.
    pub authorities: Option<Arc<str>>,
}

// === impl ConfigMap ===

impl ConfigMap {
    /// Takes what is needed.
    pub fn new(full: full::ConfigMap) -> Self {
        let text = full.data.and_then(|mut it| it.remove(super::secret::AUTHORITIES));
        Self { meta: Meta::without_labels(full.metadata, true), authorities: text.map(Into::into) }
    }
}
