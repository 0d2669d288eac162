//! Which upgrades leave HTTP: WebSocket (RFC 6455, over HTTP/2 RFC 8441), and nothing else.
//!
//! After an upgrade the proxy carries bytes that it does not look into, so no route, filter or log applies to them. Of a
//! WebSocket these are its frames. Of `h2c` they would be requests, past every route; so a request that asks for another
//! protocol is served as HTTP without the upgrade, which RFC 9110 §7.8 always allows.

use super::Reason;
use crate::wire::Ambiguity;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use h2::ext::Protocol;
use http::header::{
    CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use sha1::{Digest, Sha1};

/// The one protocol that leaves HTTP.
pub const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// A part of the handshake of h2c (RFC 7540 §3.2.1): of the connection, whether `Connection` names it or not.
pub const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// What a server adds to the key to show that it speaks WebSocket (RFC 6455 §1.3).
const PROOF: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What an endpoint has to answer to be believed that it has switched to WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake([u8; 28]);

// === impl Handshake ===

impl Handshake {
    /// The handshake that a request's head opens (RFC 6455 §4.2.1); none if it does not, or not as it should. `Connection`
    /// is looked at here too, and so are the headers that say whether there is a body: a handshake has none.
    pub fn opened_by(method: &Method, version: Version, headers: &HeaderMap) -> Option<Self> {
        let opens = method == Method::GET
            && version == Version::HTTP_11
            && has_token(headers, &UPGRADE, b"websocket")
            && has_token(headers, &CONNECTION, b"upgrade")
            && !headers.contains_key(TRANSFER_ENCODING)
            && headers.get_all(CONTENT_LENGTH).iter().all(|it| it == "0")
            && one(headers, &SEC_WEBSOCKET_VERSION) == Some(b"13");
        if !opens {
            return None;
        }
        let key = one(headers, &SEC_WEBSOCKET_KEY)?;
        let nonce = STANDARD.decode(key).ok()?;
        (nonce.len() == 16).then(|| Self::of_key(key))
    }

    /// The handshake of a key that is well-formed.
    fn of_key(key: &[u8]) -> Self {
        let digest = Sha1::new().chain_update(key).chain_update(PROOF).finalize();
        let mut accept = [0; 28];
        // 20 bytes are 28 digits.
        let _ = STANDARD.encode_slice(digest, &mut accept);
        Self(accept)
    }

    /// Whether the head of a `101 Switching Protocols` completes the handshake (RFC 6455 §4.1).
    pub fn is_completed_by(&self, headers: &HeaderMap) -> bool {
        let protocol = one(headers, &UPGRADE);
        protocol.is_some_and(|it| it.eq_ignore_ascii_case(b"websocket"))
            && has_token(headers, &CONNECTION, b"upgrade")
            && one(headers, &SEC_WEBSOCKET_ACCEPT) == Some(&self.0)
    }
}

/// Whether a CONNECT over HTTP/2 asks for a WebSocket (RFC 8441 §5).
pub fn is_extended_connect(parts: &Parts) -> bool {
    parts.method == Method::CONNECT
        && parts.extensions.get::<Protocol>().is_some_and(|it| it.as_str().eq_ignore_ascii_case("websocket"))
}

/// Makes of such a CONNECT the handshake of HTTP/1, which is what routes and endpoints know. HTTP/2 has no key, so one is made.
///
/// A CONNECT has no content (RFC 9110 §9.3.6). A length of one is refused: an HTTP/1 endpoint would wait for so many bytes, and take
/// them from the next request on the connection.
pub fn translate(parts: &mut Parts, nonce: [u8; 16]) -> Result<Handshake, Reason> {
    if parts.headers.get_all(CONTENT_LENGTH).iter().any(|it| it != "0") {
        return Err(Reason::Ambiguous(Ambiguity::ContentLength));
    }
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.remove(TRAILER);
    let key = STANDARD.encode(nonce);
    let handshake = Handshake::of_key(key.as_bytes());
    parts.method = Method::GET;
    let key = HeaderValue::try_from(key).map_err(|_| Reason::BadField)?;
    parts.headers.insert(SEC_WEBSOCKET_KEY, key);
    parts.headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    Ok(handshake)
}

/// Whether a list has a token, in whatever case, on whatever line.
pub fn has_token(headers: &HeaderMap, name: &HeaderName, token: &[u8]) -> bool {
    let mut tokens = headers.get_all(name).iter().flat_map(|it| it.as_bytes().split(|byte| *byte == b','));
    tokens.any(|it| it.trim_ascii().eq_ignore_ascii_case(token))
}

/// The value of a header that is there once.
fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h [u8]> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then(|| value.as_bytes().trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        list.iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    fn opening(connection: &str, upgrade: &str) -> HeaderMap {
        headers(&[
            ("connection", connection),
            ("upgrade", upgrade),
            ("sec-websocket-key", KEY),
            ("sec-websocket-version", "13"),
        ])
    }

    fn opens(headers: &HeaderMap) -> bool {
        Handshake::opened_by(&Method::GET, Version::HTTP_11, headers).is_some()
    }

    #[test]
    fn only_websocket_leaves_http() {
        for (connection, upgrade, expected) in [
            ("Upgrade", "websocket", true),
            ("keep-alive, upgrade", "WebSocket", true),
            ("upgrade", "h2c, websocket", true),
            ("upgrade", "websocket , h2c", true),
            ("keep-alive", "websocket", false),
            ("close, upgraded", "websocket", false),
            ("upgrade", "h2c", false),
            ("Upgrade, HTTP2-Settings", "h2c", false),
            ("upgrade", "h2", false),
            ("upgrade", "TLS/1.0", false),
            ("upgrade", "websocket/13", false),
            ("upgrade", "websockets", false),
            ("upgrade", "web socket", false),
            ("upgrade", "\"websocket\"", false),
            ("upgrade", "", false),
        ] {
            assert_eq!(opens(&opening(connection, upgrade)), expected, "{connection} {upgrade}");
        }
    }

    #[test]
    fn a_handshake_is_as_rfc_6455_says_or_none_at_all() {
        let good = opening("upgrade", "websocket");
        assert!(!opens_as(&Method::POST, Version::HTTP_11, &good));
        assert!(!opens_as(&Method::GET, Version::HTTP_10, &good));
        for (name, value) in [
            ("sec-websocket-key", "c2hvcnQ="),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ"),
            ("sec-websocket-key", "not base64 at all !!!!!!"),
            ("sec-websocket-key", ""),
            ("sec-websocket-version", "8"),
            ("sec-websocket-version", "13, 8"),
            ("content-length", "1"),
            ("transfer-encoding", "chunked"),
        ] {
            let mut bad = good.clone();
            bad.insert(name, HeaderValue::from_str(value).unwrap());
            assert!(!opens(&bad), "{name}: {value}");
        }
        for name in ["sec-websocket-key", "sec-websocket-version"] {
            let mut without = good.clone();
            let value = without.remove(name).unwrap();
            assert!(!opens(&without), "without {name}");
            without.append(name, value.clone());
            without.append(name, value);
            assert!(!opens(&without), "two of {name}");
        }
        let mut empty = good.clone();
        empty.insert("content-length", HeaderValue::from_static("0"));
        assert!(opens(&empty));
    }

    fn opens_as(method: &Method, version: Version, headers: &HeaderMap) -> bool {
        Handshake::opened_by(method, version, headers).is_some()
    }

    #[test]
    fn an_endpoint_has_to_show_that_it_speaks_websocket() {
        let handshake = Handshake::of_key(KEY.as_bytes());
        let answer = |connection, upgrade, accept| {
            handshake.is_completed_by(&headers(&[
                ("connection", connection),
                ("upgrade", upgrade),
                ("sec-websocket-accept", accept),
            ]))
        };
        // The example of RFC 6455 §1.3.
        let accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
        assert!(answer("Upgrade", "websocket", accept));
        assert!(answer("keep-alive, upgrade", "WebSocket", accept));
        for (connection, upgrade, accept) in [
            ("upgrade", "h2c", accept),
            ("upgrade", "websocket, h2c", accept),
            ("close", "websocket", accept),
            ("upgrade", "websocket", "c3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
            ("upgrade", "websocket", ""),
        ] {
            assert!(!answer(connection, upgrade, accept), "{connection} {upgrade} {accept}");
        }
        assert!(!handshake.is_completed_by(&HeaderMap::new()));
    }

    proptest! {
        /// Whatever tokens a client lists, in whatever order, case and number of lines: only `websocket` among them counts.
        #[test]
        fn a_list_opens_a_handshake_if_and_only_if_websocket_is_in_it(
            tokens in prop::collection::vec("(websocket|WebSocket|h2c|H2C|h2|TLS/1[.]2|IRC/6[.]9|websocket2|[a-z]{1,9}|)", 0..5),
            lines in any::<bool>(),
        ) {
            let mut map = opening("upgrade", "");
            map.remove(UPGRADE);
            if lines {
                for token in &tokens {
                    map.append(UPGRADE, HeaderValue::from_str(token).unwrap());
                }
            } else {
                map.insert(UPGRADE, HeaderValue::from_str(&tokens.join(", ")).unwrap());
            }
            prop_assert_eq!(opens(&map), tokens.iter().any(|it| it.eq_ignore_ascii_case("websocket")));
        }
    }
}
