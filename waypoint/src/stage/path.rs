//! Replacing a path or its matched prefix.

use super::MatchedRule;
use fairway_config::model::{PathMatch, PathModifier};
use std::borrow::Cow;

/// The path that a modifier makes of `path`. Only the element structure counts, so a prefix that the request spelled
/// with percent-encodings is replaced like any other.
pub(super) fn modify<'a>(
    modifier: &'a PathModifier,
    path: &'a str,
    rule: Option<&MatchedRule<'_>>,
) -> Cow<'a, str> {
    match modifier {
        PathModifier::ReplaceFull(replacement) if replacement.starts_with('/') => Cow::Borrowed(replacement),
        PathModifier::ReplaceFull(replacement) => Cow::Owned(format!("/{replacement}")),
        PathModifier::ReplacePrefix(replacement) => {
            let prefix = match rule.map(|it| &it.matched.path) {
                Some(PathMatch::Prefix(prefix)) => prefix.trim_end_matches('/'),
                // The API admits this modifier with prefix matches only; there is no prefix to replace elsewhere.
                Some(PathMatch::Exact(_) | PathMatch::Regex(_) | PathMatch::Grpc(_)) | None => {
                    return Cow::Borrowed(path);
                }
            };
            let rest = after_elements(path, prefix.matches('/').count());
            let replacement = replacement.trim_end_matches('/');
            match (replacement.is_empty(), rest.is_empty()) {
                (true, true) => Cow::Borrowed("/"),
                (true, false) => Cow::Borrowed(rest),
                (false, _) if replacement.starts_with('/') => Cow::Owned([replacement, rest].concat()),
                (false, _) => Cow::Owned(["/", replacement, rest].concat()),
            }
        }
    }
}

/// What follows the first `count` elements: nothing, or `/` and more.
fn after_elements(path: &str, count: usize) -> &str {
    path.match_indices('/').nth(count).map_or("", |(at, _)| &path[at..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairway_config::model::Match;

    fn modified(modifier: &PathModifier, path: &str, matched: PathMatch) -> String {
        let matched = Match { path: matched, headers: vec![], query: vec![], method: None };
        let route = crate::fixtures::route("r");
        let rule = MatchedRule { route: &route, index: 0, matched: &matched };
        modify(modifier, path, Some(&rule)).into_owned()
    }

    #[test]
    fn prefixes_are_replaced_as_the_table_of_the_api_says() {
        // Path, prefix, replacement, result; `HTTPPathModifier` in the API's documentation, then our own cases.
        for (path, prefix, replacement, expected) in [
            ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
            ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo/", "/xyz/", "/xyz/bar"),
            ("/foo", "/foo", "/xyz", "/xyz"),
            ("/foo/", "/foo", "/xyz", "/xyz/"),
            ("/foo/bar", "/foo", "", "/bar"),
            ("/foo/", "/foo", "", "/"),
            ("/foo", "/foo", "", "/"),
            ("/foo/", "/foo", "/", "/"),
            ("/foo", "/foo", "/", "/"),
            ("/foo/bar", "", "/xyz", "/xyz/foo/bar"),
            ("/foo/bar", "/", "/xyz", "/xyz/foo/bar"),
            ("/", "", "/xyz", "/xyz/"),
            ("/", "", "/", "/"),
            ("/%66oo/b%61r", "/foo", "/xyz", "/xyz/b%61r"),
            ("/foo//bar", "/foo", "/xyz", "/xyz//bar"),
            ("/a/b/c/d", "/a/b", "/x/y/z", "/x/y/z/c/d"),
            ("/foo/bar", "/foo", "xyz", "/xyz/bar"),
        ] {
            let modifier = PathModifier::ReplacePrefix(replacement.into());
            let result = modified(&modifier, path, PathMatch::Prefix(prefix.into()));
            assert_eq!(result, expected, "{path} {prefix} {replacement}");
        }
    }

    #[test]
    fn a_whole_path_is_replaced_whatever_matched() {
        let whole = |replacement: &str| PathModifier::ReplaceFull(replacement.into());
        let exact = || PathMatch::Exact("/a".into());
        assert_eq!(modified(&whole("/new"), "/a/b", exact()), "/new");
        assert_eq!(modified(&whole("new"), "/a/b", exact()), "/new");
        assert_eq!(modified(&whole(""), "/a/b", exact()), "/");
    }
}
