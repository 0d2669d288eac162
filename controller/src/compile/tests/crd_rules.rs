//! What the CEL rules of our own CRDs refuse is refused without an API server too, and nothing else is: `charts/test/crd-rules.yaml` has
//! specs and the verdict of the rules, which a test beside it takes from the CRDs (docs/decisions/0012-rules-of-our-crds.md).

use super::access::world;
use crate::provision::Parameters;
use crate::resources::gateway_parameters::GatewayParametersSpec;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/test/crd-rules.yaml");

#[derive(Deserialize)]
struct Case {
    spec: Value,
    #[serde(default)]
    refused: Vec<String>,
}

/// Targets beside those of other tests.
const TARGETS: &str = "
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: public, namespace: edge }
spec:
  gatewayClassName: fairway
  allowedListeners: { namespaces: { from: Same } }
  listeners:
    - { name: http, port: 80, protocol: HTTP, allowedRoutes: { namespaces: { from: All } } }
---
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: { name: more, namespace: edge }
spec: { parentRef: { name: public }, listeners: [{ name: http, port: 81, protocol: HTTP }] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: { name: g, namespace: shop }
spec:
  parentRefs: [{ name: public, namespace: edge }]
  rules: [{ backendRefs: [{ name: web, port: 80 }] }]
";

/// Whether the compiler refuses a policy at its target, which exists.
fn is_policy_refused(kind: &str, spec: &Value) -> bool {
    let target = spec["targetRefs"][0]["kind"].as_str().unwrap();
    let namespace = if ["Gateway", "ListenerSet"].contains(&target) { "edge" } else { "shop" };
    let mut world = world("");
    world.add(&format!(
        "{TARGETS}---\napiVersion: fairway.dev/v1alpha1\nkind: {kind}\nmetadata: {{ name: p, namespace: {namespace} }}\nspec: {spec}\n"
    ));
    let conditions = world.conditions(&format!("{kind} {namespace}/p"));
    let accepted: Vec<_> = conditions.iter().filter(|it| it.contains(": Accepted=")).collect();
    assert!(!accepted.is_empty(), "{spec}: {conditions:?}");
    accepted.iter().any(|it| it.contains("=False/"))
}

fn are_parameters_refused(spec: &Value) -> bool {
    let spec: GatewayParametersSpec = serde_json::from_value(spec.clone()).unwrap();
    Parameters::check(&spec).is_err()
}

#[test]
fn what_the_rules_of_our_crds_refuse_is_refused_and_nothing_else() {
    let cases: BTreeMap<String, Vec<Case>> =
        serde_saphyr::from_str(&std::fs::read_to_string(FILE).unwrap()).unwrap();
    assert_eq!(
        cases.keys().collect::<Vec<_>>(),
        ["AccessPolicy", "ClientPolicy", "GatewayParameters", "RateLimitPolicy"]
    );
    for (kind, cases) in &cases {
        let is_refused = |spec: &Value| match kind.as_str() {
            "GatewayParameters" => are_parameters_refused(spec),
            policy => is_policy_refused(policy, spec),
        };
        let expected = |it: &Case| !it.refused.is_empty();
        let differ = cases.iter().filter(|it| is_refused(&it.spec) != expected(it));
        let differ: Vec<_> = differ.map(|it| format!("{} {:?}", it.spec, it.refused)).collect();
        assert!(differ.is_empty(), "{kind}: compiler and rules differ about {differ:#?}");
    }
}
