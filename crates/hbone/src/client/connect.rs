//! How a pool reaches a peer: the seam for network namespaces and for tests.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Opens the connections of a pool.
pub trait Connect: 'static {
    /// The byte stream that a connection is, before TLS.
    type Io: AsyncRead + AsyncWrite + Unpin + 'static;

    /// Connects; the pool limits the time it may take.
    fn connect(&self, address: SocketAddr) -> impl Future<Output = io::Result<Self::Io>>;
}

/// Plain TCP from the process's own network namespace.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpConnector;

impl Connect for TcpConnector {
    type Io = TcpStream;

    async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(address).await?;
        // Without it what is sent waits a little, and nobody has to be refused for that.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }
}
