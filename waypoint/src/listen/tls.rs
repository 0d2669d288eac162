//! TLS that ends here: rustls configurations, made at commit; the certificate follows the SNI.

use super::clients;
use crate::route::HostIndex;
use fairway_config::model::{Certificate, ClientValidation, HostnamePattern};
use rustls::client::verify_server_name;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ParsedCertificate, ProducesTickets, ResolvesServerCert,
};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::ServerName;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// What every TLS configuration of a proxy shares, so that clients resume sessions across commits and workers.
#[derive(Clone)]
pub struct TlsBase {
    provider: Arc<rustls::crypto::CryptoProvider>,
    tickets: Arc<dyn ProducesTickets>,
}

/// Chooses the certificate by SNI. A name that no listener has gets none, and so no handshake.
#[derive(Debug)]
struct BySni(HostIndex<Box<[Arc<CertifiedKey>]>>);

/// What is spoken inside TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inside {
    /// HTTP, its version by ALPN.
    Http,
    /// Bytes that nobody here looks into.
    Bytes,
}

const VERSIONS: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

/// The server's side of a handshake of which the client's first bytes were read already.
pub fn handshake(
    config: Arc<ServerConfig>,
    stream: TcpStream,
    ahead: &[u8],
) -> Pin<Box<dyn Future<Output = io::Result<TlsStream<TcpStream>>>>> {
    let accepting = TlsAcceptor::from(config).accept_with(stream, |session| {
        let mut rest = ahead;
        while !rest.is_empty() {
            // What is wrong with them the session keeps, and says again when it goes on.
            let read = session.read_tls(&mut rest).is_ok_and(|count| count > 0);
            if !read || session.process_new_packets().is_err() {
                return;
            }
        }
    });
    // Its state is large, and gone once the session is there.
    Box::pin(accepting)
}

// === impl TlsBase ===

impl TlsBase {
    /// With fresh ticket keys.
    pub fn new() -> Result<Self, rustls::Error> {
        Ok(Self {
            provider: Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
            tickets: rustls::crypto::aws_lc_rs::Ticketer::new()?,
        })
    }

    /// The configuration for listeners that speak the same inside TLS and judge their clients alike, from each one's
    /// hostname and certificates.
    pub fn server_config<'a>(
        &self,
        inside: Inside,
        clients: Option<&ClientValidation>,
        listeners: impl Iterator<Item = (Option<&'a HostnamePattern>, Vec<Arc<Certificate>>)>,
    ) -> Result<Arc<ServerConfig>, rustls::Error> {
        let mut by_sni = HostIndex::default();
        for (hostname, certificates) in listeners {
            let certified = certificates.iter().map(|it| it.certified().clone()).collect();
            // A second listener of the same hostname was refused before.
            let _ = by_sni.insert(hostname, certified);
        }
        let builder =
            ServerConfig::builder_with_provider(self.provider.clone()).with_protocol_versions(VERSIONS)?;
        let builder = match clients {
            Some(validation) => {
                builder.with_client_cert_verifier(clients::verifier(validation, &self.provider)?)
            }
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(BySni(by_sni)));
        config.alpn_protocols = match inside {
            Inside::Http => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            // What the endpoint speaks is not known: the client's offer is left unanswered (RFC 7301 §3.2).
            Inside::Bytes => vec![],
        };
        match clients {
            None => config.ticketer = self.tickets.clone(),
            // A session that goes on is not judged again: it would outlive a certificate, an authority that is trusted no
            // longer, and be taken at another listener. So each is a new one.
            Some(_) => {
                config.session_storage = Arc::new(NoServerSessionStorage {});
                config.send_tls13_tickets = 0;
            }
        }
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
