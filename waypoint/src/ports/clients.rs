//! Clients' certificates at a listener (GEP-91).
//!
//! Where a client may go on without a valid certificate, a certificate proves nothing: nobody may take whom it names
//! for an identity.

use fairway_config::model::{ClientValidation, WithoutCertificate};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};
use std::sync::Arc;

/// Asks for a certificate, says in the log what is wrong with it, and lets everybody in.
#[derive(Debug)]
struct Lenient(Arc<dyn ClientCertVerifier>);

/// Who judges the certificates of a listener's clients. None is asked for where the listener says nothing about them.
pub fn verifier(
    validation: &ClientValidation,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, Error> {
    let roots = validation.trust.roots().clone();
    let strict = WebPkiClientVerifier::builder_with_provider(roots, provider.clone())
        .build()
        .map_err(|error| Error::General(format!("clients' certificates cannot be judged: {error}")))?;
    Ok(match validation.without {
        WithoutCertificate::Refused => strict,
        WithoutCertificate::Served => Arc::new(Lenient(strict)),
    })
}

// === impl Lenient ===

impl Lenient {
    fn pardon<T>(judged: Result<T, Error>, assertion: T) -> Result<T, Error> {
        Ok(judged.unwrap_or_else(|error| {
            tracing::debug!(%error, "a client's certificate is not valid; it is served all the same");
            assertion
        }))
    }
}

impl ClientCertVerifier for Lenient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Some clients show no certificate at all if it is not of an authority in this list; here any is good.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let judged = self.0.verify_client_cert(end_entity, intermediates, now);
        Self::pardon(judged, ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let judged = self.0.verify_tls12_signature(message, cert, dss);
        Self::pardon(judged, HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let judged = self.0.verify_tls13_signature(message, cert, dss);
        Self::pardon(judged, HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
