//! Method, headers and query of an alternative.

use super::head::RequestHead;
use fairway_config::model::{HeaderMatch, Match, QueryMatch};
use http::header::COOKIE;
use http::{HeaderMap, HeaderName};
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// Whether method, headers and query fit; the path has been looked at already.
pub(super) fn holds(alternative: &Match, head: &RequestHead<'_>) -> bool {
    alternative.method.as_ref().is_none_or(|it| it == head.method)
        && alternative.headers.iter().all(|it| header_holds(it, head.headers))
        && (alternative.query.is_empty() || query_holds(&alternative.query, head.query.unwrap_or_default()))
}

pub(super) fn header_holds(expected: &HeaderMatch, headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(&expected.name).iter();
    let Some(first) = values.next() else { return false };
    // Values that are not ASCII match nothing.
    let Ok(first) = first.to_str() else { return false };
    match values.next() {
        None => expected.value.matches(first),
        Some(_) => {
            let all: Option<Vec<_>> =
                headers.get_all(&expected.name).iter().map(|it| it.to_str().ok()).collect();
            all.is_some_and(|it| expected.value.matches(&it.join(separator(&expected.name))))
        }
    }
}

/// What stands between values that came on several lines. HTTP/2 may send a cookie in pieces (RFC 9113 §8.2.3).
fn separator(name: &HeaderName) -> &'static str {
    if *name == COOKIE { "; " } else { "," }
}

/// Whether the first value of each parameter fits, decoded as `application/x-www-form-urlencoded`.
pub(super) fn query_holds(expected: &[QueryMatch], query: &str) -> bool {
    expected.iter().all(|it| {
        let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let first = pairs.find(|(name, _)| form_decoded(name).is_some_and(|name| name == *it.name));
        first.and_then(|(_, value)| form_decoded(value)).is_some_and(|value| it.value.matches(&value))
    })
}

/// None if what is encoded is no UTF-8.
fn form_decoded(text: &str) -> Option<Cow<'_, str>> {
    if text.as_bytes().contains(&b'+') {
        let spaced = text.replace('+', " ");
        return Some(Cow::Owned(percent_decode_str(&spaced).decode_utf8().ok()?.into_owned()));
    }
    percent_decode_str(text).decode_utf8().ok()
}
