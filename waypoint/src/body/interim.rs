//! Responses with a 1xx status, from whoever has one to the stream of an HTTP/2 client (RFC 9110 §15.2).

use futures_util::task::AtomicWaker;
use http::{HeaderMap, StatusCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Context;

/// The interim responses of a request. hyper wants what it calls on a 1xx to be `Send`; all of it stays on one thread.
#[derive(Clone, Debug, Default)]
pub struct Interim(Arc<State>);

#[derive(Debug, Default)]
struct State {
    is_said: AtomicBool,
    heads: Mutex<Heads>,
    waker: AtomicWaker,
}

#[derive(Debug, Default)]
struct Heads {
    waiting: Vec<(StatusCode, HeaderMap)>,
    count: usize,
}

/// Of one request at most: an endpoint may say them without end, and no window holds them back.
const MOST: usize = 16;

impl Interim {
    /// Sends one on its way.
    pub fn say(&self, status: StatusCode, headers: HeaderMap) {
        let mut heads = self.0.heads.lock().unwrap_or_else(PoisonError::into_inner);
        if heads.count < MOST {
            heads.count += 1;
            heads.waiting.push((status, headers));
            self.0.is_said.store(true, Ordering::Release);
            self.0.waker.wake();
        }
    }

    /// What was said since; wakes when there is more.
    pub fn take(&self, cx: &Context<'_>) -> Vec<(StatusCode, HeaderMap)> {
        self.0.waker.register(cx.waker());
        if !self.0.is_said.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        std::mem::take(&mut self.0.heads.lock().unwrap_or_else(PoisonError::into_inner).waiting)
    }
}
