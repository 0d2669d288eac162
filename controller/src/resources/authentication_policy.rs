//! `AuthenticationPolicy`: how clients say who they are. The CRD in `charts/fairway-crds` is generated from this file; a test says when it
//! has to be again. What the fields mean is decided in `compile::policy::authenticate`.
//!
//! Like an AccessPolicy it is read as [`Reading`], which is never an error: what cannot be read closes its targets.

mod reading;

pub use super::policy_status::PolicyStatus as AuthenticationPolicyStatus;
pub use reading::Reading;

use super::access_policy::AccessPath;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How clients say who they are.
///
/// Every policy on the way of a request has to be met: of the Gateway and the listener, of the route and the rule, of the Service. No
/// level takes away what another asks for.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "fairway.dev",
    version = "v1alpha1",
    kind = "AuthenticationPolicy",
    plural = "authenticationpolicies",
    shortname = "authn",
    category = "fairway",
    category = "gateway-api",
    namespaced,
    status = "AuthenticationPolicyStatus",
    derive = "PartialEq",
    label("gateway.networking.k8s.io/policy", "Inherited"),
    doc = "How clients say who they are. Every policy on the way of a request has to be met: of the Gateway and the listener, of the route and the rule, of the Service. No level takes away what another asks for.",
    printcolumn = r#"{"name": "Mode", "type": "string", "jsonPath": ".spec.mode"}"#,
    printcolumn = r#"{"name": "Target", "type": "string", "jsonPath": ".spec.targetRefs[0].kind"}"#,
    printcolumn = r#"{"name": "Optional", "type": "boolean", "jsonPath": ".spec.optional"}"#,
    printcolumn = r#"{"name": "Accepted", "type": "string", "jsonPath": ".status.ancestors[0].conditions[?(@.type==\"Accepted\")].status"}"#,
    printcolumn = r#"{"name": "Enforced", "type": "string", "jsonPath": ".status.ancestors[0].conditions[?(@.type==\"fairway.dev/Enforced\")].status"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.apiKey) || has(self.jwt)").message("the policy asks for nothing; set apiKey or jwt"))]
pub struct AuthenticationPolicySpec {
    /// Where clients are asked, in the policy's own namespace.
    #[schemars(length(min = 1, max = 16))]
    pub target_refs: Vec<AuthenticationTarget>,
    /// Observe verifies, counts and logs, changes nothing, and lets pass. Without it Enforce.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<AuthenticationMode>,
    /// A request without credentials passes as well. One whose credentials are not valid never does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
    /// All, if each of apiKey and jwt has to be met, or Any, if one is enough. Without it All.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub satisfy: Option<Satisfy>,
    /// What needs no credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    pub exempt: Option<Vec<Exemption>>,
    /// Clients send a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<ApiKeyAuthentication>,
    /// Clients send a token of an issuer. Beside apiKey both are asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwt: Option<JwtAuthentication>,
}

/// How many methods have to be met.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Satisfy {
    /// Each of those that are written.
    #[default]
    All,
    /// One of those that are written.
    Any,
}

/// Requests that need no credentials. A path has to match as it is written and as lenient servers read it (//, ;x, %2F).
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
#[serde(rename_all = "camelCase")]
pub struct Exemption {
    /// One of these paths.
    #[schemars(length(min = 1, max = 16))]
    pub paths: Vec<AccessPath>,
    /// One of these methods. Without it every method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    pub methods: Option<Vec<String>>,
}

/// Whether a policy's decision counts.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuthenticationMode {
    /// It is carried out.
    #[default]
    Enforce,
    /// It is counted and logged.
    Observe,
}

/// A Gateway, a ListenerSet, an HTTPRoute, a GRPCRoute or a Service.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.group == '' ? self.kind == 'Service' : self.group == 'gateway.networking.k8s.io' && self.kind in ['Gateway', 'ListenerSet', 'HTTPRoute', 'GRPCRoute']").message("a policy is for a Gateway, a ListenerSet, an HTTPRoute, a GRPCRoute or a Service"))]
#[x_kube(validation = Rule::new("self.kind != 'Service' || !has(self.sectionName)").message("a policy is for all ports of a Service"))]
pub struct AuthenticationTarget {
    /// Empty for Services, gateway.networking.k8s.io for the rest.
    #[schemars(length(max = 253))]
    pub group: String,
    /// Gateway, ListenerSet, HTTPRoute, GRPCRoute or Service.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// The name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The listener of the Gateway or the ListenerSet, or the rule of the route, that is meant; without it all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub section_name: Option<String>,
}

// The schema keeps unknown fields. Where the API server took them away, a policy with a slip of the pen, or of a newer version, would ask for
// less than it was meant to; so the controller sees them, and closes.

/// Keys that clients send. The proxies know only their SHA-256.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
#[serde(rename_all = "camelCase")]
pub struct ApiKeyAuthentication {
    /// Secrets of type fairway.dev/credentials. Each key of their data is the name of a client, its value the key that the client sends,
    /// or sha256: and the SHA-256 of it in hexadecimal digits. Two clients cannot have one key.
    #[schemars(length(min = 1, max = 16))]
    pub credential_refs: Vec<CredentialRef>,
    /// Where the key is looked for. Headers go first, then cookies, then the query, each in the order written; a request with a key in
    /// one of them is not asked for another. Without it the header x-api-key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8))]
    pub extract_from: Option<Vec<CredentialSource>>,
    /// The key goes on to the backend. Without it the key is taken out of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward: Option<bool>,
    /// The header that tells the backend the name of the client. What clients send in a header of this name is taken out, in every
    /// spelling, also where they have no key.
    #[serde(default, rename = "forwardClientIDHeader", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub forward_client_id_header: Option<String>,
}

/// Tokens of issuers (RFC 7519). Of which provider a token is is what it says itself, with which key it is verified is what it says of that,
/// and with which algorithm is what the key says.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.providers.all(one, self.providers.exists_one(other, other.name == one.name) && self.providers.exists_one(other, other.issuer == one.issuer))").message("two providers have one name or one issuer"))]
pub struct JwtAuthentication {
    /// Whose tokens are taken.
    #[schemars(length(min = 1, max = 8))]
    pub providers: Vec<JwtProvider>,
}

/// An issuer of tokens.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
#[serde(rename_all = "camelCase")]
pub struct JwtProvider {
    /// A name for operators.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// What its tokens have as iss, exactly.
    #[schemars(length(min = 1, max = 2048))]
    pub issuer: String,
    /// One of them has to be in aud. Without it tokens for anybody are taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    pub audiences: Option<Vec<String>>,
    /// The keys that its tokens are signed with.
    pub jwks: JsonWebKeySource,
    /// Where its tokens are looked for. Headers go first, then cookies, then the query, each in the order written. Without it the header
    /// authorization, behind "Bearer ".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8))]
    pub extract_from: Option<Vec<CredentialSource>>,
    /// The token goes on to the backend. Without it the token is taken out of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward: Option<bool>,
    /// What the backend is told. What clients send in these headers is taken out, in every spelling, also where they have no token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub claim_to_headers: Option<Vec<ClaimToHeader>>,
}

/// Where the keys of an issuer are.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
#[serde(rename_all = "camelCase")]
pub struct JsonWebKeySource {
    /// A JSON Web Key Set (RFC 7517), as text.
    #[schemars(length(min = 1, max = 65_536))]
    pub inline: String,
}

/// A claim that the backend is told of.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
#[serde(rename_all = "camelCase")]
pub struct ClaimToHeader {
    /// The name of the claim, or the names of those around it, joined by dots. Text is told as it is, everything else as JSON.
    #[schemars(length(min = 1, max = 256))]
    pub claim: String,
    /// The header that tells it.
    #[schemars(length(min = 1, max = 256))]
    pub header: String,
}

/// A Secret with credentials.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(!has(self.group) || self.group == '') && (!has(self.kind) || self.kind == 'Secret')").message("credentials are in Secrets"))]
pub struct CredentialRef {
    /// Empty, as for Secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub group: Option<String>,
    /// Secret, which it is without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub kind: Option<String>,
    /// The name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its namespace, which has to grant its use (ReferenceGrant) if it is not that of the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
}

/// A place where credentials stand.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.type == 'Header' || !has(self.prefix)").message("only what stands in a header has a prefix"))]
pub struct CredentialSource {
    /// Header, Cookie or Query. What stands in a query gets into logs of others, and into the history of browsers.
    #[serde(rename = "type")]
    pub kind: CredentialSourceType,
    /// The name of the header, the cookie or the parameter.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// What stands before the credentials in a header, without regard to case, such as "Bearer ". A header that does not begin so has
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub prefix: Option<String>,
}

/// The parts of a request in which credentials may stand.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CredentialSourceType {
    /// A header of this name.
    Header,
    /// A cookie of this name.
    Cookie,
    /// A parameter of this name in the query.
    Query,
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::CustomResourceExt;
    use serde_json::Value;

    /// Where the chart has it.
    const CRD: &str = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../charts/fairway-crds/files/fairway.dev_authenticationpolicies.yaml"
    );
    /// Set it to write the file instead of comparing it.
    const WRITE: &str = "FAIRWAY_WRITE_CRDS";

    #[test]
    fn the_crd_of_the_chart_is_the_one_of_these_types() {
        let ours = serde_json::to_value(AuthenticationPolicy::crd()).unwrap();
        if std::env::var_os(WRITE).is_some() {
            let note = "# Generated from controller/src/resources/authentication_policy.rs; do not edit.\n";
            std::fs::write(CRD, format!("{note}{}", serde_saphyr::to_string(&ours).unwrap())).unwrap();
        }
        let charts: Value = serde_saphyr::from_str(&std::fs::read_to_string(CRD).unwrap()).unwrap();
        assert_eq!(charts, ours, "run this test with {WRITE}=1, and commit what changes");
        assert_eq!(ours["metadata"]["labels"]["gateway.networking.k8s.io/policy"], "Inherited");
        assert!(ours["spec"]["versions"][0]["subresources"]["status"].is_object());
        // Where the API server took unknown fields away, a policy of a newer version would ask for less than it was meant to.
        let spec = &ours["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        assert_eq!(spec["x-kubernetes-preserve-unknown-fields"], true);
    }

    /// The names of all fields within a schema.
    fn names(schema: &Value, into: &mut Vec<String>) {
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            into.push(name.clone());
            names(field, into);
        }
        if schema["items"].is_object() {
            names(&schema["items"], into);
        }
    }

    #[test]
    fn the_page_has_every_field_of_the_crd_and_no_other() {
        let page = include_str!("../../../docs/authentication-policy.md");
        let fields = page.split("## Fields").nth(1).unwrap().split("\n## ").next().unwrap();
        let crd = serde_json::to_value(AuthenticationPolicy::crd()).unwrap();
        let spec = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        let mut written = Vec::new();
        names(spec, &mut written);
        for name in &written {
            assert!(fields.contains(&format!("`{name}")), "{name} is not on the page");
        }
        for row in fields.lines().filter(|it| it.starts_with("| `")) {
            let cell = row.split('|').nth(1).unwrap();
            let named = cell.split('`').skip(1).step_by(2);
            for name in named.map(|it| it.split(['[', '.', ':']).next().unwrap()) {
                assert!(written.iter().any(|it| it == name), "{name} is on the page and in no CRD");
            }
        }
    }
}
