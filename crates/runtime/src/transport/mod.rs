//! How Fairway's programs reach each other's gRPC services: TLS over TCP, or a unix socket in one machine.

mod sources;
mod tls_client;
mod tls_server;
mod unix;

pub use tls_server::{TlsListener, TlsPeer, serve_tls, server};
pub use unix::{BindError, UnixSocket, serve};

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};

/// The one protocol inside the TLS.
const HTTP2: &[u8] = b"h2";

/// Why an address is not one to connect to.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// None of the forms.
    #[error("`{0}` is not an address: write https://host:port, http://host:port or unix:///absolute/path")]
    Form(String),
    /// The right form with something wrong in it.
    #[error("`{uri}` is not an address: {why}")]
    Invalid {
        /// The text that was to be an address.
        uri: String,
        /// What is wrong with it.
        why: tonic::transport::Error,
    },
    /// Nobody would know who answers.
    #[error("`{0}` needs the roots by which the server is known")]
    NeedsRoots(String),
}

/// A channel to `https://host:port`, `http://host:port` or `unix:///path`. It connects at the first call and again
/// whenever the connection is lost, so it can be made before its server is there. Call it inside a runtime.
///
/// For `https://`, `roots` is a PEM file with the certificates by which the server is known; it is read again at each
/// connection.
pub fn connect(uri: &str, roots: Option<&Path>) -> Result<Channel, AddressError> {
    if let Some(rest) = uri.strip_prefix("https://") {
        let roots = roots.ok_or_else(|| AddressError::NeedsRoots(uri.to_owned()))?;
        return connect_tls(uri, rest, roots);
    }
    let known =
        uri.strip_prefix("unix://").is_some_and(|path| path.starts_with('/')) || uri.starts_with("http://");
    match known {
        true => Ok(endpoint(uri)?.connect_lazy()),
        false => Err(AddressError::Form(uri.to_owned())),
    }
}

fn connect_tls(uri: &str, rest: &str, roots: &Path) -> Result<Channel, AddressError> {
    let malformed = || AddressError::Form(uri.to_owned());
    let parsed: Uri = uri.parse().map_err(|_| malformed())?;
    let (host, port) = parsed.host().zip(parsed.port_u16()).ok_or_else(malformed)?;
    let server = tls_client::Server::new(host, port, roots.to_owned()).ok_or_else(malformed)?;
    let server = Arc::new(server);
    // tonic is not to make its own TLS, so it hears of a plain address; what the server sees is the real one.
    let endpoint = endpoint(&format!("http://{rest}"))?.origin(parsed);
    Ok(endpoint.connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
        let server = server.clone();
        async move { server.connect().await.map(TokioIo::new) }
    })))
}

fn endpoint(uri: &str) -> Result<Endpoint, AddressError> {
    let endpoint = Endpoint::from_shared(uri.to_owned())
        .map_err(|why| AddressError::Invalid { uri: uri.to_owned(), why })?
        .connect_timeout(Duration::from_secs(6))
        // A server that vanished without a word is noticed in half a minute, also on a stream that is silent for hours.
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(20))
        .keep_alive_while_idle(true);
    Ok(endpoint)
}

/// The cryptography of our own TLS: TLS 1.3, the post-quantum hybrid first.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));
    PROVIDER.clone()
}

#[cfg(test)]
mod tests;
