//! Where a policy counts, where it closes, and what its targets have room for.

use super::*;

const AT_SET: &str = "{ group: gateway.networking.k8s.io, kind: ListenerSet, name: ls }";

/// A Gateway that lets others add listeners, and a ListenerSet that adds two.
const WITH_SET: &str = "
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: shared, namespace: edge }
spec:
  gatewayClassName: fairway
  allowedListeners: { namespaces: { from: All } }
  listeners:
    - { name: http, port: 8081, protocol: HTTP }
    - { name: bytes, port: 8082, protocol: TCP }
---
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: { name: ls, namespace: shop }
spec:
  parentRef: { name: shared, namespace: edge }
  listeners:
    - { name: x, port: 8083, protocol: HTTP }
    - { name: w, port: 8084, protocol: HTTP }
";

const X: &str = "edge/shared/shop/ls/x";
const W: &str = "edge/shared/shop/ls/w";

#[test]
fn a_policy_of_a_listener_set_counts_what_comes_by_its_own_listeners() {
    let shared = AT_GATEWAY.replace("public", "shared");
    let mut world = world(&format!("{WITH_SET}{}", policy("edge", "all", &shared, TEN)));
    world.add(&policy("shop", "set", AT_SET, TEN));
    world.add(&policy("shop", "one", &AT_SET.replace("name: ls", "name: ls, sectionName: x"), TEN));
    world.add(&policy("shop", "gone", &AT_SET.replace("name: ls", "name: ls, sectionName: gone"), TEN));
    // Of another namespace's ListenerSet nobody has to do with it.
    world.add(&policy("edge", "foreign", AT_SET, TEN));
    let (of_gateway, of_set) =
        ("edge/all@Gateway/shared", ["shop/gone@ListenerSet/ls", "shop/set@ListenerSet/ls"]);
    assert_eq!(world.limits_of_listener(X), [of_gateway, of_set[0], of_set[1], "shop/one@ListenerSet/ls/x"]);
    assert_eq!(world.limits_of_listener(W), [of_gateway, of_set[0], of_set[1]]);
    assert_eq!(world.limits_of_listener("edge/shared/http"), [of_gateway]);
    world.expect("RateLimitPolicy shop/set", "ancestor ListenerSet shop/ls: Accepted=True/Accepted");
    world.expect(
        "RateLimitPolicy shop/gone",
        "ancestor ListenerSet shop/ls section gone: Accepted=False/TargetNotFound",
    );
    world.expect(
        "RateLimitPolicy edge/foreign",
        "ancestor ListenerSet edge/ls: Accepted=False/TargetNotFound",
    );
}

#[test]
fn a_policy_of_a_whole_listener_set_that_cannot_be_carried_out_closes_its_listeners_and_no_others() {
    for spec in ["local: 7", "local: [{ requests: 0, per: Second }]"] {
        let world = world(&format!("{WITH_SET}{}", policy("shop", "p", AT_SET, spec)));
        for key in [X, W] {
            assert_eq!(world.limits_of_listener(key), ["shop/p@ListenerSet/ls"], "{spec}");
        }
        assert!(world.is_closed("shop/p@ListenerSet/ls"), "{spec}");
        assert!(world.limits_of_listener("edge/shared/http").is_empty(), "{spec}");
    }
}

#[test]
fn a_listener_that_carries_bytes_is_not_counted_or_closed_and_the_status_says_so() {
    let shared = AT_GATEWAY.replace("public", "shared");
    let mut world = world(&format!("{WITH_SET}{}", policy("edge", "p", &shared, TEN)));
    assert!(world.limits_of_listener("edge/shared/bytes").is_empty());
    let message = world.message_of("RateLimitPolicy edge/p", "ancestor Gateway edge/shared", "Accepted");
    assert!(message.contains("only bytes are seen are not counted: bytes"), "{message}");
    // Who names it wants it limited, and nobody can.
    world.add(&policy("edge", "p", &shared.replace("name: shared", "name: shared, sectionName: bytes"), TEN));
    assert_eq!(world.limits_of_listener("edge/shared/bytes"), ["edge/p@Gateway/shared/bytes"]);
    world.expect(
        "RateLimitPolicy edge/p",
        "ancestor Gateway edge/shared section bytes: Accepted=False/Invalid",
    );
    let message =
        world.message_of("RateLimitPolicy edge/p", "ancestor Gateway edge/shared section bytes", "Accepted");
    assert!(message.contains("the listener is closed"), "{message}");
}

#[test]
fn a_service_is_limited_where_requests_are_seen_and_closed_where_they_are_not() {
    let ports = |http: &str, admin: &str| {
        SHOP.replace("spec:\n  selector", "spec:\n  clusterIP: 10.96.0.1\n  selector")
            .replace("{ name: http, port: 80,", &format!("{{ name: http, port: 80, {http}"))
            .replace("{ name: admin, port: 81,", &format!("{{ name: admin, port: 81, {admin}"))
    };
    let (http, tcp) = ("appProtocol: http,", "appProtocol: tcp,");
    let about =
        |port: u16| format!("local: [{{ requests: 10, per: Second, matches: [{{ ports: [{port}] }}] }}]");
    let accepted = "Accepted=True/Accepted";
    for (of_80, of_81, spec, expected, says) in [
        (http, http, TEN.to_owned(), accepted, ""),
        ("", http, TEN.to_owned(), accepted, "What is not HTTP is refused at ports without appProtocol: 80"),
        (
            http,
            tcp,
            TEN.to_owned(),
            accepted,
            "Only bytes are seen at these ports, so connections to them are refused: 81",
        ),
        (http, tcp, about(80), accepted, ""),
        (
            tcp,
            tcp,
            TEN.to_owned(),
            "Accepted=False/Invalid",
            "requests are seen (appProtocol says so of: 80, 81)",
        ),
        (http, tcp, about(81), "Accepted=False/Invalid", "requests are seen (appProtocol says so of: 81)"),
        (
            "appProtocol: https,",
            tcp,
            TEN.to_owned(),
            "Accepted=False/Invalid",
            "connections to them are refused",
        ),
    ] {
        let policy = policy("shop", "p", AT_SERVICE, &spec);
        let world = World::cluster(&format!("{GATEWAY}{CLASSES}---\n{}{policy}", ports(of_80, of_81)));
        let case = format!("{of_80} {of_81} {spec}");
        // Whatever is said, the proxies have the limit: they refuse the bytes.
        assert_eq!(world.limits_of_backend("shop/web:80"), ["shop/p@Service/web"], "{case}");
        assert_eq!(world.limits_of_backend("shop/web:81"), ["shop/p@Service/web"], "{case}");
        world.expect("RateLimitPolicy shop/p", &format!("ancestor Service shop/web: {expected}"));
        let message = world.message_of("RateLimitPolicy shop/p", "ancestor Service shop/web", "Accepted");
        assert!(message.contains(says), "{case}: {message}");
        assert_eq!(message.contains("refused"), !says.is_empty(), "{case}: {message}");
    }
}

#[test]
fn a_route_of_bytes_that_a_limit_names_takes_nothing_on() {
    let route = "
---
apiVersion: gateway.networking.k8s.io/v1alpha2
kind: TCPRoute
metadata: { name: b, namespace: edge }
spec:
  parentRefs: [{ name: shared, sectionName: bytes }]
  rules: [{ backendRefs: [{ name: web, namespace: shop, port: 80 }] }]
---
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: { name: g, namespace: shop }
spec: { from: [{ group: gateway.networking.k8s.io, kind: TCPRoute, namespace: edge }], to: [{ group: '', kind: Service }] }
";
    let backends = |world: &World| match world.resource(ResourceKind::L4Route, "TCPRoute/edge/b") {
        Some(Resource::L4Route(it)) => it.backends.len(),
        other => panic!("{other:?}"),
    };
    let target = "{ group: gateway.networking.k8s.io, kind: TCPRoute, name: b }";
    let mut world = world(&format!("{WITH_SET}{route}"));
    assert_eq!(backends(&world), 1);
    world.add(&policy("edge", "p", target, &format!("mode: Observe, {TEN}")));
    assert_eq!(backends(&world), 1, "what only observes closes nothing");
    world.add(&policy("edge", "p", target, TEN));
    assert_eq!(backends(&world), 0);
    // Others that only observe change nothing of that, whatever their names.
    for name in ["o", "q"] {
        world.add(&policy("edge", name, target, &format!("mode: Observe, {TEN}")));
        assert_eq!(backends(&world), 0, "{name}");
    }
    world.expect("RateLimitPolicy edge/p", "ancestor TCPRoute edge/b: Accepted=False/Invalid");
}

#[test]
fn an_object_has_room_for_so_many_limits_and_the_oldest_policies_come_first() {
    let sixteen = format!("local: [{}]", vec!["{ requests: 10, per: Second }"; 16].join(", "));
    let made = |name: &str, second: u32, targets: &str, spec: &str| {
        policy("shop", name, targets, spec).replace(
            "generation: 2",
            &format!("generation: 2, creationTimestamp: '2026-01-01T00:00:0{second}Z'"),
        )
    };
    let targets = format!("{AT_SERVICE}, {}", at_route("r", ""));
    let mut world = world("");
    for (second, name) in ["d", "c", "b", "a"].into_iter().enumerate() {
        world.add(&made(name, u32::try_from(second).unwrap(), &targets, &sixteen));
    }
    let counting = |name: &str| format!("shop/{name}@Service/web");
    let all: Vec<String> = ["a", "b", "c", "d"].map(counting).into();
    assert_eq!(world.limits_of_backend("shop/web:80"), all);
    // One that observes is left out, the next one closes.
    world.add(&made("u", 5, &targets, &format!("mode: Observe, {TEN}")));
    assert_eq!(world.limits_of_backend("shop/web:80"), all);
    world.add(&made("v", 6, &targets, TEN));
    world.add(&made("w", 7, &targets, TEN));
    let closed: Vec<&str> = all.iter().map(String::as_str).chain(["shop/v@closed"]).collect();
    assert_eq!(world.limits_of_backend("shop/web:80"), closed);
    assert!(world.limits_of_rules("HTTPRoute/shop/r").iter().all(|it| it.contains(&"shop/v@closed")));
    for (name, says) in [("u", "observes nothing there"), ("v", "is closed"), ("w", "is closed")] {
        let object = format!("RateLimitPolicy shop/{name}");
        world.expect(&object, "ancestor Service shop/web: Accepted=False/Invalid");
        let message = world.message_of(&object, "ancestor Service shop/web", "Accepted");
        assert!(message.contains("more than 64 limits") && message.contains(says), "{message}");
    }
    world.expect("RateLimitPolicy shop/a", "ancestor Service shop/web: Accepted=True/Accepted");
    // Values that limits compare cost as well.
    let hosts: Vec<String> = (0..64).map(|it| format!("h{it}.ex")).collect();
    let wide = format!(
        "local: [{{ requests: 1, per: Second, matches: [{}] }}]",
        vec![format!("{{ hosts: [{}] }}", hosts.join(", ")); 16].join(", ")
    );
    let mut world = self::world(&made("a", 0, AT_SERVICE, &wide));
    world.add(&made("b", 1, AT_SERVICE, &wide));
    assert_eq!(world.limits_of_backend("shop/web:80"), ["shop/a@Service/web", "shop/b@closed"]);
}

#[test]
fn a_kind_that_gets_no_requests_is_told_so() {
    let world = world(&policy(
        "shop",
        "p",
        "{ group: '', kind: Pod, name: web-1 }, { group: x.ex, kind: Moon, name: m }",
        TEN,
    ));
    world.expect("RateLimitPolicy shop/p", "ancestor Pod shop/web-1: Accepted=False/Invalid");
    world.expect("RateLimitPolicy shop/p", "ancestor Moon shop/m: Accepted=False/Invalid");
    assert!(world.pod_is_open());
}
