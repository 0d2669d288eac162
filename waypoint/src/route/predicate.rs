//! Method, headers and query of an alternative: whether a request fits them, and which alternative goes first.

use super::head::RequestHead;
use fairway_config::model::{GrpcMethodMatch, HeaderMatch, Match, PathMatch, QueryMatch, ValueMatch};
use http::header::COOKIE;
use http::{HeaderMap, HeaderName, Method};
use percent_encoding::percent_decode_str;
use std::borrow::Cow;
use std::cmp::Reverse;
use std::fmt::{self, Display};

/// What a request does not fit of an alternative whose path it fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch<'t> {
    /// The method has to be this one.
    Method(&'t Method),
    /// This header has another value, or is not there.
    Header(&'t HeaderName),
    /// This parameter of the query has another value, or is not there.
    Query(&'t str),
}

/// Whether method, headers and query fit; the path has been looked at already.
pub(super) fn holds(alternative: &Match, head: &RequestHead<'_>) -> bool {
    mismatch(alternative, head).is_none()
}

/// The first of method, headers and query that does not fit.
#[inline]
pub(super) fn mismatch<'t>(alternative: &'t Match, head: &RequestHead<'_>) -> Option<Mismatch<'t>> {
    if let Some(method) = alternative.method.as_ref().filter(|method| *method != head.method) {
        return Some(Mismatch::Method(method));
    }
    if let Some(header) = alternative.headers.iter().find(|it| !header_holds(it, head.headers)) {
        return Some(Mismatch::Header(&header.name));
    }
    let query = head.query.unwrap_or_default();
    let parameter = alternative.query.iter().find(|it| !parameter_holds(it, query))?;
    Some(Mismatch::Query(&parameter.name))
}

/// Whether all but the headers fits a request with this method.
pub(super) fn holds_with_method(alternative: &Match, method: &[u8], head: &RequestHead<'_>) -> bool {
    let query = head.query.unwrap_or_default();
    alternative.method.as_ref().is_none_or(|it| it.as_str().as_bytes() == method)
        && alternative.query.iter().all(|it| parameter_holds(it, query))
}

/// Orders alternatives of one path; what is less goes first.
pub(super) fn precedence(alternative: &Match) -> impl Ord + use<> {
    (alternative.method.is_none(), Reverse(alternative.headers.len()), Reverse(alternative.query.len()))
}

/// An alternative in a few words. Values of headers and parameters are not said: they may be secrets.
pub fn describe(alternative: &Match) -> String {
    let value = |value: &Option<ValueMatch>| match value {
        None => "*".to_owned(),
        Some(ValueMatch::Exact(text)) => text.to_string(),
        Some(ValueMatch::Regex(pattern)) => format!("~{}", pattern.as_str()),
    };
    let mut words = vec![match &alternative.path {
        PathMatch::Exact(path) => format!("path {path}"),
        PathMatch::Prefix(prefix) if prefix.is_empty() => "path prefix /".to_owned(),
        PathMatch::Prefix(prefix) => format!("path prefix {prefix}"),
        PathMatch::Regex(pattern) => format!("path ~{}", pattern.as_str()),
        PathMatch::Grpc(GrpcMethodMatch { service, method }) => {
            format!("gRPC {}/{}", value(service), value(method))
        }
    }];
    words.extend(alternative.method.iter().map(|method| format!("method {method}")));
    words.extend(alternative.headers.iter().map(|header| format!("header {}", header.name)));
    words.extend(alternative.query.iter().map(|parameter| format!("query parameter {}", parameter.name)));
    words.join(", ")
}

impl Display for Mismatch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Method(method) => write!(f, "the method is not {method}"),
            Self::Header(name) => write!(f, "header {name} is not there, or has another value"),
            Self::Query(name) => write!(f, "query parameter {name} is not there, or has another value"),
        }
    }
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

/// Whether the first value of a parameter fits, decoded as `application/x-www-form-urlencoded`.
fn parameter_holds(expected: &QueryMatch, query: &str) -> bool {
    let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let first = pairs.find(|(name, _)| form_decoded(name).is_some_and(|name| name == *expected.name));
    first.and_then(|(_, value)| form_decoded(value)).is_some_and(|value| expected.value.matches(&value))
}

/// None if what is encoded is no UTF-8.
fn form_decoded(text: &str) -> Option<Cow<'_, str>> {
    if text.as_bytes().contains(&b'+') {
        let spaced = text.replace('+', " ");
        return Some(Cow::Owned(percent_decode_str(&spaced).decode_utf8().ok()?.into_owned()));
    }
    percent_decode_str(text).decode_utf8().ok()
}
