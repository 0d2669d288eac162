//! Building TLS clients when a configuration is committed: one for each policy and client certificate.

use super::verify::Verifier;
use super::{Security, TlsClient, TlsClientId};
use ahash::HashMap;
use fairway_config::model::{
    BackendSecurity, BackendTls, BackendTrust, Certificate, CertificateKey, SubjectName,
};
use rustls::client::{ClientSessionMemoryCache, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::ServerName;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Weak};

/// The certificates that listeners present to backends. `None` if a listener names one that the configuration does not have.
pub type Shown = BTreeMap<CertificateKey, Option<Arc<Certificate>>>;

/// All TLS clients in use. Equal ones are shared.
pub struct TlsClients {
    provider: Arc<CryptoProvider>,
    /// The system's root certificates, once a policy has needed them.
    system: Option<Result<Arc<RootCertStore>, Arc<str>>>,
    /// Clients by the SNI that they send.
    made: HashMap<Arc<str>, Vec<Weak<TlsClient>>>,
    next_id: u64,
}

const VERSIONS: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];
/// TLS sessions that a client keeps for resumption. All are for one server name.
const SESSIONS: usize = 8;

// === impl TlsClients ===

impl TlsClients {
    /// The clients for a backend: one for each certificate that may be presented, and one without.
    pub fn security(&mut self, security: &BackendSecurity, shown: &Shown) -> Security {
        let policy = match security {
            BackendSecurity::Plain => return Security::Plain,
            BackendSecurity::Unusable(why) => return Security::Unusable(why.clone()),
            BackendSecurity::Tls(policy) => policy,
        };
        let with = shown.iter().filter_map(|(key, it)| Some((Some(key.clone()), Some(it.as_ref()?))));
        let made: Result<Arc<[_]>, Arc<str>> = std::iter::once((None, None))
            .chain(with)
            .map(|(key, certificate)| Ok((key, self.client(policy, certificate)?)))
            .collect();
        match made {
            Ok(clients) => Security::Tls(clients),
            Err(why) => {
                tracing::warn!(hostname = %policy.hostname, %why, "a BackendTLSPolicy cannot be applied; nothing is sent to its backends");
                Security::Unusable(why)
            }
        }
    }

    fn client(
        &mut self,
        policy: &BackendTls,
        shown: Option<&Arc<Certificate>>,
    ) -> Result<Arc<TlsClient>, Arc<str>> {
        let same_name = self.made.get(&policy.hostname).into_iter().flatten();
        if let Some(held) = same_name.filter_map(Weak::upgrade).find(|it| it.is_for(policy, shown)) {
            return Ok(held);
        }
        let client = Arc::new(self.make(policy, shown)?);
        self.made.entry(policy.hostname.clone()).or_default().push(Arc::downgrade(&client));
        Ok(client)
    }

    fn make(&mut self, policy: &BackendTls, shown: Option<&Arc<Certificate>>) -> Result<TlsClient, Arc<str>> {
        let hostname = ServerName::try_from(policy.hostname.to_string())
            .map_err(|_| format!("hostname `{}` is no DNS name", policy.hostname))?;
        if let Some(SubjectName::Dns(name) | SubjectName::Uri(name)) =
            policy.names.iter().find(|it| !it.is_valid())
        {
            return Err(format!("subjectAltName `{name}` is no name that a certificate can bear").into());
        }
        let roots = match &policy.trust {
            BackendTrust::Bundle(bundle) => bundle.roots().clone(),
            BackendTrust::System => self.system()?,
        };
        let verifier = Verifier::new(roots, &policy.names, self.provider.signature_verification_algorithms);
        let builder = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(VERSIONS)
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut bytes = match shown {
            None => builder.with_no_client_auth(),
            Some(certificate) => builder
                .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certificate.certified().clone()))),
        };
        bytes.resumption = Resumption::store(Arc::new(ClientSessionMemoryCache::new(SESSIONS)));
        let offering = |protocol: &[u8]| {
            let mut config = bytes.clone();
            config.alpn_protocols = vec![protocol.to_vec()];
            Arc::new(config)
        };
        self.next_id += 1;
        Ok(TlsClient {
            id: TlsClientId(self.next_id),
            policy: policy.clone(),
            shown: shown.cloned(),
            hostname,
            http1: offering(b"http/1.1"),
            http2: offering(b"h2"),
            bytes: Arc::new(bytes),
        })
    }

    /// Read once: the image does not change while the process runs.
    fn system(&mut self) -> Result<Arc<RootCertStore>, Arc<str>> {
        self.system.get_or_insert_with(system_roots).clone()
    }

    /// Removes clients that no backend uses any more.
    pub fn sweep(&mut self) {
        self.made.retain(|_, made| {
            made.retain(|it| it.strong_count() > 0);
            !made.is_empty()
        });
    }
}

/// The root certificates of the machine or the image (`SSL_CERT_FILE`, `SSL_CERT_DIR`, or the paths of the distribution). The program
/// contains none, so that it cannot have outdated ones.
fn system_roots() -> Result<Arc<RootCertStore>, Arc<str>> {
    let loaded = rustls_native_certs::load_native_certs();
    for error in &loaded.errors {
        tracing::warn!(%error, "some of the system's root certificates cannot be read");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(loaded.certs);
    if roots.is_empty() {
        return Err("the proxy's system has no authorities: install ca-certificates in its image, or name a bundle in caCertificateRefs".into());
    }
    Ok(Arc::new(roots))
}

impl Default for TlsClients {
    fn default() -> Self {
        Self {
            provider: Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
            system: None,
            made: HashMap::default(),
            next_id: 0,
        }
    }
}

impl fmt::Debug for TlsClients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClients").field("names", &self.made.len()).finish_non_exhaustive()
    }
}
