//! What the proxy itself answers: a status, one plain sentence, and for gRPC a status of its own kind.

use super::{Client, Reason};
use crate::body::ResponseBody;
use crate::listen::detect::Version;
use crate::stage::{Answer, ResponseFilters};
use crate::telemetry::Exchange;
use bytes::Bytes;
use fairway_runtime::drain::Phase;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// How the client wants to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorFormat {
    /// In plain words.
    Plain,
    /// As gRPC: 200 with the status in what stands for trailers.
    Grpc,
}

/// The answer to a request that goes no further. The rule and the backend that were found, if any, do to it what they do to
/// every response: a browser that is not told of CORS here would show a CORS failure in place of the error.
pub fn refuse(
    client: &Client,
    reason: Reason,
    format: ErrorFormat,
    filters: &[ResponseFilters<'_>; 2],
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
    for filter in filters {
        filter.apply(headers);
    }
    match format {
        ErrorFormat::Plain => {}
        // Behind the filters: without these it would be no answer of gRPC.
        ErrorFormat::Grpc => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            headers.insert(GRPC_STATUS, HeaderValue::from_static(reason.grpc_status()));
            headers.insert(GRPC_MESSAGE, HeaderValue::from_static(reason.sentence().trim_end()));
        }
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

/// What a filter answered: a redirect, a preflight, or an error.
pub fn filtered(client: &Client, answer: Answer, mut exchange: Exchange) -> Response<ResponseBody> {
    if answer.status.is_server_error() {
        exchange.answered_because(answer.status, Reason::Filter);
    } else {
        exchange.answered(answer.status, tokio::time::Instant::now());
    }
    let mut response = Response::new(ResponseBody::own(None, exchange));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    announce_drain(client, response.headers_mut());
    response
}

/// While the proxy drains, every answer sends the client to another one.
pub fn announce_drain(client: &Client, headers: &mut HeaderMap) {
    if client.worker.connections.phase() >= Phase::Draining && client.version == Version::Http1 {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
}
