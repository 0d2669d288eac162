//! Accepting tunnels: TLS, who the peer is, HTTP/2 with limits, and one request per tunnel.

mod accept;
mod error;
mod request;
#[cfg(test)]
mod tests;

pub use accept::{serve, serve_known};
pub use error::ServeError;
pub use request::Request;

use crate::http2::Keepalive;
use http::HeaderName;
use std::time::Duration;

/// Limits of a server.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// For the TLS handshake and the HTTP/2 preface.
    pub handshake_timeout: Duration,
    /// Tunnels on one connection.
    pub max_streams: u32,
    /// A connection that has asked for no tunnel is closed after this.
    pub unused: Duration,
    /// A connection without tunnels is closed after this, or twice this at the latest.
    pub idle: Duration,
    /// How a dead peer is found.
    pub keepalive: Keepalive,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(10),
            max_streams: 200,
            unused: Duration::from_secs(30),
            // Longer than a client keeps one.
            idle: Duration::from_secs(600),
            keepalive: Keepalive::default(),
        }
    }
}

/// The response header that says in words why a tunnel was refused.
pub(crate) const REASON: HeaderName = HeaderName::from_static("x-fairway-reason");
