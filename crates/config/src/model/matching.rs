//! Predicates of a rule over a request.

use http::{HeaderName, Method};
use std::fmt;
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

/// A compiled regular expression that has to match a whole text. Linear in the text (RE2 syntax), bounded in memory.
#[derive(Clone)]
pub struct Pattern {
    source: Arc<str>,
    regex: regex::Regex,
}

/// A text that is not a regular expression we take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{pattern}` is not a usable regular expression (RE2 syntax): {reason}")]
pub struct InvalidPattern {
    /// What was given.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: String,
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

// === impl Pattern ===

impl Pattern {
    /// Memory one compiled pattern may take, in bytes: a user's expression must not be able to take a proxy down.
    const SIZE_LIMIT: usize = 256 * 1024;

    /// Compiles an expression, anchored at both ends.
    pub fn new(source: &str) -> Result<Self, InvalidPattern> {
        let invalid =
            |error: regex::Error| InvalidPattern { pattern: source.to_owned(), reason: error.to_string() };
        // Alone first: `a)(b` would be made valid by the group around it.
        regex::RegexBuilder::new(source).size_limit(Self::SIZE_LIMIT).build().map_err(invalid)?;
        let regex = regex::RegexBuilder::new(&format!("^(?:{source})$"))
            .size_limit(Self::SIZE_LIMIT)
            .build()
            .map_err(invalid)?;
        Ok(Self { source: source.into(), regex })
    }

    /// Whether the whole text matches.
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// The expression as the user wrote it.
    pub fn as_str(&self) -> &str {
        &self.source
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_the_whole_text() {
        let pattern = Pattern::new("a|b").unwrap();
        assert!(pattern.is_match("a") && pattern.is_match("b"));
        assert!(!pattern.is_match("ab") && !pattern.is_match("xa"));
    }

    #[test]
    fn a_pattern_cannot_close_the_group_around_it_or_grow_without_bound() {
        assert!(Pattern::new("a)(b").is_err());
        assert!(Pattern::new("(?:a{1000}){1000}").is_err());
    }
}
