//! A connection while a request uses it.

use super::http1::{Http1Sender, Taken};
use super::http2::Load;
use super::pool::{Key, Pool};
use crate::body::RequestBody;
use crate::listen::detect::Version;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http2};
use std::rc::Rc;
use tokio::sync::oneshot;

/// A connection while a request uses it. Dropped before the response's end, an HTTP/1 connection is closed.
#[derive(Debug)]
pub enum Lease {
    /// The whole connection.
    Http1(Http1Lease),
    /// A stream.
    Http2(Http2Lease),
}

/// An HTTP/1 connection, for one exchange.
#[derive(Debug)]
pub struct Http1Lease {
    sender: Http1Sender,
    pool: Rc<Pool>,
    key: Key,
    reused: bool,
}

/// A stream of an HTTP/2 connection.
#[derive(Debug)]
pub struct Http2Lease {
    sender: http2::SendRequest<RequestBody>,
    load: Rc<Load>,
    reused: bool,
}

/// Why a request was not answered, and the request if nothing of it was sent.
pub type Unsent = TrySendError<Request<RequestBody>>;

// === impl Lease ===

impl Lease {
    /// Sends a request and waits for the head of the response.
    pub async fn send(&mut self, request: Request<RequestBody>) -> Result<Response<Incoming>, Unsent> {
        match self {
            Self::Http1(lease) => lease.sender.sender.try_send_request(request).await,
            Self::Http2(lease) => lease.sender.try_send_request(request).await,
        }
    }

    /// What is spoken on it.
    pub fn version(&self) -> Version {
        match self {
            Self::Http1(_) => Version::Http1,
            Self::Http2(_) => Version::Http2,
        }
    }

    /// Whether it served a request before: then the endpoint may have closed it without our knowing yet.
    pub fn is_reused(&self) -> bool {
        match self {
            Self::Http1(lease) => lease.reused,
            Self::Http2(lease) => lease.reused,
        }
    }

    /// The response was read to its end.
    pub fn give_back(self) {
        if let Self::Http1(Http1Lease { sender, pool, key, .. }) = self {
            pool.give_back(key, sender);
        }
    }

    /// Asks for the stream, should the endpoint answer the next request with `101 Switching Protocols`. HTTP/2 has none
    /// to give. Keep the lease until the stream is there.
    pub fn ask_for_stream(&self) -> Option<oneshot::Receiver<Taken>> {
        match self {
            Self::Http1(lease) => Some(lease.sender.ask_for_stream()),
            Self::Http2(_) => None,
        }
    }
}

// === impl Http1Lease ===

impl Http1Lease {
    pub(super) fn new(sender: Http1Sender, pool: &Rc<Pool>, key: Key, reused: bool) -> Self {
        Self { sender, pool: pool.clone(), key, reused }
    }
}

// === impl Http2Lease ===

impl Http2Lease {
    pub(super) fn new(sender: http2::SendRequest<RequestBody>, load: Rc<Load>, reused: bool) -> Self {
        load.begin();
        Self { sender, load, reused }
    }
}

impl Drop for Http2Lease {
    fn drop(&mut self) {
        self.load.end();
    }
}
