//! What a peer's certificate must be: chained to the mesh's roots, within its time, for this usage, and of our domain.
//!
//! Which identity of the domain it is is not asked here; one configuration serves all destinations.

use crate::peer::{identity_of, parse};
use crate::tls_identity::provider;
use crate::{PeerIdentityError, TrustDomain};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerIncompatible,
    RootCertStore, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::Arc;

/// The chain is good but the holder is not one of us.
#[derive(Clone, Debug, thiserror::Error)]
enum NotOneOfUs {
    #[error(transparent)]
    Unreadable(#[from] PeerIdentityError),
    #[error("the peer is of trust domain {found}, this mesh is {own}")]
    OtherTrustDomain { own: TrustDomain, found: String },
}

/// Verifies servers, as a client.
#[derive(Debug)]
pub(crate) struct ServerVerifier {
    roots: Arc<RootCertStore>,
    trust_domain: TrustDomain,
}

/// Verifies clients, as a server; one without a certificate is refused.
#[derive(Debug)]
pub(crate) struct ClientVerifier {
    chains: Arc<dyn ClientCertVerifier>,
    trust_domain: TrustDomain,
}

/// Whether a server with this certificate would be accepted.
pub(crate) fn chains_to(
    roots: &RootCertStore,
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    now: UnixTime,
) -> Result<(), Error> {
    let leaf = ParsedCertificate::try_from(leaf)?;
    verify_server_cert_signed_by_trust_anchor(&leaf, roots, intermediates, now, algorithms().all)
}

fn algorithms() -> WebPkiSupportedAlgorithms {
    provider().signature_verification_algorithms
}

fn check_domain(leaf: &CertificateDer<'_>, own: &TrustDomain) -> Result<(), Error> {
    let identity = || -> Result<(), NotOneOfUs> {
        let id = identity_of(&parse(leaf)?)?;
        if id.trust_domain() == own.as_str() {
            return Ok(());
        }
        Err(NotOneOfUs::OtherTrustDomain { own: own.clone(), found: id.trust_domain().to_owned() })
    };
    identity().map_err(|why| Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(why)))))
}

// === impl ServerVerifier ===

impl ServerVerifier {
    pub(crate) fn new(roots: Arc<RootCertStore>, trust_domain: TrustDomain) -> Self {
        Self { roots, trust_domain }
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        chains_to(&self.roots, end_entity, intermediates, now)?;
        check_domain(end_entity, &self.trust_domain)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::Tls12NotOfferedOrEnabled))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms().supported_schemes()
    }
}

// === impl ClientVerifier ===

impl ClientVerifier {
    pub(crate) fn new(
        roots: Arc<RootCertStore>,
        trust_domain: TrustDomain,
    ) -> Result<Self, rustls::server::VerifierBuilderError> {
        // No hints about roots in the handshake: every peer has one certificate to show, and a rotation changes them.
        let chains = WebPkiClientVerifier::builder_with_provider(roots, provider())
            .clear_root_hint_subjects()
            .build()?;
        Ok(Self { chains, trust_domain })
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chains.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.chains.verify_client_cert(end_entity, intermediates, now)?;
        check_domain(end_entity, &self.trust_domain)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}
