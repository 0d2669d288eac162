//! The request target that kubelet writes for the `path` of an HTTP probe.
//!
//! Kubelet parses the path as a URL with Go's `net/url`, puts the host into it and writes it as one again; what that does to
//! a path (a slash in front, percent signs, what is no path at all) is done here in the same way.

use percent_encoding::percent_decode_str;
use std::fmt::Write;

/// None if kubelet asks nothing of the pod with it, or what no server understands.
pub(super) fn normalize(path: &str) -> Option<String> {
    let (encoded, query) = match parse(path) {
        Parsed::Url { path, query } => (path, query),
        // Kubelet takes the whole text for a path then.
        Parsed::Invalid => (escape(path.as_bytes()), None),
        Parsed::Opaque => return None,
    };
    let slash = if encoded.starts_with('/') { "" } else { "/" };
    let query = query.map(|it| format!("?{it}")).unwrap_or_default();
    let target = format!("{slash}{encoded}{query}");
    fairway_config::model::HttpProbe::is_target(&target).then_some(target)
}

enum Parsed<'a> {
    Url {
        path: String,
        query: Option<&'a str>,
    },
    /// `scheme:something` has no host that kubelet could replace.
    Opaque,
    Invalid,
}

fn parse(text: &str) -> Parsed<'_> {
    let (text, fragment) = text.split_once('#').unwrap_or((text, ""));
    if text.bytes().chain(fragment.bytes()).any(|it| it < b' ' || it == 0x7f) || !has_valid_escapes(fragment)
    {
        return Parsed::Invalid;
    }
    let Some((scheme, rest)) = scheme(text) else { return Parsed::Invalid };
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) => (rest, Some(query)),
        None => (rest, None),
    };
    if !rest.starts_with('/') {
        if scheme.is_some() {
            return Parsed::Opaque;
        }
        if rest.split('/').next().is_some_and(|it| it.contains(':')) {
            return Parsed::Invalid;
        }
    }
    // An authority is replaced.
    let path = match rest.strip_prefix("//") {
        Some(after) if scheme.is_some() || !after.starts_with('/') => {
            after.find('/').and_then(|at| after.get(at..)).unwrap_or_default()
        }
        _ => rest,
    };
    if !has_valid_escapes(path) {
        return Parsed::Invalid;
    }
    let written = if path.bytes().all(may_stand) {
        path.to_owned()
    } else {
        escape(&percent_decode_str(path).collect::<Vec<u8>>())
    };
    Parsed::Url { path: written, query }
}

/// The scheme, if there is one, and what follows; none if there is a colon without one.
fn scheme(text: &str) -> Option<(Option<&str>, &str)> {
    let is_in_scheme = |it: char| it.is_ascii_alphanumeric() || matches!(it, '+' | '-' | '.');
    let end = text.find(|it: char| !is_in_scheme(it)).unwrap_or(text.len());
    match (text.get(..end), text.get(end..).and_then(|it| it.strip_prefix(':'))) {
        (Some(""), Some(_)) => None,
        (Some(scheme), Some(rest)) if scheme.starts_with(|it: char| it.is_ascii_alphabetic()) => {
            Some((Some(scheme), rest))
        }
        _ => Some((None, text)),
    }
}

fn has_valid_escapes(text: &str) -> bool {
    let digits = |it: &str| it.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    text.split('%').skip(1).all(digits)
}

/// What Go leaves as it is in a path that is encoded already.
fn may_stand(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:@[]%/".contains(&byte)
}

/// As Go encodes a path that is not encoded.
fn escape(path: &[u8]) -> String {
    if path == b"*" {
        return "*".to_owned();
    }
    let mut escaped = String::with_capacity(path.len());
    for byte in path {
        if byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(byte) {
            escaped.push(char::from(*byte));
        } else {
            // Writing to a text cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::normalize;

    #[test]
    fn a_path_is_written_as_kubelet_writes_it() {
        for (path, expected) in [
            ("", Some("/")),
            ("/", Some("/")),
            ("healthz", Some("/healthz")),
            ("/healthz", Some("/healthz")),
            ("/a/b?full=1&x", Some("/a/b?full=1&x")),
            ("/a?", Some("/a?")),
            ("?q", Some("/?q")),
            ("/a?b?c", Some("/a?b?c")),
            ("/a#part", Some("/a")),
            ("/a b", Some("/a%20b")),
            ("/a%20b", Some("/a%20b")),
            ("/a%2fb", Some("/a%2fb")),
            ("/a%2fb c", Some("/a/b%20c")),
            ("/a!b(c)", Some("/a!b(c)")),
            ("/a!b c", Some("/a%21b%20c")),
            ("/ä", Some("/%C3%A4")),
            ("/a\"b", Some("/a%22b")),
            ("/../x/./y", Some("/../x/./y")),
            ("/a:b", Some("/a:b")),
            ("*", Some("/*")),
            // No URL: all of it is a path.
            ("/a%zz?x", Some("/a%25zz%3Fx")),
            ("/a\nb", Some("/a%0Ab")),
            ("a b:c", Some("/a%20b:c")),
            (":8080/x", Some("/:8080/x")),
            // A host in the path is not the one that is asked.
            ("http://example.com/x?y", Some("/x?y")),
            ("//example.com/x", Some("/x")),
            ("//example.com", Some("/")),
            ("///x", Some("///x")),
            ("mailto:somebody", None),
            // What is no request.
            ("/a?b c", None),
        ] {
            assert_eq!(normalize(path).as_deref(), expected, "{path:?}");
        }
    }
}
