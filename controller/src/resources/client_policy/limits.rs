//! How much a policy lets clients have.

use crate::resources::unreadable::Unreadable;
use fairway_config::model::{ClientLimit, ClientLimits};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much clients may have. What is left out is as the limits of the whole proxy have it.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct LimitsOfClients {
    /// Connections that each replica of the proxy has open at each listener. A further one is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections: Option<u64>,
    /// Requests that one connection brings; then the client is told to open another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests_per_connection: Option<u64>,
    /// Bytes of a request's head: over HTTP/1 all of its lines, over HTTP/2 the list of its headers, each with 32 bytes more. A larger
    /// one is answered with 431. At most 65536, as without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1024, max = 65536))]
    pub header_bytes: Option<u64>,
    /// Headers of a request. More are answered with 431. At most 100, as without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub headers: Option<u64>,
    /// What is of HTTP/2 only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http2: Option<Http2OfClients>,
    /// Bytes of a request's body, of all its messages where it is a stream. A longer one is answered with 413: at once if its
    /// Content-Length says so, and else when it gets longer. Without it bodies have no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_099_511_627_776_i64))]
    pub body_bytes: Option<u64>,
}

/// How much clients may have over HTTP/2.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Http2OfClients {
    /// Streams that one connection may have open. Further ones wait. At most 100, as without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub streams: Option<u64>,
}

// === impl LimitsOfClients ===

impl LimitsOfClients {
    /// What proxies are told.
    pub(super) fn to_model(self) -> Result<ClientLimits, Unreadable> {
        let mut limits = ClientLimits::default();
        for limit in ClientLimit::ALL {
            let (name, value) = match limit {
                ClientLimit::Connections => ("connections", self.connections),
                ClientLimit::RequestsPerConnection => ("requestsPerConnection", self.requests_per_connection),
                ClientLimit::HeaderBytes => ("headerBytes", self.header_bytes),
                ClientLimit::Headers => ("headers", self.headers),
                ClientLimit::Streams => ("http2.streams", self.http2.and_then(|it| it.streams)),
                ClientLimit::BodyBytes => ("bodyBytes", self.body_bytes),
            };
            let Some(value) = value else { continue };
            let range = limit.range();
            if !range.contains(&value) {
                let reason = format!("{value} is not between {} and {}", range.start(), range.end());
                return Err(Unreadable { field: name.to_owned(), reason });
            }
            *limits.get_mut(limit) = Some(value);
        }
        Ok(limits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_limit_has_its_bounds() {
        for (name, least, most) in [
            ("connections", 1, 1_000_000_u64),
            ("requestsPerConnection", 1, 1_000_000),
            ("headerBytes", 1024, 65536),
            ("headers", 1, 100),
            ("http2.streams", 1, 100),
            ("bodyBytes", 1, 1 << 40),
        ] {
            let read = |value: u64| {
                let written = match name.split_once('.') {
                    Some((outer, inner)) => json!({ outer: { inner: value } }),
                    None => json!({ name: value }),
                };
                let limits: LimitsOfClients = serde_json::from_value(written).unwrap();
                limits.to_model().map(|it| ClientLimit::ALL.into_iter().find_map(|one| it.get(one)))
            };
            assert_eq!((read(least), read(most)), (Ok(Some(least)), Ok(Some(most))), "{name}");
            for value in [least - 1, most + 1] {
                assert_eq!(read(value).unwrap_err().field, name, "{name}: {value}");
            }
        }
    }
}
