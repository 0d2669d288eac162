//! TLS of probes. Like kubelet, the tunnel accepts any certificate of the application and presents none.

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use std::error::Error;
use std::io;
use std::sync::{Arc, LazyLock};

/// Configurations for both sides: `server` towards kubelet, `client` towards the application.
pub(super) struct ProbeTls {
    pub(super) server: Arc<ServerConfig>,
    pub(super) client: Arc<ClientConfig>,
}

/// The configurations, created at the first probe over TLS. Fails if no key can be generated.
pub(super) fn configurations() -> io::Result<&'static ProbeTls> {
    static MADE: LazyLock<Result<ProbeTls, String>> = LazyLock::new(|| make().map_err(|it| it.to_string()));
    MADE.as_ref().map_err(|error| io::Error::other(error.as_str()))
}

fn make() -> Result<ProbeTls, Box<dyn Error>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let certificate = rcgen::generate_simple_self_signed(["kubelet-probe.invalid".to_owned()])?;
    let key = PrivateKeyDer::try_from(certificate.signing_key.serialize_der())?;
    let mut server = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.cert.der().clone()], key)?;
    server.send_tls13_tickets = 0;
    let mut client = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer(provider)))
        .with_no_client_auth();
    client.resumption = Resumption::disabled();
    Ok(ProbeTls { server: Arc::new(server), client: Arc::new(client) })
}

/// Accepts any certificate. Only kubelet sees the response, and kubelet does not verify the certificate either.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
