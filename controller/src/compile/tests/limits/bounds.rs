//! The edges of what is counted: the last number that is valid, the last value that there is room for, and what counts twice or not at all.

use super::*;

fn made(namespace: &str, name: &str, second: u32, targets: &str, spec: &str) -> String {
    let created = format!("generation: 2, creationTimestamp: '2026-01-01T00:00:0{second}Z'");
    policy(namespace, name, targets, spec).replace("generation: 2", &created)
}

/// As many limits as an object has room for, in four policies.
fn full(namespace: &str, targets: &str) -> String {
    let sixteen = format!("local: [{}]", vec!["{ requests: 10, per: Second }"; 16].join(", "));
    let each = ["a", "b", "c", "d"].into_iter().zip(0..);
    each.map(|(name, second)| made(namespace, name, second, targets, &sixteen)).collect()
}

const SHARED: &str = "
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: shared, namespace: edge }
spec:
  gatewayClassName: fairway
  allowedListeners: { namespaces: { from: All } }
  listeners:
    - { name: http, port: 8081, protocol: HTTP }
    - { name: other, port: 8082, protocol: HTTP }
    - { name: bytes, port: 8083, protocol: TCP }
";

fn listener_set(name: &str, listeners: &str) -> String {
    format!(
        "\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: ListenerSet\nmetadata: {{ name: {name}, namespace: shop }}\n\
         spec: {{ parentRef: {{ name: shared, namespace: edge }}, listeners: [{listeners}] }}\n"
    )
}

#[test]
fn what_there_is_no_room_for_closes_the_whole_object_also_where_it_names_a_part() {
    let route = at_route("r", "");
    let at_rule = at_route("r", ", sectionName: a");
    let world = world(&(full("shop", &route) + &made("shop", "v", 6, &at_rule, TEN)));
    for rule in world.limits_of_rules("HTTPRoute/shop/r") {
        assert!(rule.contains(&"shop/v@closed"), "{rule:?}");
    }
    let shared = AT_GATEWAY.replace("public", "shared");
    let at_listener = AT_LISTENER.replace("public", "shared");
    let world =
        self::world(&format!("{SHARED}{}{}", full("edge", &shared), made("edge", "v", 6, &at_listener, TEN)));
    for listener in ["edge/shared/http", "edge/shared/other", "edge/shared/bytes"] {
        assert!(world.limits_of_listener(listener).contains(&"edge/v@closed"), "{listener}");
    }
}

#[test]
fn one_value_more_than_there_is_room_for_is_too_many() {
    let one_value = "{ requests: 10, per: Second, matches: [{ hosts: [a.ex] }] }";
    for (last, expected) in
        [("{ requests: 10, per: Second }", "shop/e@Service/web"), (one_value, "shop/e@closed")]
    {
        let limits = |count: usize, last: &str| {
            let all: Vec<&str> =
                std::iter::repeat_n("{ requests: 10, per: Second }", count).chain([last]).collect();
            format!("local: [{}]", all.join(", "))
        };
        let plain = limits(15, "{ requests: 10, per: Second }");
        let mut world = world("");
        for (name, second) in ["a", "b", "c"].into_iter().zip(0..) {
            world.add(&made("shop", name, second, AT_SERVICE, &plain));
        }
        world.add(&made("shop", "e", 5, AT_SERVICE, &limits(15, last)));
        assert!(world.limits_of_backend("shop/web:80").contains(&expected), "{last}");
    }
}

#[test]
fn a_million_is_the_most_that_is_valid() {
    let most = "local: [{ requests: 1000000, per: Second, burst: 1000000 }]";
    let world = world(&policy("edge", "p", AT_GATEWAY, most));
    assert_eq!(world.each("edge/p@Gateway/public")[0].requests.get(), 1_000_000);
    world.expect("RateLimitPolicy edge/p", "ancestor Gateway edge/public: Accepted=True/Accepted");
}

#[test]
fn a_policy_that_names_a_route_and_a_rule_that_is_not_there_counts_each_request_once() {
    let targets = format!("{}, {}", at_route("r", ""), at_route("r", ", sectionName: gone"));
    let world = world(&policy("shop", "p", &targets, TEN));
    let once = vec!["shop/p@HTTPRoute/r"];
    assert_eq!(world.limits_of_rules("HTTPRoute/shop/r"), [once.clone(), once]);
}

#[test]
fn the_first_key_that_cannot_be_carried_out_is_named() {
    let by_address = "{ requests: 1, per: Second, key: [{ type: ClientAddress }] }";
    let world = world(&policy("shop", "p", AT_SERVICE, &format!("local: [{by_address}, {by_address}]")));
    let problems: Vec<_> =
        world.problems().into_iter().filter(|it| it.contains("behind a waypoint")).collect();
    assert!(
        problems.iter().all(|it| it.contains("spec.local[0].key[0]")) && !problems.is_empty(),
        "{problems:?}"
    );
    let by_identity = "{ requests: 1, per: Second, key: [{ type: Identity }] }";
    let world =
        self::world(&policy("edge", "p", AT_GATEWAY, &format!("local: [{by_identity}, {by_identity}]")));
    let problems: Vec<_> = world.problems().into_iter().filter(|it| it.contains("counted as one")).collect();
    assert!(
        problems.iter().all(|it| it.contains("spec.local[0].key[0]")) && !problems.is_empty(),
        "{problems:?}"
    );
}

/// Of listeners of others a policy is told nothing.
#[test]
fn a_policy_of_a_listener_set_is_told_of_its_own_listeners_only() {
    let own = listener_set("ls", "{ name: x, port: 8084, protocol: HTTP }");
    let other = listener_set("raw", "{ name: raw, port: 8085, protocol: TCP }");
    let at_set = "{ group: gateway.networking.k8s.io, kind: ListenerSet, name: ls }";
    let world = world(&format!("{SHARED}{own}{other}{}", policy("shop", "p", at_set, TEN)));
    world.expect("RateLimitPolicy shop/p", "ancestor ListenerSet shop/ls: Accepted=True/Accepted");
    let message = world.message_of("RateLimitPolicy shop/p", "ancestor ListenerSet shop/ls", "Accepted");
    assert!(!message.contains("only bytes are seen"), "{message}");
}

#[test]
fn a_policy_that_observes_is_not_said_to_refuse_anything() {
    let ports = |of_80: &str, of_81: &str| {
        SHOP.replace("spec:\n  selector", "spec:\n  clusterIP: 10.96.0.1\n  selector")
            .replace("{ name: http, port: 80,", &format!("{{ name: http, port: 80, {of_80}"))
            .replace("{ name: admin, port: 81,", &format!("{{ name: admin, port: 81, {of_81}"))
    };
    for (of_80, of_81) in [("appProtocol: http,", "appProtocol: tcp,"), ("", "appProtocol: http,")] {
        let policy = policy("shop", "p", AT_SERVICE, &format!("mode: Observe, {TEN}"));
        let world = World::cluster(&format!("{GATEWAY}{CLASSES}---\n{}{policy}", ports(of_80, of_81)));
        world.expect("RateLimitPolicy shop/p", "ancestor Service shop/web: Accepted=True/Accepted");
        let message = world.message_of("RateLimitPolicy shop/p", "ancestor Service shop/web", "Accepted");
        assert!(!message.contains("refused"), "{message}");
    }
}
