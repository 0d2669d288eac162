//! A root: a certificate of the authority with the key that signs identities.

use fairway_identity::TrustDomain;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Clocks differ a little: what is signed now is valid from a minute ago.
pub(super) const SKEW: Duration = Duration::from_secs(60);

/// Where a root came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Made here, so it is replaced here before it ends.
    Made,
    /// Given by the user, who replaces it.
    Given,
}

/// A root certificate and its key.
pub struct Root {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    origin: Origin,
    not_before: SystemTime,
    not_after: SystemTime,
}

/// Why a certificate and a key are not a root that can sign.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// Not PEM, or not one certificate.
    #[error("the root certificate is not a PEM certificate: {0}")]
    Pem(rustls_pki_types::pem::Error),
    /// The certificate of the saved root cannot be parsed.
    #[error("the root certificate is not X.509")]
    Malformed,
    /// Something the signing library does not take.
    #[error("the root's certificate or key cannot be used: {0}")]
    Unusable(#[from] rcgen::Error),
    /// A certificate that must not sign others (RFC 5280 §4.2.1.9).
    #[error(
        "the root certificate is no CA certificate: it needs basicConstraints CA:TRUE and keyUsage keyCertSign"
    )]
    NotCa,
    /// The key of another certificate.
    #[error("the root's key does not belong to its certificate")]
    OtherKey,
}

impl Root {
    /// Makes a root with a new ECDSA P-256 key.
    pub fn make(trust_domain: &TrustDomain, now: SystemTime, lifetime: Duration) -> Result<Self, RootError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, trust_domain.as_str());
        // Roots of one mesh need names that differ, or a verifier has to try them all.
        let name = format!("Fairway root {:016x}", rand::random::<u64>());
        params.distinguished_name.push(DnType::CommonName, name);
        // An intermediate would be one more thing to steal; there is none to allow.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = (now - SKEW).into();
        params.not_after = (now + lifetime).into();
        let certificate = params.self_signed(&key)?.der().clone();
        Self::new(certificate, key, Origin::Made)
    }

    /// Loads a root that the user gives, such as one that cert-manager wrote.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, RootError> {
        Self::load(certificate, key, Origin::Given)
    }

    pub(super) fn load(certificate: &str, key: &str, origin: Origin) -> Result<Self, RootError> {
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(RootError::Pem)?;
        Self::new(certificate, KeyPair::from_pem(key)?, origin)
    }

    fn new(certificate: CertificateDer<'static>, key: KeyPair, origin: Origin) -> Result<Self, RootError> {
        let (not_before, not_after) = {
            let (_, parsed) = X509Certificate::from_der(&certificate).map_err(|_| RootError::Malformed)?;
            let is_ca = parsed.basic_constraints().ok().flatten().is_some_and(|it| it.value.ca);
            // Without the extension every use is allowed.
            let may_sign = parsed.key_usage().map_err(|_| RootError::Malformed)?;
            if !is_ca || may_sign.is_some_and(|it| !it.value.key_cert_sign()) {
                return Err(RootError::NotCa);
            }
            if *parsed.public_key().subject_public_key.data != *key.public_key_raw() {
                return Err(RootError::OtherKey);
            }
            let validity = parsed.validity();
            (system_time(validity.not_before.timestamp()), system_time(validity.not_after.timestamp()))
        };
        let issuer = Issuer::from_ca_cert_der(&certificate, key)?;
        Ok(Self { certificate, issuer, origin, not_before, not_after })
    }

    /// The certificate, which peers must trust.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The issuer that signs leaf certificates with this root.
    pub(super) fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }

    /// The key, for storing it. Keep it secret.
    pub(super) fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// Where it came from.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// `notAfter` of the root: no leaf may outlive it.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// When a root that was made here is to be replaced: with a fifth of its life left.
    pub(super) fn replace_at(&self) -> Option<SystemTime> {
        let life = self.not_after.duration_since(self.not_before).unwrap_or_default();
        (self.origin == Origin::Made).then(|| self.not_after - life / 5)
    }
}

pub(super) fn system_time(unix_seconds: i64) -> SystemTime {
    // What is before 1970 is over, and so is 1970.
    UNIX_EPOCH + Duration::from_secs(u64::try_from(unix_seconds).unwrap_or(0))
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Root")
            .field("origin", &self.origin)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}
