//! Who a peer is: the one SPIFFE id in its certificate.

use crate::svid::system_time;
use crate::{InvalidSpiffeId, SpiffeId};
use rustls_pki_types::CertificateDer;
use std::time::SystemTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// Why a certificate does not tell who its holder is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerIdentityError {
    /// The peer sent none.
    #[error("the peer sent no certificate")]
    NoCertificate,
    /// Not a certificate, or one with malformed extensions.
    #[error("the peer's certificate is malformed: {0}")]
    Malformed(&'static str),
    /// No name of the kind that carries identities.
    #[error("the peer's certificate has no URI name")]
    NoUri,
    /// More than one identity: it is not for us to choose one (X509-SVID §2).
    #[error("the peer's certificate has {0} URI names; an identity is exactly one")]
    SeveralUris(usize),
    /// A name, but not an identity of a workload.
    #[error("the peer's URI name is not an identity: {0}")]
    NotAnIdentity(#[from] InvalidSpiffeId),
    /// An identity written in another way than ours, such as with capital letters in the trust domain.
    #[error("the peer's URI name `{0}` is not in canonical form")]
    NotCanonical(String),
    /// A certificate that may sign others is no leaf (X509-SVID §4.3).
    #[error("the peer's certificate may sign certificates")]
    MaySign,
}

/// The identity in a peer's leaf certificate, as rustls' `peer_certificates()` gives it after the handshake.
///
/// It does not verify the chain; the handshake did.
///
/// ```
/// use fairway_identity::{PeerIdentityError, peer_identity};
/// use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, SanType};
///
/// let certificate = |uris: &[&str], is_ca: IsCa| -> Result<_, rcgen::Error> {
///     let mut params = CertificateParams::default();
///     let uri = |it: &&str| Ok::<_, rcgen::Error>(SanType::URI((*it).try_into()?));
///     params.subject_alt_names = uris.iter().map(uri).collect::<Result<_, _>>()?;
///     params.is_ca = is_ca;
///     Ok([params.self_signed(&KeyPair::generate()?)?.der().clone()])
/// };
/// let (web, cart) = ("spiffe://cluster.local/ns/shop/sa/web", "spiffe://cluster.local/ns/shop/sa/cart");
/// assert_eq!(peer_identity(Some(&certificate(&[web], IsCa::NoCa)?))?.service_account(), "web");
///
/// // With two identities a peer has none (X509-SVID §2), and neither has one that could sign others (X509-SVID §4.3).
/// let two = certificate(&[web, cart], IsCa::NoCa)?;
/// assert_eq!(peer_identity(Some(&two)), Err(PeerIdentityError::SeveralUris(2)));
/// let signer = certificate(&[web], IsCa::Ca(BasicConstraints::Unconstrained))?;
/// assert_eq!(peer_identity(Some(&signer)), Err(PeerIdentityError::MaySign));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn peer_identity(certificates: Option<&[CertificateDer<'_>]>) -> Result<SpiffeId, PeerIdentityError> {
    let leaf = certificates.and_then(<[_]>::first).ok_or(PeerIdentityError::NoCertificate)?;
    identity_of(&parse(leaf)?)
}

/// When a peer's certificate ends to be valid.
pub fn peer_expires(certificates: Option<&[CertificateDer<'_>]>) -> Result<SystemTime, PeerIdentityError> {
    let leaf = certificates.and_then(<[_]>::first).ok_or(PeerIdentityError::NoCertificate)?;
    Ok(system_time(parse(leaf)?.validity().not_after))
}

pub(crate) fn parse<'a>(
    certificate: &'a CertificateDer<'_>,
) -> Result<X509Certificate<'a>, PeerIdentityError> {
    match X509Certificate::from_der(certificate) {
        Ok(([], parsed)) => Ok(parsed),
        Ok(_) => Err(PeerIdentityError::Malformed("bytes after its end")),
        Err(_) => Err(PeerIdentityError::Malformed("not an X.509 certificate")),
    }
}

pub(crate) fn identity_of(certificate: &X509Certificate<'_>) -> Result<SpiffeId, PeerIdentityError> {
    refuse_signers(certificate)?;
    let names = certificate
        .subject_alternative_name()
        .map_err(|_| PeerIdentityError::Malformed("its subject alternative names do not parse"))?
        .ok_or(PeerIdentityError::NoUri)?;
    let mut uris = Vec::new();
    for name in &names.value.general_names {
        match name {
            GeneralName::URI(uri) => uris.push(*uri),
            GeneralName::Invalid(..) => {
                return Err(PeerIdentityError::Malformed("one of its names does not parse"));
            }
            _ => {} // DNS names and the like may stand beside the identity (X509-SVID §2).
        }
    }
    match uris.as_slice() {
        [] => Err(PeerIdentityError::NoUri),
        // The parser of SPIFFE ids admits no NUL or other control byte, so nothing can hide behind one.
        [uri] => {
            let id: SpiffeId = uri.parse()?;
            if id.as_str() == *uri { Ok(id) } else { Err(PeerIdentityError::NotCanonical((*uri).to_owned())) }
        }
        several => Err(PeerIdentityError::SeveralUris(several.len())),
    }
}

fn refuse_signers(certificate: &X509Certificate<'_>) -> Result<(), PeerIdentityError> {
    let usage =
        certificate.key_usage().map_err(|_| PeerIdentityError::Malformed("its key usage does not parse"))?;
    let constraints = certificate
        .basic_constraints()
        .map_err(|_| PeerIdentityError::Malformed("its basic constraints do not parse"))?;
    let signs = usage.is_some_and(|it| it.value.key_cert_sign() || it.value.crl_sign())
        || constraints.is_some_and(|it| it.value.ca);
    if signs { Err(PeerIdentityError::MaySign) } else { Ok(()) }
}
