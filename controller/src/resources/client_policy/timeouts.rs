//! How long a policy lets listeners wait for clients.

use crate::resources::duration::parse_duration;
use crate::resources::unreadable::Unreadable;
use fairway_config::model::{ClientTimeout, ClientTimeouts};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// How long is waited for clients, in whole hours, minutes and seconds: 1m30s.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.handshake) || duration(self.handshake) >= duration('1s') && duration(self.handshake) <= duration('60s')").message("handshake is between 1s and 1m"))]
#[x_kube(validation = Rule::new("!has(self.requestHeaders) || duration(self.requestHeaders) >= duration('1s') && duration(self.requestHeaders) <= duration('60s')").message("requestHeaders is between 1s and 1m"))]
#[x_kube(validation = Rule::new("!has(self.requestBody) || duration(self.requestBody) >= duration('1s') && duration(self.requestBody) <= duration('600s')").message("requestBody is between 1s and 10m"))]
#[x_kube(validation = Rule::new("!has(self.idle) || duration(self.idle) >= duration('1s') && duration(self.idle) <= duration('3600s')").message("idle is between 1s and 1h"))]
#[x_kube(validation = Rule::new("!has(self.streamIdle) || duration(self.streamIdle) >= duration('1s') && duration(self.streamIdle) <= duration('3600s')").message("streamIdle is between 1s and 1h"))]
pub struct TimeoutsOfClients {
    /// For the TLS handshake, and for the first message of TLS that passes through. Then the connection is closed. 1s to 1m; without
    /// it 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 18), regex(pattern = "^([0-9]{1,5}(h|m|s)){1,3}$"))]
    pub handshake: Option<String>,
    /// For the head of a request once it has begun, whatever trickles in. Then it is answered with 408. 1s to 1m; without it 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 18), regex(pattern = "^([0-9]{1,5}(h|m|s)){1,3}$"))]
    pub request_headers: Option<String>,
    /// For a part of a request's body while the proxy waits for it. A client that sends fewer than 100 bytes a second for so long is
    /// answered with 408. 1s to 10m; without it 1m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 18), regex(pattern = "^([0-9]{1,5}(h|m|s)){1,3}$"))]
    pub request_body: Option<String>,
    /// For the next request on a connection. Then it is closed. 1s to 1h; without it 5m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 18), regex(pattern = "^([0-9]{1,5}(h|m|s)){1,3}$"))]
    pub idle: Option<String>,
    /// For a byte either way while a request goes on whose response has begun. Streams of gRPC over HTTP/2 may be silent for longer.
    /// 1s to 1h; without it 5m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 18), regex(pattern = "^([0-9]{1,5}(h|m|s)){1,3}$"))]
    pub stream_idle: Option<String>,
}

// === impl TimeoutsOfClients ===

impl TimeoutsOfClients {
    /// What proxies are told.
    pub(super) fn to_model(&self) -> Result<ClientTimeouts, Unreadable> {
        let mut timeouts = ClientTimeouts::default();
        for timeout in ClientTimeout::ALL {
            let (name, text) = match timeout {
                ClientTimeout::Handshake => ("handshake", &self.handshake),
                ClientTimeout::RequestHeaders => ("requestHeaders", &self.request_headers),
                ClientTimeout::RequestBody => ("requestBody", &self.request_body),
                ClientTimeout::Idle => ("idle", &self.idle),
                ClientTimeout::StreamIdle => ("streamIdle", &self.stream_idle),
            };
            let Some(text) = text else { continue };
            let wrong = |reason| Unreadable { field: name.to_owned(), reason };
            let wanted = parse_duration(text).map_err(|error| wrong(error.to_string()))?;
            if !timeout.allows(wanted) {
                let most = timeout.longest().as_secs();
                return Err(wrong(format!("{text} is not between 1s and {most}s, in whole seconds")));
            }
            *timeouts.get_mut(timeout) = Some(wanted);
        }
        Ok(timeouts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn each_timeout_has_its_bounds_and_is_in_whole_seconds() {
        for (name, most) in [
            ("handshake", 60),
            ("requestHeaders", 60),
            ("requestBody", 600),
            ("idle", 3600),
            ("streamIdle", 3600),
        ] {
            let read = |text: &str| {
                let spec: TimeoutsOfClients =
                    serde_json::from_value(serde_json::json!({ name: text })).unwrap();
                spec.to_model().map(|it| ClientTimeout::ALL.into_iter().find_map(|one| it.get(one)))
            };
            assert_eq!(read("1s"), Ok(Some(Duration::from_secs(1))), "{name}");
            assert_eq!(read(&format!("{most}s")), Ok(Some(Duration::from_secs(most))), "{name}");
            for text in [&format!("{}s", most + 1), "0s", "", "1500ms", "-1s", "soon", "99999h"] {
                assert_eq!(read(text).unwrap_err().field, name, "{name}: {text}");
            }
        }
        assert_eq!(TimeoutsOfClients::default().to_model(), Ok(ClientTimeouts::default()));
    }
}
