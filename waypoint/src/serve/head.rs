//! What a request's head must be before a route sees it, and what of it is only meant for this proxy.

use super::Reason;
use crate::listen::detect::Version;
use crate::settings::Limits;
use http::header::{CONNECTION, CONTENT_TYPE, EXPECT, TE, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use smallvec::SmallVec;

/// What the head asks of this proxy itself.
#[derive(Debug, Default)]
pub struct Wishes {
    /// To switch protocols, and to which.
    pub upgrade: Option<HeaderValue>,
    /// To get the response's trailers.
    pub trailers: bool,
    /// To be told before the body is sent.
    pub continue_: bool,
}

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Checks what no route may decide about.
pub fn check(parts: &Parts, version: Version, limits: &Limits) -> Result<(), Reason> {
    if parts.method == Method::CONNECT {
        return Err(Reason::Connect);
    }
    let uri = &parts.uri;
    let is_path = match uri.path().as_bytes() {
        [b'/', ..] => true,
        b"*" => parts.method == Method::OPTIONS,
        // The absolute form may leave out the path (RFC 9112 §3.2.2).
        b"" => uri.scheme().is_some(),
        _ => false,
    };
    // A target with an authority and no scheme is CONNECT's form.
    let is_known_scheme = match uri.scheme_str() {
        None => uri.authority().is_none() || version == Version::Http2,
        Some(scheme) => matches!(scheme, "http" | "https"),
    };
    if !is_path || !is_known_scheme {
        return Err(Reason::BadTarget);
    }
    if uri.path_and_query().is_some_and(|it| it.as_str().len() > limits.target_bytes) {
        return Err(Reason::TargetTooLong);
    }
    if parts.headers.len() > limits.header_fields {
        return Err(Reason::TooManyFields);
    }
    Ok(())
}

/// Takes out what is meant for this connection only (RFC 9110 §7.6.1), and says what it asked for.
pub fn take_wishes(headers: &mut HeaderMap, version: Version) -> Result<Wishes, Reason> {
    let mut wishes = Wishes::default();
    let mut wants_upgrade = false;
    if version == Version::Http1 {
        strip_connection(headers, |token| wants_upgrade |= token.eq_ignore_ascii_case(b"upgrade"));
        let upgrade = headers.remove(UPGRADE);
        wishes.upgrade = upgrade.filter(|_| wants_upgrade);
        headers.remove(TRANSFER_ENCODING);
    }
    if let Some(te) = headers.remove(TE) {
        let mut codings = te.as_bytes().split(|byte| *byte == b',');
        wishes.trailers = codings.any(|it| it.trim_ascii().eq_ignore_ascii_case(b"trailers"));
    }
    if let Some(expect) = headers.get(EXPECT) {
        if !expect.as_bytes().eq_ignore_ascii_case(b"100-continue") {
            return Err(Reason::Expectation);
        }
        headers.remove(EXPECT);
        wishes.continue_ = true;
    }
    Ok(wishes)
}

/// Takes out of a response what is meant for the endpoint's connection only.
pub fn strip_response(headers: &mut HeaderMap) {
    strip_connection(headers, |_| ());
    headers.remove(UPGRADE);
    headers.remove(TRANSFER_ENCODING);
}

/// Removes `Connection`, what it names, and its relatives; calls with each token.
fn strip_connection(headers: &mut HeaderMap, mut token_seen: impl FnMut(&[u8])) {
    if headers.contains_key(CONNECTION) {
        let mut named: SmallVec<[HeaderName; 4]> = SmallVec::new();
        for value in headers.get_all(CONNECTION) {
            for token in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                token_seen(token);
                match HeaderName::from_bytes(token) {
                    Ok(name) if may_be_named(&name) => named.push(name),
                    _ => {}
                }
            }
        }
        headers.remove(CONNECTION);
        for name in named {
            headers.remove(name);
        }
    }
    headers.remove(KEEP_ALIVE);
    headers.remove(PROXY_CONNECTION);
}

/// Whether a sender may make a header one of the connection: not those that say what the message is or where it goes.
fn may_be_named(name: &HeaderName) -> bool {
    use http::header as h;
    ![
        h::HOST,
        h::CONTENT_LENGTH,
        CONTENT_TYPE,
        h::AUTHORIZATION,
        h::COOKIE,
        EXPECT,
        // Looked at afterwards.
        UPGRADE,
        TE,
    ]
    .contains(name)
}

/// Whether the request's body is a stream of gRPC messages.
pub fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|it| it.as_bytes().starts_with(b"application/grpc"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn checked(method: &str, target: &str, version: Version) -> Result<(), Reason> {
        let (parts, ()) = Request::builder().method(method).uri(target).body(()).unwrap().into_parts();
        check(&parts, version, &Limits { target_bytes: 64, ..Limits::default() })
    }

    #[test]
    fn targets_have_one_of_the_forms_a_server_takes() {
        let long = format!("/{}", "a".repeat(64));
        for (method, target, expected) in [
            ("GET", "/a?b", Ok(())),
            ("GET", "http://shop.example/a", Ok(())),
            ("GET", "http://shop.example", Ok(())),
            ("OPTIONS", "*", Ok(())),
            ("GET", "*", Err(Reason::BadTarget)),
            ("GET", "shop.example:80", Err(Reason::BadTarget)),
            ("GET", "ftp://shop.example/a", Err(Reason::BadTarget)),
            ("CONNECT", "shop.example:80", Err(Reason::Connect)),
            ("GET", &long, Err(Reason::TargetTooLong)),
        ] {
            assert_eq!(checked(method, target, Version::Http1), expected, "{method} {target}");
        }
    }

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn what_connection_names_is_taken_out_but_not_what_says_where_a_message_goes() {
        let mut map = headers(&[
            ("host", "a"),
            ("connection", "close, X-Mine, host, Cookie"),
            ("x-mine", "1"),
            ("x-other", "1"),
            ("cookie", "a=b"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("te", "trailers, deflate"),
        ]);
        let wishes = take_wishes(&mut map, Version::Http1).unwrap();
        assert!(wishes.trailers && wishes.upgrade.is_none());
        assert_eq!(map, headers(&[("host", "a"), ("x-other", "1"), ("cookie", "a=b")]));
    }

    #[test]
    fn an_upgrade_needs_both_headers() {
        for (connection, upgrades) in
            [("Upgrade", true), ("keep-alive, upgrade", true), ("keep-alive", false)]
        {
            let mut map = headers(&[("upgrade", "websocket")]);
            map.insert(CONNECTION, HeaderValue::from_static(connection));
            let wishes = take_wishes(&mut map, Version::Http1).unwrap();
            assert_eq!(wishes.upgrade.is_some(), upgrades, "{connection}");
            assert!(map.is_empty());
        }
    }

    #[test]
    fn only_the_one_known_expectation_is_taken() {
        assert!(take_wishes(&mut headers(&[("expect", "100-Continue")]), Version::Http1).unwrap().continue_);
        let unknown = take_wishes(&mut headers(&[("expect", "tea")]), Version::Http1);
        assert_eq!(unknown.unwrap_err(), Reason::Expectation);
    }
}
