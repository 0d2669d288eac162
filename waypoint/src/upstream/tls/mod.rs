//! TLS towards backends (GEP-1897, GEP-3155): what a commit makes ready, so that a connection only has to use it.
//!
//! One [`TlsClient`] stands for one policy and one client certificate, and is shared by every backend that has both. With a
//! rotated certificate, bundle or policy comes another one, whose connections are new, while those of the old one finish
//! what they carry.

mod clients;
mod verify;

pub use clients::{Shown, TlsClients};

use super::connect::ConnectError;
use crate::listen::detect::Version;
use crate::transport::Transport;
use fairway_config::model::{BackendTls, Certificate, CertificateKey};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::fmt;
use std::sync::Arc;
use tokio_rustls::TlsConnector;

/// What connections to a backend need.
#[derive(Clone, Debug)]
pub enum Security {
    /// Nothing.
    Plain,
    /// TLS, as one of these: one for each certificate that this proxy's listeners show, and one that shows none.
    Tls(Arc<[(Option<CertificateKey>, Arc<TlsClient>)]>),
    /// Nothing is sent: why.
    Unusable(Arc<str>),
}

/// Why nothing is sent to a backend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Its policy cannot be met.
    #[error("the backend's BackendTLSPolicy cannot be met: {0}")]
    Policy(Arc<str>),
    /// The certificate to show is missing.
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
