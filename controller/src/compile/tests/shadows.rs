//! Routes of which another takes the requests.

use super::{GATEWAY, SHOP, World};

fn route(kind: &str, name: &str, created: &str, host: &str, matches: &str) -> String {
    format!(
        "\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\n\
         metadata: {{ name: {name}, namespace: shop, creationTimestamp: '2026-01-01T00:00:{created}Z' }}\n\
         spec:\n  parentRefs: [{{ name: public, namespace: edge }}]\n  hostnames: [{host}]\n\
         \x20 rules: [{{ matches: [{matches}], backendRefs: [{{ name: web, port: 80 }}] }}]\n"
    )
}

fn world(more: &str) -> World {
    World::plain(&format!("{GATEWAY}---\n{SHOP}{more}"))
}

const PATH: &str = "{ path: { value: /a }, headers: [{ name: h, value: '1' }, { name: i, value: '2' }] }";

#[test]
fn a_route_hears_which_other_takes_its_requests() {
    let turned = "{ headers: [{ name: I, value: '2' }, { name: H, value: '1' }], path: { value: /a/ } }";
    for (host, matches, is_shadowed) in [
        ("a.example.com", PATH, true),
        ("a.example.com", turned, true),
        ("a.example.com", &format!("{{ path: {{ value: /other }} }}, {PATH}"), true),
        ("a.example.com", "{ path: { value: /a } }", false),
        (
            "a.example.com",
            "{ path: { type: Exact, value: /a }, headers: [{ name: h, value: '1' }, { name: i, value: '2' }] }",
            false,
        ),
        ("b.example.com", PATH, false),
        // Its own hostname is less specific: it has what is left of it, always.
        ("'*.example.com'", PATH, false),
    ] {
        let mut world = world(
            &(route("HTTPRoute", "older", "01", "a.example.com", PATH)
                + &route("HTTPRoute", "newer", "02", host, matches)),
        );
        let message =
            |world: &World, name: &str| world.message(&format!("HTTPRoute shop/{name}"), "Accepted");
        for name in ["older", "newer"] {
            world.expect(
                &format!("HTTPRoute shop/{name}"),
                "parent Gateway edge/public: Accepted=True/Accepted",
            );
        }
        assert_eq!(
            message(&world, "newer").contains("HTTPRoute shop/older"),
            is_shadowed,
            "{host} {matches}"
        );
        assert!(!message(&world, "older").contains("newer"));
        assert_eq!(world.problems().iter().any(|it| it.contains("shop/newer")), is_shadowed);

        world.remove(&route("HTTPRoute", "older", "01", "a.example.com", PATH));
        assert!(!message(&world, "newer").contains("shop/older"), "the way is free");
    }
}

#[test]
fn of_the_same_age_the_first_by_name_goes_first() {
    let of = |name| route("HTTPRoute", name, "01", "a.example.com", PATH);
    let world = world(&(of("b") + &of("c") + &of("a")));
    for (name, before) in [("b", true), ("c", true), ("a", false)] {
        let message = world.message(&format!("HTTPRoute shop/{name}"), "Accepted");
        assert_eq!(message.contains("HTTPRoute shop/a"), before, "{name}: {message}");
        assert!(!message.contains("shop/b") && !message.contains("shop/c"), "{name}: {message}");
    }
}

#[test]
fn names_of_one_age_are_in_the_order_of_their_text_as_in_the_proxies() {
    // `-` stands before `/`, and `.` too; `0` does not.
    for (first, second) in [("team-a", "team"), ("a", "b"), ("team", "team0")] {
        let of = |namespace: &str| {
            let route = route("HTTPRoute", "x", "01", "a.example.com", PATH);
            route.replace("namespace: shop", &format!("namespace: {namespace}"))
        };
        let world = world(&(of(second) + &of(first)));
        let message = |namespace: &str| world.message(&format!("HTTPRoute {namespace}/x"), "Accepted");
        assert!(message(second).contains(&format!("HTTPRoute {first}/x")), "{}", message(second));
        assert!(!message(first).contains(&format!("{second}/x")), "{}", message(first));
    }
}

#[test]
fn routes_that_nobody_shadows_cost_nothing_more() {
    let mut world = world(&route("HTTPRoute", "one", "01", "a.example.com", PATH));
    world.add(&route("HTTPRoute", "two", "02", "b.example.com", PATH));
    assert_eq!(world.compiler.runs(), 3, "its binding, itself, and the Gateway's count of routes");
}
