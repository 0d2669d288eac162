//! Method, headers and query of an alternative: whether a request fits them, and which alternative goes first.

use super::head::RequestHead;
use fairway_config::model::{GrpcMethodMatch, Match, PathMatch, ValueMatch};
use http::{HeaderName, Method};
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
    if let Some(header) = alternative.headers.iter().find(|it| !head.header_holds(&it.name, &it.value)) {
        return Some(Mismatch::Header(&header.name));
    }
    let parameter = alternative.query.iter().find(|it| !head.parameter_holds(&it.name, &it.value))?;
    Some(Mismatch::Query(&parameter.name))
}

/// Whether all but the headers fits a request with this method.
pub(super) fn holds_with_method(alternative: &Match, method: &[u8], head: &RequestHead<'_>) -> bool {
    alternative.method.as_ref().is_none_or(|it| it.as_str().as_bytes() == method)
        && alternative.query.iter().all(|it| head.parameter_holds(&it.name, &it.value))
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
