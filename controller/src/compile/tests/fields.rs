//! Nothing is passed over in silence: every field of the Gateway API is in `fields.txt`, and what is said there of a field that is
//! not carried out is what a condition says of an object that has it.

use super::World;
use super::gateways::secret;
use super::listeners::CLASS;
use crate::status::{Condition, reason};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const TABLE: &str = include_str!("fields.txt");

/// What Fairway does with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Handled,
    Text,
    Refused,
    Ignored,
}

/// An object that has such a field, and where a condition has to say so.
struct Case {
    row: &'static str,
    yaml: String,
    object: &'static str,
    /// What the condition has to name.
    says: &'static str,
}

pub(super) fn rows() -> BTreeMap<String, Class> {
    let row = |line: &str| {
        let mut words = line.split_whitespace();
        let class = match words.next().unwrap() {
            "handled" => Class::Handled,
            "text" => Class::Text,
            "refused" => Class::Refused,
            "ignored" => Class::Ignored,
            other => panic!("{other} is no class"),
        };
        (format!("{} {}", words.next().unwrap(), words.next().unwrap()), class)
    };
    let lines: Vec<&str> = TABLE.lines().filter(|it| !it.is_empty() && !it.starts_with('#')).collect();
    let rows: BTreeMap<String, Class> = lines.iter().map(|it| row(it)).collect();
    assert_eq!(rows.len(), lines.len(), "a field stands there twice");
    rows
}

/// The fields of a schema, down to what has no fields of its own.
fn walk(schema: &Value, path: &str, out: &mut BTreeSet<String>) {
    if let Some(properties) = schema["properties"].as_object().filter(|it| !it.is_empty()) {
        for (name, it) in properties {
            walk(it, &format!("{path}.{name}"), out);
        }
    } else if schema["additionalProperties"].is_object() {
        out.insert(format!("{path}{{}}"));
    } else if schema["type"] == "array" {
        walk(&schema["items"], &format!("{path}[]"), out);
    } else {
        out.insert(path.to_owned());
    }
}

/// The fields of all kinds, in all versions and both channels: all but metadata, and the status, which controllers write.
fn fields() -> BTreeSet<String> {
    let charts =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/fairway-crds/charts/gateway-api/files");
    let mut found = BTreeSet::new();
    let mut kinds = BTreeMap::<String, BTreeSet<String>>::new();
    for channel in ["standard", "experimental"] {
        for file in std::fs::read_dir(charts.join(channel)).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            for document in text.split("\n---\n").filter(|it| it.contains("kind: CustomResourceDefinition")) {
                let crd: Value = serde_saphyr::from_str(document).unwrap();
                let kind = crd["spec"]["names"]["kind"].as_str().unwrap();
                kinds.entry(channel.to_owned()).or_default().insert(kind.to_owned());
                for version in crd["spec"]["versions"].as_array().unwrap() {
                    let properties = &version["schema"]["openAPIV3Schema"]["properties"];
                    for (name, it) in properties.as_object().unwrap() {
                        if !["apiVersion", "kind", "metadata", "status"].contains(&&**name) {
                            let mut of_part = BTreeSet::new();
                            walk(it, name, &mut of_part);
                            found.extend(of_part.into_iter().map(|it| format!("{kind} {it}")));
                        }
                    }
                }
            }
        }
    }
    let count = |channel: &str| kinds[channel].len();
    assert_eq!((count("standard"), count("experimental")), (10, 14), "{kinds:?}");
    found
}

fn covers(row: &str, class: Class, field: &str) -> bool {
    let below = field.strip_prefix(row).filter(|it| it.starts_with(['.', '[', '{']));
    field == row || (below.is_some() && matches!(class, Class::Refused | Class::Ignored))
}

#[test]
fn every_field_of_the_api_is_classified_and_nothing_else_is() {
    let (rows, fields) = (rows(), fields());
    let unclassified: Vec<_> =
        fields.iter().filter(|field| !rows.iter().any(|(row, class)| covers(row, *class, field))).collect();
    assert!(unclassified.is_empty(), "say in fields.txt what is done with {unclassified:#?}");
    let gone: Vec<_> =
        rows.iter().filter(|(row, class)| !fields.iter().any(|it| covers(row, **class, it))).collect();
    assert!(gone.is_empty(), "not in the API any more: {gone:#?}");
}

#[test]
fn what_is_not_carried_out_is_named_in_a_condition() {
    let rows = rows();
    let cases = cases();
    let has_case: BTreeSet<&str> = cases.iter().map(|it| it.row).collect();
    for (row, class) in &rows {
        let needs = matches!(class, Class::Refused | Class::Ignored);
        assert_eq!(has_case.contains(&**row), needs, "{row} {class:?}");
    }
    for Case { row, yaml, object, says } in cases {
        let world = World::cluster(&yaml);
        let conditions = world.status(object).conditions();
        let names_it = |it: &&(String, &Condition)| it.1.message.contains(says);
        let named: Vec<_> = conditions.iter().filter(names_it).map(|(_, it)| *it).collect();
        assert!(!named.is_empty(), "{row}: no condition names {says}: {conditions:#?}");
        let ignored = named.iter().find(|it| it.kind == reason::IGNORED_FIELDS);
        match rows[row] {
            Class::Ignored => {
                assert!(ignored.is_some_and(|it| it.is_bad()), "{row}: {named:#?}");
                let accepted = named.iter().find(|it| it.kind == reason::ACCEPTED);
                assert!(accepted.is_some_and(|it| !it.is_bad()), "{row}: Accepted says so too: {named:#?}");
            }
            _ => assert!(named.iter().any(|it| it.is_bad()) && ignored.is_none(), "{row}: {named:#?}"),
        }
        // Once the field is gone, nothing is said.
        assert!(named.iter().all(|it| it.observed_generation == 1), "{row}");
    }
}

fn api(version: &str, kind: &str, name: &str, spec: &str) -> String {
    format!(
        "\n---\napiVersion: {version}\nkind: {kind}\nmetadata: {{ name: {name}, namespace: edge }}\nspec: {spec}\n"
    )
}

fn v1(kind: &str, name: &str, spec: &str) -> String {
    api("gateway.networking.k8s.io/v1", kind, name, spec)
}

fn x(kind: &str, spec: &str) -> String {
    api("gateway.networking.x-k8s.io/v1alpha1", kind, "it", spec)
}

/// A class, a Gateway and a Service.
fn scene() -> String {
    let listeners = "[{ name: http, port: 80, protocol: HTTP }]";
    let gateway = format!(
        "{{ gatewayClassName: fairway, allowedListeners: {{ namespaces: {{ from: All }} }}, listeners: {listeners} }}"
    );
    let service = api("v1", "Service", "web", "{ clusterIP: 10.96.0.9, ports: [{ port: 80 }] }");
    format!("{}{CLASS}{service}", v1("Gateway", "public", &gateway))
}

fn rule(kind: &str, rule: &str) -> String {
    let spec = format!("{{ parentRefs: [{{ name: public }}], rules: [{rule}] }}");
    scene() + &v1(kind, "it", &spec)
}

fn listener(kind: &str, listener: &str) -> String {
    let spec = match kind {
        "Gateway" => format!("{{ gatewayClassName: fairway, listeners: [{listener}] }}"),
        _ => format!("{{ parentRef: {{ name: public }}, listeners: [{listener}] }}"),
    };
    scene() + &secret("edge") + &v1(kind, "it", &spec)
}

fn cases() -> Vec<Case> {
    let case = |row, yaml, object, says| Case { row, yaml, object, says };
    let sessions = "{ sessionPersistence: { type: Cookie }, backendRefs: [{ name: web, port: 80 }] }";
    let on_rule =
        |filter: &str| format!("{{ filters: [{filter}], backendRefs: [{{ name: web, port: 80 }}] }}");
    let on_backend =
        |filter: &str| format!("{{ backendRefs: [{{ name: web, port: 80, filters: [{filter}] }}] }}");
    let extension = "{ type: ExtensionRef, extensionRef: { group: example.com, kind: Thing, name: it } }";
    let auth = "{ type: ExternalAuth, externalAuth: { protocol: HTTP, backendRef: { name: web, port: 80 }, forwardBody: { maxSize: 1 } } }";
    let filtered = |filter: &str| {
        format!("{{ name: a, port: 81, protocol: HTTP, filters: {{ requests: [{filter}] }} }}")
    };
    let options = "{ name: a, port: 443, protocol: HTTPS, tls: { certificateRefs: [{ name: cert }], options: { example.com/min-version: '1.3' } } }";
    let policy = "{ targetRefs: [{ group: '', kind: Service, name: web }], options: { example.com/min-version: '1.3' }, \
                  validation: { hostname: web.example.com, wellKnownCACertificates: System } }";
    let (on_rule_row, on_backend_row) = ("rules[0].filters[0]", "rules[0].backendRefs[0].filters[0]");
    let filter_row = "spec.listeners[0].filters.requests[0]";
    let mesh = "\n---\napiVersion: gateway.networking.x-k8s.io/v1alpha1\nkind: XMesh\nmetadata: { name: fairway }\n\
                spec: { controllerName: fairway.dev/controller, parametersRef: { group: example.com, kind: Thing, name: it } }\n";
    let target = |group: &str, kind: &str, name: &str| {
        format!("{{ targetRefs: [{{ group: '{group}', kind: {kind}, name: {name} }}] }}")
    };
    vec![
        case(
            "BackendTLSPolicy spec.options",
            rule("HTTPRoute", "{ backendRefs: [{ name: web, port: 80 }] }")
                + &v1("BackendTLSPolicy", "it", policy),
            "BackendTLSPolicy edge/it",
            "spec.options[example.com/min-version]",
        ),
        case(
            "HTTPRoute spec.rules[].sessionPersistence",
            rule("HTTPRoute", sessions),
            "HTTPRoute edge/it",
            "spec.rules[0].sessionPersistence",
        ),
        case(
            "GRPCRoute spec.rules[].sessionPersistence",
            rule("GRPCRoute", sessions),
            "GRPCRoute edge/it",
            "spec.rules[0].sessionPersistence",
        ),
        case(
            "HTTPRoute spec.rules[].filters[].externalAuth.forwardBody.maxSize",
            rule("HTTPRoute", &on_rule(auth)),
            "HTTPRoute edge/it",
            on_rule_row,
        ),
        case(
            "HTTPRoute spec.rules[].backendRefs[].filters[].externalAuth.forwardBody.maxSize",
            rule("HTTPRoute", &on_backend(auth)),
            "HTTPRoute edge/it",
            on_backend_row,
        ),
        case(
            "HTTPRoute spec.rules[].filters[].extensionRef",
            rule("HTTPRoute", &on_rule(extension)),
            "HTTPRoute edge/it",
            on_rule_row,
        ),
        case(
            "HTTPRoute spec.rules[].backendRefs[].filters[].extensionRef",
            rule("HTTPRoute", &on_backend(extension)),
            "HTTPRoute edge/it",
            on_backend_row,
        ),
        case(
            "GRPCRoute spec.rules[].filters[].extensionRef",
            rule("GRPCRoute", &on_rule(extension)),
            "GRPCRoute edge/it",
            on_rule_row,
        ),
        case(
            "GRPCRoute spec.rules[].backendRefs[].filters[].extensionRef",
            rule("GRPCRoute", &on_backend(extension)),
            "GRPCRoute edge/it",
            on_backend_row,
        ),
        case(
            "Gateway spec.listeners[].filters.requests[].extensionRef",
            listener("Gateway", &filtered(extension)),
            "Gateway edge/it",
            filter_row,
        ),
        case(
            "Gateway spec.listeners[].filters.requests[].externalAuth.forwardBody.maxSize",
            listener("Gateway", &filtered(auth)),
            "Gateway edge/it",
            filter_row,
        ),
        case(
            "ListenerSet spec.listeners[].filters.requests[].extensionRef",
            listener("ListenerSet", &filtered(extension)),
            "ListenerSet edge/it",
            filter_row,
        ),
        case(
            "ListenerSet spec.listeners[].filters.requests[].externalAuth.forwardBody.maxSize",
            listener("ListenerSet", &filtered(auth)),
            "ListenerSet edge/it",
            filter_row,
        ),
        case(
            "Gateway spec.listeners[].tls.options",
            listener("Gateway", options),
            "Gateway edge/it",
            "spec.listeners[0].tls.options[example.com/min-version]",
        ),
        case(
            "ListenerSet spec.listeners[].tls.options",
            listener("ListenerSet", options),
            "ListenerSet edge/it",
            "spec.listeners[0].tls.options[example.com/min-version]",
        ),
        case("XMesh spec.parametersRef", scene() + mesh, "XMesh fairway", "spec.parametersRef"),
        case(
            "XBackend spec",
            scene()
                + &x("XBackend", "{ type: ExternalHostname, externalHostname: { hostname: example.com } }"),
            "XBackend edge/it",
            "kind XBackend",
        ),
        case(
            "XBackendTrafficPolicy spec",
            scene() + &x("XBackendTrafficPolicy", &target("", "Service", "web")),
            "XBackendTrafficPolicy edge/it",
            "kind XBackendTrafficPolicy",
        ),
        case(
            "XTelemetryPolicy spec",
            scene() + &x("XTelemetryPolicy", &target("gateway.networking.k8s.io", "Gateway", "public")),
            "XTelemetryPolicy edge/it",
            "kind XTelemetryPolicy",
        ),
    ]
}

#[test]
fn what_means_nothing_where_it_stands_is_named_too() {
    let waypoint = "{ gatewayClassName: fairway-waypoint, defaultScope: All, allowedListeners: { namespaces: { from: All } }, \
                    listeners: [{ name: mesh, port: 15008, protocol: HBONE, hostname: a.example }] }";
    let class = CLASS
        .replace("fairway\n", "fairway-waypoint\n")
        .replace("name: fairway }", "name: fairway-waypoint }");
    let world = World::cluster(&(scene() + &class + &v1("Gateway", "w", waypoint)));
    world.expect("Gateway edge/w", "fairway.dev/IgnoredFields=True/NotSupported");
    world.expect("Gateway edge/w", "listener mesh: fairway.dev/IgnoredFields=True/NotSupported");
    let message = world.message("Gateway edge/w", reason::IGNORED_FIELDS);
    assert!(message.contains("spec.defaultScope") && message.contains("spec.allowedListeners"), "{message}");

    let spec = "{ parentRefs: [{ group: multicluster.x-k8s.io, kind: ServiceImport, name: far }] }";
    let world = World::cluster(&(scene() + &v1("HTTPRoute", "it", spec)));
    world.expect("HTTPRoute edge/it", "parent ServiceImport far: Accepted=False/UnsupportedValue");

    // Nothing is said of what is in order.
    let world = World::cluster(&rule("HTTPRoute", "{ backendRefs: [{ name: web, port: 80 }] }"));
    for object in ["HTTPRoute edge/it", "Gateway edge/public"] {
        assert!(!world.conditions(object).iter().any(|it| it.contains("IgnoredFields")), "{object}");
    }
}

#[test]
fn a_policy_of_another_controllers_gateway_is_not_judged() {
    let class = "\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: { name: other }\n\
                 spec: { controllerName: example.com/other }\n";
    let gateway = "{ gatewayClassName: other, listeners: [{ name: http, port: 80, protocol: HTTP }] }";
    let policy = "{ targetRefs: [{ group: gateway.networking.k8s.io, kind: Gateway, name: theirs }] }";
    let mut world = World::cluster(
        &(scene() + class + &v1("Gateway", "theirs", gateway) + &x("XTelemetryPolicy", policy)),
    );
    assert!(world.compiler.statuses().all(|(it, _)| it.to_string() != "XTelemetryPolicy edge/it"));
    // It becomes ours.
    world.add(&v1("Gateway", "theirs", &gateway.replace("other", "fairway")));
    world.expect("XTelemetryPolicy edge/it", "ancestor Gateway edge/theirs: Accepted=False/NotSupported");
}

#[test]
fn routes_that_ask_for_default_gateways_attach_to_those_and_as_they_allow() {
    let gateway = |name: &str, scope: &str, from: &str| {
        let listener = format!(
            "{{ name: http, port: 80, protocol: HTTP, allowedRoutes: {{ namespaces: {{ from: {from} }} }} }}"
        );
        v1(
            "Gateway",
            name,
            &format!("{{ gatewayClassName: fairway, defaultScope: {scope}, listeners: [{listener}] }}"),
        )
    };
    let route = |spec: &str| {
        format!(
            "\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{ name: it, namespace: shop }}\nspec: {spec}\n"
        )
    };
    let gateways = scene()
        + &gateway("all", "All", "All")
        + &gateway("same", "All", "Same")
        + &gateway("none", "None", "All");
    let mut world = World::cluster(&(gateways + &route("{ useDefaultGateways: All }")));
    world.expect("Gateway edge/all", "DefaultGateway=True/DefaultGateway");
    assert!(!world.conditions("Gateway edge/none").iter().any(|it| it.contains("DefaultGateway")));
    let accepted = |world: &World| {
        let conditions = world.conditions("HTTPRoute shop/it");
        conditions.into_iter().filter(|it| it.contains("Accepted=")).collect::<Vec<_>>()
    };
    assert_eq!(
        accepted(&world),
        [
            "parent Gateway edge/all: Accepted=True/Accepted",
            "parent Gateway edge/same: Accepted=False/NotAllowedByListeners",
        ]
    );
    assert_eq!(world.route("HTTPRoute/shop/it").unwrap().attachments.len(), 1);
    // One that is named is not there twice.
    world.add(&route("{ useDefaultGateways: All, parentRefs: [{ namespace: edge, name: all }] }"));
    assert_eq!(accepted(&world).len(), 2);
    // A Gateway that is one no more lets go.
    world.add(&route("{ useDefaultGateways: All }"));
    world.add(&gateway("all", "None", "All"));
    assert!(world.route("HTTPRoute/shop/it").is_none());
    world.add(&route("{ useDefaultGateways: None }"));
    assert!(world.compiler.statuses().all(|(it, _)| it.to_string() != "HTTPRoute shop/it"));
}

/// A status has room for 32 parents: who comes later takes none from those that are there.
#[test]
fn of_many_default_gateways_the_oldest_are_asked() {
    let gateway = |name: &str, created: &str| {
        let spec = "{ gatewayClassName: fairway, defaultScope: All, listeners: [{ name: http, port: 80, protocol: HTTP }] }";
        v1("Gateway", name, spec)
            .replace("namespace: edge }", &format!("namespace: edge, creationTimestamp: '{created}' }}"))
    };
    let newer: String = (0..40).map(|it| gateway(&format!("a-{it}"), "2026-06-01T00:00:00Z")).collect();
    let route = "{ useDefaultGateways: All, parentRefs: [{ name: public }] }";
    let world = World::cluster(
        &(scene() + &newer + &gateway("z", "2026-01-01T00:00:00Z") + &v1("HTTPRoute", "it", route)),
    );
    let accepted = world.conditions("HTTPRoute edge/it");
    let accepted: Vec<_> = accepted.iter().filter(|it| it.contains("Accepted=True")).collect();
    assert_eq!(accepted.len(), 32);
    assert!(accepted.iter().any(|it| it.contains("Gateway edge/z:")), "{accepted:?}");
}
