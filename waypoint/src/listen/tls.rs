//! TLS at a Gateway: one rustls configuration for a socket, made at commit; the certificate follows the SNI.

use crate::route::HostIndex;
use fairway_config::model::{Certificate, HostnamePattern};
use rustls::client::verify_server_name;
use rustls::server::{ClientHello, ParsedCertificate, ProducesTickets, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::ServerName;
use std::fmt;
use std::sync::Arc;

/// What every TLS configuration of a proxy shares, so that clients resume sessions across commits and workers.
#[derive(Clone)]
pub struct TlsBase {
    provider: Arc<rustls::crypto::CryptoProvider>,
    tickets: Arc<dyn ProducesTickets>,
}

/// Chooses the certificate by SNI. A name that no listener has gets none, and so no handshake.
#[derive(Debug)]
struct BySni(HostIndex<Box<[Arc<CertifiedKey>]>>);

const VERSIONS: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

// === impl TlsBase ===

impl TlsBase {
    /// With fresh ticket keys.
    pub fn new() -> Result<Self, rustls::Error> {
        Ok(Self {
            provider: Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
            tickets: rustls::crypto::aws_lc_rs::Ticketer::new()?,
        })
    }

    /// The configuration of a socket, from each of its listeners' hostname and certificates.
    pub fn server_config<'a>(
        &self,
        listeners: impl Iterator<Item = (Option<&'a HostnamePattern>, Vec<Arc<Certificate>>)>,
    ) -> Result<Arc<ServerConfig>, rustls::Error> {
        let mut by_sni = HostIndex::default();
        for (hostname, certificates) in listeners {
            let certified = certificates.iter().map(|it| it.certified().clone()).collect();
            // A second listener of the same hostname was refused before.
            let _ = by_sni.insert(hostname, certified);
        }
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(VERSIONS)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(BySni(by_sni)));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.ticketer = self.tickets.clone();
        Ok(Arc::new(config))
    }
}

impl fmt::Debug for TlsBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsBase").finish_non_exhaustive()
    }
}

// === impl BySni ===

impl BySni {
    fn choose(&self, sni: Option<&str>) -> Option<Arc<CertifiedKey>> {
        // rustls gives DNS names in lower case.
        let certificates = self.0.covering(sni.unwrap_or_default()).next()?;
        match certificates.as_ref() {
            [] => None,
            [only] => Some(only.clone()),
            [first, ..] => Some(certificates.iter().find(|it| covers(it, sni)).unwrap_or(first).clone()),
        }
    }
}

impl ResolvesServerCert for BySni {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name())
    }
}

/// Whether a certificate is for this name.
fn covers(certified: &CertifiedKey, sni: Option<&str>) -> bool {
    let name = sni.and_then(|it| ServerName::try_from(it).ok());
    let parsed = certified.end_entity_cert().and_then(ParsedCertificate::try_from);
    matches!((name, parsed), (Some(name), Ok(certificate)) if verify_server_name(&certificate, &name).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(names: &[&str]) -> Arc<Certificate> {
        let made =
            rcgen::generate_simple_self_signed(names.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>())
                .unwrap();
        let key = made.signing_key.serialize_pem();
        Arc::new(Certificate::from_pem("shop/cert".into(), &made.cert.pem(), &key).unwrap())
    }

    #[test]
    fn the_certificate_follows_the_listener_and_then_the_name() {
        let (a, b, all) =
            (certificate(&["a.example.com"]), certificate(&["b.example.com"]), certificate(&["x"]));
        let mut hosts = HostIndex::default();
        let put = |hosts: &mut HostIndex<_>, pattern: &str, list: &[&Arc<Certificate>]| {
            let pattern: HostnamePattern = pattern.parse().unwrap();
            let list: Box<[_]> = list.iter().map(|it| it.certified().clone()).collect();
            hosts.insert(Some(&pattern), list);
        };
        put(&mut hosts, "*.example.com", &[&a, &b]);
        put(&mut hosts, "shop.example.org", &[&all]);
        let resolver = BySni(hosts);
        for (sni, expected) in [
            (Some("a.example.com"), Some(&a)),
            (Some("b.example.com"), Some(&b)),
            (Some("c.example.com"), Some(&a)),
            (Some("shop.example.org"), Some(&all)),
            (Some("other.example.org"), None),
            (None, None),
        ] {
            let chosen = resolver.choose(sni);
            assert_eq!(chosen.is_some(), expected.is_some(), "{sni:?}");
            if let (Some(chosen), Some(expected)) = (chosen, expected) {
                assert!(Arc::ptr_eq(&chosen, expected.certified()), "{sni:?}");
            }
        }
    }
}
