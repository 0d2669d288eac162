//! Predicates of a rule over a request.

use http::{HeaderName, Method};
use regex_syntax::hir::literal::Extractor;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};

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
///
/// Routes tend to say the same in the same words: equal expressions that a thread compiles share what came of it, which
/// is kilobytes.
#[derive(Clone)]
pub struct Pattern(Arc<Compiled>);

struct Compiled {
    source: Box<str>,
    /// What every text that matches begins with. Many expressions stand under one host, and most of them differ here:
    /// looking at this first is a hundred times faster than to ask each, and those never asked never build their tables.
    prefix: Box<[u8]>,
    regex: regex::Regex,
}

/// What a thread has compiled and somebody still holds.
#[derive(Default)]
struct Known {
    patterns: HashMap<Box<str>, Weak<Compiled>>,
    /// Size after which those are looked for that nobody holds.
    sweep_at: usize,
}

thread_local! {
    static KNOWN: RefCell<Known> = RefCell::default();
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
        if let Some(held) = KNOWN.with_borrow(|known| known.patterns.get(source)?.upgrade()) {
            return Ok(Self(held));
        }
        let invalid =
            |error: regex::Error| InvalidPattern { pattern: source.to_owned(), reason: error.to_string() };
        // Alone first: `a)(b` would be made valid by the group around it.
        regex::RegexBuilder::new(source).size_limit(Self::SIZE_LIMIT).build().map_err(invalid)?;
        let regex = regex::RegexBuilder::new(&format!("^(?:{source})$"))
            .size_limit(Self::SIZE_LIMIT)
            .build()
            .map_err(invalid)?;
        let compiled = Arc::new(Compiled { source: source.into(), prefix: prefix_of(source), regex });
        KNOWN.with_borrow_mut(|known| known.insert(&compiled));
        Ok(Self(compiled))
    }

    /// Whether the whole text matches.
    pub fn is_match(&self, text: &str) -> bool {
        text.as_bytes().starts_with(&self.0.prefix) && self.0.regex.is_match(text)
    }

    /// The expression as the user wrote it.
    pub fn as_str(&self) -> &str {
        &self.0.source
    }
}

/// What every match of an expression begins with; empty if that is nothing in particular.
fn prefix_of(source: &str) -> Box<[u8]> {
    let Ok(parsed) = regex_syntax::parse(source) else { return Box::default() };
    Extractor::new().extract(&parsed).longest_common_prefix().unwrap_or_default().into()
}

// === impl Known ===

impl Known {
    fn insert(&mut self, compiled: &Arc<Compiled>) {
        if self.patterns.len() >= self.sweep_at {
            self.patterns.retain(|_, it| it.strong_count() > 0);
            self.sweep_at = (self.patterns.len() * 2).max(16);
        }
        self.patterns.insert(compiled.source.clone(), Arc::downgrade(compiled));
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.source == other.0.source
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.0.source)
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
    fn a_prefix_is_what_every_match_begins_with() {
        for (source, prefix, matching) in [
            ("/v[0-9]+/items", "/v", "/v12/items"),
            ("^/api/.*$", "/api/", "/api/x"),
            ("/a(b|c)d", "/a", "/acd"),
            ("/ab|/ac", "/a", "/ac"),
            ("/ab|x", "", "x"),
            ("/ab?c", "/a", "/ac"),
            ("/ab*", "/a", "/a"),
            ("(?i)/API", "/", "/aPi"),
            (".*", "", "anything"),
            ("", "", ""),
            ("/ä+", "/ä", "/ää"),
            ("(?:/x){0,2}", "", ""),
        ] {
            let pattern = Pattern::new(source).unwrap();
            assert_eq!(String::from_utf8_lossy(&pattern.0.prefix), prefix, "{source}");
            assert!(pattern.is_match(matching), "{source} {matching}");
        }
    }

    #[test]
    fn equal_expressions_are_compiled_once_as_long_as_one_is_held() {
        let (one, same) = (Pattern::new("/v[0-9]+").unwrap(), Pattern::new("/v[0-9]+").unwrap());
        assert!(Arc::ptr_eq(&one.0, &same.0));
        assert_ne!(one, Pattern::new("/v[0-9]*").unwrap());
        drop((one, same));
        for number in 0..100 {
            Pattern::new(&format!("/{number}/[a-z]+")).unwrap();
        }
        let kept = KNOWN.with_borrow(|known| known.patterns.len());
        assert!(kept <= 32, "{kept} are remembered and nobody holds one");
    }

    #[test]
    fn a_pattern_cannot_close_the_group_around_it_or_grow_without_bound() {
        assert!(Pattern::new("a)(b").is_err());
        assert!(Pattern::new("(?:a{1000}){1000}").is_err());
    }
}
