//! `fairway check`: an exit code for CI, words for people, JSON for machines.
#![allow(clippy::unwrap_used, clippy::expect_used)] // all of it is tests

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};

const GOOD: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge, namespace: shop }
spec:
  gatewayClassName: fairway
  listeners:
    - { name: http, port: 8080, protocol: HTTP }
---
apiVersion: v1
kind: Service
metadata: { name: books, namespace: library }
spec:
  selector: { app: books }
  ports: [{ name: http, port: 80 }]
---
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: { name: shop-may-use-books, namespace: library }
spec:
  from:
    - { group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: shop }
  to:
    - { group: \"\", kind: Service, name: books }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: books, namespace: shop }
spec:
  parentRefs:
    - { name: edge }
  hostnames: [books.example]
  rules:
    - matches:
        - path: { type: PathPrefix, value: / }
      backendRefs:
        - { name: books, namespace: library, port: 80 }
";

/// A mistake: what is replaced by what, and what is to be said of it. The route is at line 25 whatever is wrong in it.
const MISTAKES: [(&str, &str, &str, &str, &str); 6] = [
    (
        "name: books, namespace: library, port",
        "name: bokos, namespace: library, port",
        "HTTPRoute shop/books spec.rules[0].backendRefs[0]",
        "Service library/bokos",
        "ReferenceGrant",
    ),
    (
        "name: books, namespace: library, port",
        "name: books, port",
        "HTTPRoute shop/books spec.rules[0].backendRefs[0]",
        "Service shop/books does not exist",
        "create it, or correct the name",
    ),
    (
        "kind: HTTPRoute, namespace: shop",
        "kind: HTTPRoute, namespace: mall",
        "HTTPRoute shop/books spec.rules[0].backendRefs[0]",
        "another namespace, which does not grant its use",
        "namespace: shop",
    ),
    (
        "hostnames: [books",
        "hostname: [books",
        "HTTPRoute shop/books spec.hostname",
        "no such field",
        "did you mean `hostnames`?",
    ),
    (
        "type: PathPrefix",
        "type: Prefix",
        "HTTPRoute shop/books spec.rules[0].matches[0].path.type",
        "`Prefix` is not allowed",
        "use one of Exact, PathPrefix, RegularExpression",
    ),
    (
        "- { name: edge }",
        "- { name: egde }",
        "HTTPRoute shop/books spec.parentRefs[0]",
        "Gateway shop/egde",
        "create it",
    ),
];

fn check(directory: &Path, flags: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fairway"));
    let output = command.arg("check").arg(directory).args(flags).stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().expect("no signal"), text(output.stdout), text(output.stderr))
}

fn directory_of(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("shop.yaml"), text).unwrap();
    folder
}

#[test]
fn a_limit_is_said_to_be_one_of_each_replica() {
    let policy = "---
apiVersion: fairway.dev/v1alpha1
kind: RateLimitPolicy
metadata: { name: few, namespace: shop }
spec:
  targetRefs: [{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: books }]
  local: [{ name: each, requests: 10, per: Minute, key: [{ type: ClientAddress }] }]
";
    let folder = directory_of(&format!("{GOOD}{policy}"));
    let (code, said, complained) = check(folder.path(), &[]);
    assert_eq!(code, 0, "{said}{complained}");
    let text = "the limit is per replica: one counts, and lets pass up to 10 requests per Minute for each client address (each)";
    for part in ["RateLimitPolicy shop/few", text, "0 errors, 0 warnings"] {
        assert!(said.contains(part), "`{part}` is not in:\n{said}");
    }
}

#[test]
fn a_directory_in_order_passes_and_shows_every_condition() {
    let folder = directory_of(GOOD);
    let (code, said, complained) = check(folder.path(), &[]);
    assert_eq!(code, 0, "{said}{complained}");
    for part in [
        "Gateway shop/edge  (shop.yaml:1)",
        "HTTPRoute shop/books",
        "listener http  Programmed",
        "0 errors, 0 warnings",
    ] {
        assert!(said.contains(part), "`{part}` is not in:\n{said}");
    }
    assert!(!said.contains("\x1b["), "no colour where nobody looks");

    let (code, said, _) = check(folder.path(), &["--output", "json"]);
    let report: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &report["counts"]["errors"]), (0, &0.into()));
    let conditions = |object: &str| {
        let objects = report["objects"].as_array().unwrap();
        let found = objects.iter().find(|it| it["object"] == object).expect(object);
        found["conditions"].as_array().unwrap().clone()
    };
    for object in ["Gateway shop/edge", "HTTPRoute shop/books"] {
        let conditions = conditions(object);
        assert!(conditions.iter().any(|it| it["type"] == "Accepted" && it["status"] == "True"), "{object}");
        assert!(conditions.iter().all(|it| it["bad"] == false), "{object}: {conditions:?}");
    }
}

#[test]
fn the_example_is_in_order() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/bookshop");
    let (code, said, complained) = check(&example, &[]);
    assert_eq!(code, 0, "{said}{complained}");
    assert!(said.contains("0 errors, 0 warnings"), "{said}");
}

#[test]
fn every_mistake_fails_and_is_named_with_place_and_remedy() {
    for (right, wrong, place, what, remedy) in MISTAKES {
        let text = GOOD.replace(right, wrong);
        assert_ne!(text, GOOD, "{right}");
        let folder = directory_of(&text);
        let (code, said, _) = check(folder.path(), &[]);
        assert_eq!(code, 1, "{wrong}: {said}");
        let heading = format!("error: shop.yaml:25 {place}\n");
        assert!(said.contains(&heading), "`{heading}` is not in:\n{said}");
        assert!(said.contains(what) && said.contains("  remedy: "), "{said}");

        let (code, said, _) = check(folder.path(), &["--output", "json"]);
        assert_eq!(code, 1, "{wrong}");
        let report: Value = serde_json::from_str(&said).unwrap();
        let results = report["diagnostics"].as_array().unwrap();
        let is_it = |it: &&Value| {
            let part = |name: &str| it["object"][name].as_str().unwrap();
            let object = format!("{} {}/{}", part("kind"), part("namespace"), part("name"));
            format!("{object} {}", it["field"].as_str().unwrap()) == place
        };
        let result = results.iter().find(is_it).expect(place);
        let part = |name: &str| result[name].as_str().unwrap().to_owned();
        assert_eq!(part("severity"), "error");
        assert_eq!(
            (&result["location"]["file"], &result["location"]["line"]),
            (&"shop.yaml".into(), &25.into())
        );
        assert!(!part("reason").is_empty(), "{result}");
        assert!(part("message").contains(what), "{result}");
        assert!(part("remedy").contains(remedy), "{result}");
        for result in results {
            assert!(!result["remedy"].as_str().unwrap().is_empty(), "no remedy: {result}");
        }
        assert_eq!(report["counts"]["errors"], results.len(), "{wrong}");
    }
}

#[test]
fn a_file_that_cannot_be_parsed_is_named_with_its_line() {
    let folder = directory_of(&format!("{GOOD}---\nkind: [\n"));
    let (code, said, _) = check(folder.path(), &[]);
    assert_eq!(code, 1, "{said}");
    let line = GOOD.lines().count() + 2;
    assert!(said.contains(&format!("error: shop.yaml:{line}\n")) && said.contains("remedy: "), "{said}");
}

#[test]
fn a_directory_that_is_not_there_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let (code, said, complained) = check(&folder.path().join("missing"), &[]);
    assert_eq!((code, said.as_str()), (1, ""));
    assert!(complained.contains("missing cannot be read"), "{complained}");
}
