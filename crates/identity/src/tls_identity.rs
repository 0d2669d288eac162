//! An identity ready for TLS: the rustls configurations of one certificate and one set of roots, built once.

use crate::clock::TlsClock;
use crate::verify::{ClientVerifier, ServerVerifier};
use crate::{SharedClock, SpiffeId, Svid, TrustBundle, TrustDomain};
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ServerConfig};
use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

/// The one protocol inside the mesh's TLS.
pub const ALPN: &[u8] = b"h2";

/// A certificate and roots as rustls configurations. Shared by `Arc`; replaced whole when either rotates.
pub struct TlsIdentity {
    id: SpiffeId,
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    expires: SystemTime,
    clock: SharedClock,
}

/// Why a certificate and roots do not make a configuration.
#[derive(Debug, thiserror::Error)]
pub enum TlsIdentityError {
    /// rustls refuses the key, the chain, or a root.
    #[error("rustls refuses the certificate, its key or a root: {0}")]
    Tls(#[from] rustls::Error),
    /// The trust bundle has no root that can be used.
    #[error("the trust bundle cannot be used: {0}")]
    Roots(#[from] rustls::server::VerifierBuilderError),
    /// The roots of another mesh.
    #[error("{id} is not of the trust domain {bundle} whose roots these are")]
    OtherTrustDomain {
        /// The identity of the certificate.
        id: SpiffeId,
        /// The trust domain whose roots were given.
        bundle: TrustDomain,
    },
}

/// The mesh's cryptography: the post-quantum hybrid first, the curves of peers without it after.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        Arc::new(CryptoProvider {
            kx_groups: vec![
                aws_lc_rs::kx_group::X25519MLKEM768,
                aws_lc_rs::kx_group::X25519,
                aws_lc_rs::kx_group::SECP256R1,
            ],
            cipher_suites: vec![
                aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
                aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384,
                aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
            ],
            ..aws_lc_rs::default_provider()
        })
    });
    PROVIDER.clone()
}

// === impl TlsIdentity ===

impl TlsIdentity {
    /// Builds the configurations. `clock` says when peers' certificates count as expired.
    pub fn new(svid: &Svid, bundle: &TrustBundle, clock: &SharedClock) -> Result<Self, TlsIdentityError> {
        let trust_domain = bundle.trust_domain.clone();
        if svid.id.trust_domain() != trust_domain.as_str() {
            return Err(TlsIdentityError::OtherTrustDomain { id: svid.id.clone(), bundle: trust_domain });
        }
        let roots = Arc::new(bundle.store()?);
        let certified = CertifiedKey::from_der(svid.chain.clone(), svid.key.clone_key(), &provider())?;
        let certified = Arc::new(SingleCertAndKey::from(certified));
        let of_peers: Arc<TlsClock> = Arc::new(TlsClock(clock.clone()));

        let mut server = ServerConfig::builder_with_details(provider(), of_peers.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(Arc::new(ClientVerifier::new(roots.clone(), trust_domain.clone())?))
            .with_cert_resolver(certified.clone());
        server.alpn_protocols = vec![ALPN.to_vec()];
        // A resumed session would outlive the certificate and the roots that it was checked against.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;

        let mut client = ClientConfig::builder_with_details(provider(), of_peers)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous() // rustls' word for one's own verifier: names are SPIFFE ids here, not DNS names
            .with_custom_certificate_verifier(Arc::new(ServerVerifier::new(roots, trust_domain)))
            .with_client_cert_resolver(certified);
        client.alpn_protocols = vec![ALPN.to_vec()];
        client.resumption = Resumption::disabled();
        client.enable_sni = false;

        Ok(Self {
            id: svid.id.clone(),
            server: Arc::new(server),
            client: Arc::new(client),
            expires: svid.not_after,
            clock: clock.clone(),
        })
    }

    /// Whose identity it is.
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// For accepting: requires a client certificate of the same trust domain.
    pub fn server_config(&self) -> &Arc<ServerConfig> {
        &self.server
    }

    /// For connecting: accepts any server of the same trust domain; the caller checks which one it is.
    pub fn client_config(&self) -> &Arc<ClientConfig> {
        &self.client
    }

    /// When the certificate ends to be valid.
    pub fn expires(&self) -> SystemTime {
        self.expires
    }

    /// The clock by which peers' certificates count as expired.
    pub fn clock(&self) -> &SharedClock {
        &self.clock
    }
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsIdentity")
            .field("id", &self.id)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}
