//! An HTTP/1 connection to an endpoint.

use super::connect::Link;
use crate::body::RequestBody;
use crate::transport::Transport;
use bytes::Bytes;
use fairway_hbone::Carrier;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

/// Sends requests on one connection, one after another. The connection is closed when this is dropped.
#[derive(Debug)]
pub struct Http1Sender {
    pub(super) sender: http1::SendRequest<RequestBody>,
    taker: Rc<Taker>,
    carrier: Option<Carrier>,
    _driver: Driver,
}

/// A connection after `101 Switching Protocols`: the byte stream, and the bytes that were already read from it.
pub type Taken = (Transport, Bytes);

/// Receives the byte stream when the endpoint switches protocols.
#[derive(Debug, Default)]
struct Taker(RefCell<Option<oneshot::Sender<Taken>>>);

/// Aborts the task of the connection when it is dropped.
#[derive(Debug)]
struct Driver(AbortHandle);

/// Bytes of the longest response head.
const LARGEST_HEAD: usize = 64 * 1024;

/// Starts HTTP/1 on a connection.
pub(super) async fn handshake(link: Link) -> hyper::Result<Http1Sender> {
    let Link { io, carrier } = link;
    let (sender, mut connection) = http1::Builder::new()
        .max_buf_size(LARGEST_HEAD.max(8 * 1024))
        .handshake::<_, RequestBody>(TokioIo::new(io))
        .await?;
    let taker = Rc::new(Taker::default());
    let takes = taker.clone();
    let driver = tokio::task::spawn_local(async move {
        let ended = poll_fn(|cx| connection.poll_without_shutdown(cx)).await;
        let parts = connection.into_parts();
        let mut io = parts.io.into_inner();
        let taker = takes.0.borrow_mut().take();
        if let (Ok(()), Some(taker)) = (ended, taker) {
            match taker.send((io, parts.read_buf)) {
                Ok(()) => return,
                // The receiver is gone: the endpoint did not switch protocols.
                Err((unwanted, _)) => io = unwanted,
            }
        }
        let _ = io.shutdown().await;
    });
    Ok(Http1Sender { sender, taker, carrier, _driver: Driver(driver.abort_handle()) })
}

// === impl Http1Sender ===

impl Http1Sender {
    /// Whether the connection is ready for a request.
    pub fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    /// Whether the connection has ended, or the HBONE connection that carries it is draining.
    pub fn is_closing(&self) -> bool {
        self.sender.is_closed() || self.carrier.as_ref().is_some_and(Carrier::is_closing)
    }

    /// Requests the byte stream in case the endpoint responds to the next request with `101 Switching Protocols`.
    pub(super) fn ask_for_stream(&self) -> oneshot::Receiver<Taken> {
        let (taker, taken) = oneshot::channel();
        *self.taker.0.borrow_mut() = Some(taker);
        taken
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}
