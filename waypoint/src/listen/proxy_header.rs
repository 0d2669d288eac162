//! The header of the PROXY protocol at the beginning of a connection. It is read before everything else, and nothing beyond it.

use crate::address::ProxyHeader;
use crate::address::proxy_protocol::{BadHeader, HeaderReader, LONGEST_BLOCK};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a proxy may take to say where its client is. It knows everything when it connects.
pub const LIMIT: Duration = Duration::from_secs(5);

/// Why it is not known for whom a proxy connects.
#[derive(Debug, thiserror::Error)]
pub enum ProxyHeaderError {
    /// It was closed without a byte, as a TCP health check does.
    #[error("the peer said nothing")]
    Silent,
    /// It has failed or ended within the header.
    #[error("the connection ended within the header of the PROXY protocol: {0}")]
    Broken(#[from] io::Error),
    /// What it begins with is no header.
    #[error(transparent)]
    Bad(#[from] BadHeader),
    /// The header is not whole in time.
    #[error("the header of the PROXY protocol was not whole after {LIMIT:?}")]
    TooSlow,
}

/// A stream whose next bytes can be looked at before they are read: the end of a line is not known before.
pub trait Peek: AsyncRead + Unpin {
    /// Copies bytes that are there, which stay to be read; none at the end of the stream.
    fn poll_peek(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<usize>>;
}

impl Peek for TcpStream {
    fn poll_peek(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<usize>> {
        Self::poll_peek(self, cx, buffer)
    }
}

/// The reading of a header, as far as it is.
#[derive(Default)]
struct Reading {
    reader: HeaderReader,
    header: Option<ProxyHeader>,
    /// Bytes that belong to the header, and are still to be read off the stream.
    looked_at: usize,
    is_begun: bool,
}

/// Reads a connection as far as the end of its header.
pub async fn read(io: &mut impl Peek) -> Result<ProxyHeader, ProxyHeaderError> {
    let mut reading = Reading::default();
    let read = poll_fn(|cx| reading.poll(io, cx));
    timeout(LIMIT, read).await.unwrap_or(Err(ProxyHeaderError::TooSlow))
}

// === impl Reading ===

impl Reading {
    /// A header that comes in one piece is looked at once, and read once.
    fn poll(
        &mut self,
        io: &mut impl Peek,
        cx: &mut Context<'_>,
    ) -> Poll<Result<ProxyHeader, ProxyHeaderError>> {
        let mut room = [0; LONGEST_BLOCK];
        loop {
            while self.looked_at > 0 {
                let mut buffer = ReadBuf::new(room.get_mut(..self.looked_at).unwrap_or_default());
                ready!(Pin::new(&mut *io).poll_read(cx, &mut buffer))?;
                self.looked_at = match buffer.filled().len() {
                    0 => return Poll::Ready(Err(self.ended())),
                    count => self.looked_at - count,
                };
            }
            if let Some(header) = self.header {
                return Poll::Ready(Ok(header));
            }
            let mut buffer = ReadBuf::new(&mut room);
            ready!(io.poll_peek(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Err(self.ended()));
            }
            self.is_begun = true;
            (self.looked_at, self.header) = self.reader.take(buffer.filled())?;
        }
    }

    fn ended(&self) -> ProxyHeaderError {
        match self.is_begun {
            true => ProxyHeaderError::Broken(io::ErrorKind::UnexpectedEof.into()),
            false => ProxyHeaderError::Silent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::{Instant, sleep};

    const LINE: &[u8] = b"PROXY TCP4 203.0.113.7 10.0.0.1 51234 443\r\n";

    /// A stream in memory, and how often it was asked.
    struct Asked {
        stream: DuplexStream,
        ahead: Vec<u8>,
        calls: usize,
    }

    impl AsyncRead for Asked {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.calls += 1;
            if self.ahead.is_empty() {
                return Pin::new(&mut self.stream).poll_read(cx, buffer);
            }
            let count = self.ahead.len().min(buffer.remaining());
            buffer.put_slice(&self.ahead.drain(..count).collect::<Vec<_>>());
            Poll::Ready(Ok(()))
        }
    }

    impl Peek for Asked {
        fn poll_peek(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<usize>> {
            self.calls += 1;
            let mut more = [0; 1024];
            let mut piece = ReadBuf::new(&mut more);
            if Pin::new(&mut self.stream).poll_read(cx, &mut piece)?.is_ready() {
                self.ahead.extend_from_slice(piece.filled());
            } else if self.ahead.is_empty() {
                return Poll::Pending;
            }
            let count = self.ahead.len().min(buffer.remaining());
            buffer.put_slice(&self.ahead[..count]);
            Poll::Ready(Ok(count))
        }
    }

    /// A peer and what it is connected to.
    fn connected() -> (DuplexStream, Asked) {
        let (peer, stream) = duplex(64);
        (peer, Asked { stream, ahead: Vec::new(), calls: 0 })
    }

    #[tokio::test(start_paused = true)]
    async fn a_header_in_one_piece_is_looked_at_once_and_read_once() {
        for (bytes, left) in [(LINE, 0), (&[LINE, b"GET / "].concat(), 6)] {
            let (mut peer, mut server) = connected();
            peer.write_all(bytes).await.unwrap();
            assert_eq!(read(&mut server).await.unwrap(), client());
            assert_eq!((server.calls, server.ahead.len()), (2, left));
        }
    }

    #[tokio::test]
    async fn what_follows_the_header_stays_in_a_socket() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        peer.write_all(&[LINE, b"payload"].concat()).await.unwrap();
        drop(peer);
        assert_eq!(read(&mut server).await.unwrap(), client());
        let mut rest = String::new();
        server.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "payload");
    }

    fn client() -> ProxyHeader {
        ProxyHeader::Client([203, 0, 113, 7].into())
    }

    #[tokio::test(start_paused = true)]
    async fn what_follows_the_header_is_left_to_be_read_however_it_comes() {
        let block =
            [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f"[..], &[203, 0, 113, 7, 10, 0, 0, 1, 1, 2, 3, 4], b"tlv"]
                .concat();
        for header in [LINE, &block] {
            for size in [1, 2, 7, 13, 1000] {
                let (mut peer, mut server) = connected();
                let bytes = [header, b"\x16\x03\x01payload"].concat();
                let feeding = async {
                    for piece in bytes.chunks(size) {
                        peer.write_all(piece).await.unwrap();
                        tokio::task::yield_now().await;
                    }
                    drop(peer);
                };
                let reading = async {
                    let header = read(&mut server).await.unwrap();
                    let mut rest = Vec::new();
                    server.read_to_end(&mut rest).await.unwrap();
                    (header, rest)
                };
                let ((header, rest), ()) = tokio::join!(reading, feeding);
                assert_eq!((header, &*rest), (client(), &b"\x16\x03\x01payload"[..]), "{size}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_header_that_is_not_whole_in_time_is_given_up() {
        let (mut peer, mut server) = connected();
        let trickling = async {
            for byte in LINE {
                sleep(Duration::from_millis(200)).await;
                if peer.write_all(&[*byte]).await.is_err() {
                    break;
                }
            }
        };
        let begun = Instant::now();
        let reading = async {
            let read = read(&mut server).await;
            drop(server);
            (read, begun.elapsed())
        };
        let ((read, took), ()) = tokio::join!(reading, trickling);
        assert!(matches!(read, Err(ProxyHeaderError::TooSlow)), "{read:?}");
        assert_eq!(took, LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_ends_early_or_says_something_else_is_refused_at_once() {
        for (bytes, expected) in [
            (&b""[..], "the peer said nothing"),
            (&LINE[..20], "ended within the header"),
            (b"G", "does not begin with"),
            (b"\x16\x03\x01\x02", "does not begin with"),
        ] {
            let (mut peer, mut server) = connected();
            peer.write_all(bytes).await.unwrap();
            let begun = Instant::now();
            if bytes.len() != 1 && bytes.first() != Some(&0x16) {
                drop(peer);
            }
            let error = read(&mut server).await.unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert_eq!(begun.elapsed(), Duration::ZERO);
        }
    }
}
