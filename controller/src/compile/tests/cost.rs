//! What an edit costs.

use super::{GATEWAY, SHOP, World};
use crate::compile::Compiler;
use crate::resources::Edit;
use crate::source::objects;

const ROUTES: usize = 5_000;

fn route(index: usize, path: &str) -> String {
    format!(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{ name: r{index}, namespace: shop }}\nspec:\n\
         \x20 parentRefs: [{{ name: public, namespace: edge }}]\n  hostnames: [h{index}.example.com]\n\
         \x20 rules: [{{ matches: [{{ path: {{ value: {path} }} }}], backendRefs: [{{ name: web, port: 80 }}] }}]\n"
    )
}

#[test]
fn an_edit_of_one_route_among_thousands_runs_two_units() {
    let routes: String = (0..ROUTES).map(|index| route(index, "/a")).collect();
    let start = tokio::time::Instant::now();
    let mut world = World::plain(&format!("{GATEWAY}---\n{SHOP}"));
    let parsed = objects(&routes);
    let read = start.elapsed();
    let output = world.apply(parsed.into_iter().map(Edit::Upsert).collect());
    assert_eq!(output.upserts.len(), ROUTES);
    let whole = start.elapsed() - read;

    let edits = objects(&route(17, "/b"));
    let start = tokio::time::Instant::now();
    let output = world.compiler.apply(edits.into_iter().map(Edit::Upsert));
    let one = start.elapsed();
    println!("{ROUTES} routes: parsed in {read:?}, compiled in {whole:?}; one edited: {one:?}");
    assert_eq!((output.upserts.len(), output.statuses.len()), (1, 0));
    assert_eq!(world.compiler.runs(), 2, "its binding and itself");
    // Generous: other tests run beside this one, and nothing is optimised.
    assert!(one.as_millis() < 50, "{one:?}");
}

#[test]
fn an_edit_of_an_endpoint_touches_no_route() {
    let routes: String = (0..50).map(|index| route(index, "/a")).collect();
    let mut world = World::plain(&format!("{GATEWAY}---\n{SHOP}{routes}"));
    let output = world.add(&SHOP.replace("10.0.0.1", "10.0.0.2"));
    let kinds: Vec<String> = output.upserts.iter().map(|it| it.key().to_string()).collect();
    assert_eq!(kinds, ["Endpoints shop/web:80", "Endpoints shop/web:81", "Workload shop/web-1"]);
    assert!(world.compiler.runs() <= 6, "{}", world.compiler.runs());
}

#[test]
fn the_same_objects_again_change_nothing() {
    let mut world = World::plain(&format!("{GATEWAY}---\n{SHOP}{}", route(1, "/")));
    let again = world.add(&format!("{GATEWAY}---\n{SHOP}{}", route(1, "/")));
    assert!(again.is_empty(), "{again:?}");
    assert_eq!(world.compiler.runs(), 0);
}

#[test]
fn nothing_is_left_when_everything_is_gone() {
    let all = format!("{GATEWAY}---\n{SHOP}{}", route(1, "/"));
    let mut compiler = Compiler::new(super::settings());
    let objects = objects(&all);
    compiler.apply(objects.iter().cloned().map(Edit::Upsert));
    compiler.apply(objects.iter().map(|it| Edit::Remove(it.reference())));
    assert_eq!(compiler.resources().count() + compiler.statuses().count() + compiler.proxies().count(), 0);
    assert_eq!(compiler.problems().count() + compiler.instances(), 0);
}

/// Services that require their waypoint, each with pods of its own.
fn guarding(services: usize, pods: usize) -> String {
    let service = |it: usize| {
        let pod = |number: usize| pod_of(it, number, "True");
        let pods: String = (0..pods).map(pod).collect();
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{ name: s{it}, namespace: shop, labels: {{ fairway.dev/waypoint: required }} }}\n\
             spec: {{ clusterIP: 10.96.1.{it}, selector: {{ app: s{it} }}, ports: [{{ name: http, port: 80, targetPort: 8080 }}] }}\n\
             ---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
             metadata: {{ name: s{it}-1, namespace: shop, labels: {{ kubernetes.io/service-name: s{it} }} }}\n\
             addressType: IPv4\nports: [{{ name: http, port: 8080 }}]\nendpoints: [{{ addresses: [10.1.{it}.0] }}]\n{pods}"
        )
    };
    (0..services).map(service).collect()
}

fn pod_of(service: usize, number: usize, ready: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{ name: p{service}-{number}, namespace: shop, labels: {{ app: s{service} }} }}\n\
         spec: {{ serviceAccountName: a, nodeName: n1, containers: [] }}\n\
         status: {{ podIP: 10.1.{service}.{number}, conditions: [{{ type: Ready, status: '{ready}' }}] }}\n"
    )
}

#[test]
fn an_edit_of_a_guarded_pod_costs_the_same_however_many_services_and_pods_there_are() {
    let namespace =
        "apiVersion: v1\nkind: Namespace\nmetadata: { name: shop, labels: { fairway.dev/mesh: enabled } }\n";
    let runs = |services: usize, pods: usize| {
        let mut world = World::cluster(&format!("{namespace}{}", guarding(services, pods)));
        let guards = world.compiler.resources().filter(|(key, _)| key.name.starts_with("waypoint-required/"));
        assert_eq!(guards.count(), services);
        world.add(&pod_of(0, 1, "False"));
        let edited = world.compiler.runs();
        // One more of the first Service: nobody else looks at its pods.
        world.add(&pod_of(0, 200, "True"));
        (edited, world.compiler.runs())
    };
    let few = runs(2, 2);
    println!("{few:?}");
    assert_eq!(few, runs(20, 2));
    assert_eq!(few, runs(2, 20));
}
