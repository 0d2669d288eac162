//! The body of a request on its way to an endpoint.

use super::{BodyError, ClientBody, Cursor};
use crate::header_names::{OwnedHeaders, sift_trailers};
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::time::Sleep;

/// The body of a request on its way to an endpoint.
#[derive(Debug)]
pub enum RequestBody {
    Empty,
    /// The client's, as it comes.
    Stream(Stream),
    /// The client's, remembered for another try or for a mirror.
    Recorded(Cursor),
    /// One that was remembered: a mirror's.
    Held {
        /// What is left, in reverse order.
        chunks: Vec<Bytes>,
        trailers: Option<HeaderMap>,
    },
}

/// The client's body as it comes.
#[derive(Debug)]
pub struct Stream {
    incoming: ClientBody,
    gate: Option<Gate>,
    progress: Rc<Progress>,
}

/// How far a client's body is; shared with the one who waits for the response.
#[derive(Debug, Default)]
pub struct Progress {
    bytes: Cell<u64>,
    touched: Cell<bool>,
    broken: Cell<bool>,
    /// Whether it was asked for a piece that the client has not sent.
    awaited: Cell<bool>,
    given_up: Cell<bool>,
    /// Bytes of data that may come. Here and not in the stream, of which the state of each request has several copies.
    most: Cell<Option<u64>>,
    too_large: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    /// Whether the client is outside: what only a trusted proxy may say is taken out of its trailers.
    at_edge: bool,
    /// Taken out of the trailers as well.
    owned: OwnedHeaders,
}

/// Holds a body back until the endpoint says `100 Continue`, or does not say it for too long (RFC 9110 §10.1.1).
#[derive(Debug)]
pub struct Gate {
    opening: Opening,
    timeout: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

/// The hand that opens a [`Gate`]. hyper wants what it calls on a 1xx response to be `Send`.
#[derive(Clone, Debug, Default)]
pub struct Opening(std::sync::Arc<OpeningState>);

#[derive(Debug, Default)]
struct OpeningState {
    open: std::sync::atomic::AtomicBool,
    waker: futures_util::task::AtomicWaker,
}

// === impl RequestBody ===

impl RequestBody {
    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Stream(stream) => stream.poll_frame(cx),
            Self::Recorded(cursor) => cursor.poll_frame(cx),
            Self::Held { chunks, trailers } => {
                let chunk = chunks.pop().map(Frame::data);
                Poll::Ready(chunk.or_else(|| trailers.take().map(Frame::trailers)).map(Ok))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Stream(stream) => stream.incoming.is_end_stream(),
            Self::Recorded(cursor) => cursor.is_end_stream(),
            Self::Held { chunks, trailers } => chunks.is_empty() && trailers.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Stream(stream) => stream.incoming.size_hint(),
            Self::Recorded(cursor) => cursor.size_hint(),
            // The header of the original says it; trailers need chunks.
            Self::Held { trailers: Some(_), .. } => SizeHint::default(),
            Self::Held { chunks, .. } => SizeHint::with_exact(chunks.iter().map(|it| it.len() as u64).sum()),
        }
    }
}

// === impl Stream ===

impl Stream {
    /// A client's body of which nothing was read; `at_edge` if the client is outside. `owned` are the headers of which this proxy has
    /// decided what they say.
    pub fn new(incoming: ClientBody, at_edge: bool, owned: OwnedHeaders) -> Self {
        let progress = Rc::new(Progress { at_edge, owned, ..Progress::default() });
        Self { incoming, gate: None, progress }
    }

    /// The same, which breaks off where it gets longer than this.
    #[must_use]
    pub fn limited_to(self, most: Option<u64>) -> Self {
        self.progress.most.set(most);
        self
    }

    /// Is not asked for before this gate opens; a body that has begun is not held up.
    pub fn close_behind(&mut self, gate: Option<Gate>) {
        if !self.progress.touched() {
            self.gate = gate;
        }
    }

    /// How far it is.
    pub fn progress(&self) -> Rc<Progress> {
        self.progress.clone()
    }

    pub(super) fn incoming(&self) -> &ClientBody {
        &self.incoming
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(gate) = &mut self.gate {
            ready!(gate.poll_open(cx));
            self.gate = None;
        }
        self.progress.touched.set(true);
        let Poll::Ready(mut frame) = Pin::new(&mut self.incoming).poll_frame(cx) else {
            return self.progress.poll_given_up(cx).map(|()| Some(Err(BodyError::TooSlow)));
        };
        self.progress.awaited.set(false);
        match &mut frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_mut() {
                    sift_trailers(trailers, self.progress.at_edge, &self.progress.owned);
                }
                let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
                let all = self.progress.bytes.get() + bytes;
                self.progress.bytes.set(all);
                if self.progress.most.get().is_some_and(|most| all > most) {
                    // What is over is not sent on: the endpoint must not take what it has for the whole.
                    self.progress.too_large.set(true);
                    self.progress.broken.set(true);
                    self.incoming = ClientBody::Nothing;
                    return Poll::Ready(Some(Err(BodyError::TooLarge)));
                }
            }
            Some(Err(_)) => self.progress.broken.set(true),
            None => {}
        }
        Poll::Ready(frame)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Nobody asks for more of it.
        self.progress.awaited.set(false);
    }
}

// === impl Progress ===

impl Progress {
    /// Bytes of data that came so far, without framing and trailers.
    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// Whether anything was read: from then on the body cannot be sent a second time.
    pub fn touched(&self) -> bool {
        self.touched.get()
    }

    /// Whether the client's side broke: then what the endpoint says of it is the client's fault.
    pub fn broken(&self) -> bool {
        self.broken.get()
    }

    /// Whether a piece is asked for that the client has not sent.
    pub fn is_awaited(&self) -> bool {
        self.awaited.get()
    }

    /// Breaks the body off: the client sends it too slowly.
    pub fn give_up(&self) {
        self.given_up.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Whether it was broken off because the client sends it too slowly.
    pub fn is_given_up(&self) -> bool {
        self.given_up.get()
    }

    /// Whether it was broken off because it is longer than its listener lets it be.
    pub fn is_too_large(&self) -> bool {
        self.too_large.get()
    }

    fn poll_given_up(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.given_up.get() {
            return Poll::Ready(());
        }
        self.awaited.set(true);
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|it| it.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    #[cfg(test)]
    pub(crate) fn awaits(&self, awaited: bool) {
        self.awaited.set(awaited);
    }

    #[cfg(test)]
    pub(crate) fn counts(&self, bytes: u64) {
        self.bytes.set(self.bytes.get() + bytes);
    }
}

// === impl Gate ===

impl Gate {
    /// Closed for at most `timeout`, which begins when the body is first asked for.
    pub fn new(timeout: Duration) -> (Self, Opening) {
        let opening = Opening::default();
        (Self { opening: opening.clone(), timeout, timer: None }, opening)
    }

    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.opening.is_open_or_wakes(cx.waker()) {
            return Poll::Ready(());
        }
        let timeout = self.timeout;
        self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout))).as_mut().poll(cx)
    }
}

// === impl Opening ===

impl Opening {
    /// Opens the gate for good, and wakes the body behind it.
    pub fn open(&self) {
        self.0.open.store(true, std::sync::atomic::Ordering::Release);
        self.0.waker.wake();
    }

    fn is_open_or_wakes(&self, waker: &Waker) -> bool {
        let is_open = || self.0.open.load(std::sync::atomic::Ordering::Acquire);
        if is_open() {
            return true;
        }
        self.0.waker.register(waker);
        is_open()
    }
}

/// A place to put a body's bytes aside, shared by a recording and its cursors.
pub(super) type Shared<T> = Rc<RefCell<T>>;
