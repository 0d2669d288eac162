//! Whom TLS believes: roots, client certificates of a listener, and how a backend proves who it is.

use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, DnsName, pem::PemObject};
use std::fmt;
use std::sync::Arc;

/// Certificates of authorities, as a ConfigMap or Secret holds them under `ca.crt`; at least one.
#[derive(Clone)]
pub struct TrustBundle {
    pem: Arc<str>,
    roots: Arc<RootCertStore>,
}

/// Text that is no bundle of authorities.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBundle {
    /// No certificate in the PEM.
    #[error("ca.crt holds no PEM certificate")]
    Empty,
    /// The PEM is broken.
    #[error("ca.crt is not PEM: {0}")]
    NotPem(String),
    /// One of the certificates cannot be an authority.
    #[error("certificate {index} of ca.crt cannot be used as an authority: {reason}")]
    NotAnAuthority {
        /// Which one, from 0.
        index: usize,
        /// What is wrong with it.
        reason: String,
    },
}

/// How a listener judges the certificates of its clients (GEP-91).
#[derive(Clone, Debug, PartialEq)]
pub struct ClientValidation {
    /// Who signs clients' certificates.
    pub trust: TrustBundle,
    /// What becomes of a client without a valid one.
    pub without: WithoutCertificate,
}

/// What becomes of a client that shows no valid certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WithoutCertificate {
    /// Its handshake fails, with an alert.
    Refused,
    /// It is served all the same (`AllowInsecureFallback`).
    Served,
}

/// Whether and how the connection to a backend is secured (GEP-1897).
#[derive(Clone, Debug, PartialEq)]
pub enum BackendSecurity {
    /// Bytes are sent as they are.
    Plain,
    /// TLS, and the certificate of the backend is checked.
    Tls(BackendTls),
    /// A BackendTLSPolicy asks for TLS and cannot be met, so nothing is sent: why.
    Unusable(Arc<str>),
}

/// TLS towards a backend.
#[derive(Clone, Debug, PartialEq)]
pub struct BackendTls {
    /// The SNI, and the name the certificate has to bear unless `names` says otherwise.
    pub hostname: Arc<str>,
    /// Names of which the certificate has to bear one; empty means `hostname`.
    pub names: Vec<SubjectName>,
    /// Who signs the backend's certificate.
    pub trust: BackendTrust,
}

/// A subject alternative name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SubjectName {
    /// A DNS name, or `*.` and a suffix, that the certificate has to cover.
    Dns(Arc<str>),
    /// A URI the certificate has to bear, such as a SPIFFE id; compared as it is written.
    Uri(Arc<str>),
}

/// Who signs a backend's certificate.
#[derive(Clone, Debug, PartialEq)]
pub enum BackendTrust {
    /// The authorities that the proxy's system trusts.
    System,
    /// These authorities and no others.
    Bundle(TrustBundle),
}

// === impl TrustBundle ===

impl TrustBundle {
    /// Parses certificates of authorities from PEM; at least one has to be there.
    pub fn from_pem(pem: &str) -> Result<Self, InvalidBundle> {
        let mut roots = RootCertStore::empty();
        for (index, certificate) in CertificateDer::pem_slice_iter(pem.as_bytes()).enumerate() {
            let certificate = certificate.map_err(|error| InvalidBundle::NotPem(error.to_string()))?;
            roots
                .add(certificate)
                .map_err(|error| InvalidBundle::NotAnAuthority { index, reason: error.to_string() })?;
        }
        if roots.is_empty() {
            return Err(InvalidBundle::Empty);
        }
        Ok(Self { pem: pem.into(), roots: Arc::new(roots) })
    }

    /// The authorities as given.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Ready for a verifier.
    pub fn roots(&self) -> &Arc<RootCertStore> {
        &self.roots
    }
}

impl PartialEq for TrustBundle {
    fn eq(&self, other: &Self) -> bool {
        self.pem == other.pem
    }
}

impl fmt::Debug for TrustBundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrustBundle({} authorities)", self.roots.len())
    }
}

// === impl SubjectName ===

impl SubjectName {
    /// Whether this is a name a certificate can bear.
    pub fn is_valid(&self) -> bool {
        match self {
            Self::Dns(name) => DnsName::try_from(name.strip_prefix("*.").unwrap_or(name)).is_ok(),
            Self::Uri(uri) => uri.contains(':') && uri.bytes().all(|byte| byte.is_ascii_graphic()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_is_pem_with_at_least_one_authority() {
        let authority = rcgen::generate_simple_self_signed(["authority".to_owned()]).unwrap().cert.pem();
        assert_eq!(TrustBundle::from_pem(&authority).unwrap().roots().len(), 1);
        assert_eq!(TrustBundle::from_pem(&authority.repeat(2)).unwrap().roots().len(), 2);
        assert_eq!(TrustBundle::from_pem("").unwrap_err(), InvalidBundle::Empty);
        assert_eq!(TrustBundle::from_pem("nonsense").unwrap_err(), InvalidBundle::Empty);
        let cut = authority.replace("-----END", "-----");
        assert!(matches!(TrustBundle::from_pem(&cut), Err(InvalidBundle::NotPem(_))));
        let no_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let both = format!("{authority}{no_certificate}");
        let refused = TrustBundle::from_pem(&both).unwrap_err();
        assert!(matches!(refused, InvalidBundle::NotAnAuthority { index: 1, .. }), "{refused}");
    }

    #[test]
    fn a_subject_name_is_one_that_a_certificate_can_bear() {
        for (name, valid) in [
            (SubjectName::Dns("shop.example.com".into()), true),
            (SubjectName::Dns("*.example.com".into()), true),
            (SubjectName::Dns("a..b".into()), false),
            (SubjectName::Dns("".into()), false),
            (SubjectName::Uri("spiffe://cluster.local/ns/a/sa/b".into()), true),
            (SubjectName::Uri("no uri".into()), false),
        ] {
            assert_eq!(name.is_valid(), valid, "{name:?}");
        }
    }
}
