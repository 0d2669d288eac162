//! The body of a response on its way to the client. When it is dropped, the request is over.

use super::BodyError;
use crate::telemetry::Exchange;
use crate::upstream::Lease;
use crate::upstream::endpoint::InFlight;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::time::Sleep;

/// The body of a response on its way to the client.
#[derive(Debug)]
pub struct ResponseBody {
    kind: Kind,
    /// None where the request goes on after its response: as a stream of bytes.
    exchange: Option<Exchange>,
}

#[derive(Debug)]
enum Kind {
    /// The proxy's own words.
    Own(Option<Bytes>),
    /// An endpoint's.
    Upstream(Upstream),
}

/// An endpoint's body, and what it keeps busy.
#[derive(Debug)]
pub struct Upstream {
    /// The body.
    pub incoming: Incoming,
    /// Its connection; goes back to the pool when the body has been read to its end.
    pub lease: Option<Lease>,
    /// Counts as load on the endpoint until the body's end.
    pub in_flight: InFlight,
    /// The route's limit for the whole request.
    pub deadline: Option<Pin<Box<Sleep>>>,
}

// === impl ResponseBody ===

impl ResponseBody {
    /// No body, and no end of the request.
    pub fn none() -> Self {
        Self { kind: Kind::Own(None), exchange: None }
    }

    /// No body, or the proxy's own words.
    pub fn own(text: Option<Bytes>, exchange: Exchange) -> Self {
        Self { kind: Kind::Own(text.filter(|it| !it.is_empty())), exchange: Some(exchange) }
    }

    /// An endpoint's.
    pub fn upstream(upstream: Upstream, exchange: Exchange) -> Self {
        Self { kind: Kind::Upstream(upstream), exchange: Some(exchange) }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if let Some(exchange) = &this.exchange {
            exchange.asked();
        }
        let upstream = match &mut this.kind {
            Kind::Own(text) => {
                let text = text.take();
                if let Some(exchange) = &mut this.exchange {
                    exchange.sent(text.as_ref().map_or(0, Bytes::len));
                }
                return Poll::Ready(text.map(|it| Ok(Frame::data(it))));
            }
            Kind::Upstream(upstream) => upstream,
        };
        if let Some(deadline) = &mut upstream.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            if let Some(exchange) = &mut this.exchange {
                exchange.cut_off();
            }
            return Poll::Ready(Some(Err(BodyError::TimedOut)));
        }
        match ready!(Pin::new(&mut upstream.incoming).poll_frame(cx)) {
            Some(Ok(frame)) => {
                if let Some(exchange) = &mut this.exchange {
                    exchange.sent(frame.data_ref().map_or(0, Bytes::len));
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                if let Some(exchange) = &mut this.exchange {
                    exchange.broke_off();
                }
                Poll::Ready(Some(Err(BodyError::Peer(error))))
            }
            None => {
                upstream.finish();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Own(text) => text.is_none(),
            Kind::Upstream(upstream) => upstream.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Own(text) => SizeHint::with_exact(text.as_ref().map_or(0, Bytes::len) as u64),
            Kind::Upstream(upstream) => upstream.incoming.size_hint(),
        }
    }
}

// === impl Upstream ===

impl Upstream {
    fn finish(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.give_back();
        }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        // hyper does not ask for the end of a body whose length it knows.
        if self.incoming.is_end_stream() {
            self.finish();
        }
    }
}
