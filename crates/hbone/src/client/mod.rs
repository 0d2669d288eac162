//! Opening tunnels: a pool of connections for one thread.

mod connect;
mod connection;
mod entry;
mod error;
mod pool;
#[cfg(test)]
mod tests;

pub use connect::{Connect, TcpConnector};
pub use connection::Carrier;
pub(crate) use connection::StreamPermit;
pub use error::OpenError;
pub use pool::Pool;

use crate::http2::Keepalive;
use fairway_identity::SpiffeId;
use std::net::SocketAddr;
use std::time::Duration;

/// The far end of a connection: where it is, and who it must prove to be before it is sent a byte.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Where it accepts HBONE.
    pub address: SocketAddr,
    /// Who it must be.
    pub identity: SpiffeId,
}

/// Limits of a pool.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// For TCP, TLS and HTTP/2 together.
    pub connect_timeout: Duration,
    /// For the answer to a CONNECT, which comes after the far end has reached the destination.
    pub answer_timeout: Duration,
    /// Tunnels on one connection, if the peer allows as many.
    pub streams_per_connection: u32,
    /// A connection without tunnels is closed after this.
    pub idle: Duration,
    /// How a dead peer is found.
    pub keepalive: Keepalive,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(15),
            streams_per_connection: 100,
            idle: Duration::from_secs(300),
            keepalive: Keepalive::default(),
        }
    }
}
