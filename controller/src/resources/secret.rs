//! Secrets, cut down.

use super::Meta;
use k8s_openapi::api::core::v1 as full;
use std::sync::Arc;

/// A Secret; of its data only the authorities are kept, and of one of type `kubernetes.io/tls` the certificate and key.
#[derive(Clone, PartialEq)]
pub struct Secret {
    /// Who it is.
    pub meta: Meta,
    /// Its type.
    pub kind: Arc<str>,
    /// `tls.crt`
    pub certificate: Option<Arc<str>>,
    /// `tls.key`
    pub private_key: Option<Arc<str>>,
    /// `ca.crt`
    pub authorities: Option<Arc<str>>,
}

// === impl Secret ===

/// The type of Secret that holds a certificate.
const TLS: &str = "kubernetes.io/tls";
/// Where ConfigMaps and Secrets keep certificates of authorities.
pub(super) const AUTHORITIES: &str = "ca.crt";

impl Secret {
    /// Takes what is needed.
    pub fn new(full: full::Secret) -> Self {
        let kind = full.type_.unwrap_or_else(|| "Opaque".to_owned());
        let (mut data, mut plain) = (full.data.unwrap_or_default(), full.string_data.unwrap_or_default());
        let mut take = |key: &str| -> Option<Arc<str>> {
            // As in a cluster: stringData goes over data.
            let text = plain
                .remove(key)
                .or_else(|| data.remove(key).map(|it| String::from_utf8_lossy(&it.0).into_owned()));
            text.map(Into::into)
        };
        let authorities = take(AUTHORITIES);
        let (certificate, private_key) = match kind == TLS {
            true => (take("tls.crt"), take("tls.key")),
            false => (None, None),
        };
        Self {
            meta: Meta::without_labels(full.metadata, true),
            kind: kind.into(),
            certificate,
            private_key,
            authorities,
        }
    }

    /// Whether it is of the type that holds a certificate.
    pub fn is_tls(&self) -> bool {
        *self.kind == *TLS
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the data: it would end up in a log.
        f.debug_struct("Secret").field("meta", &self.meta).field("kind", &self.kind).finish_non_exhaustive()
    }
}
