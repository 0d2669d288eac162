//! TLS that ends here: rustls configurations, made at commit; the certificate follows the SNI.

use super::clients;
use crate::route::HostIndex;
use fairway_config::model::{
    Certificate, ClientValidation, HostnamePattern, KeyExchangeGroup, TlsAlgorithms, TlsVersion,
};
use rustls::client::verify_server_name;
use rustls::crypto::aws_lc_rs::kx_group;
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ParsedCertificate, ProducesTickets, ResolvesServerCert,
};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, ServerConfig, SignatureScheme, SupportedCipherSuite, SupportedProtocolVersion};
use rustls_pki_types::{ServerName, UnixTime};
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
    provider: Arc<CryptoProvider>,
    tickets: Arc<dyn ProducesTickets>,
}

/// Chooses the certificate by SNI. A name that no listener has gets none, and so no handshake. Of several certificates
/// of a listener it is one that the client can use, that is for the name, and that is valid now, as far as there is one.
#[derive(Debug)]
struct BySni {
    hosts: HostIndex<Box<[Arc<Certificate>]>>,
    suites: Vec<SupportedCipherSuite>,
}

/// What a client can use.
struct Offer<'a> {
    schemes: &'a [SignatureScheme],
    suites: &'a [CipherSuite],
}

/// What is spoken inside TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inside {
    /// HTTP, its version by ALPN.
    Http,
    /// Bytes that nobody here looks into.
    Bytes,
}

/// What of TLS a listener speaks.
#[derive(Clone, Copy, Debug)]
pub struct Spoken<'a> {
    /// The lowest version that is spoken.
    pub lowest: TlsVersion,
    /// Its cipher suites and groups.
    pub algorithms: &'a TlsAlgorithms,
}

impl Spoken<'_> {
    /// The algorithms of this proxy, as far as they are spoken.
    fn provider(&self, all: &Arc<CryptoProvider>) -> Arc<CryptoProvider> {
        if self.algorithms.is_empty() {
            return all.clone();
        }
        let mut provider = CryptoProvider::clone(all);
        let (suites, groups) = (&self.algorithms.cipher_suites, &self.algorithms.groups);
        if !suites.is_empty() {
            let is_spoken =
                |suite: CipherSuite| suites.iter().any(|it| suite == CipherSuite::from(it.number()));
            provider.cipher_suites.retain(|it| is_spoken(it.suite()));
        }
        if !groups.is_empty() {
            let spoken = KeyExchangeGroup::ALL.iter().rev().filter(|it| groups.contains(it));
            provider.kx_groups = spoken.map(|it| kx_group_of(*it)).collect();
        }
        Arc::new(provider)
    }

    /// The versions from the lowest on for which these algorithms are.
    fn versions(&self, provider: &CryptoProvider) -> Vec<&'static SupportedProtocolVersion> {
        let all: &[&SupportedProtocolVersion] = match self.lowest {
            TlsVersion::V1_2 => &[&rustls::version::TLS13, &rustls::version::TLS12],
            TlsVersion::V1_3 => &[&rustls::version::TLS13],
        };
        let is_spoken = |it: &&&'static SupportedProtocolVersion| {
            provider.cipher_suites.iter().any(|suite| suite.version() == **it)
                && provider.kx_groups.iter().any(|group| group.usable_for_version(it.version))
        };
        all.iter().filter(is_spoken).copied().collect()
    }
}

fn kx_group_of(group: KeyExchangeGroup) -> &'static dyn SupportedKxGroup {
    match group {
        KeyExchangeGroup::Secp256r1 => kx_group::SECP256R1,
        KeyExchangeGroup::Secp384r1 => kx_group::SECP384R1,
        KeyExchangeGroup::X25519 => kx_group::X25519,
        KeyExchangeGroup::Secp256r1MlKem768 => kx_group::SECP256R1MLKEM768,
        KeyExchangeGroup::X25519MlKem768 => kx_group::X25519MLKEM768,
    }
}

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

    /// The configuration for listeners that speak the same inside TLS, the same of TLS itself, and judge their clients alike, from each one's
    /// hostname and certificates.
    pub fn server_config<'a>(
        &self,
        inside: Inside,
        spoken: Spoken<'_>,
        clients: Option<&ClientValidation>,
        listeners: impl Iterator<Item = (Option<&'a HostnamePattern>, Vec<Arc<Certificate>>)>,
    ) -> Result<Arc<ServerConfig>, rustls::Error> {
        let mut hosts = HostIndex::default();
        for (hostname, certificates) in listeners {
            // A second listener of the same hostname was refused before.
            let _ = hosts.insert(hostname, certificates.into_boxed_slice());
        }
        let provider = spoken.provider(&self.provider);
        let versions = spoken.versions(&provider);
        let by_sni = BySni { hosts, suites: provider.cipher_suites.clone() };
        let builder =
            ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(&versions)?;
        let builder = match clients {
            Some(validation) => builder.with_client_cert_verifier(clients::verifier(validation, &provider)?),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(by_sni));
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
    fn choose(&self, sni: Option<&str>, hello: &Offer<'_>, now: UnixTime) -> Option<Arc<CertifiedKey>> {
        // rustls gives DNS names in lower case.
        let certificates = self.hosts.covering(sni.unwrap_or_default()).next()?;
        if let [only] = certificates.as_ref() {
            return Some(only.certified().clone());
        }
        // The first of those that suit best. What the client cannot use ends in a failed handshake, whatever its name.
        let suits = |it: &Certificate| {
            let certified = it.certified();
            (self.is_usable(certified, hello), covers(certified, sni), it.validity().holds_at(now))
        };
        let ranked = certificates.iter().rev().max_by_key(|it| suits(it))?;
        Some(ranked.certified().clone())
    }

    /// Whether the client can verify signatures of this key with a cipher suite that both sides have.
    fn is_usable(&self, certified: &CertifiedKey, hello: &Offer<'_>) -> bool {
        let can = |schemes: &[SignatureScheme]| certified.key.choose_scheme(schemes).is_some();
        self.suites.iter().filter(|suite| hello.suites.contains(&suite.suite())).any(|suite| match suite {
            SupportedCipherSuite::Tls13(_) => can(hello.schemes),
            // Before TLS 1.3 the suite says how the key exchange is signed (RFC 5246 §7.4.1.4.1).
            SupportedCipherSuite::Tls12(suite) => can(&suite.resolve_sig_schemes(hello.schemes)),
        })
    }
}

impl ResolvesServerCert for BySni {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let offer = Offer { schemes: hello.signature_schemes(), suites: hello.cipher_suites() };
        self.choose(hello.server_name(), &offer, UnixTime::now())
    }
}

/// Whether a certificate is for this name.
fn covers(certified: &CertifiedKey, sni: Option<&str>) -> bool {
    let name = sni.and_then(|it| ServerName::try_from(it).ok());
    let parsed = certified.end_entity_cert().and_then(ParsedCertificate::try_from);
    matches!((name, parsed), (Some(name), Ok(certificate)) if verify_server_name(&certificate, &name).is_ok())
}

#[cfg(test)]
mod tests;
