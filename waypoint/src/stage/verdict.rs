//! What a stage decides.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

/// What a stage decides of a request.
#[derive(Debug)]
pub enum Verdict {
    /// The next stage sees it, and after the last one a backend.
    Continue,
    /// The client gets this response, and no backend hears of the request.
    Respond(Box<StageResponse>),
    /// The stage cannot be carried out. The proxy answers as for its own errors, in the format that the client reads.
    Fail(Failure),
    /// The client gets no response: its connection (HTTP/1) or stream (HTTP/2) is reset.
    Close,
}

/// A response that a stage makes.
#[derive(Clone, Debug)]
pub struct StageResponse {
    /// The status of HTTP, which no other stage changes.
    pub status: StatusCode,
    /// Its headers. `Content-Length` is added.
    pub headers: HeaderMap,
    /// Its body; may be empty.
    pub body: Bytes,
}

/// Why a stage cannot be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Its filter is not known, or its rule does not hold.
    Unresolved,
    /// What it makes of the target is no URL.
    NoUrl,
    /// No authorization service has allowed the request, and none has said why not.
    NotAuthorized,
    /// The request names no host to redirect it to.
    NoHost,
}

// === impl StageResponse ===

impl StageResponse {
    /// A status, and nothing else.
    pub fn empty(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Bytes::new() }
    }
}
