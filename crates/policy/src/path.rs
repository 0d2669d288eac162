//! The two readings of a path that a policy judges.
//!
//! Servers differ in how they read a path. Routing has to send on what the client wrote, so `//` and `;` stay. A policy must
//! not be passed by writing the same resource in another way (CVE-2021-31920 and its kind). It compares the path as it is
//! written and as the servers that fold most read it: a Deny holds if it matches one of the two, an Allow if it matches both.

use crate::Action;
use crate::matching::PathMatch;
use std::borrow::Cow;

/// A path in both readings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path<'a> {
    written: &'a str,
    folded: Cow<'a, str>,
}

/// A condition on a path, in both readings.
#[derive(Clone, Debug, PartialEq)]
pub struct PathCondition {
    written: PathMatch,
    /// What the folded path is compared with, if that differs: an Allow of `/a%2Fb` has to be able to match.
    folded: Option<PathMatch>,
}

// === impl Path ===

impl<'a> Path<'a> {
    /// A path without its query, in the form in which routes compare it: unreserved characters decoded, escapes in upper
    /// case, no dot segments (RFC 3986 §6.2.2).
    pub fn new(normalised: &'a str) -> Self {
        Self { written: normalised, folded: folded(normalised) }
    }

    /// The path as routes compare it.
    pub fn written(&self) -> &str {
        self.written
    }

    /// The path as a server reads it that merges slashes, cuts path parameters off (`/a;v=1`), and takes `%2F`, `%5C` and
    /// `%3B` for `/`, `\` and `;`. The case stays.
    pub fn folded(&self) -> &str {
        &self.folded
    }
}

fn folded(path: &str) -> Cow<'_, str> {
    let bytes = path.as_bytes();
    if !bytes.iter().any(|it| matches!(it, b';' | b'%' | b'\\')) && !path.contains("//") {
        return Cow::Borrowed(path);
    }
    let (mut folded, mut rest) = (String::with_capacity(path.len()), path);
    let mut in_parameters = false;
    while let Some(next) = rest.chars().next() {
        let escape = rest.get(..3).unwrap_or_default();
        let (read, length) = match next {
            '%' if escape.eq_ignore_ascii_case("%2F") || escape.eq_ignore_ascii_case("%5C") => ('/', 3),
            '%' if escape.eq_ignore_ascii_case("%3B") => (';', 3),
            '\\' => ('/', 1),
            other => (other, other.len_utf8()),
        };
        match read {
            '/' => {
                in_parameters = false;
                if !folded.ends_with('/') {
                    folded.push('/');
                }
            }
            ';' => in_parameters = true,
            other if !in_parameters => folded.push(other),
            _ => {}
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    Cow::Owned(folded)
}

// === impl PathCondition ===

impl PathCondition {
    /// The form in which a path matches, as the user wrote it.
    pub fn as_written(&self) -> &PathMatch {
        &self.written
    }

    /// Whether the condition holds. The two actions differ where the readings do.
    pub(crate) fn holds(&self, path: &Path<'_>, action: Action) -> bool {
        let written = self.written.matches(path.written());
        match action {
            Action::Allow => written && self.folded().matches(path.folded()),
            Action::Deny => {
                written || self.written.matches(path.folded()) || self.folded().matches(path.folded())
            }
        }
    }

    fn folded(&self) -> &PathMatch {
        self.folded.as_ref().unwrap_or(&self.written)
    }
}

impl From<PathMatch> for PathCondition {
    fn from(written: PathMatch) -> Self {
        let of_folded = |text: &str| match folded(text) {
            Cow::Borrowed(_) => None,
            Cow::Owned(it) => Some(it),
        };
        let folded = match &written {
            PathMatch::Exact(text) => of_folded(text).map(|it| PathMatch::Exact(it.into())),
            // A prefix is kept without a trailing `/`, and folding can leave one: `/a/;v=1` is `/a/`.
            PathMatch::Prefix(text) => {
                of_folded(text).map(|it| PathMatch::Prefix(it.strip_suffix('/').unwrap_or(&it).into()))
            }
            // An expression cannot be folded, and a gRPC method has nothing to fold.
            PathMatch::Regex(_) | PathMatch::Grpc(_) => None,
        };
        Self { written, folded }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_folded_as_the_most_lenient_server_reads_it() {
        for (path, folded) in [
            ("/", "/"),
            ("/admin", "/admin"),
            ("//admin", "/admin"),
            ("/a//b///c/", "/a/b/c/"),
            ("/admin;x", "/admin"),
            ("/admin;x=1/users;y", "/admin/users"),
            ("/;x/admin", "/admin"),
            ("/a%2Fb", "/a/b"),
            ("/a%2fb", "/a/b"),
            ("/%2Fadmin", "/admin"),
            ("/a%5Cb", "/a/b"),
            ("/admin%3Bx", "/admin"),
            ("/a%20b", "/a%20b"),
            ("/100%", "/100%"),
            ("/ü;x/ü", "/ü/ü"),
            ("/ADMIN", "/ADMIN"),
            ("*", "*"),
            ("", ""),
        ] {
            assert_eq!(Path::new(path).folded(), folded, "{path}");
        }
    }

    #[test]
    fn a_deny_holds_in_either_reading_and_an_allow_in_both() {
        for (condition, path, allow, deny) in [
            (PathMatch::Prefix("/admin".into()), "/admin/users", true, true),
            (PathMatch::Prefix("/admin".into()), "//admin/users", false, true),
            (PathMatch::Prefix("/admin".into()), "/admin;x/users", false, true),
            (PathMatch::Prefix("/admin".into()), "/%2Fadmin", false, true),
            (PathMatch::Prefix("/admin".into()), "/ADMIN", false, false),
            (PathMatch::Prefix("/public".into()), "/public%2Fadmin", false, true),
            (PathMatch::Prefix("/public".into()), "/public;/admin", false, true),
            (PathMatch::Exact("/a%2Fb".into()), "/a%2Fb", true, true),
            (PathMatch::Exact("/a%2Fb".into()), "/a/b", false, true),
            (PathMatch::Exact("/a;v=1".into()), "/a;v=1", true, true),
            (PathMatch::Prefix("".into()), "*", true, true),
        ] {
            let (path, condition) = (Path::new(path), PathCondition::from(condition));
            assert_eq!(condition.holds(&path, Action::Allow), allow, "{condition:?} {path:?}");
            assert_eq!(condition.holds(&path, Action::Deny), deny, "{condition:?} {path:?}");
        }
    }
}
