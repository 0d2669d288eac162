//! The byte streams a proxy speaks over, as one type, so that hyper's state machines are compiled once.

use fairway_config::model::ClientKeepalive;
use socket2::{SockRef, TcpKeepalive};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::{client, server};

/// Any two-way byte stream.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

/// A client's or an endpoint's byte stream.
pub enum Transport {
    /// TCP whose bytes are relayed or read as they are.
    Tcp(TcpStream),
    /// TLS that ends here.
    Tls(Box<server::TlsStream<TcpStream>>),
    /// TLS towards a backend, over TCP or a tunnel.
    Secured(Box<client::TlsStream<Transport>>),
    /// A tunnel, or a stream in memory.
    Other(Box<dyn Duplex>),
}

// === impl Transport ===

impl Transport {
    /// Closing it (dropping it) tells the far end that it broke, not that it is done. A tunnel does so anyway.
    pub fn reset_on_close(&self) {
        if let Some(socket) = self.socket() {
            let _ = socket.set_zero_linger();
        }
    }

    /// The near and the far end of its socket. None for a tunnel.
    pub fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        let socket = self.socket()?;
        Some((socket.local_addr().ok()?, socket.peer_addr().ok()?))
    }

    fn socket(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(stream) => Some(stream),
            Self::Tls(stream) => Some(stream.get_ref().0),
            Self::Secured(stream) => stream.get_ref().0.socket(),
            Self::Other(_) => None,
        }
    }
}

/// Has the kernel ask a silent far end whether it is still there, whatever is spoken on the socket. A far end whose machine is
/// gone is noticed in about a minute. What a listening socket accepts is as the listening socket is. Where the kernel refuses, it is noticed
/// by the limits of time alone: nobody is turned away for that.
pub fn keep_alive(socket: &impl AsFd) {
    if let Err(error) = SockRef::from(socket).set_tcp_keepalive(&KEEPALIVE) {
        tracing::debug!(%error, "the kernel does not ask the far end of a socket whether it is there");
    }
}

/// Has the kernel keep no more than this for a client that takes its response slowly or not at all; alone it would keep four megabytes
/// (`net.ipv4.tcp_wmem`), and what all sockets of a machine may have together is limited (`net.ipv4.tcp_mem`). What is on its way is
/// beside it, so that a client far away gets its response as quickly. What a listening socket accepts is as the listening socket is.
pub fn bound_unsent(socket: &impl AsFd) {
    if let Err(error) = SockRef::from(socket).set_tcp_notsent_lowat(UNSENT) {
        tracing::debug!(%error, "what the kernel keeps for clients cannot be bounded");
    }
}

const UNSENT: u32 = 128 << 10;

/// The same for a client, as the listener says that it is for, or those of its port.
pub fn keep_client_alive(socket: &impl AsFd, asked: &ClientKeepalive) {
    if let Err(error) = SockRef::from(socket).set_tcp_keepalive(&keepalive_of(asked)) {
        tracing::debug!(%error, "the kernel does not ask a client whether it is there as its listener says");
    }
}

fn keepalive_of(asked: &ClientKeepalive) -> TcpKeepalive {
    let ClientKeepalive { idle, interval, probes } = *asked;
    let keepalive = idle.into_iter().fold(KEEPALIVE, TcpKeepalive::with_time);
    let keepalive = interval.into_iter().fold(keepalive, TcpKeepalive::with_interval);
    probes.into_iter().fold(keepalive, TcpKeepalive::with_retries)
}

const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(30))
    .with_interval(Duration::from_secs(10))
    .with_retries(3);

/// Runs the same call on whichever stream it is.
macro_rules! on_stream {
    ($self:expr, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Transport::Tcp($stream) => $call,
            Transport::Tls($stream) => $call,
            Transport::Secured($stream) => $call,
            Transport::Other($stream) => $call,
        }
    };
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        on_stream!(self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on_stream!(self, stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
            Self::Secured(stream) => stream.is_write_vectored(),
            Self::Other(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tcp(_) => "Tcp",
            Self::Tls(_) => "Tls",
            Self::Secured(_) => "Secured",
            Self::Other(_) => "Other",
        })
    }
}
