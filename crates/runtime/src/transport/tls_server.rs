//! The server's side of gRPC over TLS: TLS 1.3 and HTTP/2, the certificate as it is at each handshake.

use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::{Connected, Router, Server, TcpConnectInfo};
use tracing::{debug, warn};

/// How long a client may take for its handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How many handshakes may be under way; more clients wait in the kernel's queue.
const HANDSHAKES: usize = 256;
/// The pause after the kernel had no socket for us.
const BREATH: Duration = Duration::from_millis(100);
/// EAFNOSUPPORT
const NO_IPV6: i32 = 97;

/// A listening TCP socket that speaks TLS.
#[derive(Debug)]
pub struct TlsListener {
    listener: TcpListener,
    acceptor: Acceptor,
}

#[derive(Clone)]
struct Acceptor(TlsAcceptor);

/// A client's connection.
#[derive(Debug)]
struct Connection(TlsStream<TcpStream>);

/// A gRPC server that notices clients which vanished without a word, and does not hold what a client makes it hold.
pub fn server() -> Server {
    Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(20)))
        .http2_keepalive_timeout(Some(Duration::from_secs(20)))
        .tcp_nodelay(true)
}

/// Serves until `stop` ends, then lets the calls that are under way end.
pub async fn serve_tls(
    services: Router,
    listener: TlsListener,
    stop: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let (sender, connections) = mpsc::channel(1);
    let accepting = tokio::spawn(listener.accept(sender));
    let served = services.serve_with_incoming_shutdown(ReceiverStream::new(connections), stop).await;
    accepting.abort();
    served
}

// === impl TlsListener ===

impl TlsListener {
    /// Listens; `certificate` is asked at each handshake. Call it inside a runtime.
    pub async fn bind(address: SocketAddr, certificate: Arc<dyn ResolvesServerCert>) -> io::Result<Self> {
        let listener = match TcpListener::bind(address).await {
            // A kernel without IPv6 has no "all addresses" in it; IPv4's is meant too.
            Err(why) if why.raw_os_error() == Some(NO_IPV6) && address.ip().is_unspecified() => {
                TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await?
            }
            bound => bound?,
        };
        let config = ServerConfig::builder_with_provider(super::provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(io::Error::other)?
            .with_no_client_auth();
        let mut config = config.with_cert_resolver(certificate);
        config.alpn_protocols = vec![super::HTTP2.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self { listener, acceptor: Acceptor(TlsAcceptor::from(Arc::new(config))) })
    }

    /// Where it listens.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Hands on connections whose handshake is done; a slow one holds up nobody.
    async fn accept(self, connections: mpsc::Sender<io::Result<Connection>>) {
        let mut handshakes = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept(), if handshakes.len() < HANDSHAKES => match accepted {
                    Ok((stream, peer)) => {
                        let handshake = handshake(self.acceptor.clone(), stream, peer, connections.clone());
                        handshakes.spawn(handshake);
                    }
                    Err(error) => {
                        warn!("cannot accept a connection: {error}");
                        tokio::time::sleep(BREATH).await;
                    }
                },
                Some(_) = handshakes.join_next() => {}
                () = connections.closed() => return,
            }
        }
    }
}

async fn handshake(
    Acceptor(acceptor): Acceptor,
    stream: TcpStream,
    peer: SocketAddr,
    connections: mpsc::Sender<io::Result<Connection>>,
) {
    match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => drop(connections.send(Ok(Connection(stream))).await),
        Ok(Err(error)) => debug!(%peer, "no TLS: {error}"),
        Err(_) => debug!(%peer, "no TLS: the handshake took too long"),
    }
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Acceptor")
    }
}

// === impl Connection ===

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.0.get_ref().0.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
