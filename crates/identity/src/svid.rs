//! A workload's certificate with its key (X.509-SVID), and the roots that others' certificates must chain to.

use crate::clock::unix_time;
use crate::peer::{identity_of, parse};
use crate::verify::chains_to;
use crate::{Issued, PeerIdentityError, SpiffeId, TrustDomain};
use pem::{EncodeConfig, LineEnding, Pem};
use rcgen::{KeyPair, PublicKeyData};
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use x509_parser::time::ASN1Time;

/// A certificate that proves an identity, with its key.
pub struct Svid {
    /// The identity that the certificate proves.
    pub id: SpiffeId,
    /// The leaf first, then intermediates; no root.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's private key. It was made in this process and has never left it.
    pub key: PrivateKeyDer<'static>,
    /// When it begins to be valid.
    pub not_before: SystemTime,
    /// When it ends to be valid.
    pub not_after: SystemTime,
}

/// The roots of a trust domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustBundle {
    /// Whose roots they are.
    pub trust_domain: TrustDomain,
    /// Certificates that may sign identities; during a rotation the old and the new one.
    pub roots: Vec<CertificateDer<'static>>,
    /// Grows with every change: of two bundles that meet, the one with the greater revision is the newer.
    pub revision: u64,
}

/// Why an issuer's answer is not taken.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SvidError {
    /// No certificate at all.
    #[error("the issuer answered with no certificate")]
    Empty,
    /// The certificate does not tell who it is for.
    #[error("the issued certificate cannot be used: {0}")]
    Unreadable(#[from] PeerIdentityError),
    /// It is for someone else.
    #[error("asked for {asked}, was issued {issued}")]
    OtherIdentity {
        /// What was asked for.
        asked: SpiffeId,
        /// The identity that was issued.
        issued: SpiffeId,
    },
    /// It is for another key, so it cannot be used (or someone tries to make us use it).
    #[error("the issued certificate is for another key than the one asked for")]
    OtherKey,
    /// The bundle is of another trust domain.
    #[error("the issuer's roots are of trust domain {found}, the identity is of {expected}")]
    OtherTrustDomain {
        /// The trust domain of the identity.
        expected: String,
        /// The trust domain of the bundle.
        found: TrustDomain,
    },
    /// No peer would accept it.
    #[error("the issued certificate does not verify against the issuer's own roots: {0}")]
    NotTrusted(rustls::Error),
}

// === impl Svid ===

impl Svid {
    /// Takes an issuer's answer, if it is what was asked for: this identity, this key, and peers would accept it now.
    pub fn accept(
        asked: &SpiffeId,
        key: &KeyPair,
        issued: &Issued,
        now: SystemTime,
    ) -> Result<Self, SvidError> {
        let leaf = issued.chain.first().ok_or(SvidError::Empty)?;
        let certificate = parse(leaf)?;
        let id = identity_of(&certificate)?;
        if id != *asked {
            return Err(SvidError::OtherIdentity { asked: asked.clone(), issued: id });
        }
        if *certificate.public_key().raw != *key.subject_public_key_info() {
            return Err(SvidError::OtherKey);
        }
        if issued.bundle.trust_domain.as_str() != id.trust_domain() {
            return Err(SvidError::OtherTrustDomain {
                expected: id.trust_domain().to_owned(),
                found: issued.bundle.trust_domain.clone(),
            });
        }
        let validity = certificate.validity();
        let svid = Self {
            not_before: system_time(validity.not_before),
            not_after: system_time(validity.not_after),
            id,
            chain: issued.chain.clone(),
            key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        };
        svid.verify(&issued.bundle, now).map_err(SvidError::NotTrusted)?;
        Ok(svid)
    }

    /// Whether peers that hold these roots accept the certificate at this time.
    pub fn verify(&self, bundle: &TrustBundle, now: SystemTime) -> Result<(), rustls::Error> {
        let (leaf, intermediates) = self.chain.split_first().ok_or(rustls::Error::NoCertificatesPresented)?;
        chains_to(&bundle.store()?, leaf, intermediates, unix_time(now))
    }
}

impl fmt::Debug for Svid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Svid")
            .field("id", &self.id)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

pub(crate) fn system_time(at: ASN1Time) -> SystemTime {
    // A time before 1970 is long over; 1970 is too.
    UNIX_EPOCH + Duration::from_secs(u64::try_from(at.timestamp()).unwrap_or(0))
}

// === impl TrustBundle ===

impl TrustBundle {
    /// The roots as a file of certificates.
    pub fn to_pem(&self) -> String {
        let certificates: Vec<Pem> =
            self.roots.iter().map(|it| Pem::new("CERTIFICATE", it.to_vec())).collect();
        pem::encode_many_config(&certificates, EncodeConfig::new().set_line_ending(LineEnding::LF))
    }

    /// The roots in the form rustls searches. A root that does not parse is an error, not left out: a bundle that is
    /// silently smaller fails handshakes that nobody can explain.
    pub(crate) fn store(&self) -> Result<RootCertStore, rustls::Error> {
        let mut store = RootCertStore::empty();
        for root in &self.roots {
            store.add(root.clone())?;
        }
        Ok(store)
    }
}

#[cfg(test)]
mod tests;
