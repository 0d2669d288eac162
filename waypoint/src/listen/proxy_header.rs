//! The header of the PROXY protocol at the beginning of a connection. It is read before everything else, and nothing beyond it.

use crate::address::ProxyHeader;
use crate::address::proxy_protocol::{BadHeader, HeaderReader};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
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

/// Reads a connection as far as the end of its header.
pub async fn read(io: &mut (impl AsyncRead + Unpin)) -> Result<ProxyHeader, ProxyHeaderError> {
    timeout(LIMIT, read_header(io)).await.unwrap_or(Err(ProxyHeaderError::TooSlow))
}

async fn read_header(io: &mut (impl AsyncRead + Unpin)) -> Result<ProxyHeader, ProxyHeaderError> {
    let (mut reader, mut is_begun) = (HeaderReader::default(), false);
    loop {
        match io.read(reader.room()).await? {
            0 if is_begun => return Err(ProxyHeaderError::Broken(io::ErrorKind::UnexpectedEof.into())),
            0 => return Err(ProxyHeaderError::Silent),
            count => {
                is_begun = true;
                if let Some(header) = reader.add(count)? {
                    return Ok(header);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncWriteExt, duplex};
    use tokio::time::{Instant, sleep};

    const LINE: &[u8] = b"PROXY TCP4 203.0.113.7 10.0.0.1 51234 443\r\n";

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
                let (mut peer, mut server) = duplex(64);
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
        let (mut peer, mut server) = duplex(64);
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
            let (mut peer, mut server) = duplex(64);
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
