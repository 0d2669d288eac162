//! A header that stands on several lines, as one value.

use http::HeaderName;
use http::header::COOKIE;

/// The lines of a header as one value (RFC 9110 §5.3). Those of a cookie are pieces of it (RFC 9113 §8.2.3), and a piece without
/// anything in it says nothing. Routes, policies, authorization services and backends all read what this makes: a request that is
/// another one to one of them would get around the others.
///
/// ```
/// use fairway_policy::matching::join_lines;
/// use http::header::{ACCEPT, COOKIE};
///
/// let pieces: [&[u8]; 3] = [b"user=beta", b"", b"theme=dark"];
/// assert_eq!(join_lines(&COOKIE, pieces), b"user=beta; theme=dark");
/// assert_eq!(join_lines(&ACCEPT, [b"a".as_slice(), b"", b"b"]), b"a,,b");
/// ```
pub fn join_lines<'v>(name: &HeaderName, lines: impl IntoIterator<Item = &'v [u8]>) -> Vec<u8> {
    let is_cookie = *name == COOKIE;
    let lines = lines.into_iter().filter(|it| !is_cookie || !it.trim_ascii().is_empty());
    let separator: &[u8] = if is_cookie { b"; " } else { b"," };
    lines.collect::<Vec<_>>().join(separator)
}
