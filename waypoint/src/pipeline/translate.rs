//! A request's head from the client's version of HTTP to the endpoint's: all that is done to it but routes and filters. Pure.

use super::{Reason, head, outgoing};
use crate::settings::Limits;
use crate::wire::Version;
use http::request::Parts;
use http::uri::Scheme;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// A head as an endpoint gets it.
#[derive(Debug)]
pub struct Translated {
    /// Method, target and fields as the endpoint gets them.
    pub parts: Parts,
    /// Whether a `101` makes it leave HTTP.
    pub upgrades: bool,
}

/// Rewrites the head of a request that came to a Gateway.
pub fn translate(mut parts: Parts, from: Version, to: Version) -> Result<Translated, Reason> {
    let options = head::read(&mut parts, from, true, &Limits::default(), || [0; 16])?;
    let endpoint = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 80);
    outgoing::prepare(&mut parts, to, &options, false, endpoint, Scheme::HTTP)?;
    Ok(Translated { parts, upgrades: to == Version::Http1 && options.upgrade.is_some() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::{CONNECTION, TRANSFER_ENCODING, UPGRADE};
    use http::{HeaderName, HeaderValue, Method, Request};
    use proptest::prelude::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    fn any_header() -> impl Strategy<Value = (&'static str, String)> {
        let tokens = |list: &'static [&'static str]| {
            prop::collection::vec(prop::sample::select(list), 0..4).prop_map(|it| it.join(", "))
        };
        let protocols =
            tokens(&["websocket", "WebSocket", "h2c", "H2C", "h2", "TLS/1.0", "websocket/13", ""]);
        let options = tokens(&["upgrade", "Upgrade", "HTTP2-Settings", "close", "keep-alive", "x-a", "te"]);
        prop_oneof![
            3 => protocols.prop_map(|it| ("upgrade", it)),
            3 => options.prop_map(|it| ("connection", it)),
            2 => Just(("sec-websocket-key", KEY.to_owned())),
            2 => Just(("sec-websocket-version", "13".to_owned())),
            1 => prop::sample::select(vec![
                ("sec-websocket-key", "x"),
                ("sec-websocket-version", "12"),
                ("http2-settings", "AAMAAABkAAQAAP__"),
                ("transfer-encoding", "chunked"),
                ("content-length", "0"),
                ("content-length", "4"),
                ("keep-alive", "timeout=5"),
                ("proxy-connection", "keep-alive"),
                ("te", "trailers, gzip"),
                ("x-a", "1"),
            ]).prop_map(|(name, value)| (name, value.to_owned())),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// Nothing but a handshake of RFC 6455 leaves HTTP, and nothing that is of a connection reaches an endpoint.
        #[test]
        fn an_endpoint_is_asked_to_leave_http_for_a_websocket_or_not_at_all(
            headers in prop::collection::vec(any_header(), 0..10),
            get in any::<bool>(),
            to in prop::sample::select(vec![Version::Http1, Version::Http2]),
        ) {
            let (mut parts, ()) = Request::new(()).into_parts();
            parts.method = if get { Method::GET } else { Method::POST };
            for (name, value) in &headers {
                parts.headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
            }
            let sent = parts.headers.clone();
            let lists = |name: &str, token: &str| {
                let all = sent.get_all(name).iter().flat_map(|it| it.to_str().unwrap().split(", "));
                all.into_iter().any(|it| it.eq_ignore_ascii_case(token))
            };
            let translated = translate(parts, Version::Http1, to).unwrap();
            let headers = &translated.parts.headers;
            let is_handshake = get
                && lists("upgrade", "websocket")
                && lists("connection", "upgrade")
                && sent.get_all("sec-websocket-key").iter().eq([KEY])
                && sent.get_all("sec-websocket-version").iter().eq(["13"])
                && !sent.contains_key("transfer-encoding")
                && sent.get_all("content-length").iter().all(|it| it == "0");
            prop_assert_eq!(translated.upgrades, is_handshake && to == Version::Http1);
            let upgrade: Vec<_> = headers.get_all(UPGRADE).iter().collect();
            prop_assert_eq!(upgrade, if translated.upgrades { vec!["websocket"] } else { vec![] });
            for name in ["http2-settings", "keep-alive", "proxy-connection"] {
                prop_assert!(!headers.contains_key(name), "{}", name);
            }
            prop_assert!(!headers.contains_key(TRANSFER_ENCODING));
            prop_assert!(to == Version::Http1 || !headers.contains_key(CONNECTION));
        }
    }
}
