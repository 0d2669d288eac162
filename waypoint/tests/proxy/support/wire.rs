//! Clients: raw bytes for HTTP/1, hyper for HTTP/2.

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What a proxy on loopback answers in, however loaded the machine is.
pub const LONG: Duration = Duration::from_secs(20);

/// Sends bytes, and reads until the proxy closes.
pub async fn exchange(address: SocketAddr, bytes: impl AsRef<[u8]>) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes.as_ref()).await.unwrap();
    let mut answer = Vec::new();
    // A reset after the answer is as good as an end.
    let _ = timeout(LONG, stream.read_to_end(&mut answer)).await.expect("the proxy closes in time");
    String::from_utf8_lossy(&answer).into_owned()
}

/// One request with `connection: close`.
pub async fn get(address: SocketAddr, path: &str) -> String {
    exchange(address, format!("GET {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n")).await
}

pub fn status(answer: &str) -> u16 {
    answer
        .split(' ')
        .nth(1)
        .and_then(|it| it.parse().ok())
        .unwrap_or_else(|| panic!("no status in {answer:?}"))
}

/// A keep-alive connection, and what was read beyond the last response.
pub struct Http1<S = TcpStream>(pub S, Vec<u8>);

impl Http1 {
    pub async fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).await.expect("the proxy takes connections")
    }

    pub async fn try_connect(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(address).await.ok()?;
        stream.set_nodelay(true).unwrap();
        Some(Self::over(stream))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Http1<S> {
    pub fn over(stream: S) -> Self {
        Self(stream, Vec::new())
    }

    pub async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// The next head, and its body if it has a length. `None` at the end of the connection.
    pub async fn receive(&mut self) -> Option<(String, String)> {
        let head =
            self.read_until(|read| read.windows(4).position(|it| it == b"\r\n\r\n").map(|at| at + 4)).await?;
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
            .unwrap_or_default();
        let body = self.read_until(|read| (read.len() >= length).then_some(length)).await?;
        Some((head, body))
    }

    pub async fn read_until(&mut self, end: impl Fn(&[u8]) -> Option<usize>) -> Option<String> {
        loop {
            if let Some(at) = end(&self.1) {
                let rest = self.1.split_off(at);
                let taken = std::mem::replace(&mut self.1, rest);
                return Some(String::from_utf8_lossy(&taken).into_owned());
            }
            let count = timeout(LONG, self.0.read_buf(&mut self.1)).await.expect("bytes in time").ok()?;
            if count == 0 {
                return None;
            }
        }
    }
}

pub type Http2 = http2::SendRequest<BoxBody<Bytes, hyper::Error>>;

/// HTTP/2 with prior knowledge.
pub async fn http2(address: SocketAddr) -> Http2 {
    http2_over(TcpStream::connect(address).await.unwrap()).await
}

/// The same on a connection that there is.
pub async fn http2_over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Http2 {
    let builder = http2::Builder::new(TokioExecutor::new());
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}
