//! How Fairway's programs reach each other's gRPC services: TCP, or a unix socket in one machine.

mod unix;

pub use unix::{BindError, UnixSocket, serve};

use std::time::Duration;
use tonic::transport::{Channel, Endpoint};

/// Why an address is not one to connect to.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// Neither of the two forms.
    #[error("`{0}` is not an address: write http://host:port or unix:///absolute/path")]
    Form(String),
    /// The right form with something wrong in it.
    #[error("`{uri}` is not an address: {why}")]
    Invalid {
        /// What was given.
        uri: String,
        /// What is wrong with it.
        why: tonic::transport::Error,
    },
}

/// A channel to `http://host:port` or `unix:///path`. It connects at the first call and again whenever the connection is
/// lost, so it can be made before its server is there. Call it inside a runtime.
pub fn connect(uri: &str) -> Result<Channel, AddressError> {
    let known =
        uri.strip_prefix("unix://").is_some_and(|path| path.starts_with('/')) || uri.starts_with("http://");
    if !known {
        return Err(AddressError::Form(uri.to_owned()));
    }
    let endpoint = Endpoint::from_shared(uri.to_owned())
        .map_err(|why| AddressError::Invalid { uri: uri.to_owned(), why })?
        .connect_timeout(Duration::from_secs(5))
        // A server that vanished without a word is noticed in half a minute, also on a stream that is silent for hours.
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(20))
        .keep_alive_while_idle(true);
    Ok(endpoint.connect_lazy())
}

#[cfg(test)]
mod tests;
