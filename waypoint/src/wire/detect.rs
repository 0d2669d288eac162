//! Tells HTTP/2 from HTTP/1 by a connection's first bytes (RFC 9113 §3.4).

use super::{ReadAhead, WireState};
use crate::transport::Transport;
use std::io;
use tokio::io::AsyncReadExt;

/// The connection preface of HTTP/2 (RFC 9113, section 3.4).
pub const PREFACE: &[u8; ReadAhead::MOST] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A version of HTTP as it is on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// HTTP/1.1 or HTTP/1.0, as each request says.
    Http1,
    /// HTTP/2 with prior knowledge, or by ALPN.
    Http2,
}

/// Reads as far as needed to know what is spoken; `None` when the client closes without a byte.
///
/// Every HTTP client speaks first, so this needs no time limit of its own; the sweep over connections has one.
pub async fn detect(io: &mut Transport, wire_state: &WireState) -> io::Result<Option<(Version, ReadAhead)>> {
    let mut ahead = ReadAhead::default();
    loop {
        match verdict(ahead.bytes()) {
            Some(version) => {
                wire_state.set_in_head(false);
                return Ok(Some((version, ahead)));
            }
            None => match io.read(ahead.room()).await? {
                0 if ahead.bytes().is_empty() => return Ok(None),
                // What is there begins like the preface, but can only be HTTP/1 now: let hyper refuse it.
                0 => return Ok(Some((Version::Http1, ahead))),
                count => {
                    ahead.add(count);
                    wire_state.set_in_head(true);
                }
            },
        }
    }
}

fn verdict(bytes: &[u8]) -> Option<Version> {
    if bytes == PREFACE {
        Some(Version::Http2)
    } else if PREFACE.starts_with(bytes) {
        None
    } else {
        Some(Version::Http1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    async fn detected(pieces: &[&[u8]]) -> Option<Version> {
        let (mut client, server) = tokio::io::duplex(64);
        let mut server = Transport::Other(Box::new(server));
        let feeding = async {
            for piece in pieces {
                client.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            drop(client);
        };
        let wire_state = WireState::default();
        let (found, ()) = tokio::join!(detect(&mut server, &wire_state), feeding);
        let (version, ahead) = found.unwrap()?;
        let whole = pieces.concat();
        assert!(whole.starts_with(ahead.bytes()) && !ahead.bytes().is_empty());
        Some(version)
    }

    #[tokio::test]
    async fn the_preface_is_told_from_requests_however_it_arrives() {
        for (pieces, expected) in [
            (vec![&PREFACE[..]], Some(Version::Http2)),
            (vec![&PREFACE[..3], &PREFACE[3..]], Some(Version::Http2)),
            (vec![b"GET / HTTP/1.1\r\n\r\n"], Some(Version::Http1)),
            (vec![b"P", b"OST / HTTP/1.1\r\n\r\n"], Some(Version::Http1)),
            (vec![b"PRI * HTTP/1.1\r\n\r\n"], Some(Version::Http1)),
            (vec![b"PRI * HTT"], Some(Version::Http1)),
            (vec![], None),
        ] {
            assert_eq!(detected(&pieces).await, expected, "{pieces:?}");
        }
    }
}
