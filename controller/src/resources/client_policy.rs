//! `ClientPolicy`: how listeners treat the connections of clients. The CRD in `charts/fairway-crds` is generated from this file; a
//! test says when it has to be again. What the fields mean is decided in `compile::gateway::client_address`.
//!
//! A policy that cannot be read must not be as one that is not there: it is read as [`Reading`], which is never an error, and where
//! it cannot be understood where clients are, its targets are closed.

mod headers;
mod keepalive;
mod limits;
mod reading;
mod source;
mod timeouts;
mod tls;

pub use headers::{ClientCertificateHeader, RequestId, UnderscoresInHeaders};
pub use keepalive::KeepaliveOfClients;
pub use limits::{Http2OfClients, LimitsOfClients};
pub use reading::{ClientField, Reading};
pub use source::InvalidSource;
pub use timeouts::TimeoutsOfClients;
pub use tls::{CipherSuiteName, ClientTls, CurveName, MinTlsVersion};

pub use super::policy_status::PolicyStatus as ClientPolicyStatus;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How listeners treat the connections of clients.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "fairway.dev",
    version = "v1alpha1",
    kind = "ClientPolicy",
    plural = "clientpolicies",
    shortname = "clients",
    category = "fairway",
    category = "gateway-api",
    namespaced,
    status = "ClientPolicyStatus",
    derive = "PartialEq",
    label("gateway.networking.k8s.io/policy", "Direct"),
    doc = "How the listeners of a Gateway or a ListenerSet treat the connections of clients: where a client is that comes through a load balancer, which TLS is spoken with it, how long is waited for it, and how much it may have.",
    printcolumn = r#"{"name": "Source", "type": "string", "jsonPath": ".spec.clientAddress.source"}"#,
    printcolumn = r#"{"name": "Target", "type": "string", "jsonPath": ".spec.targetRefs[0].name"}"#,
    printcolumn = r#"{"name": "Accepted", "type": "string", "jsonPath": ".status.ancestors[0].conditions[?(@.type==\"Accepted\")].status"}"#,
    printcolumn = r#"{"name": "Enforced", "type": "string", "jsonPath": ".status.ancestors[0].conditions[?(@.type==\"fairway.dev/Enforced\")].status"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.clientAddress) || has(self.tls) || has(self.timeouts) || has(self.limits) || has(self.clientCertificateHeader) || has(self.requestID) || has(self.underscores) || has(self.keepalive)").message("a policy says something of clients"))]
pub struct ClientPolicySpec {
    /// The Gateways and ListenerSets whose listeners it is about, in its own namespace.
    #[schemars(length(min = 1, max = 16))]
    pub target_refs: Vec<ClientPolicyTarget>,
    /// How the address of a client is learned. Access policies, logs, X-Forwarded-For, session affinity and authorization services
    /// go by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_address: Option<ClientAddress>,
    /// What of TLS is spoken with clients where it ends at the Gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ClientTls>,
    /// How long is waited for clients. What is left out is as without a policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<TimeoutsOfClients>,
    /// How much clients may have. It narrows the limits of the whole proxy, and widens none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<LimitsOfClients>,
    /// Set tells endpoints in X-Forwarded-Client-Cert whose certificate the client has shown, where certificates of clients are
    /// validated. What clients say there themselves is dropped in any case. Without it Drop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_header: Option<ClientCertificateHeader>,
    /// Whose X-Request-Id holds. Keep: that of the client, if it is one word of at most 64 characters. Generate: a new one, but for
    /// those of the proxies that are believed in clientAddress where they speak HTTP. New ones are UUIDs of version 7, which sort by their
    /// time. Without it each request gets a new one of version 4.
    #[serde(default, rename = "requestID", skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
    /// What becomes of headers with an underscore in their names, which some servers take for a hyphen. Keep: they go on, but for those
    /// that would be taken for a header that matters. Drop: they are taken out. Refuse: 400. Without it Keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub underscores: Option<UnderscoresInHeaders>,
    /// When the kernel asks a silent client whether it is still there (TCP keepalive). What is left out is as without a policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keepalive: Option<KeepaliveOfClients>,
}

/// A Gateway or a ListenerSet, or one of its listeners.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.group == 'gateway.networking.k8s.io' && self.kind in ['Gateway', 'ListenerSet']").message("a policy is about the listeners of a Gateway or of a ListenerSet"))]
pub struct ClientPolicyTarget {
    /// The group of its kind, gateway.networking.k8s.io.
    #[schemars(length(min = 1, max = 253))]
    pub group: String,
    /// Its kind, Gateway or ListenerSet.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// The name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The listener; without it all. A policy that names a listener goes before one that names all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub section_name: Option<String>,
}

/// How the address of a client is learned.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.source == 'Connection' ? !has(self.trustedCIDRs) : has(self.trustedCIDRs)").message("trustedCIDRs says whom to believe: it goes with every source but Connection"))]
#[x_kube(validation = Rule::new("has(self.header) == (self.source == 'Header')").message("header goes with source Header, and only with that"))]
pub struct ClientAddress {
    /// Connection: the far end of the connection. ProxyProtocol: a header of the PROXY protocol, version 1 or 2, with which every
    /// connection begins; only trusted peers may connect. ForwardedFor: X-Forwarded-For, the first address from its end that is not
    /// trusted. Header: a header that has the address and nothing else.
    pub source: ClientAddressSource,
    /// The addresses of the proxies that are believed. What others say is ignored; with ProxyProtocol they may not connect.
    #[serde(default, rename = "trustedCIDRs", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1000), inner(length(min = 1, max = 64)))]
    pub trusted_cidrs: Option<Vec<String>>,
    /// The header that has the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"))]
    pub header: Option<String>,
}

/// Where the address of a client is from.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAddressSource {
    /// The far end of the connection.
    Connection,
    /// The header with which the connection begins.
    ProxyProtocol,
    /// The list in X-Forwarded-For.
    ForwardedFor,
    /// A header of its own.
    Header,
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::CustomResourceExt;
    use serde_json::Value;

    /// Where the chart has it.
    const CRD: &str =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/fairway-crds/files/fairway.dev_clientpolicies.yaml");
    /// Set it to write the file instead of comparing it.
    const WRITE: &str = "FAIRWAY_WRITE_CRDS";

    #[test]
    fn the_crd_of_the_chart_is_the_one_of_these_types() {
        let ours = serde_json::to_value(ClientPolicy::crd()).unwrap();
        if std::env::var_os(WRITE).is_some() {
            let note = "# Generated from controller/src/resources/client_policy.rs; do not edit.\n";
            std::fs::write(CRD, format!("{note}{}", serde_saphyr::to_string(&ours).unwrap())).unwrap();
        }
        let charts: Value = serde_saphyr::from_str(&std::fs::read_to_string(CRD).unwrap()).unwrap();
        assert_eq!(charts, ours, "run this test with {WRITE}=1, and commit what changes");
        assert_eq!(ours["metadata"]["labels"]["gateway.networking.k8s.io/policy"], "Direct");
        assert!(ours["spec"]["versions"][0]["subresources"]["status"].is_object());
    }
}
