//! Whether a backend's certificate is believed: who signed it, and for which name.

use fairway_config::model::SubjectName;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, DnsName, ServerName, UnixTime};
use std::sync::Arc;
use webpki::EndEntityCert;

/// Verifies a backend's certificate by the rules of BackendTLSPolicy.
#[derive(Debug)]
pub(super) struct Verifier {
    roots: Arc<RootCertStore>,
    names: Box<[Name]>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// A name that the certificate may contain.
#[derive(Debug)]
enum Name {
    /// A DNS name without a wildcard, compared case-insensitively.
    Host(ServerName<'static>),
    /// Any DNS name with this suffix, which begins with a dot.
    Below(Box<str>),
    /// A URI, compared literally.
    Uri(Box<str>),
}

// === impl Verifier ===

impl Verifier {
    /// Without `names`, the certificate has to be valid for the server name of the connection.
    pub fn new(
        roots: Arc<RootCertStore>,
        names: &[SubjectName],
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Self {
        Self { roots, names: names.iter().filter_map(Name::new).collect(), algorithms }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &self.roots,
            intermediates,
            now,
            self.algorithms.all,
        )?;
        if self.names.is_empty() {
            verify_server_name(&certificate, server_name)?;
            return Ok(ServerCertVerified::assertion());
        }
        let borne =
            EndEntityCert::try_from(end_entity).map_err(|_| Error::from(CertificateError::BadEncoding))?;
        if self.names.iter().any(|name| name.is_borne_by(&certificate, &borne)) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::NotValidForName.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

// === impl Name ===

impl Name {
    fn new(name: &SubjectName) -> Option<Self> {
        match name {
            SubjectName::Dns(name) => match name.strip_prefix('*') {
                Some(suffix) => Some(Self::Below(suffix.to_ascii_lowercase().into())),
                None => Some(Self::Host(ServerName::DnsName(DnsName::try_from(name.to_string()).ok()?))),
            },
            SubjectName::Uri(uri) => Some(Self::Uri(uri.as_ref().into())),
        }
    }

    /// A wildcard of the certificate's covers one label, as everywhere (RFC 9525 §6.3); one of the policy's covers any
    /// number, as hostnames do in the Gateway API, and a certificate's wildcard below it too.
    fn is_borne_by(&self, certificate: &ParsedCertificate<'_>, borne: &EndEntityCert<'_>) -> bool {
        match self {
            Self::Host(name) => verify_server_name(certificate, name).is_ok(),
            Self::Below(suffix) => borne.valid_dns_names().any(|name| is_below(name, suffix)),
            Self::Uri(uri) => borne.valid_uri_names().any(|name| name == &**uri),
        }
    }
}

fn is_below(name: &str, suffix: &str) -> bool {
    let Some(at) = name.len().checked_sub(suffix.len()) else { return false };
    at > 0 && name.get(at..).is_some_and(|end| end.eq_ignore_ascii_case(suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policys_wildcard_takes_hosts_and_wildcards_below_its_suffix() {
        for (name, below) in [
            ("a.example.com", true),
            ("A.EXAMPLE.com", true),
            ("a.b.example.com", true),
            ("*.example.com", true),
            ("example.com", false),
            ("aexample.com", false),
            (".example.com", false),
            ("a.example.org", false),
        ] {
            assert_eq!(is_below(name, ".example.com"), below, "{name}");
        }
    }
}
