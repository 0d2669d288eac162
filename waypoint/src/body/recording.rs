//! A client's body that is remembered as it passes, up to a bound: for another try, and for mirrors.

use super::request::{Progress, Shared};
use super::{BodyError, Gate, Stream};
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// A client's body that is remembered as it passes.
#[derive(Clone)]
pub struct Recording(Shared<State>);

/// One reading of a recorded body, from its beginning. A newer one ends those before it.
pub struct Cursor {
    recording: Recording,
    reading: u32,
    next: usize,
}

/// What is done with the whole body once it has passed.
type WhenWhole = Box<dyn FnOnce(Option<(Vec<Bytes>, Option<HeaderMap>)>)>;

struct State {
    source: Stream,
    chunks: Vec<Bytes>,
    bytes: usize,
    bound: usize,
    trailers: Option<HeaderMap>,
    reading: u32,
    kept: Kept,
    when_whole: Option<WhenWhole>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    /// Everything that has come so far.
    SoFar,
    /// All of it: the body has ended.
    Whole,
    /// Nothing: there was too much of it, or it broke off.
    Nothing,
}

// === impl Recording ===

impl Recording {
    /// Remembers at most `bound` bytes.
    pub fn new(source: Stream, bound: usize) -> Self {
        Self(Rc::new(RefCell::new(State {
            source,
            chunks: Vec::new(),
            bytes: 0,
            bound,
            trailers: None,
            reading: 0,
            kept: Kept::SoFar,
            when_whole: None,
        })))
    }

    /// Calls back once with the whole body, or with nothing if it is not had.
    pub fn when_whole(&self, call: WhenWhole) {
        self.0.borrow_mut().when_whole = Some(call);
    }

    /// Reads from the beginning; `None` if the beginning is not there any more.
    pub fn read(&self) -> Option<Cursor> {
        let mut state = self.0.borrow_mut();
        if state.kept == Kept::Nothing {
            return None;
        }
        state.reading += 1;
        Some(Cursor { recording: self.clone(), reading: state.reading, next: 0 })
    }

    /// It is not sent again: what is to come need not be remembered, unless somebody waits for the whole.
    pub fn stop_remembering(&self) {
        let mut state = self.0.borrow_mut();
        if state.kept == Kept::SoFar && state.when_whole.is_none() {
            state.bound = 0;
        }
    }

    /// Whether it can be read from the beginning.
    pub fn is_readable(&self) -> bool {
        self.0.borrow().kept != Kept::Nothing
    }

    /// Is not asked for before this gate opens; a body that has begun is not held up.
    pub fn close_behind(&self, gate: Option<Gate>) {
        self.0.borrow_mut().source.close_behind(gate);
    }

    /// How far the client's body is.
    pub fn progress(&self) -> Rc<Progress> {
        self.0.borrow().source.progress()
    }
}

// === impl State ===

impl State {
    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(self.source.poll_frame(cx));
        match &frame {
            Some(Ok(frame)) if self.kept == Kept::SoFar => {
                if let Some(data) = frame.data_ref() {
                    self.bytes += data.len();
                    if self.bytes > self.bound {
                        self.forget();
                    } else {
                        self.chunks.push(data.clone());
                    }
                } else if let Some(trailers) = frame.trailers_ref() {
                    self.trailers = Some(trailers.clone());
                    self.whole();
                }
            }
            Some(Err(_)) => self.forget(),
            None if self.kept == Kept::SoFar => self.whole(),
            _ => {}
        }
        if self.kept == Kept::SoFar && self.source.incoming().is_end_stream() {
            self.whole();
        }
        Poll::Ready(frame)
    }

    fn whole(&mut self) {
        self.kept = Kept::Whole;
        if let Some(call) = self.when_whole.take() {
            call(Some((self.chunks.clone(), self.trailers.clone())));
        }
    }

    fn forget(&mut self) {
        self.kept = Kept::Nothing;
        self.chunks = Vec::new();
        if let Some(call) = self.when_whole.take() {
            call(None);
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        if let Some(call) = self.when_whole.take() {
            call(None);
        }
    }
}

// === impl Cursor ===

impl Cursor {
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut state = self.recording.0.borrow_mut();
        if state.reading != self.reading {
            return Poll::Ready(Some(Err(BodyError::Abandoned)));
        }
        if let Some(chunk) = state.chunks.get(self.next) {
            self.next += 1;
            return Poll::Ready(Some(Ok(Frame::data(chunk.clone()))));
        }
        if state.kept == Kept::Whole {
            // Trailers stand behind the last chunk.
            let at_trailers = self.next == state.chunks.len();
            self.next = state.chunks.len() + 1;
            let trailers = if at_trailers { state.trailers.clone() } else { None };
            return Poll::Ready(trailers.map(|it| Ok(Frame::trailers(it))));
        }
        let frame = ready!(state.poll_source(cx));
        self.next = if matches!(&frame, Some(Ok(frame)) if frame.is_trailers()) {
            state.chunks.len() + 1
        } else {
            state.chunks.len()
        };
        Poll::Ready(frame)
    }

    pub(super) fn is_end_stream(&self) -> bool {
        let state = self.recording.0.borrow();
        match state.kept {
            Kept::Whole => {
                self.next > state.chunks.len()
                    || (self.next == state.chunks.len() && state.trailers.is_none())
            }
            Kept::SoFar => state.chunks.len() <= self.next && state.source.incoming().is_end_stream(),
            Kept::Nothing => state.source.incoming().is_end_stream(),
        }
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        let state = self.recording.0.borrow();
        let behind: u64 = state.chunks.iter().skip(self.next).map(|it| it.len() as u64).sum();
        match state.source.incoming().size_hint().exact() {
            Some(to_come) => SizeHint::with_exact(behind + to_come),
            None => SizeHint::default(),
        }
    }
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.borrow();
        f.debug_struct("Recording")
            .field("bytes", &state.bytes)
            .field("kept", &state.kept)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursor").field("next", &self.next).finish_non_exhaustive()
    }
}
