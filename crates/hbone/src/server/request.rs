//! The CONNECT request of a peer, to be accepted or refused.

use super::REASON;
use crate::windows::Windows;
use crate::{ConnectRequest, Tunnel};
use bytes::Bytes;
use fairway_identity::SpiffeId;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderValue, Response, StatusCode};
use std::future::poll_fn;
use std::io;

/// The CONNECT request of a peer. Dropped without a response, its stream is reset.
#[derive(Debug)]
pub struct Request {
    peer: SpiffeId,
    connect_request: ConnectRequest,
    body: RecvStream,
    respond: SendResponse<Bytes>,
    windows: Windows,
}

impl Request {
    pub(super) fn new(
        peer: SpiffeId,
        connect_request: ConnectRequest,
        body: RecvStream,
        respond: SendResponse<Bytes>,
        windows: Windows,
    ) -> Self {
        Self { peer, connect_request, body, respond, windows }
    }

    /// The peer's identity, from the certificate that it has proved to own.
    pub fn peer(&self) -> &SpiffeId {
        &self.peer
    }

    /// The destination and what the request says of its client.
    pub fn connect_request(&self) -> &ConnectRequest {
        &self.connect_request
    }

    /// Waits until the peer has given up: then there is no sense in going on.
    pub async fn abandoned(&mut self) {
        let _ = poll_fn(|cx| self.respond.poll_reset(cx)).await;
    }

    /// Answers 200 and opens the tunnel. Only after the destination was reached.
    pub fn accept(mut self) -> io::Result<Tunnel> {
        let send = self.respond.send_response(Response::new(()), false).map_err(io::Error::other)?;
        Ok(Tunnel::new(send, self.body, self.windows, None))
    }

    /// Says no: 400 for nonsense, 401 for what is not allowed, 503 for a destination that cannot be reached. The reason
    /// goes to the peer, so it must tell nothing that the peer may not know.
    pub fn refuse(self, status: StatusCode, reason: &str) {
        answer(self.respond, status, reason);
    }
}

pub(super) fn answer(mut respond: SendResponse<Bytes>, status: StatusCode, reason: &str) {
    let mut response = Response::new(());
    *response.status_mut() = status;
    if let Ok(reason) = HeaderValue::from_str(reason) {
        response.headers_mut().insert(REASON, reason);
    }
    // A peer that is gone needs no answer.
    let _ = respond.send_response(response, true);
}
