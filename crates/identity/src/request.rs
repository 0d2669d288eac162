//! The certificate request (PKCS#10): as a proxy makes it, and what an issuer takes from it.

use crate::SpiffeId;
use rcgen::string::Ia5String;
use rcgen::{
    CertificateParams, CertificateSigningRequestParams, DistinguishedName, KeyPair, PublicKey, PublicKeyData,
    SanType, SignatureAlgorithm,
};
use rustls_pki_types::CertificateSigningRequestDer;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::{OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_SIG_ECDSA_WITH_SHA256};
use x509_parser::prelude::FromDer;

/// Ours are under 400 bytes.
const LONGEST: usize = 4096;

/// A public key whose holder signed the request.
#[derive(Debug)]
pub struct RequestedKey(PublicKey);

/// Why a request is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRequest {
    /// More than any request needs.
    #[error("the certificate request has {0} bytes, more than {LONGEST}")]
    TooLong(usize),
    /// The bytes are no PKCS#10 certificate request in DER.
    #[error("the certificate request is not PKCS#10 in DER")]
    Malformed,
    /// RSA, other curves: more to attack and slower.
    #[error("the certificate request's key or signature is not ECDSA on P-256 with SHA-256")]
    NotP256,
    /// The asker does not have the key.
    #[error("the certificate request's signature does not verify")]
    BadSignature,
    /// It asks for another name than the call does.
    #[error("the certificate request names something else than {0}")]
    OtherName(SpiffeId),
}

/// A request that names the identity and proves that we have the key.
pub(crate) fn make_request(id: &SpiffeId, key: &KeyPair) -> Result<Vec<u8>, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![SanType::URI(Ia5String::try_from(id.as_str())?)];
    Ok(params.serialize_request(key)?.der().to_vec())
}

/// Reads a request for this identity. Its names are checked, not used: what is signed is what the call asked for.
pub fn read_request(csr_der: &[u8], id: &SpiffeId) -> Result<RequestedKey, InvalidRequest> {
    if csr_der.len() > LONGEST {
        return Err(InvalidRequest::TooLong(csr_der.len()));
    }
    let (rest, request) =
        X509CertificationRequest::from_der(csr_der).map_err(|_| InvalidRequest::Malformed)?;
    if !rest.is_empty() {
        return Err(InvalidRequest::Malformed);
    }
    require_p256(&request)?;
    require_name(&request, id)?;
    // This verifies the signature with the key in the request.
    let params = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(csr_der))
        .map_err(|error| match error {
            rcgen::Error::InvalidCertificationRequestSignature => InvalidRequest::BadSignature,
            _ => InvalidRequest::Malformed,
        })?;
    Ok(RequestedKey(params.public_key))
}

fn require_p256(request: &X509CertificationRequest<'_>) -> Result<(), InvalidRequest> {
    let key = &request.certification_request_info.subject_pki;
    let curve = key.algorithm.parameters.as_ref().and_then(|it| it.as_oid().ok());
    let is_p256 = key.algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY
        && curve.is_some_and(|curve| curve == OID_EC_P256)
        // Uncompressed, the one form that every TLS library takes (RFC 8422 §5.4.1).
        && matches!(*key.subject_public_key.data, [4, ref point @ ..] if point.len() == 64)
        && request.signature_algorithm.algorithm == OID_SIG_ECDSA_WITH_SHA256;
    if is_p256 { Ok(()) } else { Err(InvalidRequest::NotP256) }
}

fn require_name(request: &X509CertificationRequest<'_>, id: &SpiffeId) -> Result<(), InvalidRequest> {
    for extension in request.requested_extensions().into_iter().flatten() {
        let ParsedExtension::SubjectAlternativeName(names) = extension else {
            continue;
        };
        let agrees = |name: &GeneralName<'_>| matches!(name, GeneralName::URI(uri) if *uri == id.as_str());
        if !names.general_names.iter().all(agrees) {
            return Err(InvalidRequest::OtherName(id.clone()));
        }
    }
    Ok(())
}

impl PublicKeyData for RequestedKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        PublicKeyData::algorithm(&self.0)
    }
}
