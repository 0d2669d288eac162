//! An endpoint's response: whether it can be passed on, and how the client gets it.

use super::attempts::Answered;
use super::head::{self, ConnectionOptions};
use super::response_body::{Early, ResponseBody, Upstream};
use super::upgrade::{WEBSOCKET, has_token};
use super::{Client, Reason, Switch, local_reply};
use crate::telemetry::Exchange;
use crate::wire::Version;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, UPGRADE};
use http::{HeaderValue, Response, StatusCode};
use hyper::body::Body as _;
use hyper::ext::ReasonPhrase;
use tokio::time::Instant;

/// A response that can be passed on.
pub struct Received {
    answered: Answered,
    /// What of the body was there with the head.
    early: Option<Early>,
    /// Whether it is the `101` of a WebSocket.
    switches: bool,
    /// Whether that is over HTTP/2.
    is_connect: bool,
    /// Whether it says that WebSocket is needed.
    asks_for_websocket: bool,
}

// === impl Received ===

impl Received {
    /// Refuses what no client could read as it is meant, while there is still a status to say so with.
    pub async fn check(mut answered: Answered, options: &ConnectionOptions) -> Result<Self, Reason> {
        let version = answered.lease.version();
        let response = &mut answered.response;
        let status = response.status();
        let switches = status == StatusCode::SWITCHING_PROTOCOLS;
        let handshake = options.upgrade.filter(|_| answered.taken.is_some());
        if switches && !handshake.is_some_and(|it| it.is_completed_by(response.headers())) {
            return Err(Reason::Protocol);
        }
        // To the CONNECT of HTTP/2 any success is a tunnel's.
        if !switches && options.is_connect && status.is_success() {
            return Err(Reason::Protocol);
        }
        let asks_for_websocket =
            status == StatusCode::UPGRADE_REQUIRED && has_token(response.headers(), &UPGRADE, b"websocket");
        head::strip_response(response.headers_mut(), status, version)?;
        let early = if switches { None } else { Early::look(response.body_mut(), version).await? };
        Ok(Self { answered, early, switches, is_connect: options.is_connect, asks_for_websocket })
    }

    /// The response as the client gets it.
    pub fn pass_on(self, client: &Client, mut exchange: Exchange) -> Response<ResponseBody> {
        let Answered { response, lease, in_flight, taken, deadline } = self.answered;
        let (mut parts, incoming) = response.into_parts();
        exchange.answered(parts.status, Instant::now());
        exchange.ended_as_said_in(&parts.headers);
        let phrase = phrase_of(parts.extensions.remove(), parts.status);
        parts.extensions.clear();
        if let Some(phrase) = phrase {
            parts.extensions.insert(phrase);
        }
        parts.version = http::Version::HTTP_11;
        if (self.switches || self.asks_for_websocket) && client.version == Version::Http1 {
            parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            parts.headers.insert(UPGRADE, WEBSOCKET);
        }
        if let (true, Some(taken)) = (self.switches, taken) {
            let switch = Switch { taken, lease, in_flight, exchange };
            if self.is_connect {
                parts.status = StatusCode::OK;
                parts.headers.remove(SEC_WEBSOCKET_ACCEPT);
                return Response::from_parts(parts, ResponseBody::switching(switch));
            }
            *client.switch.borrow_mut() = Some(switch);
            return Response::from_parts(parts, ResponseBody::none());
        }
        local_reply::announce_drain(client, &mut parts.headers);
        let deadline = deadline.map(|at| Box::pin(tokio::time::sleep_until(at)));
        let upstream = Upstream { early: self.early, incoming, lease: Some(lease), in_flight, deadline };
        let body = ResponseBody::upstream(upstream, exchange);
        if client.is_http10.get() && body.size_hint().exact().is_none() {
            // Its end is the end of the connection, which hyper would otherwise promise to keep.
            parts.version = http::Version::HTTP_10;
        }
        Response::from_parts(parts, body)
    }
}

/// The words beside the status: the endpoint's, or none where hyper knows none.
fn phrase_of(said: Option<ReasonPhrase>, status: StatusCode) -> Option<ReasonPhrase> {
    const NONE: ReasonPhrase = ReasonPhrase::from_static(b"");
    said.or_else(|| status.canonical_reason().is_none().then_some(NONE))
}
