//! A policy as far as it can be read. Its parts are read one by one: what is wrong with one takes nothing from the others.

use super::{
    ClientAddress, ClientCertificateHeader, ClientPolicyTarget, ClientTls, KeepaliveOfClients,
    LimitsOfClients, RequestId, TimeoutsOfClients, UnderscoresInHeaders,
};
use crate::resources::unreadable::{Unreadable, passed_over};
use fairway_config::model::{
    CertificateHeader, ClientKeepalive, ClientLimits, ClientTimeouts, RequestIds, TlsAlgorithms, TlsVersion,
    Underscores,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// The spec of a policy as far as it can be read. Reading never fails.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The Gateways and ListenerSets that it is about.
    pub targets: Vec<ClientPolicyTarget>,
    /// How the address of a client is learned, if it says so, or why that cannot be understood: then its targets are closed.
    pub client_address: Result<Option<ClientAddress>, Unreadable>,
    /// What of TLS is spoken with clients, if it says so, or why that cannot be understood: then only the newest version is.
    pub tls: Result<Option<(TlsVersion, TlsAlgorithms)>, Unreadable>,
    /// How long is waited for clients, if it says so, or why that cannot be understood: then as long as without a policy.
    pub timeouts: Result<Option<ClientTimeouts>, Unreadable>,
    /// How much clients may have, if it says so, or why that cannot be understood: then its targets are closed.
    pub limits: Result<Option<ClientLimits>, Unreadable>,
    /// Whether endpoints are told of certificates, if it says so, or why that cannot be understood: then they are not.
    pub client_certificate_header: Result<Option<CertificateHeader>, Unreadable>,
    /// Whose ids of requests hold, if it says so, or why that cannot be understood: then nobody's.
    pub request_id: Result<Option<RequestIds>, Unreadable>,
    /// What becomes of headers with `_`, if it says so, or why that cannot be understood: then their requests are refused.
    pub underscores: Result<Option<Underscores>, Unreadable>,
    /// When silent clients are asked, if it says so, or why that cannot be understood: then as without a policy.
    pub keepalive: Result<Option<ClientKeepalive>, Unreadable>,
    /// The first field that is not known. Nobody can say what it asks for, so the targets are closed. It takes no field from another
    /// policy.
    pub unknown: Option<Unreadable>,
}

/// A field of a policy that holds for itself: of several policies for one listener the first holds that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ClientField {
    /// `clientAddress`: how the address of a client is learned.
    ClientAddress,
    /// `tls`: what of TLS is spoken with clients.
    Tls,
    /// `timeouts`: how long is waited for clients.
    Timeouts,
    /// `limits`: how much clients may have.
    Limits,
    /// `clientCertificateHeader`: whether endpoints are told of certificates.
    CertificateHeader,
    /// `requestID`: whose ids of requests hold.
    RequestId,
    /// `underscores`: what becomes of headers with `_`.
    Underscores,
    /// `keepalive`: when silent clients are asked whether they are still there.
    Keepalive,
}

// === impl ClientField ===

impl ClientField {
    /// Every field, in the order of the spec.
    pub const ALL: [Self; 8] = [
        Self::ClientAddress,
        Self::Tls,
        Self::Timeouts,
        Self::Limits,
        Self::CertificateHeader,
        Self::RequestId,
        Self::Underscores,
        Self::Keepalive,
    ];

    /// Those of which proxies are told as one.
    pub const OF_TREATMENT: [Self; 6] = [
        Self::Timeouts,
        Self::Limits,
        Self::CertificateHeader,
        Self::RequestId,
        Self::Underscores,
        Self::Keepalive,
    ];

    /// The name within the spec.
    pub fn name(self) -> &'static str {
        match self {
            Self::ClientAddress => "clientAddress",
            Self::Tls => "tls",
            Self::Timeouts => "timeouts",
            Self::Limits => "limits",
            Self::CertificateHeader => "clientCertificateHeader",
            Self::RequestId => "requestID",
            Self::Underscores => "underscores",
            Self::Keepalive => "keepalive",
        }
    }
}

// === impl Reading ===

impl Reading {
    /// Whether the policy has this field, also where its value cannot be understood.
    pub fn has(&self, field: ClientField) -> bool {
        match field {
            ClientField::ClientAddress => !matches!(self.client_address, Ok(None)),
            ClientField::Tls => !matches!(self.tls, Ok(None)),
            ClientField::Timeouts => !matches!(self.timeouts, Ok(None)),
            ClientField::Limits => !matches!(self.limits, Ok(None)),
            ClientField::CertificateHeader => !matches!(self.client_certificate_header, Ok(None)),
            ClientField::RequestId => !matches!(self.request_id, Ok(None)),
            ClientField::Underscores => !matches!(self.underscores, Ok(None)),
            ClientField::Keepalive => !matches!(self.keepalive, Ok(None)),
        }
    }

    /// Why a field cannot be understood; none where it can, or is not there.
    pub fn unreadable(&self, field: ClientField) -> Option<&Unreadable> {
        match field {
            ClientField::ClientAddress => self.client_address.as_ref().err(),
            ClientField::Tls => self.tls.as_ref().err(),
            ClientField::Timeouts => self.timeouts.as_ref().err(),
            ClientField::Limits => self.limits.as_ref().err(),
            ClientField::CertificateHeader => self.client_certificate_header.as_ref().err(),
            ClientField::RequestId => self.request_id.as_ref().err(),
            ClientField::Underscores => self.underscores.as_ref().err(),
            ClientField::Keepalive => self.keepalive.as_ref().err(),
        }
    }
}

impl<'de> Deserialize<'de> for Reading {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Value::deserialize(deserializer)?;
        let targets = written["targetRefs"].as_array().into_iter().flatten();
        let is_known =
            |name: &str| name == "targetRefs" || ClientField::ALL.into_iter().any(|it| it.name() == name);
        let unknown = written.as_object().into_iter().flatten().find(|(name, _)| !is_known(name));
        let unknown =
            unknown.map(|(name, _)| Unreadable { field: name.clone(), reason: "unknown field".to_owned() });
        Ok(Self {
            targets: targets.filter_map(target).collect(),
            client_address: part(&written, ClientField::ClientAddress),
            tls: converted(&written, ClientField::Tls, ClientTls::to_model),
            timeouts: converted(&written, ClientField::Timeouts, TimeoutsOfClients::to_model),
            limits: converted(&written, ClientField::Limits, |it: &LimitsOfClients| it.to_model()),
            client_certificate_header: converted(
                &written,
                ClientField::CertificateHeader,
                |it: &ClientCertificateHeader| it.to_model(),
            ),
            request_id: converted(&written, ClientField::RequestId, |it: &RequestId| it.to_model()),
            underscores: converted(&written, ClientField::Underscores, |it: &UnderscoresInHeaders| {
                it.to_model()
            }),
            keepalive: converted(&written, ClientField::Keepalive, KeepaliveOfClients::to_model),
            unknown,
        })
    }
}

/// One field, read whole or not at all: what is passed over of it could have been what matters.
fn part<T: DeserializeOwned + Serialize>(
    written: &Value,
    field: ClientField,
) -> Result<Option<T>, Unreadable> {
    let name = field.name();
    let written = &written[name];
    if written.is_null() {
        return Ok(None);
    }
    let read: T = serde_path_to_error::deserialize(written).map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." { String::new() } else { path };
        Unreadable { field, reason: error.inner().to_string() }.within(name)
    })?;
    match passed_over(written, &serde_json::to_value(&read).unwrap_or_default(), false) {
        None => Ok(Some(read)),
        Some(unreadable) => Err(unreadable.within(name)),
    }
}

/// One field, as proxies are told.
fn converted<S: DeserializeOwned + Serialize, T>(
    written: &Value,
    field: ClientField,
    convert: impl FnOnce(&S) -> Result<T, Unreadable>,
) -> Result<Option<T>, Unreadable> {
    let read = part(written, field)?;
    read.map(|it| convert(&it)).transpose().map_err(|it| it.within(field.name()))
}

/// A target as far as it can be read. Without the name of its listener it is all of them.
fn target(written: &Value) -> Option<ClientPolicyTarget> {
    let text = |name: &str| written[name].as_str().filter(|it| !it.is_empty()).map(str::to_owned);
    Some(ClientPolicyTarget {
        group: text("group").unwrap_or_default(),
        kind: text("kind")?,
        name: text("name")?,
        section_name: text("sectionName"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(more: Value) -> Reading {
        let target = json!({ "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "g" });
        let mut spec = json!({ "targetRefs": [target, { "kind": 1 }] });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(spec).unwrap()
    }

    #[test]
    fn what_is_not_understood_keeps_its_targets_and_takes_nothing_from_other_parts() {
        for (more, field) in [
            (json!({ "clientAddress": {} }), "clientAddress"),
            (json!({ "clientAddress": "x" }), "clientAddress"),
            (json!({ "clientAddress": { "source": "Geneve" } }), "clientAddress.source"),
            (
                json!({ "clientAddress": { "source": "ForwardedFor", "trustedHops": 1 } }),
                "clientAddress.trustedHops",
            ),
            (
                json!({ "clientAddress": { "source": "ForwardedFor", "trustedCIDRs": [1] } }),
                "clientAddress.trustedCIDRs[0]",
            ),
        ] {
            let reading = read(more.clone());
            assert_eq!(reading.client_address.unwrap_err().field, field, "{more}");
            assert_eq!(reading.targets.len(), 1, "{more}");
        }
        assert_eq!(read(json!({})).client_address, Ok(None));
        assert_eq!(read(json!({ "clientAddress": null })).client_address, Ok(None));
        let other = read(json!({ "clientAddress": { "source": "Connection" }, "compression": {} }));
        assert!(other.client_address.is_ok_and(|it| it.is_some()));
        assert_eq!(other.unknown.unwrap().field, "compression");
        // Nobody knows what it was meant to be: it is no field of those that are known.
        for (more, field) in [
            (json!({ "clientAdress": { "source": "Connection" } }), "clientAdress"),
            (json!({ "compression": {}, "tls": null }), "compression"),
        ] {
            let reading = read(more.clone());
            assert!(!ClientField::ALL.into_iter().any(|it| reading.has(it)), "{more}");
            assert_eq!(reading.unknown.unwrap().field, field, "{more}");
        }
        for (tls, field) in [
            (json!({}), "tls"),
            (json!({ "minVersion": "1.1" }), "tls.minVersion"),
            (json!({ "minVersion": 1.3 }), "tls.minVersion"),
            (json!({ "minVersion": "1.3", "cipherSuites": [] }), "tls.cipherSuites"),
            (json!({ "minVersion": "1.3", "cipherSuites": ["TLS_NULL"] }), "tls.cipherSuites[0]"),
            (json!({ "minVersion": "1.3", "ciphers": [] }), "tls.ciphers"),
        ] {
            let reading = read(json!({ "clientAddress": { "source": "Connection" }, "tls": tls }));
            assert_eq!(reading.timeouts, Ok(None));
            assert!(reading.client_address.is_ok_and(|it| it.is_some()), "{tls}");
            assert_eq!(reading.tls.unwrap_err().field, field, "{tls}");
        }
        for (timeouts, field) in [
            (json!("10s"), "timeouts"),
            (json!({ "idle": 10 }), "timeouts.idle"),
            (json!({ "idle": "10" }), "timeouts.idle"),
            (json!({ "idle": "2h" }), "timeouts.idle"),
            (json!({ "idle": "10s", "connect": "1s" }), "timeouts.connect"),
        ] {
            let reading = read(json!({ "tls": { "minVersion": "1.3" }, "timeouts": timeouts }));
            assert!(reading.tls.is_ok_and(|it| it.is_some()), "{timeouts}");
            assert_eq!(reading.timeouts.unwrap_err().field, field, "{timeouts}");
        }
        for (limits, field) in [
            (json!(10), "limits"),
            (json!({ "headers": -1 }), "limits.headers"),
            (json!({ "headers": "10" }), "limits.headers"),
            (json!({ "headers": 101 }), "limits.headers"),
            (json!({ "http2": { "streams": 0 } }), "limits.http2.streams"),
            (json!({ "headers": 10, "http2": { "frames": 1 } }), "limits.http2.frames"),
        ] {
            let reading = read(json!({ "timeouts": {}, "limits": limits }));
            assert!(reading.timeouts.is_ok_and(|it| it.is_some()), "{limits}");
            assert_eq!(reading.limits.unwrap_err().field, field, "{limits}");
        }
        let nonsense: Reading = serde_json::from_value(json!("nonsense")).unwrap();
        assert!(nonsense.targets.is_empty());
    }
}
