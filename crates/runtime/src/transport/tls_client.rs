//! The client's side of gRPC over TLS: a connection is made with the roots that the file has at that moment.

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How long one attempt to open a TCP connection waits. The address of a Service may lead to a pod that has just ended,
/// which answers nothing; the next attempt has another port of ours, so the node chooses the pod anew.
const ATTEMPT: Duration = Duration::from_secs(1);

/// How often it is attempted.
const ATTEMPTS: u32 = 5;

/// Where a server is, and by which roots it is known.
#[derive(Clone, Debug)]
pub(super) struct Server {
    host: String,
    port: u16,
    name: ServerName<'static>,
    roots: PathBuf,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("cannot read the roots in {path}: {why}")]
    Roots { path: PathBuf, why: rustls_pki_types::pem::Error },
    #[error("there is no root certificate in {0}")]
    NoRoots(PathBuf),
    #[error("the TLS library refuses the roots in {path}: {why}")]
    Refused { path: PathBuf, why: rustls::Error },
    #[error("cannot connect to {host}:{port}: {why}")]
    Tcp { host: String, port: u16, why: io::Error },
    #[error("no TLS with {host}:{port}: {why}")]
    Tls { host: String, port: u16, why: io::Error },
}

// === impl Server ===

impl Server {
    /// None when the host is neither a name nor an address.
    pub fn new(host: &str, port: u16, roots: PathBuf) -> Option<Self> {
        // An IPv6 address stands in brackets in a URI and without them everywhere else.
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host.clone()).ok()?;
        Some(Self { host, port, name, roots })
    }

    /// Connects, and makes sure whom to.
    pub async fn connect(self: Arc<Self>) -> Result<TlsStream<TcpStream>, ConnectError> {
        // Read each time: the roots rotate while the program runs, and connections are rare.
        let config = client_config(&self.roots)?;
        let (host, port) = (&self.host, self.port);
        let stream = connect_tcp(host, port).await;
        let stream = stream.map_err(|why| ConnectError::Tcp { host: host.clone(), port, why })?;
        stream.set_nodelay(true).map_err(|why| ConnectError::Tcp { host: host.clone(), port, why })?;
        let connected = TlsConnector::from(Arc::new(config)).connect(self.name.clone(), stream).await;
        connected.map_err(|why| ConnectError::Tls { host: host.clone(), port, why })
    }
}

/// Opens a TCP connection to the first address that answers.
async fn connect_tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let addresses: Arc<[_]> = lookup_host((host, port)).await?.collect();
    attempt_again(|| {
        let addresses = addresses.clone();
        async move { TcpStream::connect(&*addresses).await }
    })
    .await
}

/// The outcome of the first attempt that has one in its time.
async fn attempt_again<T, F: Future<Output = io::Result<T>>>(
    mut connect: impl FnMut() -> F,
) -> io::Result<T> {
    for _ in 0..ATTEMPTS {
        if let Ok(outcome) = timeout(ATTEMPT, connect()).await {
            return outcome;
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

fn client_config(path: &Path) -> Result<ClientConfig, ConnectError> {
    let unread = |why| ConnectError::Roots { path: path.to_owned(), why };
    let refused = |why| ConnectError::Refused { path: path.to_owned(), why };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(unread)? {
        roots.add(certificate.map_err(unread)?).map_err(refused)?;
    }
    if roots.is_empty() {
        return Err(ConnectError::NoRoots(path.to_owned()));
    }
    let mut config = ClientConfig::builder_with_provider(super::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(refused)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![super::HTTP2.to_vec()];
    // A resumed session would outlive the roots that it was checked against.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn a_pod_that_is_gone_does_not_hold_up_the_connection_to_the_one_that_serves_now() {
        let (began, mut attempts) = (Instant::now(), 0);
        let outcome = attempt_again(|| {
            attempts += 1;
            let attempt = attempts;
            async move { if attempt < 3 { std::future::pending().await } else { Ok(attempt) } }
        });
        assert_eq!(outcome.await.ok(), Some(3));
        assert_eq!(began.elapsed(), ATTEMPT * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_an_outcome_and_silence_has_an_end() {
        let refused = attempt_again(|| async { Err::<(), _>(io::ErrorKind::ConnectionRefused.into()) }).await;
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        let began = Instant::now();
        let silence = attempt_again(std::future::pending::<io::Result<()>>).await;
        assert_eq!(silence.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed(), ATTEMPT * ATTEMPTS);
    }
}
