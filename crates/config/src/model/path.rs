//! Paths in the form in which they are compared, and paths that may take the place of a request's.

use super::segments::is_unambiguous;
use std::borrow::Cow;

/// A text that cannot take the place of a request's path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPath {
    /// The query of the request is kept; a second one cannot be told from it.
    #[error(
        "`{0}` has a `?`: it replaces the path, and the request's query is kept; remove the `?` and what follows"
    )]
    Query(String),
    /// A fragment is never sent.
    #[error("`{0}` has a `#`: a path has no fragment; remove the `#` and what follows, or write %23")]
    Fragment(String),
    /// A URL, not a path.
    #[error("`{0}` is a URL: write the path alone, and the host in the filter's hostname")]
    Url(String),
    /// A character that a path cannot hold unencoded (RFC 3986 §3.3).
    #[error("`{path}` has {character:?}, which no path has; write it percent-encoded, as {encoded}")]
    Character {
        /// The whole text, as it was given.
        path: String,
        /// The first character that cannot stand.
        character: char,
        /// How it is written in a path.
        encoded: String,
    },
    /// Servers read these in more than one way, and a client's own are refused.
    #[error("`{0}` has a `.` or `..` segment or a `%` without two hex digits; write the path that is meant")]
    Ambiguous(String),
}

/// Whether a text can take the place of a path, or of the prefix of one (RFC 3986 §3.3). A `/` at its beginning may be left
/// out.
///
/// ```
/// use fairway_config::model::{InvalidPath, check_replacement};
///
/// assert_eq!(check_replacement("shop/carts"), Ok(()));
/// assert_eq!(check_replacement(""), Ok(()), "it takes a prefix away");
/// // The query of the request is kept, so there cannot be another one.
/// assert!(matches!(check_replacement("/carts?sort=age"), Err(InvalidPath::Query(_))));
/// // A client's request for such a path is refused; a filter makes none of it.
/// assert!(matches!(check_replacement("/carts/%2e%2e"), Err(InvalidPath::Ambiguous(_))));
/// // An error says what to write.
/// assert!(check_replacement("/a b").unwrap_err().to_string().ends_with("as %20"));
/// ```
pub fn check_replacement(path: &str) -> Result<(), InvalidPath> {
    let owned = || path.to_owned();
    if !path.starts_with('/') && path.contains("://") {
        return Err(InvalidPath::Url(owned()));
    }
    let is_of_path = |it: char| it.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@/%".contains(it);
    match path.chars().find(|it| !is_of_path(*it)) {
        None => {}
        Some('?') => return Err(InvalidPath::Query(owned())),
        Some('#') => return Err(InvalidPath::Fragment(owned())),
        Some(character) => {
            let mut bytes = [0; 4];
            let bytes = character.encode_utf8(&mut bytes).bytes();
            let encoded = bytes.map(|it| format!("%{it:02X}")).collect();
            return Err(InvalidPath::Character { path: owned(), character, encoded });
        }
    }
    match normalised_path(path) {
        Some(_) => Ok(()),
        None => Err(InvalidPath::Ambiguous(owned())),
    }
}

/// The path in the form that is compared (RFC 3986 §6.2.2): unreserved characters decoded, what stays encoded in upper
/// case. None if servers can read it in more than one way: it has `.` or `..` segments in any spelling, a NUL, a backslash, or a `%`
/// without two hex digits.
///
/// ```
/// use fairway_config::model::normalised_path;
///
/// // `%7e` is another spelling of `~`. `%2f` is not another spelling of `/`: a path with it is another path.
/// assert_eq!(normalised_path("/%7euser/a%2fb").as_deref(), Some("/~user/a%2Fb"));
/// // These stay as the client wrote them; a policy looks at both readings (`fairway_policy::Path`).
/// assert_eq!(normalised_path("//a;v=1").as_deref(), Some("//a;v=1"));
/// // These are not resolved, but refused: servers resolve and decode in different order.
/// for path in ["/a/../b", "/a/%2e%2E/b", "/a%2f..%2Fb", "/..;a=b/c", "/100%"] {
///     assert_eq!(normalised_path(path), None, "{path}");
/// }
/// ```
pub fn normalised_path(path: &str) -> Option<Cow<'_, str>> {
    let normalised =
        if path.as_bytes().contains(&b'%') { Cow::Owned(decoded(path)?) } else { Cow::Borrowed(path) };
    is_unambiguous(&normalised).then_some(normalised)
}

/// Decodes unreserved characters (RFC 3986 §2.3), and writes the rest of the encoded ones in upper case.
fn decoded(path: &str) -> Option<String> {
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((plain, encoded)) = rest.split_once('%') {
        decoded.push_str(plain);
        let hex = encoded.get(..2).filter(|it| it.bytes().all(|b| b.is_ascii_hexdigit()))?;
        let byte = u8::from_str_radix(hex, 16).ok()?;
        if is_unreserved(byte) {
            decoded.push(char::from(byte));
        } else {
            decoded.push('%');
            decoded.extend(hex.chars().map(|it| it.to_ascii_uppercase()));
        }
        rest = encoded.get(2..)?;
    }
    decoded.push_str(rest);
    Some(decoded)
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// A percent-encoding in a regular expression over paths that no path has in the form that is compared, and how it stands
/// there: `%c3` is `%C3`, `%7e` is `~`. Expressions themselves are compared as they are written.
pub fn never_matching_escape(expression: &str) -> Option<(&str, String)> {
    expression.match_indices('%').find_map(|(at, _)| {
        let escape = expression.get(at..at + 3)?;
        let hex = &escape[1..];
        if !hex.bytes().all(|it| it.is_ascii_hexdigit()) {
            return None;
        }
        let byte = u8::from_str_radix(hex, 16).ok()?;
        let normal = match is_unreserved(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        };
        (normal != escape).then_some((escape, normal))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_replaces_a_path_is_a_path_that_is_read_in_one_way() {
        for path in
            ["", "/", "/a", "a/b", "/a/", "/a%20b", "/%C3%BC", "/a:b@c", "//a", "/..a/b..", "/a;v=1", "/*"]
        {
            assert_eq!(check_replacement(path), Ok(()), "{path}");
        }
        for (path, what) in [
            ("/t?foo=bar", "has a `?`"),
            ("/t?", "has a `?`"),
            ("/a#f", "has a `#`"),
            ("/a?x=1#y", "has a `?`"),
            ("/a b", "as %20"),
            ("/ü", "as %C3%BC"),
            ("/a\r\nX-Evil: 1", "as %0D"),
            ("/a\nb", "as %0A"),
            ("/a\tb", "as %09"),
            ("/a\0b", "as %00"),
            ("/a\"b", "as %22"),
            ("/a<b>", "as %3C"),
            ("/a\\b", "as %5C"),
            ("/a{b}", "as %7B"),
            ("/a|b", "as %7C"),
            ("/a^b`", "as %5E"),
            ("/a[b]", "as %5B"),
            ("/a%zz", "two hex digits"),
            ("/a%2", "two hex digits"),
            ("/a%", "two hex digits"),
            ("/../x", "segment"),
            ("..", "segment"),
            ("/a/..", "segment"),
            ("/a/./b", "segment"),
            ("/%2e%2E/x", "segment"),
            ("/a%2f..%2Fb", "segment"),
            ("/..;a=b/c", "segment"),
            ("http://evil.com/", "is a URL"),
        ] {
            let said = check_replacement(path).map_err(|it| it.to_string()).expect_err(path);
            assert!(said.contains(what), "{path}: {said}");
        }
    }

    #[test]
    fn an_expression_s_escapes_are_those_of_normalised_paths() {
        for (expression, expected) in [
            ("/a/.*", None),
            ("/caf%C3%A9", None),
            ("/a%2Fb", None),
            ("/100%", None),
            ("/%[A-F0-9]{2}", None),
            ("/caf%c3%a9", Some(("%c3", "%C3"))),
            ("/%7Euser", Some(("%7E", "~"))),
            ("/%2e", Some(("%2e", "."))),
        ] {
            let found = never_matching_escape(expression);
            assert_eq!(found, expected.map(|(a, b)| (a, b.to_owned())), "{expression}");
        }
    }
}
