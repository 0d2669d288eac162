//! What a request's head must be before a route sees it, and what of it is only meant for this proxy.

use super::Reason;
use super::outgoing::announces_trailers;
use super::upgrade::{self, HTTP2_SETTINGS, Handshake};
use crate::body::Interim;
use crate::header_names;
use crate::route::settle_host;
use crate::settings::Limits;
use crate::wire::Ambiguity;
use crate::wire::Version;
use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use smallvec::SmallVec;

/// What the head asks of this proxy itself.
#[derive(Debug, Default)]
pub struct ConnectionOptions {
    /// To become a WebSocket, and what completes that.
    pub upgrade: Option<Handshake>,
    /// To become it over HTTP/2, where any success says that it has.
    pub is_connect: bool,
    /// To hear of interim responses.
    pub interim: Option<Interim>,
    /// To get the response's trailers.
    pub trailers: bool,
    /// To be told before the body is sent.
    pub continue_: bool,
    /// Nothing, but says that there will be trailers behind a body that may have a length. HTTP/1 has no such bodies.
    pub will_trail: bool,
}

impl ConnectionOptions {
    /// What of it holds for a copy, whose answer nobody reads: trailers belong to the message.
    pub fn of_copy(&self) -> Self {
        Self { trailers: self.trailers, will_trail: self.will_trail, ..Self::default() }
    }
}

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Refuses what no route may decide about, and leaves of a head what is meant for those behind this proxy.
/// `nonce` is for the key of a WebSocket over HTTP/2.
pub fn read(
    parts: &mut Parts,
    version: Version,
    at_edge: bool,
    limits: &Limits,
    nonce: impl FnOnce() -> [u8; 16],
) -> Result<ConnectionOptions, Reason> {
    check(parts, version, limits)?;
    settle_host(parts).map_err(Reason::BadRequest)?;
    header_names::sift(&mut parts.headers, at_edge)?;
    let mut options = take_connection_options(parts, version)?;
    if parts.method == Method::CONNECT {
        options.upgrade = Some(upgrade::translate(parts, nonce())?);
        options.is_connect = true;
        options.will_trail = false;
    }
    Ok(options)
}

/// Checks what no route may decide about.
fn check(parts: &Parts, version: Version, limits: &Limits) -> Result<(), Reason> {
    if parts.method == Method::CONNECT && !(version == Version::Http2 && upgrade::is_extended_connect(parts))
    {
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
    if version == Version::Http2 {
        // The absolute form of HTTP/1 may begin with the query; `:path` may not (RFC 9113 §8.3.1).
        if uri.path_and_query().is_some_and(|it| it.as_str().starts_with('?')) {
            return Err(Reason::BadTarget);
        }
        check_fields(&parts.headers)?;
        if list_size(parts) > limits.head_bytes {
            return Err(Reason::HeadTooLarge);
        }
    }
    Ok(())
}

/// The size of a head: over HTTP/1 the bytes of its lines, over HTTP/2 as that counts it.
pub(super) fn size(parts: &Parts, version: Version) -> usize {
    if version == Version::Http2 {
        return list_size(parts);
    }
    const VERSION: usize = " HTTP/1.1\r\n".len();
    let target = parts.uri.path_and_query().map_or(0, |it| it.as_str().len());
    let authority = parts.uri.authority().map_or(0, |it| it.as_str().len());
    let scheme = parts.uri.scheme_str().map_or(0, |it| it.len() + "://".len());
    let line = parts.method.as_str().len() + 1 + scheme + authority + target + VERSION;
    let fields = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    line + fields.sum::<usize>() + "\r\n".len()
}

/// The size of a head as HTTP/2 counts it (RFC 9113 §6.5.2). Over HTTP/1 hyper counts the bytes of the wire.
fn list_size(parts: &Parts) -> usize {
    const EACH: usize = 32;
    let target = [parts.uri.scheme_str(), parts.uri.authority().map(Authority::as_str)];
    let path = parts.uri.path_and_query().map_or(0, |it| it.as_str().len());
    let pseudo = target.into_iter().flatten().map(str::len).chain([path, parts.method.as_str().len()]);
    let fields = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len());
    pseudo.chain(fields).map(|it| it + EACH).sum()
}

/// What [`crate::wire::Framing`] sees on the wire of HTTP/1, and what HTTP/2 can say beyond that: such fields would mean something else
/// to an HTTP/1 endpoint.
fn check_fields(headers: &HeaderMap) -> Result<(), Reason> {
    // RFC 9113 §8.2.1. HTTP/1 takes the blanks off.
    if headers.values().any(has_blanks_around) {
        return Err(Reason::BadField);
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let is_one_length = match (lengths.next(), lengths.next()) {
        (None, _) => true,
        (Some(length), None) => length_of(length).is_some(),
        (Some(_), Some(_)) => false,
    };
    if is_one_length { Ok(()) } else { Err(Reason::Ambiguous(Ambiguity::ContentLength)) }
}

fn has_blanks_around(value: &HeaderValue) -> bool {
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    is_blank(value.as_bytes().first()) || is_blank(value.as_bytes().last())
}

/// A length in digits and nothing else.
fn length_of(value: &HeaderValue) -> Option<u64> {
    let digits = value.to_str().ok()?;
    if !digits.bytes().all(|it| it.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// What [`take_connection_options`] looks for. Many requests have none of it: one look is cheaper than nine.
static OF_CONNECTION: [HeaderName; 9] = [
    CONNECTION,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    TRANSFER_ENCODING,
    HTTP2_SETTINGS,
    TRAILER,
    TE,
    EXPECT,
    UPGRADE,
];

/// Takes out what is meant for this connection only (RFC 9110 §7.6.1), and says what it asked for.
fn take_connection_options(parts: &mut Parts, version: Version) -> Result<ConnectionOptions, Reason> {
    let mut options = ConnectionOptions::default();
    let headers = &mut parts.headers;
    if !headers.keys().any(|name| OF_CONNECTION.contains(name)) {
        return Ok(options);
    }
    if version == Version::Http1 {
        if headers.contains_key(UPGRADE) {
            options.upgrade = Handshake::opened_by(&parts.method, parts.version, headers);
            headers.remove(UPGRADE);
        }
        strip_connection(headers);
        headers.remove(TRANSFER_ENCODING);
    }
    headers.remove(HTTP2_SETTINGS);
    options.will_trail = version == Version::Http2 && announces_trailers(headers);
    if let Some(te) = headers.remove(TE) {
        let mut codings = te.as_bytes().split(|byte| *byte == b',');
        options.trailers = codings.any(|it| it.trim_ascii().eq_ignore_ascii_case(b"trailers"));
    }
    options.continue_ = take_expectation(headers)?;
    Ok(options)
}

/// Whether the client waits for `100 Continue`. Whoever expects anything else, or more than that, is told (RFC 9110 §10.1.1).
fn take_expectation(headers: &mut HeaderMap) -> Result<bool, Reason> {
    let mut lines = headers.get_all(EXPECT).iter();
    let Some(expect) = lines.next() else { return Ok(false) };
    if lines.next().is_some() || !expect.as_bytes().eq_ignore_ascii_case(b"100-continue") {
        return Err(Reason::Expectation);
    }
    headers.remove(EXPECT);
    Ok(true)
}

/// Takes out of a response what is meant for the endpoint's connection only, and leaves one way to read where it ends.
pub fn strip_response(headers: &mut HeaderMap, status: StatusCode, version: Version) -> Result<(), Reason> {
    if version == Version::Http1 {
        let is_chunked = check_encoding(headers)?;
        strip_connection(headers);
        headers.remove(UPGRADE);
        headers.remove(TRANSFER_ENCODING);
        if is_chunked {
            // The chunks say it, whatever else does (RFC 9112 §6.3).
            headers.remove(CONTENT_LENGTH);
        }
    } else if headers.values().any(has_blanks_around) {
        return Err(Reason::Protocol);
    }
    if status == StatusCode::NO_CONTENT {
        // RFC 9110 §8.6.
        headers.remove(CONTENT_LENGTH);
    }
    one_length(headers)
}

/// Whether a response comes in chunks. Other codings are of the connection, too, and cannot be undone here: without their
/// name the body would be another one.
fn check_encoding(headers: &HeaderMap) -> Result<bool, Reason> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(false),
        (Some(coding), None) if coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") => Ok(true),
        _ => Err(Reason::Protocol),
    }
}

/// A length that is repeated is said once; lengths that differ, or are none, are an error (RFC 9110 §8.6).
fn one_length(headers: &mut HeaderMap) -> Result<(), Reason> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let Some(first) = lengths.next() else { return Ok(()) };
    if lengths.next().is_none() && length_of(first).is_some() {
        return Ok(());
    }
    let mut said = None;
    for value in headers.get_all(CONTENT_LENGTH).iter().flat_map(|it| it.as_bytes().split(|it| *it == b',')) {
        let length = HeaderValue::from_bytes(value.trim_ascii()).ok().as_ref().and_then(length_of);
        let length = length.ok_or(Reason::Protocol)?;
        if *said.get_or_insert(length) != length {
            return Err(Reason::Protocol);
        }
    }
    if let Some(length) = said {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    Ok(())
}

/// Removes `Connection`, what it names, and its relatives.
pub fn strip_connection(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let mut named: SmallVec<[HeaderName; 4]> = SmallVec::new();
        for value in headers.get_all(CONNECTION) {
            for token in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
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
        CONTENT_LENGTH,
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
            ("GET", "http://shop.example?a", Ok(())),
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

    fn parts(list: &[(&'static str, &'static str)]) -> Parts {
        let mut parts = Request::new(()).into_parts().0;
        parts.headers = headers(list);
        parts
    }

    #[test]
    fn what_connection_names_is_taken_out_but_not_what_says_where_a_message_goes() {
        let mut head = parts(&[
            ("host", "a"),
            ("connection", "close, X-Mine, host, Cookie"),
            ("x-mine", "1"),
            ("x-other", "1"),
            ("cookie", "a=b"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("te", "trailers, deflate"),
        ]);
        let options = take_connection_options(&mut head, Version::Http1).unwrap();
        assert!(options.trailers && options.upgrade.is_none());
        assert_eq!(head.headers, headers(&[("host", "a"), ("x-other", "1"), ("cookie", "a=b")]));
    }

    #[test]
    fn an_upgrade_to_anything_but_a_websocket_is_forgotten() {
        for (connection, upgrade, upgrades) in [
            ("Upgrade", "websocket", true),
            ("keep-alive, upgrade", "h2c, WebSocket", true),
            ("keep-alive", "websocket", false),
            ("Upgrade, HTTP2-Settings", "h2c", false),
            ("Upgrade", "h2c", false),
        ] {
            let handshake =
                [("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="), ("sec-websocket-version", "13")];
            let mut head = parts(&handshake);
            head.headers.insert(CONNECTION, HeaderValue::from_static(connection));
            head.headers.insert(UPGRADE, HeaderValue::from_static(upgrade));
            head.headers.insert(HTTP2_SETTINGS, HeaderValue::from_static("AAMAAABkAAQAAP__"));
            let options = take_connection_options(&mut head, Version::Http1).unwrap();
            assert_eq!(options.upgrade.is_some(), upgrades, "{connection} {upgrade}");
            assert_eq!(head.headers, headers(&handshake), "{connection} {upgrade}");
        }
    }

    #[test]
    fn only_the_one_known_expectation_is_taken() {
        let (known, unknown) = (("expect", "100-Continue"), ("expect", "tea"));
        for (list, expected) in [
            (vec![], Ok(false)),
            (vec![known], Ok(true)),
            (vec![unknown], Err(Reason::Expectation)),
            (vec![known, unknown], Err(Reason::Expectation)),
            (vec![unknown, known], Err(Reason::Expectation)),
            (vec![known, known], Err(Reason::Expectation)),
            (vec![("expect", "100-continue, tea")], Err(Reason::Expectation)),
            (vec![("expect", "")], Err(Reason::Expectation)),
        ] {
            let mut head = parts(&[]);
            for (name, value) in &list {
                head.headers.append(*name, HeaderValue::from_static(value));
            }
            let taken = take_connection_options(&mut head, Version::Http2).map(|it| it.continue_);
            assert_eq!(taken, expected, "{list:?}");
            assert!(taken.is_err() || head.headers.is_empty(), "{list:?}");
        }
    }

    #[test]
    fn http2_says_nothing_that_http1_would_read_otherwise() {
        let length = Err(Reason::Ambiguous(Ambiguity::ContentLength));
        for (list, expected) in [
            (vec![("content-length", "3")], Ok(())),
            (vec![("content-length", "3"), ("content-length", "3")], length),
            (vec![("content-length", "3"), ("content-length", "4")], length),
            (vec![("content-length", "3, 3")], length),
            (vec![("content-length", "+3")], length),
            (vec![("content-length", "")], length),
            (vec![("content-length", "18446744073709551616")], length),
            (vec![("x", "a b")], Ok(())),
            (vec![("x", "")], Ok(())),
            (vec![("x", " a")], Err(Reason::BadField)),
            (vec![("x", "a ")], Err(Reason::BadField)),
            (vec![("y", "1"), ("x", "\ta")], Err(Reason::BadField)),
            (vec![("x", " ")], Err(Reason::BadField)),
        ] {
            assert_eq!(check_fields(&headers(&list)), expected, "{list:?}");
        }
    }

    #[test]
    fn one_way_is_left_to_read_where_a_response_ends() {
        let (h1, h2) = (Version::Http1, Version::Http2);
        let (chunked, broken) = (("transfer-encoding", "chunked"), Err(Reason::Protocol));
        for (version, status, list, expected) in [
            (h1, 200, vec![("content-length", "2")], Ok(Some("2"))),
            (h1, 200, vec![("content-length", "2"), chunked], Ok(None)),
            (h1, 200, vec![("content-length", "2"), ("transfer-encoding", "Chunked")], Ok(None)),
            (h1, 200, vec![("content-length", "2, 2")], Ok(Some("2"))),
            (h1, 200, vec![("content-length", "2"), ("content-length", "2")], Ok(Some("2"))),
            (h1, 200, vec![("content-length", "2"), ("content-length", "3")], broken),
            (h1, 200, vec![("content-length", "two")], broken),
            (h1, 200, vec![("transfer-encoding", "gzip, chunked")], broken),
            (h1, 200, vec![("transfer-encoding", "chunked, chunked")], broken),
            (h1, 200, vec![("transfer-encoding", "gzip"), chunked], broken),
            (h1, 200, vec![("transfer-encoding", "identity")], broken),
            (h1, 200, vec![("transfer-encoding", "xchunked")], broken),
            (h1, 204, vec![("content-length", "5")], Ok(None)),
            (h1, 304, vec![("content-length", "5")], Ok(Some("5"))),
            (h2, 200, vec![("content-length", "2"), ("content-length", "2")], Ok(Some("2"))),
            (h2, 200, vec![("content-length", "2, 3")], broken),
            (h2, 200, vec![("x", "a ")], broken),
        ] {
            let mut map = headers(&list);
            let status = StatusCode::from_u16(status).unwrap();
            let stripped = strip_response(&mut map, status, version);
            let length = stripped.map(|()| map.get(CONTENT_LENGTH).map(|it| it.to_str().unwrap()));
            assert_eq!(length, expected, "{version:?} {status} {list:?}");
            assert!(stripped.is_err() || !map.contains_key(TRANSFER_ENCODING));
        }
    }
}
