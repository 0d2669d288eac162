//! A pooled connection while a request uses it.

use super::http1::{Http1Sender, Taken};
use super::http2::Load;
use super::pool::{Key, Pool};
use crate::body::RequestBody;
use crate::wire::Version;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http2};
use std::rc::Rc;
use tokio::sync::oneshot;

/// A connection that a request has taken from the pool. If it is dropped before the end of the response, an HTTP/1 connection is
/// closed.
#[derive(Debug)]
pub enum Lease {
    /// A whole HTTP/1 connection.
    Http1(Http1Lease),
    /// A stream of a shared HTTP/2 connection.
    Http2(Http2Lease),
}

/// An HTTP/1 connection for one request and its response.
#[derive(Debug)]
pub struct Http1Lease {
    sender: Http1Sender,
    pool: Rc<Pool>,
    key: Key,
    reused: bool,
    /// Whether it goes back to the pool.
    returns: bool,
}

/// A stream of an HTTP/2 connection.
#[derive(Debug)]
pub struct Http2Lease {
    sender: http2::SendRequest<RequestBody>,
    load: Rc<Load>,
    reused: bool,
}

/// Why a request has no response; with the request, if no byte of it was sent.
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

    /// The HTTP version of the connection.
    pub fn version(&self) -> Version {
        match self {
            Self::Http1(_) => Version::Http1,
            Self::Http2(_) => Version::Http2,
        }
    }

    /// Whether the connection has served a request before. The endpoint may then have closed it, and the proxy not know it yet.
    pub fn is_reused(&self) -> bool {
        match self {
            Self::Http1(lease) => lease.reused,
            Self::Http2(lease) => lease.reused,
        }
    }

    /// Returns the connection to the pool. Call it when the response was read to its end.
    pub fn give_back(self) {
        if let Self::Http1(Http1Lease { sender, pool, key, returns: true, .. }) = self {
            pool.give_back(key, sender);
        }
    }

    /// Requests the byte stream in case the endpoint responds with `101 Switching Protocols`. `None` for HTTP/2. Keep the lease until
    /// the stream has arrived. The connection does not return to the pool, also if the endpoint refuses: proxy and endpoint might not
    /// agree on what the next bytes are.
    pub fn ask_for_stream(&mut self) -> Option<oneshot::Receiver<Taken>> {
        match self {
            Self::Http1(lease) => {
                lease.returns = false;
                Some(lease.sender.ask_for_stream())
            }
            Self::Http2(_) => None,
        }
    }
}

// === impl Http1Lease ===

impl Http1Lease {
    pub(super) fn new(sender: Http1Sender, pool: &Rc<Pool>, key: Key, reused: bool) -> Self {
        Self { sender, pool: pool.clone(), key, reused, returns: true }
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
