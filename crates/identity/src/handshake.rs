//! The mesh's TLS handshake, both sides: it ends with a stream and the proven identity of who is at its other end.

use crate::tls_identity::ALPN;
use crate::{PeerIdentityError, SpiffeId, TlsIdentity, peer_identity};
use rustls::{CertificateError, OtherError};
use rustls_pki_types::{IpAddr, Ipv4Addr, ServerName};
use std::io;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

/// Why there is no connection with a proven peer.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The bytes were not TLS, the certificates did not verify, or the connection broke.
    #[error("TLS handshake failed: {}", explain(.0))]
    Tls(#[from] io::Error),
    /// TLS without an agreed protocol: not a mesh peer.
    #[error("the peer did not agree on the protocol h2")]
    NotHttp2,
    /// The certificate verified but does not say who it is.
    #[error(transparent)]
    Peer(#[from] PeerIdentityError),
    /// A member of the mesh, but not the one that was called.
    #[error("expected {}, but {found} answered", list(.expected))]
    UnexpectedPeer {
        /// Who might have answered.
        expected: Vec<SpiffeId>,
        /// The identity in the peer's certificate.
        found: SpiffeId,
    },
}

/// Accepts a peer of the mesh. Put a time limit around it: a peer may send nothing.
pub async fn accept<IO>(
    identity: &TlsIdentity,
    io: IO,
) -> Result<(server::TlsStream<IO>, SpiffeId), HandshakeError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let stream = TlsAcceptor::from(identity.server_config().clone()).accept(io).await?;
    let (_, tls) = stream.get_ref();
    require_h2(tls.alpn_protocol())?;
    let peer = peer_identity(tls.peer_certificates())?;
    Ok((stream, peer))
}

/// Connects to a peer that must be one of `expected`; with none expected nobody is good enough.
///
/// In TLS 1.3 the client is done first: a server that refuses our certificate shows only at the first read.
pub async fn connect<IO>(
    identity: &TlsIdentity,
    io: IO,
    expected: &[SpiffeId],
) -> Result<(client::TlsStream<IO>, SpiffeId), HandshakeError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let connector = TlsConnector::from(identity.client_config().clone());
    let stream = connector.connect(no_server_name(), io).await?;
    let (_, tls) = stream.get_ref();
    require_h2(tls.alpn_protocol())?;
    let peer = peer_identity(tls.peer_certificates())?;
    if !expected.contains(&peer) {
        return Err(HandshakeError::UnexpectedPeer { expected: expected.to_vec(), found: peer });
    }
    Ok((stream, peer))
}

/// rustls wants a name to connect to; peers are known by SPIFFE id and no SNI is sent, so it is never looked at.
fn no_server_name() -> ServerName<'static> {
    ServerName::IpAddress(IpAddr::V4(Ipv4Addr::from([0, 0, 0, 0])))
}

/// A peer that offers another protocol is refused by rustls; one that offers none is refused here.
fn require_h2(agreed: Option<&[u8]>) -> Result<(), HandshakeError> {
    if agreed == Some(ALPN) { Ok(()) } else { Err(HandshakeError::NotHttp2) }
}

/// rustls prints what our verifier says as a debug text; this finds the sentence in it.
fn explain(error: &io::Error) -> String {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(why)))) => why.to_string(),
        _ => error.to_string(),
    }
}

fn list(ids: &[SpiffeId]) -> String {
    match ids {
        [] => "nobody".to_owned(),
        [id] => id.to_string(),
        [first, rest @ ..] => rest.iter().fold(first.to_string(), |text, id| format!("{text} or {id}")),
    }
}

#[cfg(test)]
mod tests;
