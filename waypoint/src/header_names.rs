//! Names of request headers that say who the client is or where it asked, and names that some servers take for others.
//!
//! A Gateway is the edge. What a client says there of proxies before it (`Forwarded`, `X-Forwarded-*`, `X-Real-IP`,
//! `X-Original-URL`, certificates of its own, …) is not believed by the Gateway, but frameworks behind it do believe it.
//! So it is dropped. Servers that hand headers over as variables (CGI, WSGI, Rack, PHP) turn `-` into `_`, so that
//! `x_real_ip` is `x-real-ip` to them; each name is dropped in every spelling.
//!
//! `content_length` and `transfer_encoding` are framing to such servers, and to nobody before them: they are refused
//! everywhere. Other names with `_` pass: applications use them.

use crate::reason::Reason;
use crate::stage::is_spelling;
use http::{HeaderMap, HeaderName, header};
use smallvec::SmallVec;
use std::sync::Arc;

/// Names that start so are dropped at the edge. `-` stands for `_`, too.
const DROPPED_PREFIXES: [&[u8]; 5] =
    [b"x-forwarded", b"x-envoy-", b"x-original-", b"x-rewrite-", b"ssl-client-"];

/// Whole names that are dropped at the edge.
const DROPPED: [&[u8]; 9] = [
    b"forwarded",
    b"client-cert",
    b"client-cert-chain",
    b"front-end-https",
    // CGI makes HTTP_PROXY of it, which many clients take for their settings.
    b"proxy",
    b"x-client-ip",
    b"x-cluster-client-ip",
    b"x-real-ip",
    b"x-url-scheme",
];

/// Names that are framing where `_` is `-`.
const FRAMING: [&[u8]; 2] = [b"content-length", b"transfer-encoding"];

/// What says how a message is framed, where it goes, whose it is and what is in it: known before its body, or not at all.
const NEVER_TRAILERS: [HeaderName; 18] = [
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::EXPECT,
    header::HOST,
    header::MAX_FORWARDS,
    header::PROXY_AUTHORIZATION,
    header::RANGE,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Refuses what is framing to some servers only, and at the edge drops what only a trusted proxy may say.
pub fn sift(headers: &mut HeaderMap, at_edge: bool) -> Result<(), Reason> {
    let mut dropped: SmallVec<[HeaderName; 8]> = SmallVec::new();
    for name in headers.keys() {
        let bytes = name.as_str().as_bytes();
        // Nothing else begins with the letters of those that matter.
        if !matches!(bytes.first(), Some(b'c' | b'f' | b'p' | b's' | b't' | b'x')) {
            continue;
        }
        if bytes.contains(&b'_') && FRAMING.iter().any(|it| is_spelling(bytes, it)) {
            return Err(Reason::BadField);
        }
        if at_edge && is_dropped(bytes) {
            dropped.push(name.clone());
        }
    }
    for name in dropped {
        headers.remove(name);
    }
    Ok(())
}

/// Spellings of a name, with `_` for `-`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spellings {
    /// All of them, also the name itself.
    All,
    /// Those that are not the name itself.
    Other,
}

/// Takes out the spellings of a header.
pub fn remove_spellings(headers: &mut HeaderMap, name: &HeaderName, which: Spellings) {
    let is_out = |it: &&HeaderName| {
        let is_kept = which == Spellings::Other && *it == name;
        !is_kept && is_spelling(it.as_str().as_bytes(), name.as_str().as_bytes())
    };
    let spellings: SmallVec<[HeaderName; 8]> = headers.keys().filter(is_out).cloned().collect();
    for name in spellings {
        headers.remove(name);
    }
}

/// Whether a name has a `_`, which some servers take for a `-`.
pub fn has_underscore(name: &HeaderName) -> bool {
    name.as_str().as_bytes().contains(&b'_')
}

/// Takes out the headers whose names have a `_`.
pub fn remove_underscored(headers: &mut HeaderMap) {
    let names: SmallVec<[HeaderName; 8]> = headers.keys().filter(|it| has_underscore(it)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// Headers of which this proxy has decided what they say, so that no trailer says it: those that the route's stages take out or set, and
/// the one that has the client's address. What is known before a request comes is shared with it.
#[derive(Debug, Default)]
pub struct OwnedHeaders {
    of_stages: SmallVec<[Arc<[HeaderName]>; 2]>,
    of_address: Option<HeaderName>,
    no_underscores: bool,
}

// === impl OwnedHeaders ===

impl OwnedHeaders {
    /// With the header that has the client's address, if one has it.
    pub fn with_address(header: Option<&HeaderName>) -> Self {
        Self { of_address: header.cloned(), ..Self::default() }
    }

    /// The same, and every name with a `_` if that is so.
    #[must_use]
    pub fn with_underscored(self, are_owned: bool) -> Self {
        Self { no_underscores: are_owned, ..self }
    }

    /// Adds those of stages.
    pub fn add(&mut self, names: &Arc<[HeaderName]>) {
        if !names.is_empty() {
            self.of_stages.push(names.clone());
        }
    }

    fn names(&self) -> impl Iterator<Item = &HeaderName> {
        self.of_stages.iter().flat_map(|it| it.iter()).chain(&self.of_address)
    }
}

/// Takes out of a request's trailers what no trailer may say (RFC 9110 §6.5.1), what [`sift`] does not let pass in a head, and the
/// headers that this proxy has decided about: some servers put trailers among the headers.
pub fn sift_trailers(trailers: &mut HeaderMap, at_edge: bool, owned: &OwnedHeaders) {
    let is_out = |name: &&HeaderName| {
        let bytes = name.as_str().as_bytes();
        NEVER_TRAILERS.contains(*name)
            || FRAMING.iter().any(|it| is_spelling(bytes, it))
            || at_edge && is_dropped(bytes)
            || owned.no_underscores && has_underscore(name)
            || owned.names().any(|it| is_spelling(bytes, it.as_str().as_bytes()))
    };
    let out: SmallVec<[HeaderName; 8]> = trailers.keys().filter(is_out).cloned().collect();
    for name in out {
        trailers.remove(name);
    }
}

fn is_dropped(name: &[u8]) -> bool {
    let has_prefix = |prefix: &&[u8]| name.get(..prefix.len()).is_some_and(|it| is_spelling(it, prefix));
    DROPPED_PREFIXES.iter().any(has_prefix) || DROPPED.iter().any(|it| is_spelling(name, it))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn left(names: &[&'static str], at_edge: bool) -> Result<Vec<String>, Reason> {
        let value = HeaderValue::from_static("1");
        let mut headers: HeaderMap =
            names.iter().map(|it| (HeaderName::from_static(it), value.clone())).collect();
        sift(&mut headers, at_edge)?;
        Ok(headers.keys().map(|it| it.as_str().to_owned()).collect())
    }

    #[test]
    fn what_only_a_trusted_proxy_may_say_is_dropped_at_the_edge_in_every_spelling() {
        for name in [
            "forwarded",
            "x-forwarded",
            "x-forwarded-for",
            "x_forwarded_for",
            "x-forwarded_for",
            "x-forwarded-host",
            "x-forwarded-port",
            "x-forwarded-prefix",
            "x-forwarded-proto",
            "x_forwarded_proto",
            "x-forwarded-client-cert",
            "x-forwarded-server",
            "x-forwarded-ssl",
            "x-real-ip",
            "x_real_ip",
            "x-envoy-original-path",
            "x-envoy-external-address",
            "x_envoy_peer_metadata",
            "x-original-url",
            "x_original_url",
            "x-original-host",
            "x-original-forwarded-for",
            "x-rewrite-url",
            "x-client-ip",
            "x-cluster-client-ip",
            "client-cert",
            "client_cert",
            "client-cert-chain",
            "ssl-client-cert",
            "ssl_client_s_dn",
            "ssl-client-serial",
            "proxy",
        ] {
            assert_eq!(left(&[name], true).unwrap(), [""; 0], "{name}");
            assert_eq!(left(&[name], false).unwrap(), [name], "{name} at a waypoint");
        }
    }

    #[test]
    fn other_names_pass() {
        for name in [
            "host",
            "cookie",
            "content-type",
            "content-length",
            "transfer-encoding",
            "x-request-id",
            "x_request_id",
            "api_key",
            "x-forward",
            "x-real-ip-2",
            "proxy-authorization",
            "x-rewritten",
            "cf-connecting-ip",
            "true-client-ip",
            "ssl-clients",
        ] {
            assert_eq!(left(&[name], true).unwrap(), [name]);
        }
    }

    #[test]
    fn trailers_say_nothing_that_a_head_may_not_and_nothing_of_the_message() {
        let value = HeaderValue::from_static("1");
        let names = [
            "x-sum",
            "grpc-status",
            "x-forwarded-for",
            "X_Forwarded_Proto",
            "x-real-ip",
            "content-length",
            "content_length",
            "transfer-encoding",
            "host",
            "authorization",
            "cookie",
            "connection",
            "x-user",
        ];
        for (at_edge, expected) in [
            (true, &["grpc-status", "x-sum", "x-user"][..]),
            (false, &["grpc-status", "x-forwarded-for", "x-real-ip", "x-sum", "x-user", "x_forwarded_proto"]),
        ] {
            let mut trailers: HeaderMap = names
                .iter()
                .map(|it| (HeaderName::from_bytes(it.as_bytes()).unwrap(), value.clone()))
                .collect();
            sift_trailers(&mut trailers, at_edge, &OwnedHeaders::default());
            let mut left: Vec<_> = trailers.keys().map(HeaderName::as_str).collect();
            left.sort_unstable();
            assert_eq!(left, expected, "at the edge: {at_edge}");
        }
    }

    #[test]
    fn trailers_say_nothing_in_the_place_of_a_stage_in_no_spelling() {
        let address = HeaderName::from_static("cf-connecting-ip");
        let mut owned = OwnedHeaders::with_address(Some(&address));
        for names in [&["x-user"][..], &[], &["x_role", "x-tenant"]] {
            owned.add(&names.iter().map(|it| HeaderName::from_static(it)).collect());
        }
        for (name, expected) in [
            ("x-user", 0),
            ("x_user", 0),
            ("X-User", 0),
            ("x-role", 0),
            ("x_role", 0),
            ("x-tenant", 0),
            ("cf-connecting-ip", 0),
            ("cf_connecting_ip", 0),
            ("x-users", 1),
            ("x-sum", 1),
        ] {
            let mut trailers = HeaderMap::new();
            trailers.insert(name.parse::<HeaderName>().unwrap(), HeaderValue::from_static("1"));
            sift_trailers(&mut trailers, false, &owned);
            assert_eq!(trailers.len(), expected, "{name}");
        }
    }

    #[test]
    fn names_with_underscores_are_taken_out_where_that_is_asked_for() {
        let all = ["api_key", "x-a", "x_b", "host"];
        let headers = || -> HeaderMap {
            let value = HeaderValue::from_static("1");
            all.iter().map(|it| (HeaderName::from_static(it), value.clone())).collect()
        };
        let mut left = headers();
        remove_underscored(&mut left);
        assert!(left.len() == 2 && left.contains_key("x-a") && left.contains_key("host"), "{left:?}");
        for (are_owned, expected) in [(true, &["x-a"][..]), (false, &["api_key", "x-a", "x_b"])] {
            let mut trailers = headers();
            sift_trailers(&mut trailers, true, &OwnedHeaders::default().with_underscored(are_owned));
            let mut left: Vec<_> = trailers.keys().map(HeaderName::as_str).collect();
            left.sort_unstable();
            assert_eq!(left, expected, "{are_owned}");
        }
    }

    #[test]
    fn names_that_are_framing_to_some_servers_only_are_refused_everywhere() {
        for name in ["content_length", "transfer_encoding"] {
            for at_edge in [true, false] {
                assert_eq!(left(&["host", name], at_edge), Err(Reason::BadField), "{name}");
            }
        }
    }
}
