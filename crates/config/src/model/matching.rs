//! Predicates of a rule over a request.

use fairway_policy::{HeaderMatch, PathMatch, ValueMatch};
use http::Method;
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

/// A condition on a parameter of the query.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryMatch {
    /// The parameter's name, decoded.
    pub name: Arc<str>,
    /// The value of its first appearance, decoded.
    pub value: ValueMatch,
}

// === impl Match ===

impl Match {
    /// A path, and nothing else.
    pub fn on_path(path: PathMatch) -> Self {
        Self { path, headers: Vec::new(), query: Vec::new(), method: None }
    }
}
