//! TLS towards backends (GEP-1897, GEP-3155). The clients are built when a configuration is committed.
//!
//! There is one [`TlsClient`] for each pair of policy and client certificate, shared by all backends that have both. A new
//! certificate, bundle or policy leads to a new client and new connections. The connections of the old client finish their requests.

mod clients;
mod verify;

pub use clients::{Shown, TlsClients};

use super::connect::ConnectError;
use crate::transport::Transport;
use crate::wire::Version;
use fairway_config::model::{BackendTls, Certificate, CertificateKey};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::fmt;
use std::sync::Arc;
use tokio_rustls::TlsConnector;

/// How connections to a backend are secured.
#[derive(Clone, Debug)]
pub enum Security {
    /// No policy asks for TLS: bytes go as they are.
    Plain,
    /// TLS. One client for each certificate that the proxy's listeners present to backends, and one without a certificate.
    Tls(Arc<[(Option<CertificateKey>, Arc<TlsClient>)]>),
    /// Nothing may be sent to the backend, for this reason.
    Unusable(Arc<str>),
}

/// Why nothing may be sent to a backend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// The BackendTLSPolicy is invalid.
    #[error("the backend's BackendTLSPolicy cannot be met: {0}")]
    Policy(Arc<str>),
    /// The client certificate of the listener's Gateway is missing.
    #[error("the client certificate {0} is not in the configuration")]
    NoCertificate(CertificateKey),
}

/// Tells TLS clients apart; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TlsClientId(u64);

/// TLS as one policy has it, showing one certificate or none.
pub struct TlsClient {
    id: TlsClientId,
    policy: BackendTls,
    shown: Option<Arc<Certificate>>,
    hostname: ServerName<'static>,
    /// They differ by ALPN alone.
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
    bytes: Arc<ClientConfig>,
}

/// What will be spoken on a connection: the one protocol that ALPN offers, so that nothing else can come of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP, of this version.
    Http(Version),
    /// Whatever a client sends: no ALPN.
    Bytes,
}

// === impl Security ===

impl Security {
    /// How to connect from a listener that shows this certificate; none stands for plain bytes.
    pub fn client(&self, shown: Option<&CertificateKey>) -> Result<Option<&Arc<TlsClient>>, Unusable> {
        match self {
            Self::Plain => Ok(None),
            Self::Unusable(why) => Err(Unusable::Policy(why.clone())),
            Self::Tls(clients) => match clients.iter().find(|(key, _)| key.as_ref() == shown) {
                Some((_, client)) => Ok(Some(client)),
                None => Err(match shown {
                    Some(key) => Unusable::NoCertificate(key.clone()),
                    None => Unusable::Policy("TLS is not set up".into()),
                }),
            },
        }
    }
}

// === impl TlsClient ===

impl TlsClient {
    /// Tells it apart from every other.
    pub fn id(&self) -> TlsClientId {
        self.id
    }

    /// Speaks TLS on a connection to an endpoint.
    pub(super) async fn handshake(
        &self,
        io: Transport,
        protocol: Protocol,
    ) -> Result<Transport, ConnectError> {
        let config = match protocol {
            Protocol::Http(Version::Http1) => &self.http1,
            Protocol::Http(Version::Http2) => &self.http2,
            Protocol::Bytes => &self.bytes,
        };
        let connecting = TlsConnector::from(config.clone()).connect(self.hostname.clone(), io);
        let stream =
            connecting.await.map_err(|error| match error.get_ref().map(|it| it.is::<rustls::Error>()) {
                Some(true) => ConnectError::Tls(error),
                _ => ConnectError::Refused(error),
            })?;
        Ok(Transport::Secured(Box::new(stream)))
    }

    fn is_for(&self, policy: &BackendTls, shown: Option<&Arc<Certificate>>) -> bool {
        self.policy == *policy && self.shown.as_ref() == shown
    }
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.shown.as_ref().map(|it| &it.key);
        f.debug_struct("TlsClient").field("hostname", &self.policy.hostname).field("shown", &shown).finish()
    }
}
