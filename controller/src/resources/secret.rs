//! Secrets, cut down to certificates with their keys, to authorities, and to credentials of clients.

use super::{Authorities, Meta};
use fairway_config::model::{Certificate, CertificateKey, ObjectName, Period};
use k8s_openapi::api::core::v1 as full;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A Secret; of its data only the authorities are kept, of one of type `kubernetes.io/tls` the certificate and key, and of one of type
/// `fairway.dev/credentials` everything.
#[derive(Clone, PartialEq)]
pub struct Secret {
    /// Name, namespace, labels, generation.
    pub meta: Meta,
    /// `type`, such as `kubernetes.io/tls`.
    pub kind: Arc<str>,
    /// The PEM text under `tls.crt`: the certificate chain.
    pub certificate: Option<Arc<str>>,
    /// The PEM text under `tls.key`: the private key of the chain.
    pub private_key: Option<Arc<str>>,
    /// What is under `ca.crt`.
    pub authorities: Option<Authorities>,
    /// What it holds, if it is of the type that holds credentials of clients.
    pub credentials: Option<Credentials>,
    /// What it held when that was last in order; only while what it holds is not (see `source::LastGood`).
    pub last_good: Option<LastGoodPair>,
    /// Where the present stands to the validity of the certificate in use (see `source::CertificatePeriods`).
    pub period: Period,
}

/// Credentials of clients, as they are written.
pub type Credentials = Arc<BTreeMap<Arc<str>, Arc<[u8]>>>;

/// A certificate and its key (PEM) that are in order.
#[derive(Clone, PartialEq)]
pub struct LastGoodPair {
    certificate: Arc<str>,
    private_key: Arc<str>,
}

// === impl Secret ===

/// The type of Secret that holds a certificate.
const TLS: &str = "kubernetes.io/tls";
/// The type of Secret that holds credentials of clients.
pub const CREDENTIALS: &str = "fairway.dev/credentials";
/// Where ConfigMaps and Secrets keep certificates of authorities.
pub(super) const AUTHORITIES: &str = "ca.crt";

impl Secret {
    /// Takes what is needed.
    pub fn new(full: full::Secret) -> Self {
        let kind = full.type_.unwrap_or_else(|| "Opaque".to_owned());
        let (mut data, mut plain) = (full.data.unwrap_or_default(), full.string_data.unwrap_or_default());
        let credentials = (kind == CREDENTIALS).then(|| {
            let written = data.iter().map(|(name, it)| (name.as_str().into(), it.0.as_slice().into()));
            // As in a cluster: stringData goes over data.
            let plain = plain.iter().map(|(name, it)| (name.as_str().into(), it.as_bytes().into()));
            Arc::new(written.chain(plain).collect())
        });
        let mut take = |key: &str| -> Option<Arc<str>> {
            // As in a cluster: stringData goes over data.
            let text = plain
                .remove(key)
                .or_else(|| data.remove(key).map(|it| String::from_utf8_lossy(&it.0).into_owned()));
            text.map(Into::into)
        };
        let authorities = take(AUTHORITIES).map(Authorities::new);
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
            credentials,
            last_good: None,
            period: Period::Valid,
        }
    }

    /// Whether it is of the type that holds a certificate.
    pub fn is_tls(&self) -> bool {
        *self.kind == *TLS
    }

    /// The certificate it holds, or what is wrong with it.
    pub fn key_pair(&self) -> Result<Certificate, String> {
        let name = self.name();
        if !self.is_tls() {
            return Err(format!("Secret {name} has type {}, not {TLS}", self.kind));
        }
        let part = |part: &Option<Arc<str>>, key: &str| {
            part.clone().ok_or(format!("Secret {name} has no data `{key}`"))
        };
        let (chain, private) = (part(&self.certificate, "tls.crt")?, part(&self.private_key, "tls.key")?);
        Certificate::from_pem(self.key(), &chain, &private).map_err(|error| format!("Secret {name}: {error}"))
    }

    /// The certificate it held when that was last in order.
    pub fn last_good_pair(&self) -> Option<Certificate> {
        let it = self.last_good.as_ref()?;
        Certificate::from_pem(self.key(), &it.certificate, &it.private_key).ok()
    }

    /// What it holds, if that is in order.
    pub(crate) fn good_pair(&self) -> Option<LastGoodPair> {
        self.key_pair().ok()?;
        Some(LastGoodPair { certificate: self.certificate.clone()?, private_key: self.private_key.clone()? })
    }

    fn name(&self) -> ObjectName {
        ObjectName::new(self.meta.namespace.clone(), self.meta.name.clone())
    }

    fn key(&self) -> CertificateKey {
        CertificateKey::from(self.name().to_string())
    }
}

impl std::fmt::Debug for LastGoodPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LastGoodPair")
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the data: it would end up in a log.
        f.debug_struct("Secret").field("meta", &self.meta).field("kind", &self.kind).finish_non_exhaustive()
    }
}
