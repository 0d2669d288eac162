//! The server's side of gRPC over TLS: TLS 1.3 and HTTP/2, the certificate as it is at each handshake.

use super::sources::{Connections, Counted, Handshakes};
use crate::descriptors::{self, Room};
use crate::http2::Watched;
use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::{Connected, Router, Server};
use tracing::{debug, warn};

/// How long a client may take for its handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a client may then take to make a call that is let in.
const PROOF: Duration = Duration::from_secs(30);
/// Calls a client may have open at once.
const STREAMS: u32 = 128;
/// Bytes of a call's head; the token in it has 16 KiB at the most.
const HEAD: u32 = 32 * 1024;
/// The pause after the kernel had no socket for us.
const BREATH: Duration = Duration::from_millis(100);
/// `EAFNOSUPPORT`: the kernel has no IPv6.
const NO_IPV6: i32 = 97;

/// A listening TCP socket that speaks TLS.
#[derive(Debug)]
pub struct TlsListener {
    listener: TcpListener,
    acceptor: Acceptor,
}

#[derive(Clone)]
struct Acceptor(TlsAcceptor);

/// A client's TLS connection, with its address and its place under the limit.
#[derive(Debug)]
struct Connection {
    io: Watched<TlsStream<TcpStream>>,
    peer: TlsPeer,
    /// Ends it while nobody has said who the client is.
    unproven: Option<Pin<Box<Sleep>>>,
    _counted: Counted,
}

/// Who calls, in the extensions of each request: where from, and whether it has shown who it is.
#[derive(Clone, Debug)]
pub struct TlsPeer {
    address: IpAddr,
    proven: Arc<AtomicBool>,
}

/// A gRPC server that notices clients which vanished without a word, and does not hold what a client makes it hold.
pub fn server() -> Server {
    Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(20)))
        .http2_keepalive_timeout(Some(Duration::from_secs(20)))
        .max_concurrent_streams(Some(STREAMS))
        .http2_max_header_list_size(Some(HEAD))
        // Calls that are made and given up at once (CVE-2023-44487).
        .http2_max_pending_accept_reset_streams(Some(20))
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

    /// The address and port that it listens on.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Hands on connections whose handshake is done; a slow one holds up nobody, and many slow ones each other.
    async fn accept(self, connections: mpsc::Sender<io::Result<Connection>>) {
        let (mut running, mut under_way) = (JoinSet::new(), Handshakes::default());
        let mut aborts: HashMap<Id, AbortHandle> = HashMap::new();
        let counts = Connections::default();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, peer)) => {
                        let source = peer.ip().to_canonical();
                        if descriptors::room_after(&stream) == Room::Scarce {
                            warn!(%peer, limit = descriptors::limit(), "few file descriptors are left: a caller is rejected");
                            continue;
                        }
                        let Some(counted) = counts.admit(source) else {
                            debug!(%peer, "a caller is rejected: its address has too many connections");
                            continue;
                        };
                        if let Some(oldest) = under_way.make_room(source)
                            && let Some(abort) = aborts.remove(&oldest)
                        {
                            abort.abort();
                        }
                        let shaking = handshake(self.acceptor.clone(), stream, peer, counted, connections.clone());
                        let abort = running.spawn(shaking);
                        under_way.began(source, abort.id());
                        aborts.insert(abort.id(), abort);
                    }
                    Err(error) => {
                        warn!("cannot accept a connection: {error}");
                        tokio::time::sleep(BREATH).await;
                    }
                },
                Some(ended) = running.join_next_with_id() => {
                    let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
                    under_way.ended(&id);
                    aborts.remove(&id);
                }
                () = connections.closed() => return,
            }
        }
    }
}

async fn handshake(
    Acceptor(acceptor): Acceptor,
    stream: TcpStream,
    peer: SocketAddr,
    counted: Counted,
    connections: mpsc::Sender<io::Result<Connection>>,
) {
    match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            let connection = Connection {
                io: Watched::client(stream),
                peer: TlsPeer { address: peer.ip().to_canonical(), proven: Arc::default() },
                unproven: Some(Box::pin(tokio::time::sleep(PROOF))),
                _counted: counted,
            };
            drop(connections.send(Ok(connection)).await);
        }
        Ok(Err(error)) => debug!(%peer, "no TLS: {error}"),
        Err(_) => debug!(%peer, "no TLS: the handshake took too long"),
    }
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Acceptor")
    }
}

// === impl TlsPeer ===

impl TlsPeer {
    /// Where it calls from.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Notes that it has shown who it is: from then on its connection may stay.
    pub fn has_proven_itself(&self) {
        self.proven.store(true, Ordering::Relaxed);
    }
}

// === impl Connection ===

impl Connected for Connection {
    type ConnectInfo = TlsPeer;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(deadline) = &mut self.unproven {
            let in_time = deadline.as_mut().poll(cx).is_pending();
            if self.peer.proven.load(Ordering::Relaxed) {
                self.unproven = None;
            } else if !in_time {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
