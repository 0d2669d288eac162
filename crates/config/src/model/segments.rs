//! Whether a server could find a dot segment in a path, or the path's end where there is none.
//!
//! Servers differ in what they do to a segment before they look whether it is `.` or `..`: they decode it (some twice), cut
//! off parameters behind `;`, trim blanks, end it at a NUL, take `\` for `/`, or read overlong UTF-8. A segment that is one
//! after any of these is refused.

use std::borrow::Cow;

/// How often a path is decoded at most by servers that are behind each other.
const DECODINGS: usize = 3;

/// Whether all servers read the same segments in a path.
pub(super) fn is_unambiguous(path: &str) -> bool {
    if path.as_bytes().contains(&b'\\') {
        return false;
    }
    // Almost every path ends here.
    if !path.starts_with('.') && !path.contains("/.") && !path.as_bytes().contains(&b'%') {
        return true;
    }
    let mut read = Cow::Borrowed(path.as_bytes());
    for _ in 0..=DECODINGS {
        if read.contains(&0) || read.split(|byte| matches!(byte, b'/' | b'\\')).any(is_dots) {
            return false;
        }
        if !read.contains(&b'%') {
            break;
        }
        read = Cow::Owned(decoded(&read));
    }
    true
}

/// Whether a segment is `.` or `..` once it is trimmed and cut.
fn is_dots(segment: &[u8]) -> bool {
    let is_blank = |byte: &u8| *byte <= b' ' || *byte == 0x7f;
    let start = segment.iter().position(|byte| !is_blank(byte)).unwrap_or(segment.len());
    let segment = segment.get(start..).unwrap_or_default();
    let is_end = |byte: &u8| is_blank(byte) || matches!(byte, b';' | b'?' | b'#');
    matches!(segment.split(is_end).next(), Some(b"." | b".."))
}

/// Overlong UTF-8 of `.`, `/` and `\` (RFC 3629 §10).
const OVERLONG: [(&[u8], u8); 6] = [
    (b"\xc0\xae", b'.'),
    (b"\xc0\xaf", b'/'),
    (b"\xc1\x9c", b'\\'),
    (b"\xe0\x80\xae", b'.'),
    (b"\xe0\x80\xaf", b'/'),
    (b"\xe0\x81\x9c", b'\\'),
];

/// Decodes once, and what is overlong. Looks at each byte once.
fn decoded(path: &[u8]) -> Vec<u8> {
    let bytes: Vec<u8> = percent_encoding::percent_decode(path).collect();
    let (mut decoded, mut rest) = (Vec::with_capacity(bytes.len()), bytes.as_slice());
    while let Some((first, behind)) = rest.split_first() {
        let overlong = OVERLONG.iter().find(|(overlong, _)| rest.starts_with(overlong));
        let (byte, length) = overlong.map_or((*first, 1), |(overlong, meant)| (*meant, overlong.len()));
        decoded.push(byte);
        rest = if length == 1 { behind } else { rest.get(length..).unwrap_or_default() };
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_that_some_server_finds_are_found() {
        for path in [
            ".",
            "../a",
            "/a/../b",
            "/a/..;/b",
            "/a/..;x=y/b",
            "/a/..%3B/b",
            "/a/..%00/b",
            "/a/..%20/b",
            "/a/..%09/b",
            "/a/..%0D/b",
            "/a/..%0A",
            "/a/..%3F/b",
            "/a/..%23",
            "/a/%20../b",
            "/a/.%20",
            "/a%2F..%2Fb",
            "/a%5C..%5Cb",
            "/a\\b",
            "/a/%252e%252e/b",
            "/a/.%252e/b",
            "/a%252f..%252fb",
            "/a%255c..%255cb",
            "/a/%25252e%25252e/b",
            "/a/%C0%AE%C0%AE/b",
            "/a/.%C0%AE/b",
            "/a%C0%AF..%C0%AFb",
            "/a/%E0%80%AE./b",
            "/a%00b",
            "/public%00/../x",
        ] {
            assert!(!is_unambiguous(path), "{path}");
        }
    }

    #[test]
    fn a_long_path_is_decoded_in_one_pass() {
        // Each of these bytes was moved once for each before it.
        let many = b"%C0%AE%E0%80%AF%C1%9C".repeat(200_000);
        assert_eq!(decoded(&many), b"./\\".repeat(200_000));
        for (path, expected) in [
            (&b"%C0"[..], &b"\xc0"[..]),
            (b"a%C0%AE", b"a."),
            (b"%E0%80%C0%AE", b"\xe0\x80."),
            (b"%C0%C0%AF", b"\xc0/"),
            (b"%25C0%25AE", b"%C0%AE"),
        ] {
            assert_eq!(decoded(path), expected);
        }
    }

    #[test]
    fn other_paths_stay() {
        for path in [
            "/",
            "*",
            "/a/.hidden/..b/c..",
            "/a/...",
            "/.well-known/a;b",
            "/a%20b",
            "/a;b/c",
            "/%E2%82%AC",
            "/a%2Fb",
            "/a%25b",
            "/100%25/..x",
            "/a%3Bb",
            "/%C3%80/..a",
        ] {
            assert!(is_unambiguous(path), "{path}");
        }
    }
}
