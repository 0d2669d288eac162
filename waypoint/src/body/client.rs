//! A client's body, as its version of HTTP brings it.

use super::{BodyError, Interim};
use bytes::Bytes;
use h2::RecvStream;
use http::{HeaderMap, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A client's body, as its version of HTTP brings it.
#[derive(Debug)]
pub enum ClientBody {
    /// None, and no end of the stream either: what comes is not HTTP.
    Nothing,
    Http1(Incoming),
    Http2(Http2Body),
}

/// The DATA of a stream, and its trailers.
#[derive(Debug)]
pub struct Http2Body {
    stream: RecvStream,
    /// What is still to come, if the client has said it. h2 sees to it that it does.
    left: Option<u64>,
    is_data_over: bool,
    /// Told to go on when the body is first asked for (RFC 9110 §10.1.1).
    expects: Option<Interim>,
}

// === impl ClientBody ===

impl Body for ClientBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Nothing => Poll::Ready(None),
            Self::Http1(incoming) => {
                Pin::new(incoming).poll_frame(cx).map(|frame| frame.map(|it| it.map_err(BodyError::Peer)))
            }
            Self::Http2(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Http1(incoming) => incoming.is_end_stream(),
            Self::Http2(body) => body.stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Nothing => SizeHint::with_exact(0),
            Self::Http1(incoming) => incoming.size_hint(),
            Self::Http2(body) => body.left.map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}

// === impl Http2Body ===

impl Http2Body {
    /// The body of a stream, of this length if it has one.
    pub fn new(stream: RecvStream, length: Option<u64>, expects: Option<Interim>) -> Self {
        Self { stream, left: length, is_data_over: false, expects }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(interim) = self.expects.take() {
            interim.say(StatusCode::CONTINUE, HeaderMap::new());
        }
        if !self.is_data_over {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    let _ = self.stream.flow_control().release_capacity(data.len());
                    self.left = self.left.map(|it| it.saturating_sub(data.len() as u64));
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                None => self.is_data_over = true,
            }
        }
        let trailers = ready!(self.stream.poll_trailers(cx)).transpose();
        Poll::Ready(trailers.map(|it| it.map(Frame::trailers).map_err(BodyError::from)))
    }
}
