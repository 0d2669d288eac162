//! Responses that no endpoint made: the proxy's own errors (a status, one plain sentence, and for gRPC a status of its own
//! kind), and what a stage responds.

use super::ResponseBody;
use super::{Client, Reason};
use crate::limit::Refused;
use crate::stage::StageResponse;
use crate::telemetry::Exchange;
use crate::wire::Version;
use bytes::Bytes;
use fairway_runtime::drain::Phase;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// The format of an error, as the client reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorFormat {
    /// The status of HTTP, and a sentence as the body.
    Plain,
    /// As gRPC: 200 with the status in what stands for trailers.
    Grpc,
}

/// The response to a request that goes no further. Where it is gRPC's, [`seal_grpc`] completes it.
pub fn refuse(
    client: &Client,
    reason: Reason,
    format: ErrorFormat,
    mut exchange: Exchange,
) -> Response<ResponseBody> {
    let (status, text) = match format {
        ErrorFormat::Plain => (reason.status(), Some(Bytes::from_static(reason.sentence().as_bytes()))),
        ErrorFormat::Grpc => (StatusCode::OK, None),
    };
    exchange.answered_because(reason.status(), reason);
    let mut response = Response::new(ResponseBody::own(text, exchange));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if format == ErrorFormat::Plain {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    }
    if let Reason::Limited(refused) = reason {
        tell_when(headers, refused);
    }
    if reason == Reason::Connect {
        headers
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE"));
    }
    if reason.closes() && client.version == Version::Http1 {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    announce_drain(client, headers);
    response
}

/// When the client may come again, and what the limit is (draft-ietf-httpapi-ratelimit-headers-10). The name is the same for all limits:
/// the client is not told which policy it met.
fn tell_when(headers: &mut HeaderMap, refused: Refused) {
    let wait = refused.wait;
    headers.insert(RETRY_AFTER, wait.into());
    let policy = format!("\"limit\";q={};w={}", refused.requests, refused.seconds);
    let left = format!("\"limit\";r=0;t={wait}");
    for (name, value) in [(RATE_LIMIT_POLICY, policy), (RATE_LIMIT, left)] {
        // Digits and punctuation: it is a value.
        headers.extend(HeaderValue::try_from(value).ok().map(|value| (name, value)));
    }
}

/// What makes a refusal one of gRPC. Comes behind the stages, which may not change it: without it no gRPC client would know
/// what it has got.
pub fn seal_grpc(headers: &mut HeaderMap, reason: Reason) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(GRPC_STATUS, HeaderValue::from_static(reason.grpc_status()));
    headers.insert(GRPC_MESSAGE, HeaderValue::from_static(reason.sentence().trim_end()));
}

/// The response that a stage has made.
pub fn respond(client: &Client, made: StageResponse, mut exchange: Exchange) -> Response<ResponseBody> {
    if made.status.is_server_error() {
        exchange.answered_because(made.status, Reason::Filter);
    } else {
        exchange.answered(made.status, tokio::time::Instant::now());
    }
    let mut response = Response::new(ResponseBody::own(Some(made.body), exchange));
    *response.status_mut() = made.status;
    *response.headers_mut() = made.headers;
    announce_drain(client, response.headers_mut());
    response
}

/// While the proxy drains, every answer sends the client to another one, and the last answer of a connection to another connection.
pub fn announce_drain(client: &Client, headers: &mut HeaderMap) {
    let is_last = client.worker.connections.phase() >= Phase::Draining || client.connection.is_finishing();
    if is_last && client.version == Version::Http1 {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
}
