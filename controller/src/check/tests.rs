use super::check;
use crate::compile::{Capture, CompileSettings};
use std::path::Path;

fn settings() -> CompileSettings {
    CompileSettings { capture: Capture::On, ..CompileSettings::standalone("cluster.local".parse().unwrap()) }
}

#[test]
fn the_example_is_in_order() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/bookshop");
    let report = check(&examples, settings()).unwrap();
    assert!(!report.has_errors(), "{report}");
    insta::assert_snapshot!("bookshop", report.to_string());
}

#[test]
fn a_report_names_file_object_field_and_remedy() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(
        root.path().join("a.yaml"),
        "# a comment\napiVersion: v1\nkind: Service\nmetadata: { name: web, namespace: shop }\nspec: { ports: [{ port: 80 }] }\n---\n\
         apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: { name: r, namespace: shop }\nspec:\n\
         \x20 parentRefs: [{ group: '', kind: Service, name: web }]\n  rules: [{ backendRefs: [{ name: wbe, port: 80 }] }]\n",
    )
    .unwrap();
    std::fs::write(root.path().join("b.yaml"), "apiVersion: v1\nkind: Service\n").unwrap();
    let report = check(root.path(), settings()).unwrap();
    assert!(report.has_errors());
    let text = report.to_string();
    for part in [
        "HTTPRoute shop/r  (a.yaml:7)",
        "! parent Service web  ResolvedRefs          False    BackendNotFound",
        "error: a.yaml:7 HTTPRoute shop/r spec.rules[0].backendRefs[0]",
        "Service shop/wbe does not exist",
        "remedy: create it, or correct the name",
        "error: b.yaml:1 Service metadata.name",
    ] {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
    let json = serde_json::to_value(&report).unwrap();
    let objects = json["objects"].as_array().unwrap();
    assert!(objects.iter().any(|it| it["conditions"][1]["reason"] == "BackendNotFound"), "{json}");
    assert_eq!(json["counts"]["errors"], 2);
}

#[test]
fn a_directory_without_objects_is_an_error_that_says_what_to_give() {
    let root = tempfile::tempdir().unwrap();
    let report = check(root.path(), settings()).unwrap();
    assert!(report.has_errors());
    assert!(report.to_string().contains("there are no Kubernetes objects"), "{report}");
}

#[test]
fn a_mistake_in_yaml_is_placed_by_the_lines_of_the_file() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("a.yaml"), "kind: A\n---\nkind: B\nbad: [\n").unwrap();
    let text = check(root.path(), settings()).unwrap().to_string();
    assert!(!text.contains("column") && !text.lines().any(|line| line.ends_with(' ')), "{text}");
}

/// A Gateway, a route to port 80 (`http`) of Service `s`, and these other manifests.
fn routed(more: &str) -> String {
    let root = tempfile::tempdir().unwrap();
    let gateway = "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: { name: g, namespace: shop }\n\
                   spec: { gatewayClassName: fairway, listeners: [{ name: http, port: 80, protocol: HTTP }] }\n---\n\
                   apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: { name: r, namespace: shop }\n\
                   spec: { parentRefs: [{ name: g }], rules: [{ backendRefs: [{ name: s, port: 80 }] }] }\n---\n\
                   apiVersion: v1\nkind: Service\nmetadata: { name: s, namespace: shop }\n\
                   spec: { clusterIP: 10.96.0.1, ports: [{ name: http, port: 80 }, { name: unused, port: 81 }] }\n---\n";
    std::fs::write(root.path().join("a.yaml"), format!("{gateway}{more}")).unwrap();
    let report = check(root.path(), settings()).unwrap();
    assert!(!report.has_errors(), "it can be applied: {report}");
    report.to_string()
}

#[test]
fn a_routed_service_with_nothing_behind_its_port_is_named_with_the_reason() {
    let slice = |labels: &str, port: &str, endpoints: &str| {
        format!(
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{ name: s-1, namespace: shop, labels: {{ {labels} }} }}\n\
             addressType: IPv4\nports: [{port}]\nendpoints: [{endpoints}]\n"
        )
    };
    let (label, http) = ("kubernetes.io/service-name: s", "{ name: http, port: 8080 }");
    let one = "{ addresses: [203.0.113.1] }";
    let cases = [
        (String::new(), Some("no EndpointSlice has the label kubernetes.io/service-name=s")),
        (slice("app: s", http, one), Some("EndpointSlice shop/s-1 has no such label")),
        (slice("kubernetes.io/service-name: other", http, one), Some("no EndpointSlice has the label")),
        (slice(label, "{ name: web, port: 8080 }", one), Some("this one has `http`, those have `web`")),
        (slice(label, "{ port: 8080 }", one), Some("this one has `http`, those have no name")),
        (slice(label, "", one), Some("this one has `http`, those have none")),
        (slice(label, http, ""), Some("its EndpointSlices have no endpoint that can be used")),
        (slice(label, http, one), None),
        (slice(label, http, "{ addresses: [203.0.113.1], conditions: { ready: false } }"), None),
    ];
    for (more, said) in cases {
        let text = routed(&more);
        match said {
            Some(said) => {
                assert!(text.contains(said) && text.contains("Service shop/s spec.ports[0]"), "{more}{text}");
            }
            None => assert!(!text.contains("nothing is behind"), "{more}{text}"),
        }
        assert!(!text.contains("port 81"), "no route sends there: {text}");
    }
    let selecting = "apiVersion: v1\nkind: Service\nmetadata: { name: t, namespace: shop }\nspec: { selector: { app: t }, ports: [{ port: 80 }] }\n\
                     ---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: { name: t, namespace: shop }\n\
                     spec: { parentRefs: [{ name: g }], rules: [{ backendRefs: [{ name: t, port: 80 }] }] }\n";
    let text = routed(selecting);
    assert!(!text.contains("Service shop/t "), "the cluster makes its slices: {text}");
}

#[test]
fn v1_endpoints_in_a_directory_are_said_not_to_be_read() {
    let text = routed("apiVersion: v1\nkind: Endpoints\nmetadata: { name: s, namespace: shop }\n");
    assert!(text.contains("warning: a.yaml:16 v1 Endpoints"), "{text}");
    assert!(text.contains("no EndpointSlice has the label kubernetes.io/service-name=s"), "{text}");
}
