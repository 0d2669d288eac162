//! What was said of Gateways and ListenerSets that a controller which has begun anew cannot read stays in the statuses of others.

use super::World;
use super::unreadable::seen;
use crate::status::{Author, ObjectStatus, merge, reason, references, render};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const US: &str = "fairway.dev/controller";

/// Every kind of object whose status says something of the Gateway or of its ListenerSet.
const SCENE: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: { name: own }
spec: { controllerName: fairway.dev/controller }
---
apiVersion: fairway.dev/v1alpha1
kind: GatewayParameters
metadata: { name: sizes, namespace: edge }
spec: { replicas: 2 }
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: public, namespace: edge }
spec:
  gatewayClassName: own
  defaultScope: All
  infrastructure: { parametersRef: { group: fairway.dev, kind: GatewayParameters, name: sizes } }
  allowedListeners: { namespaces: { from: Same } }
  listeners:
    - { name: http, port: 80, protocol: HTTP }
    - { name: pass, port: 443, protocol: TLS, tls: { mode: Passthrough } }
    - { name: bytes, port: 90, protocol: TCP }
    - { name: time, port: 123, protocol: UDP }
---
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: { name: more, namespace: edge }
spec: { parentRef: { name: public }, listeners: [{ name: http, port: 81, protocol: HTTP }] }
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: edge }
spec: { selector: { app: web }, ports: [{ name: https, port: 443 }] }
---
apiVersion: v1
kind: Service
metadata: { name: set, namespace: edge }
spec: { selector: { app: set }, ports: [{ name: https, port: 443 }] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: http, namespace: edge }
spec: { parentRefs: [{ name: public, sectionName: http }], hostnames: [http.example], rules: [{ backendRefs: [{ name: web, port: 443 }] }] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: default, namespace: edge }
spec: { useDefaultGateways: All, hostnames: [default.example], rules: [{ backendRefs: [{ name: web, port: 443 }] }] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: of-set, namespace: edge }
spec: { parentRefs: [{ kind: ListenerSet, name: more }], rules: [{ backendRefs: [{ name: set, port: 443 }] }] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: { name: grpc, namespace: edge }
spec: { parentRefs: [{ name: public }], hostnames: [grpc.example], rules: [{ backendRefs: [{ name: web, port: 443 }] }] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: { name: tls, namespace: edge }
spec: { parentRefs: [{ name: public }], hostnames: [tls.example], rules: [{ backendRefs: [{ name: web, port: 443 }] }] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: { name: tcp, namespace: edge }
spec: { parentRefs: [{ name: public }], rules: [{ backendRefs: [{ name: web, port: 443 }] }] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: UDPRoute
metadata: { name: udp, namespace: edge }
spec: { parentRefs: [{ name: public }], rules: [{ backendRefs: [{ name: web, port: 443 }] }] }
---
apiVersion: fairway.dev/v1alpha1
kind: ClientPolicy
metadata: { name: of-gateway, namespace: edge }
spec:
  targetRefs: [{ group: gateway.networking.k8s.io, kind: Gateway, name: public, sectionName: http }]
  clientAddress: { source: Connection }
---
apiVersion: fairway.dev/v1alpha1
kind: ClientPolicy
metadata: { name: of-set, namespace: edge }
spec:
  targetRefs: [{ group: gateway.networking.k8s.io, kind: ListenerSet, name: more }]
  clientAddress: { source: Connection }
---
apiVersion: fairway.dev/v1alpha1
kind: AccessPolicy
metadata: { name: of-gateway, namespace: edge }
spec: { targetRefs: [{ group: gateway.networking.k8s.io, kind: Gateway, name: public }], action: Deny, rules: [{ to: [{ paths: [{ value: /a }] }] }] }
---
apiVersion: fairway.dev/v1alpha1
kind: AccessPolicy
metadata: { name: of-routes, namespace: edge }
spec:
  targetRefs:
    - { group: gateway.networking.k8s.io, kind: HTTPRoute, name: http }
    - { group: gateway.networking.k8s.io, kind: HTTPRoute, name: of-set }
    - { group: gateway.networking.k8s.io, kind: GRPCRoute, name: grpc }
  action: Deny
  rules: [{ to: [{ paths: [{ value: /a }] }] }]
---
apiVersion: fairway.dev/v1alpha1
kind: RateLimitPolicy
metadata: { name: of-gateway, namespace: edge }
spec:
  targetRefs:
    - { group: gateway.networking.k8s.io, kind: Gateway, name: public, sectionName: http }
    - { group: gateway.networking.k8s.io, kind: ListenerSet, name: more }
  local: [{ requests: 10, per: Second }]
---
apiVersion: fairway.dev/v1alpha1
kind: RateLimitPolicy
metadata: { name: of-routes, namespace: edge }
spec:
  targetRefs:
    - { group: gateway.networking.k8s.io, kind: HTTPRoute, name: http }
    - { group: gateway.networking.k8s.io, kind: HTTPRoute, name: of-set }
    - { group: gateway.networking.k8s.io, kind: GRPCRoute, name: grpc }
  local: [{ requests: 10, per: Second }]
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: { name: backends, namespace: edge }
spec:
  targetRefs: [{ group: '', kind: Service, name: web }]
  validation: { hostname: web.example, wellKnownCACertificates: System }
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: { name: backends-of-set, namespace: edge }
spec:
  targetRefs: [{ group: '', kind: Service, name: set }]
  validation: { hostname: set.example, wellKnownCACertificates: System }
---
apiVersion: gateway.networking.x-k8s.io/v1alpha1
kind: XTelemetryPolicy
metadata: { name: telemetry, namespace: edge }
spec: { targetRefs: [{ group: gateway.networking.k8s.io, kind: Gateway, name: public }] }
";

/// What makes something unreadable: a text of the scene, and what a newer version of the API has in its place.
const UNREADABLE: [(&str, &str, &str); 4] = [
    ("the Gateway", "  defaultScope: All\n", "  defaultScope: All\n  newer: 1\n"),
    ("the ListenerSet", "{ name: http, port: 81,", "{ name: http, port: 81, newer: 1,"),
    (
        "the class",
        "spec: { controllerName: fairway.dev/controller }",
        "spec: { controllerName: fairway.dev/controller, newer: 1 }",
    ),
    ("the parameters", "spec: { replicas: 2 }", "spec: { replicas: many }"),
];

fn world(yaml: &str) -> World {
    let mut world = World::cluster("");
    world.apply(seen(yaml));
    world
}

/// What is written over a status; none where nothing is.
fn write(current: &Value, status: Option<&ObjectStatus>) -> Option<Value> {
    if matches!(status, Some(ObjectStatus::Held)) {
        return None;
    }
    let held: Vec<Value> = status.iter().flat_map(|it| references(it.held())).collect();
    let author = Author { controller: US, now: "2026-01-01T00:00:00Z", owns: reason::is_ours, held: &held };
    merge(current, status.map(render).as_ref(), author)
}

/// The statuses of all objects whose status says something of a Gateway or a ListenerSet, each with an entry of another controller.
fn written(world: &World) -> BTreeMap<String, Value> {
    let mut written = BTreeMap::new();
    for (object, status) in world.compiler.statuses() {
        let mut it = write(&json!({}), Some(status)).unwrap();
        for (list, reference) in [("parents", "parentRef"), ("ancestors", "ancestorRef")] {
            let Some(entries) = it.get_mut(list).and_then(Value::as_array_mut) else { continue };
            let theirs = json!({ reference: entries[0][reference], "controllerName": "example.com/other", "conditions": [] });
            entries.insert(0, theirs);
        }
        written.insert(object.to_string(), it);
    }
    written.retain(|it, _| {
        !it.starts_with("Gateway ") && !it.starts_with("GatewayClass ") && !it.starts_with("Service ")
    });
    written
}

#[test]
fn what_was_said_of_what_cannot_be_read_stays_as_it_is_for_every_kind() {
    let before = world(SCENE);
    let said = written(&before);
    let kinds: Vec<&str> = said.keys().filter_map(|it| it.split(' ').next()).collect();
    for kind in [
        "HTTPRoute",
        "GRPCRoute",
        "TLSRoute",
        "TCPRoute",
        "UDPRoute",
        "ListenerSet",
        "ClientPolicy",
        "AccessPolicy",
        "RateLimitPolicy",
        "BackendTLSPolicy",
        "XTelemetryPolicy",
    ] {
        assert!(kinds.contains(&kind), "{kind}: {kinds:?}");
    }
    for (object, status) in before.compiler.statuses() {
        let not_accepted = status
            .conditions()
            .into_iter()
            .find(|(_, it)| it.kind == "Accepted" && it.status == crate::status::ConditionStatus::False);
        assert!(
            not_accepted.is_none() || object.to_string().starts_with("XTelemetryPolicy"),
            "{object}: {not_accepted:?}"
        );
    }
    for (what, text, newer) in UNREADABLE {
        assert!(SCENE.contains(text), "{what}");
        // A controller that has begun anew: it has never seen the readable version.
        let after = world(&SCENE.replace(text, newer));
        for (object, current) in &said {
            let status =
                after.compiler.statuses().find(|(it, _)| it.to_string() == *object).map(|(_, it)| it);
            assert_eq!(write(current, status), None, "{what}, {object}");
        }
        assert!(
            after.problems().iter().all(|it| !it.contains("does not exist")),
            "{what}: {:?}",
            after.problems()
        );
    }
}

#[test]
fn what_was_said_of_it_is_said_anew_once_it_can_be_read_or_is_gone() {
    for (what, text, newer) in UNREADABLE {
        let broken = SCENE.replace(text, newer);
        let mut world = world(&broken);
        world.apply(seen(SCENE));
        for (object, status) in world.compiler.statuses() {
            assert!(status.held().is_empty() && *status != ObjectStatus::Held, "{what}, {object}");
        }
        assert_eq!(written(&world), written(&self::world(SCENE)), "{what}");
    }
    // Another controller's Gateway is nobody's of ours to hold.
    let theirs = SCENE.replace("controllerName: fairway.dev/controller", "controllerName: example.com/other");
    let (_, text, newer) = UNREADABLE[0];
    for (object, status) in world(&theirs.replace(text, newer)).compiler.statuses() {
        assert!(status.held().is_empty() && *status != ObjectStatus::Held, "{object}");
    }
    // A ListenerSet that the Gateway does not take holds nothing of it.
    let strange = "---\napiVersion: gateway.networking.k8s.io/v1\nkind: ListenerSet\nmetadata: { name: strange, namespace: other }\n\
                   spec: { parentRef: { name: public, namespace: edge }, newer: 1, listeners: [] }";
    let with_strange = world(&format!("{SCENE}{strange}\n"));
    for (object, status) in with_strange.compiler.statuses().filter(|(it, _)| &*it.namespace == "edge") {
        assert!(status.held().is_empty() && *status != ObjectStatus::Held, "{object}");
    }
    // A route that does not name it any more loses what was said of it.
    let said = written(&world(SCENE));
    let broken = SCENE.replace(text, newer);
    let moved = world(
        &broken.replace("parentRefs: [{ name: public, sectionName: http }]", "parentRefs: [{ name: other }]"),
    );
    let status =
        moved.compiler.statuses().find(|(it, _)| it.to_string() == "HTTPRoute edge/http").map(|(_, it)| it);
    let left = write(&said["HTTPRoute edge/http"], status).unwrap();
    assert_eq!(left["parents"].as_array().unwrap().len(), 1, "the other controller's: {left}");
}
