//! Responses with a 1xx status, from whoever has one to the stream of an HTTP/2 client (RFC 9110 §15.2).
//!
//! They are rare, so that a connection has one place for those of all its streams, and a stream costs nothing.

use futures_util::task::AtomicWaker;
use http::{HeaderMap, StatusCode};
use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

/// The interim responses for the streams of one connection. hyper wants what it calls on a 1xx to be `Send`; all of it stays
/// on one thread.
#[derive(Clone, Debug, Default)]
pub struct InterimResponses(Arc<State>);

/// Where the interim responses for one stream go.
#[derive(Clone, Debug)]
pub struct Interim {
    responses: InterimResponses,
    stream: u32,
}

/// Where they come out. When this is dropped, nothing of the stream is left.
#[derive(Debug)]
pub struct Heard(Interim);

#[derive(Debug, Default)]
struct State {
    /// One was said to a stream that was not woken for it.
    is_new: AtomicBool,
    /// One was said in this connection: before that, no stream looks.
    is_used: AtomicBool,
    streams: Mutex<Streams>,
    connection: AtomicWaker,
}

#[derive(Debug, Default)]
struct Streams {
    by_id: HashMap<u32, OfStream>,
    /// Those to which one was said since the connection looked.
    told: Vec<u32>,
}

#[derive(Debug, Default)]
struct OfStream {
    waiting: Vec<(StatusCode, HeaderMap)>,
    count: usize,
}

/// Of one request at most: an endpoint may say them without end, and no window holds them back.
const MOST: usize = 16;

// === impl InterimResponses ===

impl InterimResponses {
    /// Those for this stream.
    pub fn of_stream(&self, stream: u32) -> Heard {
        Heard(Interim { responses: self.clone(), stream })
    }

    /// Waits for a new one, and names the streams that have to look.
    pub async fn said(&self) -> Vec<u32> {
        poll_fn(|cx| {
            self.0.connection.register(cx.waker());
            if !self.0.is_new.swap(false, Ordering::AcqRel) {
                return Poll::Pending;
            }
            Poll::Ready(std::mem::take(&mut self.streams().told))
        })
        .await
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.0.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Interim ===

impl Interim {
    /// Sends one on its way.
    pub fn say(&self, status: StatusCode, headers: HeaderMap) {
        let mut streams = self.responses.streams();
        let Streams { by_id, told } = &mut *streams;
        let of_stream = by_id.entry(self.stream).or_default();
        if of_stream.count == MOST {
            return;
        }
        of_stream.count += 1;
        of_stream.waiting.push((status, headers));
        if !told.contains(&self.stream) {
            told.push(self.stream);
        }
        drop(streams);
        let State { is_new, is_used, connection, .. } = &*self.responses.0;
        is_used.store(true, Ordering::Release);
        is_new.store(true, Ordering::Release);
        connection.wake();
    }
}

// === impl Heard ===

impl Heard {
    /// The channel that interim responses go to.
    pub fn interim(&self) -> Interim {
        self.0.clone()
    }

    /// What was said since.
    pub fn take(&self) -> Vec<(StatusCode, HeaderMap)> {
        let Interim { responses, stream } = &self.0;
        if !responses.0.is_used.load(Ordering::Acquire) {
            return Vec::new();
        }
        responses
            .streams()
            .by_id
            .get_mut(stream)
            .map(|it| std::mem::take(&mut it.waiting))
            .unwrap_or_default()
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        let Interim { responses, stream } = &self.0;
        if responses.0.is_used.load(Ordering::Acquire) {
            responses.streams().by_id.remove(stream);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn each_stream_hears_what_was_said_to_it_and_the_connection_wakes_no_other() {
        let responses = InterimResponses::default();
        let (one, other) = (responses.of_stream(1), responses.of_stream(3));
        assert!(responses.said().now_or_never().is_none());
        one.interim().say(StatusCode::EARLY_HINTS, HeaderMap::new());
        one.interim().say(StatusCode::CONTINUE, HeaderMap::new());
        assert_eq!(responses.said().now_or_never(), Some(vec![1]));
        assert_eq!(responses.said().now_or_never(), None);
        assert!(other.take().is_empty());
        let heard: Vec<_> = one.take().into_iter().map(|(status, _)| status.as_u16()).collect();
        assert_eq!(heard, [103, 100]);
        assert!(one.take().is_empty());
    }

    #[test]
    fn a_stream_hears_so_many_and_leaves_nothing_behind() {
        let responses = InterimResponses::default();
        let heard = responses.of_stream(1);
        for _ in 0..2 * MOST {
            heard.interim().say(StatusCode::EARLY_HINTS, HeaderMap::new());
        }
        assert_eq!(heard.take().len(), MOST);
        heard.interim().say(StatusCode::EARLY_HINTS, HeaderMap::new());
        assert!(heard.take().is_empty());
        drop(heard);
        assert!(responses.streams().by_id.is_empty());
    }
}
