//! When a policy lets silent clients be asked whether they are still there.

use crate::resources::duration::parse_duration;
use crate::resources::unreadable::Unreadable;
use fairway_config::model::ClientKeepalive;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// When the kernel asks a silent client whether it is still there (TCP keepalive).
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.idle) || duration(self.idle) >= duration('5s') && duration(self.idle) <= duration('3600s')").message("idle is between 5s and 1h"))]
#[x_kube(validation = Rule::new("!has(self.interval) || duration(self.interval) >= duration('1s') && duration(self.interval) <= duration('300s')").message("interval is between 1s and 5m"))]
pub struct KeepaliveOfClients {
    /// Silence before a client is asked first. 5s to 1h, in whole seconds; without it 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 18), regex(pattern = "^([0-9]{1,5}(h|m|s)){1,3}$"))]
    pub idle: Option<String>,
    /// Time between two questions. 1s to 5m, in whole seconds; without it 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 18), regex(pattern = "^([0-9]{1,5}(h|m|s)){1,3}$"))]
    pub interval: Option<String>,
    /// Questions without an answer, after which the client is gone. Without it 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10))]
    pub probes: Option<u32>,
}

// === impl KeepaliveOfClients ===

impl KeepaliveOfClients {
    /// What proxies are told.
    pub(super) fn to_model(&self) -> Result<ClientKeepalive, Unreadable> {
        let read = |name: &str, text: &Option<String>| {
            let wrong = |reason| Unreadable { field: name.to_owned(), reason };
            let parsed = text.as_deref().map(parse_duration).transpose();
            parsed.map_err(|error| wrong(error.to_string()))
        };
        let idle = read("idle", &self.idle)?;
        let interval = read("interval", &self.interval)?;
        for (name, keepalive) in [
            ("idle", ClientKeepalive { idle, ..ClientKeepalive::default() }),
            ("interval", ClientKeepalive { interval, ..ClientKeepalive::default() }),
            ("probes", ClientKeepalive { probes: self.probes, ..ClientKeepalive::default() }),
        ] {
            if !keepalive.is_allowed() {
                let reason =
                    "it is not within its bounds: idle 5s to 3600s, interval 1s to 300s, probes 1 to 10";
                return Err(Unreadable { field: name.to_owned(), reason: reason.to_owned() });
            }
        }
        Ok(ClientKeepalive { idle, interval, probes: self.probes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::time::Duration;

    #[test]
    fn each_part_has_its_bounds() {
        let read = |written: Value| {
            let keepalive: KeepaliveOfClients = serde_json::from_value(written).unwrap();
            keepalive.to_model().map_err(|it| it.field)
        };
        for (written, field) in [
            (json!({ "idle": "4s" }), "idle"),
            (json!({ "idle": "2h" }), "idle"),
            (json!({ "idle": "1m500ms" }), "idle"),
            (json!({ "interval": "0s" }), "interval"),
            (json!({ "interval": "10" }), "interval"),
            (json!({ "probes": 0 }), "probes"),
            (json!({ "probes": 11 }), "probes"),
        ] {
            assert_eq!(read(written.clone()), Err(field.to_owned()), "{written}");
        }
        let expected = ClientKeepalive {
            idle: Some(Duration::from_secs(60)),
            interval: Some(Duration::from_secs(5)),
            probes: Some(2),
        };
        assert_eq!(read(json!({ "idle": "1m", "interval": "5s", "probes": 2 })), Ok(expected));
        assert_eq!(read(json!({})), Ok(ClientKeepalive::default()));
    }
}
