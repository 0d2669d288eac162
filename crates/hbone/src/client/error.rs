//! Why a tunnel could not be opened.

use fairway_identity::HandshakeError;
use http::StatusCode;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// Why a tunnel could not be opened. Shared by all that waited for the same connection.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OpenError {
    /// No TCP connection.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// To whom.
        address: SocketAddr,
        /// Why.
        source: Arc<io::Error>,
    },
    /// No connection in time.
    #[error("{address} was not connected in time")]
    ConnectTimeout {
        /// To whom.
        address: SocketAddr,
    },
    /// No TLS session, or with another workload than the one that should be there.
    #[error("{address}: {source}")]
    Handshake {
        /// With whom.
        address: SocketAddr,
        /// Why.
        source: Arc<HandshakeError>,
    },
    /// HTTP/2 broke.
    #[error("the tunnel connection to {address} broke: {source}")]
    Broken {
        /// To whom.
        address: SocketAddr,
        /// How.
        source: Arc<h2::Error>,
    },
    /// No answer to the CONNECT in time.
    #[error("{address} did not answer in time")]
    AnswerTimeout {
        /// Who.
        address: SocketAddr,
    },
    /// The far end said no: 400 (nonsense), 401 (not allowed), 503 (it could not reach the destination).
    #[error("{address} refused the tunnel with {status}{}", because(reason))]
    Refused {
        /// Who.
        address: SocketAddr,
        /// What it said.
        status: StatusCode,
        /// Why, if it said so.
        reason: Option<Arc<str>>,
    },
    /// The authority cannot be written.
    #[error("the authority cannot be written as a URI")]
    Authority,
    /// The pool was closed.
    #[error("the pool was closed")]
    Closed,
}

impl OpenError {
    /// Whether another endpoint may be tried: the destination was certainly not reached.
    pub fn was_not_connected(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::ConnectTimeout { .. } | Self::Handshake { .. })
    }
}

fn because(reason: &Option<Arc<str>>) -> String {
    reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default()
}
