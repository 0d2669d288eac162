use super::check;
use crate::compile::{Capture, Settings};
use std::path::Path;

fn settings() -> Settings {
    Settings { capture: Capture::On, ..Settings::standalone("cluster.local".parse().unwrap()) }
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
