//! A request's host in the form in which hosts are compared.

use std::borrow::Cow;

/// What is no host (RFC 3986 §3.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the host is not valid")]
pub struct InvalidHost;

/// A host in lower case, without port and without the dot of the root. Redirects copy it into a URL, so it holds nothing but a
/// host.
pub fn normalise_host(authority: &str) -> Result<Cow<'_, str>, InvalidHost> {
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => (&authority[..address.len() + 2], port.strip_prefix(':')),
        None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    let is_host = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%[:]".contains(&b);
    if !port.unwrap_or_default().bytes().all(|b| b.is_ascii_digit()) || !host.bytes().all(is_host) {
        return Err(InvalidHost);
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.bytes().any(|b| b.is_ascii_uppercase()) {
        Ok(Cow::Owned(host.to_ascii_lowercase()))
    } else {
        Ok(Cow::Borrowed(host))
    }
}
