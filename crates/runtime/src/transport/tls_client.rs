//! The client's side of gRPC over TLS: a connection is made with the roots that the file has at that moment.

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

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
        let stream = TcpStream::connect((&**host, port)).await;
        let stream = stream.map_err(|why| ConnectError::Tcp { host: host.clone(), port, why })?;
        stream.set_nodelay(true).map_err(|why| ConnectError::Tcp { host: host.clone(), port, why })?;
        let connected = TlsConnector::from(Arc::new(config)).connect(self.name.clone(), stream).await;
        connected.map_err(|why| ConnectError::Tls { host: host.clone(), port, why })
    }
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
