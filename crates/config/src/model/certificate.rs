//! A certificate and its key, as a Secret of type `kubernetes.io/tls` holds them.

use super::CertificateKey;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::fmt;
use std::sync::Arc;

/// A certificate chain and its key; the two fit together.
#[derive(Clone)]
pub struct Certificate {
    /// `<namespace>/<secret>`
    pub key: CertificateKey,
    chain_pem: Arc<str>,
    private_key_pem: Arc<str>,
    certified: Arc<CertifiedKey>,
}

/// Why a Secret's data cannot be used as a certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCertificate {
    /// No certificate in the PEM.
    #[error("tls.crt holds no PEM certificate{0}")]
    Chain(String),
    /// No private key in the PEM.
    #[error("tls.key holds no PEM private key{0}")]
    PrivateKey(String),
    /// The two do not belong together or are of a kind that is not supported.
    #[error("tls.crt and tls.key cannot be used together: {0}")]
    Mismatch(String),
}

impl Certificate {
    /// Parses a chain and its key (PEM) and checks that they fit.
    pub fn from_pem(
        key: CertificateKey,
        chain_pem: &str,
        private_key_pem: &str,
    ) -> Result<Self, InvalidCertificate> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain_pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|error| InvalidCertificate::Chain(format!(": {error}")))?;
        if chain.is_empty() {
            return Err(InvalidCertificate::Chain(String::new()));
        }
        let private_key = PrivateKeyDer::from_pem_slice(private_key_pem.as_bytes())
            .map_err(|error| InvalidCertificate::PrivateKey(format!(": {error}")))?;
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let certified = CertifiedKey::from_der(chain, private_key, &provider)
            .map_err(|error| InvalidCertificate::Mismatch(error.to_string()))?;
        Ok(Self {
            key,
            chain_pem: chain_pem.into(),
            private_key_pem: private_key_pem.into(),
            certified: Arc::new(certified),
        })
    }

    /// The chain as given.
    pub fn chain_pem(&self) -> &str {
        &self.chain_pem
    }

    /// The private key as given.
    pub fn private_key_pem(&self) -> &str {
        &self.private_key_pem
    }

    /// Ready for a handshake.
    pub fn certified(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
            && self.chain_pem == other.chain_pem
            && self.private_key_pem == other.private_key_pem
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("key", &self.key).finish_non_exhaustive()
    }
}
