//! What thousands of routes weigh. Measures, and is run by hand:
//! `cargo test -p fairway-controller --release -- --ignored --nocapture weigh`.

use crate::compile::{Capture, CompileSettings, Compiler, Mode};
use crate::resources::Edit;
use crate::source::objects;

const ROUTES: usize = 5_000;
const NAMESPACES: usize = 50;

/// A Service for so many routes. It has two endpoints: a pod, and an address outside the cluster.
const ROUTES_OF_SERVICE: usize = 1;

/// As a cluster has them: two rules and a hostname in each route.
fn namespace(index: usize) -> String {
    let mut yaml = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{ name: team-{index} }}\n");
    for service in 0..ROUTES / NAMESPACES / ROUTES_OF_SERVICE {
        yaml += &format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{ name: pod-{service}, namespace: team-{index}, labels: {{ app: a }} }}\n\
             spec: {{ serviceAccountName: default, nodeName: node-{index}, containers: [] }}\n\
             status: {{ podIP: 10.2.{index}.{service}, hostIP: 192.0.2.{index} }}\n"
        );
        yaml += &format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{ name: service-{service}, namespace: team-{index}, labels: {{ app: a }} }}\n\
             spec: {{ clusterIP: 10.1.{index}.{service}, ports: [{{ name: http, port: 80, targetPort: 8080 }}] }}\n\
             ---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
             metadata: {{ name: service-{service}-x, namespace: team-{index}, labels: {{ kubernetes.io/service-name: service-{service} }} }}\n\
             addressType: IPv4\nports: [{{ name: http, port: 8080 }}]\n\
             endpoints: [{{ addresses: [10.2.{index}.{service}] }}, {{ addresses: [10.3.{index}.{service}] }}]\n"
        );
    }
    for route in 0..ROUTES / NAMESPACES {
        let service = route / ROUTES_OF_SERVICE;
        yaml += &format!(
            "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n\
             metadata: {{ name: route-{route}, namespace: team-{index}, generation: 1, uid: 11111111-2222-3333-4444-555555555555, labels: {{ app: shop, team: team-{index} }} }}\n\
             spec:\n  parentRefs: [{{ name: public, namespace: edge }}]\n  hostnames: [route-{route}.team-{index}.example.com]\n  rules:\n\
             \x20   - {{ matches: [{{ path: {{ type: PathPrefix, value: /api }} }}], backendRefs: [{{ name: service-{service}, port: 80 }}] }}\n\
             \x20   - {{ matches: [{{ path: {{ type: PathPrefix, value: / }} }}], backendRefs: [{{ name: service-{service}, port: 80 }}] }}\n"
        );
    }
    yaml
}

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|it| it.parse::<usize>().ok()).unwrap_or_default() * 4096
}

#[test]
#[ignore = "a measurement"]
fn weigh() {
    let settings = CompileSettings { capture: Capture::On, mode: Mode::Kubernetes, ..super::settings() };
    let mut compiler = Compiler::new(settings);
    let class = "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: { name: fairway }\n\
        spec: { controllerName: fairway.dev/controller }\n";
    compiler.apply(objects(&format!("{class}---\n{}", super::GATEWAY)).into_iter().map(Edit::Upsert));
    // Parsed in pieces, so that texts do not weigh in.
    let parsed: Vec<_> = (0..NAMESPACES).flat_map(|it| objects(&namespace(it))).collect();
    let before = resident();
    // Kept until the end: what was given back would be used again, unseen.
    let again: Vec<_> = (0..NAMESPACES).flat_map(|it| objects(&namespace(it))).collect();
    let objects_weigh = resident().saturating_sub(before);
    let before = resident();
    let start = tokio::time::Instant::now();
    let output = compiler.apply(parsed.into_iter().map(Edit::Upsert));
    let took = start.elapsed();
    let with_output = resident();
    println!("output: {} resources, {} statuses", output.upserts.len(), output.statuses.len());
    drop(output);
    println!(
        "{ROUTES} routes: objects {} KiB, compiling {} KiB (with its output), {} B for each route",
        objects_weigh >> 10,
        with_output.saturating_sub(before) >> 10,
        with_output.saturating_sub(before) / ROUTES
    );
    assert_eq!(again.len(), compiler.objects().len() - 2);
    println!("compiled in {took:?}, {} runs", compiler.runs());
    let mut edit = |what: &str, yaml: &str| {
        let edits: Vec<Edit> = objects(yaml).into_iter().map(Edit::Upsert).collect();
        let start = tokio::time::Instant::now();
        compiler.apply(edits);
        println!("one {what} edited: {:?}, {} runs", start.elapsed(), compiler.runs());
    };
    let text = namespace(7);
    for (what, kind, from, to) in [
        ("route", "kind: HTTPRoute", "/api", "/edited"),
        ("Service", "kind: Service\n", "targetPort: 8080", "targetPort: 8081"),
        ("EndpointSlice", "kind: EndpointSlice", "10.3.7.", "10.3.77."),
        ("Pod", "kind: Pod", "podIP: 10.2.7.", "podIP: 10.2.77."),
    ] {
        let one = text.split("---\n").filter(|it| it.contains(kind)).nth(3).unwrap_or_default();
        edit(what, &one.replace(from, to));
    }
}
