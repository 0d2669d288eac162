//! What a tunnel is opened with, as types and as an HTTP/2 CONNECT.

use crate::{Authority, Forwarded, InvalidAuthority, Traceparent};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use std::sync::Arc;

/// What a client asks for when it opens a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectRequest {
    /// The destination that the stream is to be connected with.
    pub authority: Authority,
    /// For whom, when the client is a proxy.
    pub forwarded: Option<Forwarded>,
    /// The node of whoever it is for, as a Service that is local to nodes needs it. It opens no doors, so everybody is
    /// believed.
    pub node: Option<Arc<str>>,
    /// The trace it belongs to.
    pub traceparent: Option<Traceparent>,
    /// Whether routes were applied already.
    pub routing: Routing,
}

/// Whether a Gateway or a waypoint has applied routes to what a tunnel carries (GEP-1294: a request is routed once).
/// Only as good as the identity of the peer that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Routing {
    /// Routes are still to be applied.
    Pending,
    /// Routes were applied: only policy is left.
    Done,
}

const ROUTING: HeaderName = HeaderName::from_static("x-fairway-routing");
const NODE: HeaderName = HeaderName::from_static("x-fairway-node");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const ROUTING_DONE: HeaderValue = HeaderValue::from_static("done");

// === impl ConnectRequest ===

impl ConnectRequest {
    /// Asks for a destination and says nothing else.
    pub fn to(authority: impl Into<Authority>) -> Self {
        Self {
            authority: authority.into(),
            forwarded: None,
            node: None,
            traceparent: None,
            routing: Routing::Pending,
        }
    }

    /// As an HTTP/2 message; `None` only for a name that was not made by parsing.
    pub(crate) fn to_http(&self) -> Option<http::Request<()>> {
        let mut uri = http::uri::Parts::default();
        uri.authority =
            Some(http::uri::Authority::from_maybe_shared(Bytes::from(self.authority.to_string())).ok()?);
        let mut message = http::Request::new(());
        *message.method_mut() = Method::CONNECT;
        *message.uri_mut() = Uri::from_parts(uri).ok()?;
        *message.version_mut() = http::Version::HTTP_2;
        let headers = message.headers_mut();
        if let Some(forwarded) = self.forwarded {
            headers.insert(header::FORWARDED, text(&forwarded.to_string())?);
        }
        if let Some(node) = &self.node {
            headers.insert(NODE, text(node)?);
        }
        if let Some(traceparent) = &self.traceparent {
            headers.insert(TRACEPARENT, text(traceparent.as_str())?);
        }
        if self.routing == Routing::Done {
            headers.insert(ROUTING, ROUTING_DONE);
        }
        Some(message)
    }

    /// From a peer's message. An unknown or broken optional header counts as absent: each only adds information, and
    /// without it the stricter path is taken.
    pub(crate) fn from_http(message: &http::request::Parts) -> Result<Self, InvalidRequest> {
        if message.method != Method::CONNECT {
            return Err(InvalidRequest::Method);
        }
        // A CONNECT with a scheme or path is an extended one (RFC 8441), which asks for something else.
        if message.uri.scheme().is_some() || message.uri.path_and_query().is_some_and(|path| path != "/") {
            return Err(InvalidRequest::Extended);
        }
        let authority = message.uri.authority().ok_or(InvalidAuthority::Host)?.as_str().parse()?;
        let headers = &message.headers;
        Ok(Self {
            authority,
            forwarded: single(headers, &header::FORWARDED).and_then(|text| text.parse().ok()),
            node: single(headers, &NODE).map(Arc::from),
            traceparent: single(headers, &TRACEPARENT).and_then(|text| text.parse().ok()),
            routing: match single(headers, &ROUTING) {
                Some("done") => Routing::Done,
                _ => Routing::Pending,
            },
        })
    }
}

/// Why a peer's message opens no tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidRequest {
    #[error("only CONNECT is served here")]
    Method,
    #[error("an extended CONNECT is not served here")]
    Extended,
    #[error(transparent)]
    Authority(#[from] InvalidAuthority),
}

fn text(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(text).ok()
}

/// The only value under a name; several would be several opinions.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    values.next().is_none().then(|| first.to_str().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_survives_the_wire_form() {
        for authority in ["10.0.0.1:80", "[fd00::1]:80", "reviews.shop.svc:9080"] {
            let request = ConnectRequest {
                authority: authority.parse().unwrap(),
                forwarded: Some("for=\"10.0.0.9:5000\"".parse().unwrap()),
                node: Some("n1".into()),
                traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap()),
                routing: Routing::Done,
            };
            let (parts, ()) = request.to_http().unwrap().into_parts();
            assert_eq!(ConnectRequest::from_http(&parts), Ok(request));
        }
    }

    #[test]
    fn a_doubtful_routing_marker_counts_as_not_routed() {
        for values in [vec!["yes"], vec!["done", "done"], vec!["DONE"], vec![]] {
            let (mut parts, ()) = ConnectRequest::to("10.0.0.1:80".parse::<Authority>().unwrap())
                .to_http()
                .unwrap()
                .into_parts();
            for value in &values {
                parts.headers.append(ROUTING, HeaderValue::from_static(value));
            }
            assert_eq!(ConnectRequest::from_http(&parts).unwrap().routing, Routing::Pending, "{values:?}");
        }
    }

    #[test]
    fn only_a_plain_connect_opens_a_tunnel() {
        let parts = |method: Method, uri: &'static str| {
            http::Request::builder().method(method).uri(uri).body(()).unwrap().into_parts().0
        };
        let refused = |parts| ConnectRequest::from_http(&parts).unwrap_err();
        assert_eq!(refused(parts(Method::GET, "10.0.0.1:80")), InvalidRequest::Method);
        assert_eq!(refused(parts(Method::CONNECT, "http://10.0.0.1:80/")), InvalidRequest::Extended);
        assert_eq!(
            refused(parts(Method::CONNECT, "10.0.0.1")),
            InvalidRequest::Authority(InvalidAuthority::Port)
        );
    }
}
