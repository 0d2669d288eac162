//! Requests that a stage sends to another service while the request that it looks at waits.

use bytes::Bytes;
use fairway_config::model::{BackendKey, RouteKind};
use http::{HeaderMap, Request, StatusCode};
use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;

/// Sends requests of stages. The pipeline does it with the endpoints, pools and TLS settings of every other request.
pub trait Callout: fmt::Debug {
    /// Sends a request to a backend, and reads the response to its end. `kind` chooses between HTTP/1 and HTTP/2 where the backend
    /// does not say what it speaks.
    fn call<'a>(&'a self, backend: &'a BackendKey, kind: RouteKind, request: Request<Bytes>) -> Calling<'a>;

    /// Whether a stage that asks is taken to let the request pass, and is not run. So it is where a request is only explained.
    fn assumes(&self, _stage: &'static str) -> bool {
        false
    }
}

/// A callout that waits for its response.
pub type Calling<'a> = Pin<Box<dyn Future<Output = Result<CalloutResponse, CalloutError>> + 'a>>;

/// The whole response to a callout.
#[derive(Clone, Debug, Default)]
pub struct CalloutResponse {
    /// Its status: any, also one that says the callout has failed.
    pub status: StatusCode,
    /// Its headers, those of its connection included.
    pub headers: HeaderMap,
    /// Its body, at most 64 KiB.
    pub body: Bytes,
    /// Its trailers; empty if there are none.
    pub trailers: HeaderMap,
}

/// Why a callout has no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CalloutError {
    /// The configuration has no such backend, or the TLS that it asks for cannot be set up.
    #[error("the backend cannot be used")]
    Unusable,
    /// No endpoint of it can be reached.
    #[error("no endpoint of the backend can be reached")]
    Unreachable,
    /// The response is not whole, or no HTTP.
    #[error("the response is malformed or incomplete")]
    Broken,
    /// The response is larger than what is read of one.
    #[error("the response is too large")]
    TooLarge,
    /// The response takes longer than a callout may.
    #[error("the response takes too long")]
    TimedOut,
    /// The request has come to this rule by a callout of this rule.
    #[error("the request has passed the rule before")]
    Looped,
    /// Nothing is sent here: the request is only explained.
    #[error("nothing is sent")]
    Disabled,
}

impl<C: Callout + ?Sized> Callout for &C {
    fn call<'a>(&'a self, backend: &'a BackendKey, kind: RouteKind, request: Request<Bytes>) -> Calling<'a> {
        (**self).call(backend, kind, request)
    }

    fn assumes(&self, stage: &'static str) -> bool {
        (**self).assumes(stage)
    }
}

/// Sends nothing, and keeps the names of the stages that are taken to let the request pass. A request of a client never meets it.
#[derive(Debug, Default)]
pub struct Assumed(RefCell<Vec<&'static str>>);

// === impl Assumed ===

impl Assumed {
    /// The names of the stages that would have asked, in the order in which the request came to them.
    pub fn stages(&self) -> Vec<&'static str> {
        self.0.borrow().clone()
    }
}

impl Callout for Assumed {
    fn call<'a>(&'a self, _: &'a BackendKey, _: RouteKind, _: Request<Bytes>) -> Calling<'a> {
        Box::pin(async { Err(CalloutError::Disabled) })
    }

    fn assumes(&self, stage: &'static str) -> bool {
        self.0.borrow_mut().push(stage);
        true
    }
}
