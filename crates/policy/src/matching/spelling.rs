//! Names of headers that some servers take for one another.

/// Whether two names are one where `_` is `-`, as it is to servers that hand headers over as variables (CGI, WSGI, Rack, PHP).
pub fn is_spelling(name: &[u8], of: &[u8]) -> bool {
    let read = |byte: u8| if byte == b'_' { b'-' } else { byte };
    name.len() == of.len() && name.iter().zip(of).all(|(a, b)| read(*a) == read(*b))
}
