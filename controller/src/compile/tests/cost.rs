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
