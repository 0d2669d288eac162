//! Why a tunnel could not be opened.

use fairway_identity::HandshakeError;
use http::StatusCode;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// Why a tunnel could not be opened. Shared by all that waited for the same connection.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OpenError {
    /// The TCP connection to the tunnel's port could not be made, in time or at all.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// The address that was dialled.
        address: SocketAddr,
        /// The error of the system call, or `TimedOut`.
        source: Arc<io::Error>,
    },
    /// No connection in time.
    #[error("{address} was not connected in time")]
    ConnectTimeout {
        /// The address that was dialled.
        address: SocketAddr,
    },
    /// No TLS session, or with another workload than the one that should be there.
    #[error("{address}: {source}")]
    Handshake {
        /// The address of the peer that the handshake was with.
        address: SocketAddr,
        /// What was wrong with the handshake or with the peer's identity.
        source: Arc<HandshakeError>,
    },
    /// The HTTP/2 connection ended with an error, or before the stream was opened.
    #[error("the tunnel connection to {address} broke: {source}")]
    Broken {
        /// The address of the tunnel's other end.
        address: SocketAddr,
        /// The error of the connection or of its stream.
        source: Arc<h2::Error>,
    },
    /// The peer lets nobody open a tunnel, or too few on each of as many connections as one peer may have.
    #[error("{address} allows no more tunnels (SETTINGS_MAX_CONCURRENT_STREAMS)")]
    NoStreams {
        /// The address of the tunnel's other end.
        address: SocketAddr,
    },
    /// No answer to the CONNECT in time.
    #[error("{address} did not answer in time")]
    AnswerTimeout {
        /// The address of the tunnel's other end.
        address: SocketAddr,
    },
    /// The far end said no: 400 (nonsense), 401 (not allowed), 503 (it could not reach the destination).
    #[error("{address} refused the tunnel with {status}{}", because(reason))]
    Refused {
        /// The address of the tunnel's other end.
        address: SocketAddr,
        /// The status of its response, which is not 200.
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
