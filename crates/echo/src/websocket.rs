//! WebSocket, RFC 6455: as much as an echo and its client need.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use sha1::{Digest, Sha1};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The longest payload either end takes.
const LONGEST: u64 = 16 * 1024 * 1024;

/// What kind of frame (RFC 6455 section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// More of the message before.
    Continuation,
    /// A message of text in UTF-8.
    Text,
    /// A message of any bytes.
    Binary,
    /// The end of the connection; it is answered in kind.
    Close,
    /// A ping, which is answered with a pong.
    Ping,
    /// The answer to a ping, with the same payload.
    Pong,
}

/// One frame of RFC 6455, unmasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Whether it ends its message.
    pub is_final: bool,
    /// The opcode: what the payload is.
    pub kind: Kind,
    /// What it carries, unmasked.
    pub payload: Vec<u8>,
}

/// Who sends: what clients send is masked (section 5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Masks what it sends (RFC 6455, 5.3).
    Client,
    /// Sends frames without a mask.
    Server,
}

/// The value of `Sec-WebSocket-Accept` for a key (section 4.2.2).
pub fn accept_key(key: &[u8]) -> String {
    const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

/// Whether a request wants to become a WebSocket.
pub(crate) fn is_upgrade<B>(request: &Request<B>) -> bool {
    has_token(request.headers(), &UPGRADE, "websocket")
        && has_token(request.headers(), &CONNECTION, "upgrade")
}

/// Accepts, and says back every message once the connection is upgraded.
pub(crate) fn accept(request: Request<Incoming>) -> Response<Empty<Bytes>> {
    let mut response = Response::new(Empty::new());
    let version = request.headers().get(SEC_WEBSOCKET_VERSION).map(HeaderValue::as_bytes);
    let key = request.headers().get(SEC_WEBSOCKET_KEY).map(|key| accept_key(key.as_bytes()));
    let accepted = key.and_then(|key| HeaderValue::from_str(&key).ok()).filter(|_| version == Some(b"13"));
    let Some(accepted) = accepted else {
        *response.status_mut() = StatusCode::BAD_REQUEST;
        response.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return response;
    };
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accepted);
    tokio::spawn(async move {
        let outcome = match hyper::upgrade::on(request).await {
            Ok(upgraded) => say_back(TokioIo::new(upgraded)).await,
            Err(error) => Err(io::Error::other(error)),
        };
        if let Err(error) = outcome {
            tracing::debug!(%error, "a WebSocket ended early");
        }
    });
    response
}

async fn say_back(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    loop {
        let frame = read_frame(&mut stream).await?;
        let answer = match frame.kind {
            Kind::Continuation | Kind::Text | Kind::Binary => frame,
            Kind::Ping => Frame { kind: Kind::Pong, ..frame },
            Kind::Pong => continue,
            Kind::Close => {
                write_frame(&mut stream, &frame, Role::Server).await?;
                return stream.shutdown().await;
            }
        };
        write_frame(&mut stream, &answer, Role::Server).await?;
    }
}

/// Reads one frame and takes its mask off.
pub async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Frame> {
    let [first, second] = read_array(stream).await?;
    if first & 0x70 != 0 {
        return Err(invalid("an extension was used that was not agreed on"));
    }
    let kind = Kind::from_opcode(first & 0x0f).ok_or_else(|| invalid("a frame of an unknown kind"))?;
    let length = match second & 0x7f {
        126 => u64::from(u16::from_be_bytes(read_array(stream).await?)),
        127 => u64::from_be_bytes(read_array(stream).await?),
        short => u64::from(short),
    };
    if length > LONGEST {
        return Err(invalid("a frame is too long"));
    }
    let mask: [u8; 4] = if second & 0x80 != 0 { read_array(stream).await? } else { [0; 4] };
    let mut payload = vec![0; length as usize];
    stream.read_exact(&mut payload).await?;
    apply_mask(&mut payload, mask);
    Ok(Frame { is_final: first & 0x80 != 0, kind, payload })
}

/// Writes one frame, masked if the sender is a client.
pub async fn write_frame(
    stream: &mut (impl AsyncWrite + Unpin),
    frame: &Frame,
    role: Role,
) -> io::Result<()> {
    let (mask_bit, mask) = match role {
        // Masks are there to confuse proxies that take frames for HTTP; any will do here.
        Role::Client => (0x80, [0x37, 0xfa, 0x21, 0x3d]),
        Role::Server => (0, [0; 4]),
    };
    let mut bytes = vec![u8::from(frame.is_final) << 7 | frame.kind.opcode()];
    match u16::try_from(frame.payload.len()) {
        Ok(short @ 0..126) => bytes.push(mask_bit | short as u8),
        Ok(long) => {
            bytes.push(mask_bit | 126);
            bytes.extend(long.to_be_bytes());
        }
        Err(_) => {
            bytes.push(mask_bit | 127);
            bytes.extend((frame.payload.len() as u64).to_be_bytes());
        }
    }
    if role == Role::Client {
        bytes.extend(mask);
    }
    let start = bytes.len();
    bytes.extend(&frame.payload);
    apply_mask(bytes.get_mut(start..).unwrap_or_default(), mask);
    stream.write_all(&bytes).await?;
    stream.flush().await
}

// === impl Kind ===

impl Kind {
    fn opcode(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    fn from_opcode(opcode: u8) -> Option<Self> {
        let all = [Self::Continuation, Self::Text, Self::Binary, Self::Close, Self::Ping, Self::Pong];
        all.into_iter().find(|kind| kind.opcode() == opcode)
    }
}

fn apply_mask(payload: &mut [u8], mask: [u8; 4]) {
    for (byte, mask) in payload.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= mask;
    }
}

async fn read_array<const N: usize>(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|found| found.trim().eq_ignore_ascii_case(token))
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_accepted_as_in_the_rfc() {
        // RFC 6455 section 1.3.
        assert_eq!(accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[tokio::test]
    async fn a_frame_survives_the_way_whatever_its_length() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            for role in [Role::Client, Role::Server] {
                let frame = Frame { is_final: true, kind: Kind::Binary, payload: vec![7; length] };
                let mut wire = Vec::new();
                write_frame(&mut wire, &frame, role).await.unwrap();
                assert_eq!(read_frame(&mut wire.as_slice()).await.unwrap(), frame, "{length} bytes");
            }
        }
    }

    #[tokio::test]
    async fn frames_that_are_none_are_refused() {
        for wrong in [&[0x83, 0][..], &[0xc1, 0], &[0x81, 127, 255, 0, 0, 0, 0, 0, 0, 0], &[0x81, 5, 1]] {
            assert!(read_frame(&mut &*wrong).await.is_err(), "{wrong:?}");
        }
    }
}
