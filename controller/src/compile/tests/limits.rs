//! RateLimitPolicies: what proxies get of them, and what they are told.

mod bounds;
mod targets;

use super::access::{AT_GATEWAY, CLASSES, ROUTE};
use super::{GATEWAY, SHOP, World};
use fairway_config::model::{
    Limit, LimitKeyPart, Limits, RateLimit, RateLimitKey, Resource, ResourceKind, SpiffeId,
};
use fairway_policy::{Condition, Mode};
use std::time::Duration;

const TEN: &str = "local: [{ requests: 10, per: Second }]";
const AT_LISTENER: &str =
    "{ group: gateway.networking.k8s.io, kind: Gateway, name: public, sectionName: http }";
const AT_SERVICE: &str = "{ group: '', kind: Service, name: web }";

fn policy(namespace: &str, name: &str, targets: &str, spec: &str) -> String {
    format!(
        "\n---\napiVersion: fairway.dev/v1alpha1\nkind: RateLimitPolicy\nmetadata: {{ name: {name}, namespace: {namespace}, generation: 2 }}\n\
         spec: {{ targetRefs: [{targets}], {spec} }}\n"
    )
}

fn at_route(name: &str, section: &str) -> String {
    format!("{{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: {name}{section} }}")
}

/// The shop's Service has a cluster IP.
fn world(more: &str) -> World {
    let shop = SHOP.replace("spec:\n  selector", "spec:\n  clusterIP: 10.96.0.1\n  selector");
    World::cluster(&format!("{GATEWAY}{CLASSES}---\n{shop}{ROUTE}{more}"))
}

fn texts(keys: &[RateLimitKey]) -> Vec<&str> {
    keys.iter().map(RateLimitKey::as_str).collect()
}

impl World {
    fn limits_of_listener(&self, key: &str) -> Vec<&str> {
        match self.resource(ResourceKind::Listener, key) {
            Some(Resource::Listener(it)) => texts(&it.limits),
            other => panic!("{key}: {other:?}"),
        }
    }

    fn limits_of_rules(&self, route: &str) -> Vec<Vec<&str>> {
        self.route(route).unwrap().rules.iter().map(|it| texts(&it.limits)).collect()
    }

    fn limits_of_backend(&self, key: &str) -> Vec<&str> {
        match self.resource(ResourceKind::Backend, key) {
            Some(Resource::Backend(it)) => texts(&it.limits),
            other => panic!("{key}: {other:?}"),
        }
    }

    fn rate_limit(&self, key: &str) -> &RateLimit {
        match self.resource(ResourceKind::RateLimit, key) {
            Some(Resource::RateLimit(it)) => it,
            other => panic!("{key}: {other:?}"),
        }
    }

    fn each(&self, key: &str) -> &[Limit] {
        match &self.rate_limit(key).limits {
            Limits::Each(limits) => limits,
            Limits::Closed => panic!("{key} is closed"),
        }
    }

    /// Whether clients reach the shop's pod without its waypoint.
    fn pod_is_open(&self) -> bool {
        match self.resource(ResourceKind::Workload, "shop/web-1") {
            Some(Resource::Workload(it)) => it.authorizations.is_empty(),
            other => panic!("{other:?}"),
        }
    }

    fn is_closed(&self, key: &str) -> bool {
        self.rate_limit(key).limits == Limits::Closed
    }
}

#[test]
fn what_is_written_is_what_proxies_count() {
    let spec = "local: [\
        { name: each, requests: 1000, per: Minute, burst: 50, key: [{ type: Header, name: X-Customer }, { type: ClientAddress }] }, \
        { requests: 5, per: Hour, matches: [{ methods: [POST] }, { paths: [{ value: /x }] }] }, \
        { requests: 1, per: Day, key: [{ type: Identity }], matches: [] }]";
    let world = world(&policy("edge", "p", AT_GATEWAY, spec));
    assert_eq!(world.limits_of_listener("edge/public/http"), ["edge/p@Gateway/public"]);
    let limits = world.each("edge/p@Gateway/public");
    let [each, posts, nothing] = limits else { panic!("{limits:?}") };
    assert_eq!(each.name.as_deref(), Some("each"));
    assert_eq!((each.requests.get(), each.per, each.burst.get()), (1000, Duration::from_secs(60), 50));
    let header = http::HeaderName::from_static("x-customer");
    assert_eq!(each.key, [LimitKeyPart::Header(header), LimitKeyPart::ClientAddress]);
    assert_eq!(each.matches, None);
    assert_eq!((posts.requests.get(), posts.per, posts.burst.get()), (5, Duration::from_secs(3600), 5));
    let lists = posts.matches.as_ref().unwrap();
    assert!(matches!(lists[0][..], [Condition::MethodIs(_)]), "{lists:?}");
    assert!(matches!(lists[1][..], [Condition::PathIs(_)]), "{lists:?}");
    assert_eq!((nothing.per, nothing.matches.as_ref().map(Vec::len)), (Duration::from_secs(86_400), Some(0)));
}

#[test]
fn a_policy_of_a_gateway_counts_its_listeners_together_or_the_one_that_it_names() {
    let mut world = world(&policy("edge", "all", AT_GATEWAY, TEN));
    world.add(&policy("edge", "one", AT_LISTENER, TEN));
    let both = ["edge/all@Gateway/public", "edge/one@Gateway/public/http"];
    assert_eq!(world.limits_of_listener("edge/public/http"), both);
    world.expect("RateLimitPolicy edge/all", "ancestor Gateway edge/public: Accepted=True/Accepted");
    world.expect(
        "RateLimitPolicy edge/all",
        "ancestor Gateway edge/public: fairway.dev/Enforced=True/ByProxies",
    );
    world.remove(&policy("edge", "all", AT_GATEWAY, TEN));
    assert_eq!(world.limits_of_listener("edge/public/http"), both[1..]);
}

#[test]
fn a_policy_of_another_namespace_counts_nothing() {
    let world = world(&policy("shop", "p", AT_GATEWAY, TEN));
    assert!(world.limits_of_listener("edge/public/http").is_empty());
    world.expect("RateLimitPolicy shop/p", "ancestor Gateway shop/public: Accepted=False/TargetNotFound");
}

#[test]
fn a_policy_of_a_part_that_is_not_there_counts_everything() {
    let gone = AT_LISTENER.replace("http", "gone");
    let mut world = world(&policy("edge", "p", &gone, TEN));
    assert_eq!(world.limits_of_listener("edge/public/http"), ["edge/p@Gateway/public"]);
    assert_eq!(world.each("edge/p@Gateway/public").len(), 1);
    let ancestor = "ancestor Gateway edge/public section gone: Accepted=False/TargetNotFound";
    world.expect("RateLimitPolicy edge/p", ancestor);
    world.add(&policy("shop", "p", &at_route("r", ", sectionName: gone"), TEN));
    let all = vec!["shop/p@HTTPRoute/r"];
    assert_eq!(world.limits_of_rules("HTTPRoute/shop/r"), [all.clone(), all]);
    assert_eq!(world.each("shop/p@HTTPRoute/r").len(), 1);
    let ancestor = "ancestor HTTPRoute shop/r section gone: Accepted=False/TargetNotFound";
    world.expect("RateLimitPolicy shop/p", ancestor);
}

#[test]
fn a_policy_of_a_route_counts_its_rules_together_or_the_one_that_it_names() {
    let mut world = world(&policy("shop", "all", &at_route("r", ""), TEN));
    world.add(&policy("shop", "one", &at_route("r", ", sectionName: a"), TEN));
    assert_eq!(
        world.limits_of_rules("HTTPRoute/shop/r"),
        [vec!["shop/all@HTTPRoute/r", "shop/one@HTTPRoute/r/a"], vec!["shop/all@HTTPRoute/r"]]
    );
    world.expect("RateLimitPolicy shop/all", "ancestor HTTPRoute shop/r: Accepted=True/Accepted");
}

#[test]
fn a_policy_of_a_service_makes_its_waypoint_appear_and_keeps_everybody_else_from_its_pods() {
    let mut world = world("");
    assert!(world.compiler.wanted().waypoints.is_empty());
    world.add(&policy("shop", "p", AT_SERVICE, TEN));
    assert_eq!(world.compiler.wanted().waypoints.len(), 1);
    for port in ["shop/web:80", "shop/web:81"] {
        assert_eq!(world.limits_of_backend(port), ["shop/p@Service/web"]);
    }
    let Some(Resource::Backend(backend)) = world.resource(ResourceKind::Backend, "shop/web:80") else {
        panic!("no backend");
    };
    assert!(backend.via.is_some(), "{backend:?}");
    let Some(Resource::Workload(pod)) = world.resource(ResourceKind::Workload, "shop/web-1") else {
        panic!("no pod");
    };
    assert_eq!(pod.authorizations.len(), 1, "{pod:?}");
    world.expect("RateLimitPolicy shop/p", "ancestor Service shop/web: Accepted=True/Accepted");
    // Nobody can count before the waypoint is there.
    world.expect("RateLimitPolicy shop/p", "ancestor Service shop/web: fairway.dev/Enforced=False/Pending");
    world.add(&policy("shop", "p", AT_SERVICE, &format!("mode: Observe, {TEN}")));
    assert_eq!(world.rate_limit("shop/p@Service/web").mode, Mode::Observe);
    assert!(world.pod_is_open(), "what is only observed keeps nobody away");
    world.remove(&policy("shop", "p", AT_SERVICE, TEN));
    assert!(world.compiler.wanted().waypoints.is_empty());
}

#[test]
fn a_rate_limit_policy_that_cannot_be_read_closes_its_targets_unless_it_only_observes() {
    for spec in [
        "local: 7",
        "local: [{ requests: 1, per: Week }]",
        "local: [{ requests: 1, per: Second, cost: 2 }]",
        "local: [{ requests: 1, per: Second }], global: { domain: x }",
        "mode: Shadow, local: [{ requests: 1, per: Second }]",
    ] {
        let targets = format!("{AT_SERVICE}, {}", at_route("r", ""));
        let world = world(&policy("shop", "p", &targets, spec));
        assert_eq!(world.limits_of_backend("shop/web:80"), ["shop/p@Service/web"], "{spec}");
        assert_eq!(world.limits_of_rules("HTTPRoute/shop/r")[1], ["shop/p@HTTPRoute/r"], "{spec}");
        for key in ["shop/p@Service/web", "shop/p@HTTPRoute/r"] {
            assert!(world.is_closed(key) && world.rate_limit(key).mode == Mode::Enforce, "{spec} {key}");
        }
        world.expect("RateLimitPolicy shop/p", "ancestor Service shop/web: Accepted=False/Invalid");
    }
    for spec in [
        "mode: Observe, local: 7",
        "mode: Observe, local: [{ requests: 0, per: Second }]",
        "mode: Observe, globale: 1",
    ] {
        let targets = format!("{AT_SERVICE}, {}", at_route("r", ""));
        let world = world(&policy("shop", "p", &targets, spec));
        for key in ["shop/p@Service/web", "shop/p@HTTPRoute/r"] {
            assert!(world.is_closed(key) && world.rate_limit(key).mode == Mode::Observe, "{spec} {key}");
        }
        assert!(world.pod_is_open(), "{spec}: nobody is kept from its pods");
        world.expect("RateLimitPolicy shop/p", "ancestor Service shop/web: Accepted=False/Invalid");
        let message = world.message_of("RateLimitPolicy shop/p", "ancestor Service shop/web", "Accepted");
        assert!(message.contains("observes nothing") && !message.contains("closed"), "{message}");
    }
}

#[test]
fn an_invalid_value_closes_and_leaves_other_policies_as_they_are() {
    for local in [
        "[]",
        "[{ requests: 0, per: Second }]",
        "[{ requests: 1000001, per: Second }]",
        "[{ requests: 1, per: Second, burst: 0 }]",
        "[{ requests: 1, per: Second, key: [] }]",
        "[{ requests: 1, per: Second, key: [{ type: Header }] }]",
        "[{ requests: 1, per: Second, key: [{ type: Header, name: 'a b' }] }]",
        "[{ requests: 1, per: Second, key: [{ type: Identity, name: a }] }]",
        "[{ requests: 1, per: Second, matches: [{}] }]",
        "[{ requests: 1, per: Second, matches: [{ paths: [{ value: x }] }] }]",
        "[{ name: a, requests: 1, per: Second }, { name: a, requests: 2, per: Second }]",
    ] {
        let mut world = world(&policy("edge", "p", AT_GATEWAY, &format!("local: {local}")));
        world.add(&policy("edge", "q", AT_GATEWAY, TEN));
        assert!(world.is_closed("edge/p@Gateway/public"), "{local}");
        assert_eq!(world.each("edge/q@Gateway/public").len(), 1);
        world.expect("RateLimitPolicy edge/p", "ancestor Gateway edge/public: Accepted=False/Invalid");
        world.expect("RateLimitPolicy edge/q", "ancestor Gateway edge/public: Accepted=True/Accepted");
    }
}

#[test]
fn where_it_cannot_be_carried_out_it_closes_that_target_only() {
    let route = ROUTE.replace("{ name: public, namespace: edge }", "{ group: '', kind: Service, name: web }");
    let by_address = "local: [{ requests: 1, per: Second, key: [{ type: ClientAddress }] }]";
    let mut world = world("");
    world.add(&format!(
        "{route}{}",
        policy("shop", "p", &format!("{}, {AT_SERVICE}", at_route("r", "")), by_address)
    ));
    assert_eq!(world.limits_of_rules("HTTPRoute/shop/r")[0], ["shop/p@closed"]);
    assert!(world.is_closed("shop/p@closed"));
    world.expect("RateLimitPolicy shop/p", "ancestor HTTPRoute shop/r: Accepted=False/Invalid");
    // Behind a waypoint the address is not known.
    assert!(world.is_closed("shop/p@Service/web"));
    world.expect("RateLimitPolicy shop/p", "ancestor Service shop/web: Accepted=False/Invalid");
    let port = "{ group: '', kind: Service, name: web, sectionName: http }";
    world.add(&policy("shop", "p", port, TEN));
    assert_eq!(world.limits_of_backend("shop/web:80"), ["shop/p@closed"]);
    let waypoint = "
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: own, namespace: shop }
spec: { gatewayClassName: fairway-waypoint, listeners: [{ name: mesh, port: 15008, protocol: HBONE }] }
";
    let at_waypoint = AT_GATEWAY.replace("public", "own");
    world.add(&format!("{waypoint}{}", policy("shop", "w", &at_waypoint, TEN)));
    assert_eq!(world.limits_of_listener("shop/own/mesh"), ["shop/w@closed"]);
    world.expect("RateLimitPolicy shop/w", "ancestor Gateway shop/own: Accepted=False/Invalid");
}

#[test]
fn the_status_says_what_all_replicas_let_pass_together() {
    let parameters = "
---
apiVersion: fairway.dev/v1alpha1
kind: GatewayParameters
metadata: { name: five, namespace: edge }
spec: { autoscaling: { minReplicas: 2, maxReplicas: 5 } }
";
    let spec = "local: [{ name: each, requests: 100, per: Minute, key: [{ type: Header, name: x-customer }, { type: ClientAddress }] }, \
                { requests: 3, per: Second }]";
    let mut world = world(&policy("edge", "p", AT_GATEWAY, spec));
    let message = |world: &World| {
        world.message_of("RateLimitPolicy edge/p", "ancestor Gateway edge/public", "Accepted")
    };
    let one = "The limit is per replica: one counts, and lets pass up to \
               100 requests per Minute for each value of header x-customer and client address (each), 3 requests per Second (limit 1)";
    assert!(message(&world).contains(one), "{}", message(&world));
    let named = "infrastructure: { parametersRef: { group: fairway.dev, kind: GatewayParameters, name: five } }\n  listeners:";
    world.add(&format!("{}{parameters}", GATEWAY.replacen("listeners:", named, 1)));
    let five = "The limit is per replica: each of 5 counts by itself, and together they let pass up to \
                500 requests per Minute for each value of header x-customer and client address (each), 15 requests per Second (limit 1)";
    assert!(message(&world).contains(five), "{}", message(&world));
}

#[test]
fn no_identity_of_the_mesh_is_needed_to_count_a_service() {
    // The waypoint that counts is the one that everybody is sent to: its identity is all that tunnels let in.
    let world = world(&policy("shop", "p", AT_SERVICE, TEN));
    let waypoint: SpiffeId = "spiffe://cluster.local/ns/shop/sa/waypoint-fairway-waypoint".parse().unwrap();
    let Some(Resource::Authorization(it)) =
        world.resource(ResourceKind::Authorization, "waypoint-required/shop/web")
    else {
        panic!("nobody is kept away");
    };
    assert!(format!("{:?}", it.rules).contains(waypoint.as_str()), "{it:?}");
}
