//! What the server saw, and remembers.

use serde::{Deserialize, Serialize};
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

/// How many requests are remembered, and how many keys of requests that are to fail.
const REMEMBERED: usize = 10_000;

/// A request as the server saw it. The body of most answers is this as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The pod that answers.
    pub pod: String,
    /// The version of HTTP: `HTTP/1.1` or `HTTP/2.0`.
    pub protocol: String,
    /// The method of the request.
    pub method: String,
    /// The value of `Host` or `:authority`.
    pub host: String,
    /// The path without the query.
    pub path: String,
    /// The query, undecoded, empty if there is none.
    pub query: String,
    /// Name and value in the order in which they came, those of one name together.
    pub headers: Vec<(String, String)>,
    /// The address and port of the connection's other end.
    pub peer: String,
    /// Length, checksum and trailers of the body.
    pub body: BodySeen,
}

/// A body as the server saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BodySeen {
    /// The length in bytes.
    pub bytes: u64,
    /// Its SHA-256 in hexadecimal.
    pub sha256: String,
    /// The trailers that followed it.
    pub trailers: Vec<(String, String)>,
}

/// What `/_seen` answers: every request so far, those to `/_seen` apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// How many there were since the start.
    pub total: u64,
    /// The last of them, oldest first.
    pub requests: Vec<Seen>,
}

/// The memory of a server.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    total: u64,
    requests: VecDeque<Seen>,
    failed: HashMap<String, u32>,
}

// === impl Seen ===

impl Seen {
    /// The value of the first header of this (lower-case) name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

// === impl Memory ===

impl Memory {
    pub(crate) fn record(&self, seen: Seen) {
        self.with(|inner| {
            inner.total += 1;
            inner.requests.push_back(seen);
            if inner.requests.len() > REMEMBERED {
                inner.requests.pop_front();
            }
        });
    }

    pub(crate) fn recorded(&self) -> Recorded {
        self.with(|inner| Recorded { total: inner.total, requests: inner.requests.iter().cloned().collect() })
    }

    /// Whether a request with this key is one of the first so many, which are to fail.
    pub(crate) fn is_to_fail(&self, key: &str, first: u32) -> bool {
        self.with(|inner| {
            if inner.failed.len() >= REMEMBERED && !inner.failed.contains_key(key) {
                inner.failed.clear();
            }
            let failed = inner.failed.entry(key.to_owned()).or_default();
            let is_to_fail = *failed < first;
            *failed += u32::from(is_to_fail);
            is_to_fail
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        work(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
