//! Names of headers that some servers take for one another.

/// Whether two names are one where `_` is `-`, as it is to servers that hand headers over as variables (CGI, WSGI, Rack, PHP).
/// `of` is written with `-`.
pub fn is_spelling(name: &[u8], of: &[u8]) -> bool {
    let is_same = |(a, b): (&u8, &u8)| a == b || (*a == b'_' && *b == b'-');
    name.len() == of.len() && name.iter().zip(of).all(is_same)
}
