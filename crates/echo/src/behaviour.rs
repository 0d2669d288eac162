//! How a request wants to be answered, from its query.

use http::StatusCode;
use percent_encoding::percent_decode_str;
use std::time::Duration;

/// The longest body to make and the most chunks: the server is for tests, not for filling disks.
const MOST: u64 = 16 * 1024 * 1024 * 1024;

/// How a request wants to be answered, from its query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Behaviour {
    /// `delay=2s`: how long to wait before the response.
    pub(crate) delay: Duration,
    /// `status=503`: the status of the response, 200 without it.
    pub(crate) status: StatusCode,
    /// `fail-first=2&key=abc`: answer `fail-status` (503) to the first so many requests with this key.
    pub(crate) fail_first: Option<FailFirst>,
    /// `reset=1`: end the connection with a TCP reset instead of an answer.
    pub(crate) is_reset: bool,
    /// `trailers=1`: trailers after the body.
    pub(crate) has_trailers: bool,
    /// What the body of the response is to be.
    pub(crate) body: BodyWanted,
}

/// Which requests are to fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FailFirst {
    pub(crate) count: u32,
    pub(crate) key: String,
    pub(crate) status: StatusCode,
}

/// What the answer's body is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BodyWanted {
    /// What was seen, as JSON.
    Seen,
    /// `size=…`: so many bytes.
    Size(u64),
    /// `chunks=…&interval=…`: lines, one after the other.
    Chunks { count: u64, interval: Duration },
    /// `return=body`: the request's own body, as it comes, with its trailers.
    Returned,
}

/// A query that cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}={value} is not {expected}")]
pub(crate) struct BehaviourError {
    name: String,
    value: String,
    expected: &'static str,
}

// === impl Behaviour ===

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            status: StatusCode::OK,
            fail_first: None,
            is_reset: false,
            has_trailers: false,
            body: BodyWanted::Seen,
        }
    }
}

impl Behaviour {
    /// Reads a query. Names it does not know mean nothing: they are part of what is echoed.
    pub(crate) fn parse(query: &str, usual: StatusCode) -> Result<Self, BehaviourError> {
        let mut wanted = Self { status: usual, ..Self::default() };
        let mut interval = Duration::ZERO;
        let mut fail_first = 0;
        let mut fail_status = StatusCode::SERVICE_UNAVAILABLE;
        let mut key = String::new();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode_str(value).decode_utf8_lossy();
            let wrong = |expected| BehaviourError {
                name: name.to_owned(),
                value: value.clone().into_owned(),
                expected,
            };
            match name {
                "delay" => {
                    wanted.delay = duration(&value).ok_or_else(|| wrong("a duration such as 2s or 150ms"))?
                }
                "interval" => {
                    interval = duration(&value).ok_or_else(|| wrong("a duration such as 2s or 150ms"))?
                }
                "status" => {
                    wanted.status = status(&value).ok_or_else(|| wrong("a final status, 200 to 599"))?
                }
                "fail-status" => {
                    fail_status = status(&value).ok_or_else(|| wrong("a final status, 200 to 599"))?
                }
                "fail-first" => fail_first = value.parse().map_err(|_| wrong("a number"))?,
                "key" => key = value.into_owned(),
                "reset" => wanted.is_reset = is_on(&value).ok_or_else(|| wrong("0 or 1"))?,
                "trailers" => wanted.has_trailers = is_on(&value).ok_or_else(|| wrong("0 or 1"))?,
                "size" => {
                    wanted.body = BodyWanted::Size(number(&value).ok_or_else(|| wrong("a number of bytes"))?)
                }
                "chunks" => {
                    let count = number(&value).ok_or_else(|| wrong("a number"))?;
                    wanted.body = BodyWanted::Chunks { count, interval };
                }
                "return" if value == "body" => wanted.body = BodyWanted::Returned,
                _ => {}
            }
        }
        if let BodyWanted::Chunks { interval: between, .. } = &mut wanted.body {
            *between = interval;
        }
        wanted.fail_first =
            (fail_first > 0).then_some(FailFirst { count: fail_first, key, status: fail_status });
        Ok(wanted)
    }
}

fn duration(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let amount: u64 = digits.parse().ok()?;
    match text.get(digits.len()..)? {
        "ms" => Some(Duration::from_millis(amount)),
        "s" | "" => Some(Duration::from_secs(amount)),
        _ => None,
    }
}

fn status(text: &str) -> Option<StatusCode> {
    text.parse().ok().filter(|status: &StatusCode| (200..600).contains(&status.as_u16()))
}

fn is_on(text: &str) -> Option<bool> {
    match text {
        "1" | "true" | "" => Some(true),
        "0" | "false" => Some(false),
        _ => None,
    }
}

fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number| *number <= MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_how_to_answer() {
        let wanted = |query| Behaviour::parse(query, StatusCode::OK).unwrap();
        let default = Behaviour::default();
        let failing = FailFirst { count: 2, key: "a b".to_owned(), status: StatusCode::BAD_GATEWAY };
        let chunks = BodyWanted::Chunks { count: 3, interval: Duration::from_millis(10) };
        for (query, expected) in [
            ("", default.clone()),
            ("colour=blue&key=x", default.clone()),
            ("delay=2s", Behaviour { delay: Duration::from_secs(2), ..default.clone() }),
            (
                "delay=150ms&status=404",
                Behaviour {
                    delay: Duration::from_millis(150),
                    status: StatusCode::NOT_FOUND,
                    ..default.clone()
                },
            ),
            (
                "fail-first=2&key=a%20b&fail-status=502",
                Behaviour { fail_first: Some(failing), ..default.clone() },
            ),
            ("reset=1", Behaviour { is_reset: true, ..default.clone() }),
            (
                "trailers=1&size=5",
                Behaviour { has_trailers: true, body: BodyWanted::Size(5), ..default.clone() },
            ),
            ("interval=10ms&chunks=3", Behaviour { body: chunks.clone(), ..default.clone() }),
            ("chunks=3&interval=10ms", Behaviour { body: chunks, ..default.clone() }),
            ("return=body", Behaviour { body: BodyWanted::Returned, ..default }),
        ] {
            assert_eq!(wanted(query), expected, "{query}");
        }
    }

    #[test]
    fn a_query_that_cannot_be_followed_is_refused_by_name() {
        for query in [
            "delay=soon",
            "delay=1h",
            "status=99",
            "status=101",
            "fail-first=-1",
            "reset=maybe",
            "size=1e9",
            "chunks=",
        ] {
            let said = Behaviour::parse(query, StatusCode::OK).unwrap_err().to_string();
            assert!(said.starts_with(query.split('=').next().unwrap()), "{said}");
        }
    }
}
