//! The readings of a path that a policy judges.
//!
//! Servers differ in how they read a path. Routing has to send on what the client wrote, so `//` and `;` stay. A policy must
//! not be passed by writing the same resource in another way (CVE-2021-31920 and its kind). It compares the path as it is
//! written and as lenient servers read it: a Deny holds if it matches one of the readings, an Allow if it matches all.

use crate::Action;
use crate::matching::PathMatch;
use std::borrow::Cow;
use std::sync::Arc;

/// How often a path is decoded at most by servers that are behind each other.
const DECODINGS: usize = 3;

/// Who comes first: the end of path parameters or escaped slashes.
const ORDERS: usize = 2;

/// A path in all readings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path<'a> {
    written: &'a str,
    /// For each decoding the two orders; none if every server reads the path as it is written.
    lenient: Vec<String>,
}

/// A condition on a path, in all readings.
#[derive(Clone, Debug, PartialEq)]
pub struct PathCondition {
    written: PathMatch,
    /// The same readings of the condition's own path: an Allow of `/a%2Fb` has to be able to match.
    lenient: Vec<PathMatch>,
}

// === impl Path ===

impl<'a> Path<'a> {
    /// A path without its query, in the form in which routes compare it: unreserved characters decoded, escapes in upper
    /// case, no dot segments (RFC 3986 §6.2.2).
    ///
    /// ```
    /// use fairway_policy::Path;
    /// assert_eq!(Path::new("//admin;v=1").lenient().next(), Some("/admin"));
    /// // Does the escaped slash end the parameter, or is it a part of it? Servers differ, so it is both.
    /// assert_eq!(Path::new("/;%2Fx/admin").lenient().collect::<Vec<_>>(), ["/x/admin", "/admin"]);
    /// assert_eq!(Path::new("/admin").lenient().next(), None);
    /// ```
    pub fn new(normalised: &'a str) -> Self {
        Self { written: normalised, lenient: lenient(normalised) }
    }

    /// The path as routes compare it.
    pub fn written(&self) -> &str {
        self.written
    }

    /// The path as servers read it that merge slashes, cut path parameters off (`/a;v=1`), take `%2F`, `%5C` and `%3B` for
    /// `/`, `\` and `;`, and decode what is escaped twice. The case stays. None if all of them read what is written.
    pub fn lenient(&self) -> impl Iterator<Item = &str> {
        self.lenient.iter().map(String::as_str)
    }
}

fn lenient(path: &str) -> Vec<String> {
    if !path.bytes().any(|it| matches!(it, b';' | b'%' | b'\\')) && !path.contains("//") {
        return Vec::new();
    }
    let (mut readings, mut decoded) = (Vec::with_capacity(ORDERS), Cow::Borrowed(path));
    for _ in 0..DECODINGS {
        readings.extend([cut(&unescaped(&decoded)), unescaped(&cut(&decoded))].map(|it| merged(&it)));
        match decoded_again(&decoded) {
            Some(again) => decoded = Cow::Owned(again),
            None => break,
        }
    }
    if readings.iter().all(|it| it == path) { Vec::new() } else { readings }
}

/// Segments without what stands behind a `;`.
fn cut(path: &str) -> String {
    let segments = path.split(['/', '\\']).map(|it| it.split(';').next().unwrap_or_default());
    segments.collect::<Vec<_>>().join("/")
}

/// `%2F`, `%5C` and `%3B` as what they stand for; of a backslash a slash.
fn unescaped(path: &str) -> String {
    let (mut unescaped, mut rest) = (String::with_capacity(path.len()), path);
    while let Some(next) = rest.chars().next() {
        let escape = rest.get(..3).unwrap_or_default();
        let (read, length) = match next {
            '%' if escape.eq_ignore_ascii_case("%2F") || escape.eq_ignore_ascii_case("%5C") => ('/', 3),
            '%' if escape.eq_ignore_ascii_case("%3B") => (';', 3),
            '\\' => ('/', 1),
            other => (other, other.len_utf8()),
        };
        unescaped.push(read);
        rest = rest.get(length..).unwrap_or_default();
    }
    unescaped
}

/// Slashes in a row as one.
fn merged(path: &str) -> String {
    let mut merged = String::with_capacity(path.len());
    for next in path.chars() {
        if next != '/' || !merged.ends_with('/') {
            merged.push(next);
        }
    }
    merged
}

/// What is escaped twice, escaped once; unreserved characters not at all. None where nothing is escaped twice.
fn decoded_again(path: &str) -> Option<String> {
    let (mut decoded, mut rest, mut is_other) = (String::with_capacity(path.len()), path, false);
    while let Some(at) = rest.find("%25") {
        let (before, escape) = rest.split_at(at);
        decoded.push_str(before);
        let digits = escape.get(3..5).and_then(|it| u8::from_str_radix(it, 16).ok());
        let is_hex = escape.bytes().skip(3).take(2).all(|it| it.is_ascii_hexdigit());
        match digits.filter(|_| is_hex) {
            Some(byte) => {
                is_other = true;
                match char::from(byte) {
                    it @ ('A'..='Z' | 'a'..='z' | '0'..='9' | '-' | '.' | '_' | '~') => decoded.push(it),
                    _ => decoded.push_str(&format!("%{byte:02X}")),
                }
                rest = escape.get(5..).unwrap_or_default();
            }
            None => {
                decoded.push_str("%25");
                rest = escape.get(3..).unwrap_or_default();
            }
        }
    }
    decoded.push_str(rest);
    is_other.then_some(decoded)
}

// === impl PathCondition ===

impl PathCondition {
    /// The form in which a path matches, as the user wrote it.
    pub fn as_written(&self) -> &PathMatch {
        &self.written
    }

    /// Whether a path is compared: it may be too long for an expression.
    pub(crate) fn takes(&self, path: &Path<'_>) -> bool {
        self.written.takes(path.written().len())
    }

    /// Whether the condition holds. The two actions differ where the readings do.
    pub(crate) fn holds(&self, path: &Path<'_>, action: Action) -> bool {
        match action {
            Action::Allow => {
                let mut readings = path.lenient().enumerate();
                self.written.matches(path.written())
                    && readings.all(|(index, it)| self.reading(index).matches(it))
            }
            Action::Deny => {
                let is_met = |reading: &str| {
                    self.written.matches(reading) || self.lenient.iter().any(|it| it.matches(reading))
                };
                is_met(path.written()) || path.lenient().any(is_met)
            }
        }
    }

    /// The condition in a reading; in one that its own path does not have, in the last of the same order.
    fn reading(&self, index: usize) -> &PathMatch {
        let last = self.lenient.len().saturating_sub(ORDERS) + index % ORDERS;
        self.lenient.get(index.min(last)).unwrap_or(&self.written)
    }
}

impl From<PathMatch> for PathCondition {
    fn from(written: PathMatch) -> Self {
        let readings = |text: &str, of: fn(Arc<str>) -> PathMatch| -> Vec<PathMatch> {
            lenient(text).into_iter().map(|it| of(it.into())).collect()
        };
        let lenient = match &written {
            PathMatch::Exact(text) => readings(text, PathMatch::Exact),
            // A prefix is kept without a trailing `/`, and a reading can leave one: `/a/;v=1` is `/a/`.
            PathMatch::Prefix(text) => {
                readings(text, |it| PathMatch::Prefix(it.strip_suffix('/').unwrap_or(&it).into()))
            }
            // An expression has no other reading, and a gRPC method neither.
            PathMatch::Regex(_) | PathMatch::Grpc(_) => Vec::new(),
        };
        Self { written, lenient }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_as_lenient_servers_read_it() {
        for (path, readings) in [
            ("/", &[][..]),
            ("/admin", &[]),
            ("/a%20b", &[]),
            ("/100%", &[]),
            ("/ADMIN", &[]),
            ("*", &[]),
            ("", &[]),
            ("//admin", &["/admin", "/admin"]),
            ("/a//b///c/", &["/a/b/c/", "/a/b/c/"]),
            ("/admin;x", &["/admin", "/admin"]),
            ("/admin;x=1/users;y", &["/admin/users", "/admin/users"]),
            ("/;x/admin", &["/admin", "/admin"]),
            ("/a%2Fb", &["/a/b", "/a/b"]),
            ("/a%2fb", &["/a/b", "/a/b"]),
            ("/%2Fadmin", &["/admin", "/admin"]),
            ("/a%5Cb", &["/a/b", "/a/b"]),
            ("/admin%3Bx", &["/admin", "/admin;x"]),
            ("/\u{fc};x/\u{fc}", &["/\u{fc}/\u{fc}", "/\u{fc}/\u{fc}"]),
            // The escaped slash ends the parameter, or is a part of it.
            ("/;%2Fx/admin", &["/x/admin", "/admin"]),
            ("/admin;%2F", &["/admin/", "/admin"]),
            ("/%252Fadmin", &["/%252Fadmin", "/%252Fadmin", "/admin", "/admin"]),
            ("/%2561dmin", &["/%2561dmin", "/%2561dmin", "/admin", "/admin"]),
        ] {
            assert_eq!(Path::new(path).lenient().collect::<Vec<_>>(), readings, "{path}");
        }
        // Decoding has an end.
        assert_eq!(Path::new("/%2525252525252561").lenient().count(), DECODINGS * ORDERS);
    }

    #[test]
    fn a_deny_holds_in_one_reading_and_an_allow_in_all() {
        let (admin, public) = (|| PathMatch::Prefix("/admin".into()), || PathMatch::Prefix("/public".into()));
        for (condition, path, allow, deny) in [
            (admin(), "/admin/users", true, true),
            (admin(), "//admin/users", false, true),
            (admin(), "/admin;x/users", false, true),
            (admin(), "/%2Fadmin", false, true),
            (admin(), "/;%2Fx/admin", false, true),
            (admin(), "/%252Fadmin", false, true),
            (admin(), "/%25252Fadmin", false, true),
            (admin(), "/%2561dmin", false, true),
            (admin(), "/ADMIN", false, false),
            (public(), "/public%2Fadmin", false, true),
            (public(), "/public;/admin", false, true),
            (public(), "/public/100%2525", true, true),
            (PathMatch::Prefix("/a/b".into()), "/a;%2Fx/b", false, true),
            (PathMatch::Exact("/admin".into()), "/admin;%2F", false, true),
            (PathMatch::Exact("/a%2Fb".into()), "/a%2Fb", true, true),
            (PathMatch::Exact("/a%2Fb".into()), "/a/b", false, true),
            (PathMatch::Exact("/a;v=1".into()), "/a;v=1", true, true),
            (PathMatch::Exact("/a%252Fb".into()), "/a%252Fb", true, true),
            (PathMatch::Prefix("".into()), "*", true, true),
        ] {
            let (path, condition) = (Path::new(path), PathCondition::from(condition));
            assert_eq!(condition.holds(&path, Action::Allow), allow, "{condition:?} {path:?}");
            assert_eq!(condition.holds(&path, Action::Deny), deny, "{condition:?} {path:?}");
        }
    }
}
