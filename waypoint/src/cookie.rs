//! A cookie that comes in pieces.

use fairway_policy::matching::join_lines;
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

/// Makes one line of the pieces of a cookie (RFC 9113 §8.2.3). It is done when a request comes, so that whatever looks at it, the
/// endpoint and its version of HTTP included, sees one cookie; and once more behind the stages, which may add a piece.
pub fn join_pieces(headers: &mut HeaderMap) {
    let mut pieces = headers.get_all(COOKIE).iter();
    if pieces.next().is_none() || pieces.next().is_none() {
        return;
    }
    let whole = join_lines(&COOKIE, headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes));
    // Values put together with `; ` are a value.
    if let Ok(whole) = HeaderValue::from_maybe_shared(bytes::Bytes::from(whole)) {
        headers.insert(COOKIE, whole);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pieces_of_a_cookie_become_one_line() {
        for (pieces, expected) in [
            (&[][..], &[][..]),
            (&["a=b"], &["a=b"]),
            (&[""], &[""]),
            (&["a=b", "c=d"], &["a=b; c=d"]),
            (&["a=b", "", "c=d"], &["a=b; c=d"]),
            (&["a=b", ""], &["a=b"]),
            (&["", "a=b"], &["a=b"]),
            (&["", ""], &[""]),
        ] {
            let mut headers = HeaderMap::new();
            for piece in pieces {
                headers.append(COOKIE, HeaderValue::from_static(piece));
            }
            join_pieces(&mut headers);
            assert_eq!(headers.get_all(COOKIE).iter().collect::<Vec<_>>(), expected, "{pieces:?}");
        }
    }
}
