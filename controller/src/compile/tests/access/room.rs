//! What all policies of one object compare has a bound, at each sort of object; the oldest come first, and the rest closes it.

use super::{AT_GATEWAY, AT_PODS, AT_SERVICE, World, at_route, world};

/// A policy of a thousand values and a few.
fn large(namespace: &str, name: &str, target: &str, created: usize, how: &str) -> String {
    let ports: String = (1..=1000).map(|it| format!("{it}, ")).collect();
    format!(
        "\n---\napiVersion: fairway.dev/v1alpha1\nkind: AccessPolicy\n\
         metadata: {{ name: {name}, namespace: {namespace}, creationTimestamp: '2026-01-{created:02}T00:00:00Z' }}\n\
         spec: {{ targetRefs: [{target}], {how}, rules: [{{ to: [{{ ports: [{ports}] }}] }}] }}\n"
    )
}

const ALLOW: &str = "action: Allow";

/// The policies that judge at each sort of object, by name.
fn judges<'a>(world: &'a World, place: &str) -> Vec<&'a str> {
    let mut judges = match place {
        "Gateway" => world.judges_of_listener("edge/public/http"),
        "HTTPRoute" => world.judges_of_rules("HTTPRoute/shop/r").remove(0),
        "Service" => world.judges_of_backend("shop/web:80"),
        _ => world.judges_of_pod("shop/web-1"),
    };
    judges.sort_unstable();
    judges
}

#[test]
fn the_oldest_policies_of_an_object_have_room_and_the_first_beyond_closes_it() {
    let route = at_route("r", "");
    for (place, namespace, target, form) in [
        ("Gateway", "edge", AT_GATEWAY, "@gateway"),
        ("HTTPRoute", "shop", &*route, "@gateway"),
        ("Service", "shop", AT_SERVICE, "@service"),
        ("Pod", "shop", AT_PODS, ""),
    ] {
        let key = |name: &str, form: &str| format!("{namespace}/{name}{form}");
        // The names are not in the order of their age.
        let policies: String = ["e", "d", "c", "b"]
            .iter()
            .zip(1..)
            .map(|(name, it)| large(namespace, name, target, it, ALLOW))
            .collect();
        let mut world = world(&policies);
        let whole = ["b", "c", "d", "e"].map(|it| key(it, form));
        assert_eq!(judges(&world, place), whole, "{place}");

        // Only the first beyond is there, and it closes; one that observes is not.
        world.add(&large(namespace, "o", target, 5, "action: Deny, mode: Observe"));
        assert_eq!(judges(&world, place), whole, "{place}");
        world.add(&large(namespace, "f", target, 6, ALLOW));
        world.add(&large(namespace, "a", target, 7, ALLOW));
        let mut closed = whole.to_vec();
        closed.push(key("f", "@closed"));
        closed.sort_unstable();
        assert_eq!(judges(&world, place), closed, "{place}");
        for (name, follows) in [("a", "is closed"), ("f", "is closed"), ("o", "decides nothing")] {
            let object = format!("AccessPolicy {namespace}/{name}");
            let conditions = world.conditions(&object);
            assert!(
                conditions.iter().any(|it| it.ends_with("Accepted=False/Invalid")),
                "{place}: {conditions:?}"
            );
            let problems = world.problems();
            let told =
                problems.iter().find(|it| it.starts_with(&object)).unwrap_or_else(|| panic!("{problems:?}"));
            for part in ["spec.targetRefs[0]", "4096", follows, "remove policies"] {
                assert!(told.contains(part), "{place}: {told}");
            }
        }

        // With an older one gone there is room.
        for gone in ["b", "c", "d"] {
            world.remove(&large(namespace, gone, target, 1, ALLOW));
        }
        assert_eq!(judges(&world, place), ["a", "e", "f", "o"].map(|it| key(it, form)), "{place}");
    }
}

#[test]
fn a_policy_of_a_part_that_has_no_room_closes_the_whole_object() {
    let listener = "{ group: gateway.networking.k8s.io, kind: Gateway, name: public, sectionName: http }";
    let rule = at_route("r", ", sectionName: a");
    let policies: String = (1..=5)
        .map(|it| {
            large("edge", &format!("g{it}"), listener, it, ALLOW)
                + &large("shop", &format!("r{it}"), &rule, it, ALLOW)
        })
        .collect();
    let world = world(&policies);
    assert!(world.judges_of_listener("edge/public/http").contains(&"edge/g5@closed"));
    let rules = world.judges_of_rules("HTTPRoute/shop/r");
    assert!(rules.iter().all(|it| it.contains(&"shop/r5@closed")), "{rules:?}");
}

#[test]
fn many_objects_with_a_few_policies_each_have_room() {
    let policies: String = (1..=4)
        .map(|it| {
            large("shop", &format!("s{it}"), AT_SERVICE, it, ALLOW)
                + &large("shop", &format!("p{it}"), AT_PODS, it, ALLOW)
        })
        .collect();
    let world = world(&policies);
    for place in ["Service", "Pod"] {
        assert!(judges(&world, place).iter().all(|it| !it.ends_with("@closed")), "{place}");
    }
}
