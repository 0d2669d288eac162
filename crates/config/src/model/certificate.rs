//! A certificate and its key, as a Secret of type `kubernetes.io/tls` holds them.

use super::CertificateKey;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject};
use std::fmt;
use std::sync::Arc;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// A certificate chain and its key; the two fit together.
#[derive(Clone)]
pub struct Certificate {
    /// `<namespace>/<secret>` of the Secret that it was read from.
    pub key: CertificateKey,
    chain_pem: Arc<str>,
    private_key_pem: Arc<str>,
    certified: Arc<CertifiedKey>,
    validity: Validity,
}

/// When a certificate is valid, in seconds since the epoch, both inclusive (RFC 5280 §4.1.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first second in which it is valid, since 1970.
    pub not_before: i64,
    /// The last second in which it is valid, since 1970.
    pub not_after: i64,
}

/// Where a time stands to the validity of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// Before its first second: clients refuse it.
    NotYetValid,
    /// From its first second to its last, both included.
    Valid,
    /// After its last second: clients refuse it.
    Expired,
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
        let Some(validity) = chain.first().and_then(Validity::read) else {
            return Err(InvalidCertificate::Chain(": the first one cannot be read".to_owned()));
        };
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let certified = CertifiedKey::from_der(chain, private_key, &provider)
            .map_err(|error| InvalidCertificate::Mismatch(error.to_string()))?;
        Ok(Self {
            key,
            chain_pem: chain_pem.into(),
            private_key_pem: private_key_pem.into(),
            certified: Arc::new(certified),
            validity,
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

impl Certificate {
    /// When the first certificate of the chain is valid.
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// Whether the first certificate of the chain is for this DNS name. A wildcard name is asked for as it is written.
    pub fn is_for(&self, name: &str) -> bool {
        let asked = name.to_ascii_lowercase();
        self.dns_names().iter().any(|it| covers(it, &asked))
    }

    /// The DNS names of the first certificate of the chain, in lower case. Clients do not look at its common name (RFC 9525 §2).
    pub fn dns_names(&self) -> Vec<String> {
        let Some(Ok((_, leaf))) = self.certified.cert.first().map(|it| X509Certificate::from_der(it)) else {
            return Vec::new();
        };
        let Ok(Some(names)) = leaf.subject_alternative_name() else { return Vec::new() };
        let dns = names.value.general_names.iter().filter_map(|it| match it {
            GeneralName::DNSName(it) => Some(it.to_ascii_lowercase()),
            _ => None,
        });
        dns.collect()
    }
}

/// A wildcard covers one label, the leftmost (RFC 6125 §6.4.3).
fn covers(pattern: &str, name: &str) -> bool {
    if pattern == name {
        return true;
    }
    let (Some(parent), Some((first, rest))) = (pattern.strip_prefix("*."), name.split_once('.')) else {
        return false;
    };
    !first.is_empty() && first != "*" && rest == parent
}

impl Validity {
    /// The validity of each certificate in PEM, as far as it can be read.
    pub fn of_each(pem: &str) -> Vec<Self> {
        let certificates = CertificateDer::pem_slice_iter(pem.as_bytes()).flatten();
        certificates.filter_map(|it| Self::read(&it)).collect()
    }

    fn read(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, read) = X509Certificate::from_der(certificate).ok()?;
        let validity = read.validity();
        Some(Self { not_before: validity.not_before.timestamp(), not_after: validity.not_after.timestamp() })
    }

    /// Where a time (seconds since the epoch) stands to it.
    pub fn period_at(&self, now: i64) -> Period {
        match now {
            now if now < self.not_before => Period::NotYetValid,
            now if now > self.not_after => Period::Expired,
            _ => Period::Valid,
        }
    }

    /// The first second after `now` at which [`Self::period_at`] says something else; none when it never will.
    pub fn next_change(&self, now: i64) -> Option<i64> {
        match self.period_at(now) {
            Period::NotYetValid => Some(self.not_before),
            Period::Valid => self.not_after.checked_add(1),
            Period::Expired => None,
        }
    }

    /// Whether the time is within.
    pub fn holds_at(&self, now: UnixTime) -> bool {
        self.period_at(i64::try_from(now.as_secs()).unwrap_or(i64::MAX)) == Period::Valid
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
