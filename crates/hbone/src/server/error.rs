//! Why a connection of a peer ended before its time.

use fairway_identity::HandshakeError;

/// Why a connection of a peer ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// TLS and the HTTP/2 preface took too long.
    #[error("no handshake in time")]
    HandshakeTimeout,
    /// No TLS session with a workload of the mesh.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The HTTP/2 connection ended with an error of the connection, not of one stream.
    #[error("HTTP/2: {0}")]
    Http2(#[from] h2::Error),
    /// No answer to a PING.
    #[error("the peer does not answer PINGs")]
    Dead,
    /// The peer opens and resets tunnels faster than they can be cleaned up (rapid reset, CVE-2023-44487).
    #[error("the peer resets tunnels faster than they end")]
    Flood,
    /// The peer sends PINGs, SETTINGS or the like without end (CVE-2019-9512, CVE-2019-9515).
    #[error("the peer sends too many HTTP/2 control frames")]
    ControlFrames,
    /// The peer has as many connections as one peer may have.
    #[error("the peer has too many connections")]
    TooManyConnections,
    /// The program's time to drain was over.
    #[error("cut off at the end of the drain")]
    CutOff,
}
