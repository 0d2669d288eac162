//! Predicates of a rule over a request.

use super::Pattern;
use http::{HeaderName, Method};
use std::sync::Arc;

/// One alternative under which a rule holds; all of its parts must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Match {
    /// The path, or the gRPC method.
    pub path: PathMatch,
    /// Every one must match.
    pub headers: Vec<HeaderMatch>,
    /// Every one must match.
    pub query: Vec<QueryMatch>,
    /// The method, if it matters.
    pub method: Option<Method>,
}

/// What the path must look like.
#[derive(Clone, Debug, PartialEq)]
pub enum PathMatch {
    /// The whole path, case-sensitive.
    Exact(Arc<str>),
    /// Whole path elements: `/abc` matches `/abc`, `/abc/` and `/abc/d`, not `/abcd`. Kept without a trailing `/`
    /// (`/` itself is kept as the empty string and matches everything).
    Prefix(Arc<str>),
    /// A regular expression over the whole path.
    Regex(Pattern),
    /// A gRPC service and method: the path is `/<service>/<method>`.
    Grpc(GrpcMethodMatch),
}

/// A gRPC method; a part that is absent matches all.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct GrpcMethodMatch {
    /// The full service name, `package.Service`.
    pub service: Option<ValueMatch>,
    /// The method's name.
    pub method: Option<ValueMatch>,
}

/// A request header.
#[derive(Clone, Debug, PartialEq)]
pub struct HeaderMatch {
    /// The header's name.
    pub name: HeaderName,
    /// Its value; of a header that stands more than once, the values joined by `,` (RFC 9110 §5.3).
    pub value: ValueMatch,
}

/// A query parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryMatch {
    /// The parameter's name, decoded.
    pub name: Arc<str>,
    /// The value of its first appearance, decoded.
    pub value: ValueMatch,
}

/// How a text is compared.
#[derive(Clone, Debug, PartialEq)]
pub enum ValueMatch {
    /// The same bytes.
    Exact(Arc<str>),
    /// The whole text matches.
    Regex(Pattern),
}

// === impl Match ===

impl Match {
    /// A path, and nothing else.
    pub fn on_path(path: PathMatch) -> Self {
        Self { path, headers: Vec::new(), query: Vec::new(), method: None }
    }
}

// === impl ValueMatch ===

impl ValueMatch {
    /// Whether the text matches.
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(expected) => **expected == *text,
            Self::Regex(pattern) => pattern.is_match(text),
        }
    }
}
