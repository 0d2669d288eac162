//! The head of a request as an endpoint gets it: the same message in the endpoint's version of HTTP.

use super::Reason;
use super::head::ConnectionOptions;
use super::upgrade::WEBSOCKET;
use crate::body::RequestBody;
use crate::cookie;
use crate::wire::Version;
use ::bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Request, Uri};
use http_body::Body as _;
use std::net::SocketAddr;

/// Puts the target, the Host and what is said between proxy and endpoint into the form of `version`. `scheme` is that of the
/// connection to the endpoint.
pub fn prepare(
    parts: &mut Parts,
    version: Version,
    options: &ConnectionOptions,
    announce_body: bool,
    endpoint: SocketAddr,
    scheme: Scheme,
) -> Result<(), Reason> {
    parts.extensions.clear();
    if parts.uri.scheme().is_some() || parts.uri.authority().is_some() {
        to_origin_form(parts)?;
    }
    match version {
        Version::Http1 => {
            parts.version = http::Version::HTTP_11;
            cookie::join_pieces(&mut parts.headers);
            if !parts.headers.contains_key(HOST) {
                // HTTP/1.0 has none to give, and HTTP/1.1 needs one (RFC 9112 §3.2).
                let host = HeaderValue::try_from(endpoint.to_string()).map_err(|_| Reason::BadTarget)?;
                parts.headers.insert(HOST, host);
            }
            match options.upgrade {
                Some(_) => {
                    parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
                    parts.headers.insert(UPGRADE, WEBSOCKET);
                }
                None if options.trailers => {
                    parts.headers.insert(CONNECTION, HeaderValue::from_static("te"));
                    parts.headers.insert(TE, HeaderValue::from_static("trailers"));
                }
                None => {}
            }
            if announce_body {
                parts.headers.insert(EXPECT, HeaderValue::from_static("100-continue"));
            }
        }
        Version::Http2 => {
            parts.version = http::Version::HTTP_2;
            if options.trailers {
                parts.headers.insert(TE, HeaderValue::from_static("trailers"));
            }
            to_absolute_form(parts, endpoint, scheme)?;
        }
    }
    Ok(())
}

/// Says how a body ends whose length is not known: hyper sends it in chunks by itself, but none at all for GET and HEAD. A body
/// with trailers goes in chunks whatever its length, since nothing else has room for them.
///
/// A request without a body announces none, whoever has made it. hyper sends a Content-Length as it stands, and the endpoint would
/// read the next request on the connection as this one's body.
pub fn frame(request: &mut Request<RequestBody>, version: Version, has_trailers: bool) {
    if request.body().is_end_stream() {
        let headers = request.headers_mut();
        headers.remove(TRANSFER_ENCODING);
        if headers.get_all(CONTENT_LENGTH).iter().any(|it| it != "0") {
            headers.remove(CONTENT_LENGTH);
        }
        return;
    }
    let is_sized = request.body().size_hint().exact().is_some();
    if version == Version::Http1 && (has_trailers || !is_sized) {
        request.headers_mut().remove(CONTENT_LENGTH);
        request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

/// Whether the sender of a head says that trailers will come behind the body (RFC 9110 §6.6.2).
pub fn announces_trailers(headers: &HeaderMap) -> bool {
    headers.contains_key(TRAILER)
}

/// Authority into Host, path into the target (RFC 9112 §3.2.1).
fn to_origin_form(parts: &mut Parts) -> Result<(), Reason> {
    let mut uri = std::mem::take(&mut parts.uri).into_parts();
    if let Some(authority) = uri.authority.take() {
        // User information is not for servers (RFC 9110 §4.2.4).
        let host = authority.as_str().rsplit('@').next().unwrap_or_default();
        let host = HeaderValue::from_str(host).map_err(|_| Reason::BadTarget)?;
        parts.headers.insert(HOST, host);
    }
    let path = uri.path_and_query.take().unwrap_or_else(|| PathAndQuery::from_static("/"));
    parts.uri = path.into();
    Ok(())
}

/// Host into the authority, and the scheme of the connection that it goes on (RFC 9113 §8.3.1).
fn to_absolute_form(parts: &mut Parts, endpoint: SocketAddr, scheme: Scheme) -> Result<(), Reason> {
    let authority = match parts.headers.remove(HOST) {
        Some(host) => Authority::from_maybe_shared(Bytes::copy_from_slice(host.as_bytes())),
        // HTTP/1.0 has none to give.
        None => Authority::from_maybe_shared(Bytes::from(endpoint.to_string())),
    };
    let mut uri = std::mem::take(&mut parts.uri).into_parts();
    uri.scheme = Some(scheme);
    uri.authority = Some(authority.map_err(|_| Reason::BadTarget)?);
    parts.uri = Uri::from_parts(uri).map_err(|_| Reason::BadTarget)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn prepared(target: &str, host: Option<&str>, version: Version) -> (String, Option<String>) {
        let mut request = Request::builder().uri(target);
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        let endpoint = ([10, 0, 0, 1], 80).into();
        prepare(&mut parts, version, &ConnectionOptions::default(), false, endpoint, Scheme::HTTP).unwrap();
        let host = parts.headers.get(HOST).map(|it| it.to_str().unwrap().to_owned());
        (parts.uri.to_string(), host)
    }

    #[test]
    fn the_target_takes_the_form_of_the_version_and_the_path_stays_as_it_came() {
        use Version::{Http1, Http2};
        for (target, host, version, expected, sent_host) in [
            ("/a%2fb//c?x=%20&y", Some("shop"), Http1, "/a%2fb//c?x=%20&y", Some("shop")),
            ("http://shop:81/a?b", None, Http1, "/a?b", Some("shop:81")),
            ("http://me:secret@shop/a", Some("old"), Http1, "/a", Some("shop")),
            ("http://shop", None, Http1, "/", Some("shop")),
            ("*", Some("shop"), Http1, "*", Some("shop")),
            ("/a?b", Some("shop:81"), Http2, "http://shop:81/a?b", None),
            ("https://shop/a", None, Http2, "http://shop/a", None),
            // HTTP/1.0 says none.
            ("/a", None, Http2, "http://10.0.0.1:80/a", None),
            ("/a", None, Http1, "/a", Some("10.0.0.1:80")),
            ("*", None, Http1, "*", Some("10.0.0.1:80")),
        ] {
            let expected = (expected.to_owned(), sent_host.map(str::to_owned));
            assert_eq!(prepared(target, host, version), expected, "{target}");
        }
    }

    #[test]
    fn a_request_without_a_body_announces_none() {
        let held = |chunks: &[&'static str]| RequestBody::Held {
            chunks: chunks.iter().map(|it| Bytes::from_static(it.as_bytes())).collect(),
            trailers: None,
        };
        for (body, name, value, expected) in [
            (RequestBody::Empty, CONTENT_LENGTH, "5", None),
            (RequestBody::Empty, CONTENT_LENGTH, "0", Some("0")),
            (RequestBody::Empty, CONTENT_LENGTH, "00", None),
            (RequestBody::Empty, TRANSFER_ENCODING, "chunked", None),
            (held(&[]), CONTENT_LENGTH, "5", None),
            (held(&["hello"]), CONTENT_LENGTH, "5", Some("5")),
        ] {
            for version in [Version::Http1, Version::Http2] {
                for method in ["GET", "HEAD", "POST"] {
                    let body = match &body {
                        RequestBody::Held { chunks, .. } => {
                            RequestBody::Held { chunks: chunks.clone(), trailers: None }
                        }
                        _ => RequestBody::Empty,
                    };
                    let mut request =
                        Request::builder().method(method).header(&name, value).body(body).unwrap();
                    frame(&mut request, version, false);
                    let left = request.headers().get(&name).map(|it| it.to_str().unwrap());
                    assert_eq!(left, expected, "{method} {name}: {value} in {version:?}");
                }
            }
        }
    }
}
