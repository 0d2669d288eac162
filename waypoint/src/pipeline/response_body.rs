//! The body of a response on its way to the client. When it is dropped, the request is over.

use super::{Reason, Switch};
use crate::body::BodyError;
use crate::telemetry::Exchange;
use crate::upstream::Lease;
use crate::wire::Version;
use bytes::Bytes;
use fairway_balance::InFlight;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::time::Sleep;

/// The body of a response on its way to the client.
#[derive(Debug)]
pub struct ResponseBody {
    kind: Kind,
    /// None where the request goes on after its response: as a stream of bytes.
    exchange: Option<Exchange>,
    /// The body has broken off, and what came before is given time to reach the client.
    breaks: Option<BodyError>,
}

#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "almost every body is the largest; a box would cost an allocation each"
)]
enum Kind {
    /// The proxy's own words.
    Own(Option<Bytes>),
    /// None: a WebSocket takes its place.
    Switching(Option<Box<Switch>>),
    Upstream(Upstream),
}

/// An endpoint's body, and what it keeps busy.
#[derive(Debug)]
pub struct Upstream {
    /// What of the body was there with the head.
    pub early: Option<Early>,
    /// The rest of the body.
    pub incoming: Incoming,
    /// Its connection; goes back to the pool when the body has been read to its end.
    pub lease: Option<Lease>,
    /// Counts as load on the endpoint until the body's end.
    pub in_flight: InFlight,
    /// The route's limit for the whole request.
    pub deadline: Option<Pin<Box<Sleep>>>,
}

/// The beginning of a body that was there with the head.
#[derive(Debug)]
pub enum Early {
    /// The first frame; others may follow.
    Frame(Frame<Bytes>),
    /// All of it: nothing.
    End,
}

/// Whether a body that hyper says is over is so. A stream that is reset with NO_ERROR before END_STREAM is none (RFC 9113 §8.1).
fn is_finished(incoming: &Incoming, version: Version) -> bool {
    version == Version::Http1 || incoming.is_end_stream()
}

// === impl Early ===

impl Early {
    /// Looks whether a body has begun, without waiting. One that is broken by then can still be answered for.
    pub async fn look(incoming: &mut Incoming, version: Version) -> Result<Option<Self>, Reason> {
        if incoming.is_end_stream() {
            return Ok(None);
        }
        let looked = poll_fn(|cx| {
            Poll::Ready(match Pin::new(&mut *incoming).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => Ok(Some(Self::Frame(frame))),
                Poll::Ready(Some(Err(error))) => Err(BodyError::Peer(error)),
                Poll::Ready(None) if !is_finished(incoming, version) => Err(BodyError::Unfinished),
                Poll::Ready(None) => Ok(Some(Self::End)),
                Poll::Pending => Ok(None),
            })
        });
        looked.await.map_err(|error| {
            tracing::debug!(%error, "a body breaks off where it begins");
            Reason::Broken
        })
    }

    fn bytes(&self) -> u64 {
        match self {
            Self::Frame(frame) => frame.data_ref().map_or(0, Bytes::len) as u64,
            Self::End => 0,
        }
    }
}

// === impl ResponseBody ===

impl ResponseBody {
    /// No body, and no end of the request.
    pub fn none() -> Self {
        Self { kind: Kind::Own(None), exchange: None, breaks: None }
    }

    /// No body: a WebSocket takes its place.
    pub fn switching(switch: Switch) -> Self {
        Self { kind: Kind::Switching(Some(Box::new(switch))), exchange: None, breaks: None }
    }

    /// The WebSocket that takes its place, once.
    pub fn take_switch(&mut self) -> Option<Switch> {
        let Kind::Switching(switch) = &mut self.kind else { return None };
        switch.take().map(|it| *it)
    }

    /// No body, or the proxy's own words.
    pub fn own(text: Option<Bytes>, exchange: Exchange) -> Self {
        let kind = Kind::Own(text.filter(|it| !it.is_empty()));
        Self { kind, exchange: Some(exchange), breaks: None }
    }

    /// An endpoint's body. The exchange ends with it.
    pub fn upstream(upstream: Upstream, exchange: Exchange) -> Self {
        Self { kind: Kind::Upstream(upstream), exchange: Some(exchange), breaks: None }
    }

    /// The body breaks off. hyper forgets what it has not written by then, be it the head of the response; so it gets the
    /// time to write.
    fn break_off(
        &mut self,
        error: BodyError,
        cx: &Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.breaks = Some(error);
        cx.waker().wake_by_ref();
        Poll::Pending
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
        if let Some(error) = this.breaks.take() {
            return Poll::Ready(Some(Err(error)));
        }
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
            Kind::Switching(_) => return Poll::Ready(None),
            Kind::Upstream(upstream) => upstream,
        };
        if let Some(deadline) = &mut upstream.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            if let Some(exchange) = &mut this.exchange {
                exchange.cut_off();
            }
            return this.break_off(BodyError::TimedOut, cx);
        }
        let frame = match upstream.early.take() {
            Some(Early::Frame(frame)) => Some(Ok(frame)),
            Some(Early::End) => None,
            None => ready!(Pin::new(&mut upstream.incoming).poll_frame(cx)),
        };
        match frame {
            Some(Ok(frame)) => {
                if let Some(exchange) = &mut this.exchange {
                    exchange.sent(frame.data_ref().map_or(0, Bytes::len));
                    if let Some(trailers) = frame.trailers_ref() {
                        exchange.ended_as_said_in(trailers);
                    }
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                if let Some(exchange) = &mut this.exchange {
                    exchange.broke_off();
                }
                this.break_off(BodyError::Peer(error), cx)
            }
            None if !upstream.is_finished() => {
                if let Some(exchange) = &mut this.exchange {
                    exchange.broke_off();
                }
                this.break_off(BodyError::Unfinished, cx)
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
            Kind::Switching(_) => true,
            Kind::Upstream(upstream) => upstream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Own(text) => SizeHint::with_exact(text.as_ref().map_or(0, Bytes::len) as u64),
            Kind::Switching(_) => SizeHint::with_exact(0),
            Kind::Upstream(upstream) => {
                let rest = upstream.incoming.size_hint();
                match (&upstream.early, rest.exact()) {
                    (Some(early), Some(rest)) => SizeHint::with_exact(early.bytes() + rest),
                    (Some(_), None) => SizeHint::default(),
                    (None, _) => rest,
                }
            }
        }
    }
}

// === impl Upstream ===

impl Upstream {
    fn is_end_stream(&self) -> bool {
        self.early.is_none() && self.incoming.is_end_stream()
    }

    fn is_finished(&self) -> bool {
        let version = self.lease.as_ref().map(Lease::version);
        version.is_none_or(|it| is_finished(&self.incoming, it))
    }

    fn finish(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.give_back();
        }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        // hyper does not ask for the end of a body whose length it knows.
        if self.is_end_stream() {
            self.finish();
        }
    }
}
