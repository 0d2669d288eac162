//! Predicates of a rule over a request.

use super::normalised_path;
use fairway_policy::{HeaderMatch, PathMatch, ValueMatch};
use http::Method;
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::{self, Write};
use std::hash::{DefaultHasher, Hash, Hasher};
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

    /// The match in the form that requests are compared with, or none if it has that form: the path is normalised, and of several
    /// conditions on one header or parameter the first counts, as the API has it. A path that no request can have (a `..` in it) stays.
    pub fn canonical(&self) -> Option<Self> {
        let path = match &self.path {
            PathMatch::Exact(path) => canonical_path(path).map(PathMatch::Exact),
            PathMatch::Prefix(path) => canonical_path(path).map(PathMatch::Prefix),
            PathMatch::Regex(_) | PathMatch::Grpc(_) => None,
        };
        let mut headers = HashSet::new();
        let repeats_header = !self.headers.iter().all(|it| headers.insert(&it.name));
        let mut query = HashSet::new();
        let repeats_query = !self.query.iter().all(|it| query.insert(&it.name));
        if path.is_none() && !repeats_header && !repeats_query {
            return None;
        }
        let mut canonical = self.clone();
        canonical.path = path.unwrap_or(canonical.path);
        let mut seen = HashSet::new();
        canonical.headers.retain(|it| seen.insert(it.name.clone()));
        let mut seen = HashSet::new();
        canonical.query.retain(|it| seen.insert(it.name.clone()));
        Some(canonical)
    }

    /// A number that matches share which say the same, in whatever order. Others share it by chance only, with 64 bits. It holds within
    /// one process.
    pub fn fingerprint(&self) -> u64 {
        // Taken apart, so that a field which is added does not compile before it counts here: of two routes that differ in it, one
        // would be reported as shadowed by the other.
        let Self { path, headers, query, method } = self;
        let sum = |numbers: &mut dyn Iterator<Item = u64>| numbers.fold(0, u64::wrapping_add);
        let mut hasher = DefaultHasher::new();
        digest(&(path, method)).hash(&mut hasher);
        sum(&mut headers.iter().map(digest)).hash(&mut hasher);
        sum(&mut query.iter().map(digest)).hash(&mut hasher);
        hasher.finish()
    }
}

fn canonical_path(path: &str) -> Option<Arc<str>> {
    match normalised_path(path)? {
        Cow::Owned(canonical) if canonical != path => Some(canonical.into()),
        _ => None,
    }
}

/// The hash of what `Debug` writes, without the text.
fn digest(it: &impl fmt::Debug) -> u64 {
    struct Digest(DefaultHasher);

    impl Write for Digest {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.write(text.as_bytes());
            Ok(())
        }
    }

    let mut digest = Digest(DefaultHasher::new());
    // Writing into it cannot fail.
    let _ = write!(digest, "{it:?}");
    digest.0.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &'static str, value: &str) -> HeaderMatch {
        HeaderMatch { name: http::HeaderName::from_static(name), value: ValueMatch::Exact(value.into()) }
    }

    fn parameter(name: &str, value: &str) -> QueryMatch {
        QueryMatch { name: name.into(), value: ValueMatch::Exact(value.into()) }
    }

    #[test]
    fn matches_share_a_fingerprint_if_they_say_the_same_in_another_order_and_not_if_a_field_differs() {
        let all = Match {
            path: PathMatch::Prefix("/a".into()),
            headers: vec![header("x-a", "1"), header("x-b", "2")],
            query: vec![parameter("a", "1"), parameter("b", "2")],
            method: Some(Method::GET),
        };
        let mut turned = all.clone();
        turned.headers.reverse();
        turned.query.reverse();
        assert_eq!(all.fingerprint(), turned.fingerprint());
        let others = [
            Match { path: PathMatch::Exact("/a".into()), ..all.clone() },
            Match { headers: vec![header("x-a", "1"), header("x-b", "3")], ..all.clone() },
            Match { headers: vec![], ..all.clone() },
            Match { query: vec![parameter("a", "1")], ..all.clone() },
            Match { method: None, ..all.clone() },
            // The same conditions, on the other thing.
            Match { headers: vec![], query: vec![], ..all.clone() },
        ];
        for (index, it) in others.iter().enumerate() {
            assert_ne!(all.fingerprint(), it.fingerprint(), "{index}");
        }
    }

    #[test]
    fn of_repeated_conditions_the_first_counts_and_paths_are_normalised() {
        let written = Match {
            path: PathMatch::Exact("/%61".into()),
            headers: vec![header("x-a", "1"), header("x-a", "2")],
            query: vec![parameter("a", "1"), parameter("a", "2"), parameter("b", "2")],
            method: None,
        };
        let canonical = written.canonical().unwrap();
        assert_eq!(canonical.path, PathMatch::Exact("/a".into()));
        assert_eq!(canonical.headers, [header("x-a", "1")]);
        assert_eq!(canonical.query, [parameter("a", "1"), parameter("b", "2")]);
        assert_eq!(canonical.canonical(), None);
    }
}
