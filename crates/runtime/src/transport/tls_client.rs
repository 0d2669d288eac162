//! The client's side of gRPC over TLS: a connection is made with the roots that the file has at that moment.

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How long one attempt to open a TCP connection waits: the kernel asks a second time after a second. The address of a Service may
/// lead to a pod that has just ended, which answers nothing; the next attempt has another port of ours, so the node chooses the pod anew.
const ATTEMPT: Duration = Duration::from_millis(1_250);

/// How often each address is attempted.
const ROUNDS: u32 = 4;

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
    let addresses: Vec<SocketAddr> = lookup_host((host, port)).await?.collect();
    attempt(&addresses, TcpStream::connect).await
}

/// Attempts one address after the other, and all of them again, until one answers or all have refused.
async fn attempt<T, F: Future<Output = io::Result<T>>>(
    addresses: &[SocketAddr],
    mut connect: impl FnMut(SocketAddr) -> F,
) -> io::Result<T> {
    for _ in 0..ROUNDS {
        let (mut refused, mut is_silent) = (None, false);
        for address in addresses {
            match timeout(ATTEMPT, connect(*address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(why)) => refused = Some(why),
                Err(_) => is_silent = true,
            }
        }
        if let Some(why) = refused.filter(|_| !is_silent) {
            return Err(why);
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
    use std::net::{IpAddr, Ipv4Addr};
    use tokio::time::Instant;

    const ONE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 443);
    const OTHER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)), 443);

    /// What becomes of it where each address answers so, time after time; and after how many attempts' time.
    async fn outcome(
        addresses: &[SocketAddr],
        answers: impl Fn(SocketAddr, u32) -> Answer,
    ) -> (Result<SocketAddr, io::ErrorKind>, u32) {
        let (began, mut number) = (Instant::now(), 0);
        let outcome = attempt(addresses, |address| {
            number += 1;
            let answer = answers(address, number);
            async move {
                match answer {
                    Answer::Silence => std::future::pending().await,
                    Answer::Refusal => Err(io::ErrorKind::ConnectionRefused.into()),
                    Answer::Connection => Ok(address),
                }
            }
        });
        let outcome = outcome.await.map_err(|it| it.kind());
        (outcome, (began.elapsed().as_millis() / ATTEMPT.as_millis()) as u32)
    }

    enum Answer {
        Silence,
        Refusal,
        Connection,
    }

    #[tokio::test(start_paused = true)]
    async fn a_pod_that_is_gone_does_not_hold_up_the_connection_to_the_one_that_serves_now() {
        use Answer::{Connection, Refusal, Silence};
        // The same address leads to another pod at the next attempt.
        let again = outcome(&[ONE], |_, number| if number < 3 { Silence } else { Connection });
        assert_eq!(again.await, (Ok(ONE), 2));
        // One of two addresses answers nothing, or refuses.
        let second = outcome(&[ONE, OTHER], |it, _| if it == ONE { Silence } else { Connection });
        assert_eq!(second.await, (Ok(OTHER), 1));
        let second = outcome(&[ONE, OTHER], |it, _| if it == ONE { Refusal } else { Connection });
        assert_eq!(second.await, (Ok(OTHER), 0));
        let first = outcome(&[ONE, OTHER], |it, number| match it {
            OTHER => Refusal,
            _ if number < 3 => Silence,
            _ => Connection,
        });
        assert_eq!(first.await, (Ok(ONE), 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_of_all_is_told_at_once_and_silence_has_an_end() {
        let refused = outcome(&[ONE, OTHER], |_, _| Answer::Refusal).await;
        assert_eq!(refused, (Err(io::ErrorKind::ConnectionRefused), 0));
        let silence = outcome(&[ONE], |_, _| Answer::Silence).await;
        assert_eq!(silence, (Err(io::ErrorKind::TimedOut), ROUNDS));
        assert_eq!(outcome(&[], |_, _| Answer::Refusal).await.0, Err(io::ErrorKind::TimedOut));
    }
}
