//! AccessPolicies: what proxies get of them, and what they are told.

mod naive;
mod not_enforced;
mod room;
mod rules;

use super::{GATEWAY, SHOP, World};
use fairway_config::model::{Authorization, AuthorizationKey, Resource, ResourceKind};
use fairway_identity::SpiffeId;
use fairway_policy::{Action, Attributes, Mode};
use std::str::FromStr;

pub(super) const CLASSES: &str = "
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: { name: fairway }
spec: { controllerName: fairway.dev/controller }
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: { name: fairway-waypoint }
spec: { controllerName: fairway.dev/controller }
";

pub(super) const ROUTE: &str = "
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: r, namespace: shop }
spec:
  parentRefs: [{ name: public, namespace: edge }]
  rules:
    - { name: a, matches: [{ path: { value: /a } }], backendRefs: [{ name: web, port: 80 }] }
    - { matches: [{ path: { value: /b } }], backendRefs: [{ name: web, port: 80 }] }
";

const DENY: &str = "action: Deny, rules: [{ to: [{ paths: [{ value: /admin }] }] }]";
pub(super) const AT_GATEWAY: &str = "{ group: gateway.networking.k8s.io, kind: Gateway, name: public }";
const AT_SERVICE: &str = "{ group: '', kind: Service, name: web }";
const AT_PODS: &str = "{ group: '', kind: Pod, selector: { matchLabels: { app: web } } }";

fn policy(namespace: &str, name: &str, target: &str, spec: &str) -> String {
    format!(
        "\n---\napiVersion: fairway.dev/v1alpha1\nkind: AccessPolicy\nmetadata: {{ name: {name}, namespace: {namespace}, generation: 2 }}\n\
         spec: {{ targetRefs: [{target}], {spec} }}\n"
    )
}

fn at_route(name: &str, section: &str) -> String {
    format!("{{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: {name}{section} }}")
}

/// The shop's Service has a cluster IP.
pub(super) fn world(more: &str) -> World {
    let shop = SHOP.replace("spec:\n  selector", "spec:\n  clusterIP: 10.96.0.1\n  selector");
    World::cluster(&format!("{GATEWAY}{CLASSES}---\n{shop}{ROUTE}{more}"))
}

fn texts(keys: &[AuthorizationKey]) -> Vec<&str> {
    keys.iter().map(AuthorizationKey::as_str).collect()
}

impl World {
    fn judges_of_listener(&self, key: &str) -> Vec<&str> {
        match self.resource(ResourceKind::Listener, key) {
            Some(Resource::Listener(it)) => texts(&it.authorizations),
            other => panic!("{key}: {other:?}"),
        }
    }

    fn judges_of_rules(&self, route: &str) -> Vec<Vec<&str>> {
        self.route(route).unwrap().rules.iter().map(|it| texts(&it.authorizations)).collect()
    }

    fn judges_of_backend(&self, key: &str) -> Vec<&str> {
        match self.resource(ResourceKind::Backend, key) {
            Some(Resource::Backend(it)) => texts(&it.authorizations),
            other => panic!("{key}: {other:?}"),
        }
    }

    fn judges_of_pod(&self, key: &str) -> Vec<&str> {
        match self.resource(ResourceKind::Workload, key) {
            Some(Resource::Workload(it)) => texts(&it.authorizations),
            other => panic!("{key}: {other:?}"),
        }
    }

    fn authorization(&self, key: &str) -> &Authorization {
        match self.resource(ResourceKind::Authorization, key) {
            Some(Resource::Authorization(it)) => it,
            other => panic!("{key}: {other:?}"),
        }
    }
}

#[test]
fn a_policy_of_a_gateway_judges_its_listeners_or_the_one_that_it_names() {
    let mut world = world(&policy("edge", "all", AT_GATEWAY, DENY));
    world.add(&policy(
        "edge",
        "one",
        "{ group: gateway.networking.k8s.io, kind: Gateway, name: public, sectionName: http }",
        DENY,
    ));
    assert_eq!(world.judges_of_listener("edge/public/http"), ["edge/all@gateway", "edge/one@gateway"]);
    world.expect("AccessPolicy edge/all", "ancestor Gateway edge/public: Accepted=True/Accepted");
    world
        .expect("AccessPolicy edge/all", "ancestor Gateway edge/public: fairway.dev/Enforced=True/ByProxies");
    world.remove(&policy("edge", "all", AT_GATEWAY, DENY));
    assert_eq!(world.judges_of_listener("edge/public/http"), ["edge/one@gateway"]);
}

#[test]
fn a_policy_of_another_namespace_judges_nothing() {
    let world = world(&policy("shop", "p", AT_GATEWAY, DENY));
    assert!(world.judges_of_listener("edge/public/http").is_empty());
    world.expect("AccessPolicy shop/p", "ancestor Gateway shop/public: Accepted=False/TargetNotFound");
}

#[test]
fn a_policy_of_a_listener_that_is_not_there_lets_nobody_in_and_denies_everywhere() {
    let target = "{ group: gateway.networking.k8s.io, kind: Gateway, name: public, sectionName: gone }";
    let mut world = world(&policy("edge", "allow", target, "action: Allow, rules: [{}]"));
    world.add(&policy("edge", "deny", target, DENY));
    let judges = world.judges_of_listener("edge/public/http");
    assert_eq!(judges, ["edge/deny@gateway", "edge/allow@nobody"]);
    let nobody = world.authorization("edge/allow@nobody");
    assert_eq!((nobody.action, nobody.rules.len()), (Action::Allow, 0));
    let gone = "ancestor Gateway edge/public section gone: Accepted=False/TargetNotFound";
    world.expect("AccessPolicy edge/allow", gone);
}

#[test]
fn a_policy_of_a_route_judges_its_rules_or_the_one_that_it_names() {
    let mut world = world(&policy("shop", "all", &at_route("r", ""), DENY));
    world.add(&policy("shop", "one", &at_route("r", ", sectionName: a"), DENY));
    let route = "HTTPRoute/shop/r";
    assert_eq!(
        world.judges_of_rules(route),
        [vec!["shop/all@gateway", "shop/one@gateway"], vec!["shop/all@gateway"]]
    );
    world.add(&policy("shop", "one", &at_route("r", ", sectionName: gone"), "action: Allow, rules: [{}]"));
    let closed = vec!["shop/all@gateway", "shop/one@nobody"];
    assert_eq!(world.judges_of_rules(route), [closed.clone(), closed]);
    let ancestor = "ancestor HTTPRoute shop/r section gone: Accepted=False/TargetNotFound";
    world.expect("AccessPolicy shop/one", ancestor);
}

#[test]
fn a_policy_of_a_service_makes_its_waypoint_appear_and_keeps_everybody_else_from_its_pods() {
    let mut world = world("");
    assert!(world.compiler.wanted().waypoints.is_empty());
    world.add(&policy("shop", "p", AT_SERVICE, DENY));
    assert_eq!(world.compiler.wanted().waypoints.len(), 1);
    assert_eq!(world.judges_of_backend("shop/web:80"), ["shop/p@service"]);
    assert_eq!(world.judges_of_backend("shop/web:81"), ["shop/p@service"]);
    assert_eq!(world.judges_of_pod("shop/web-1"), ["waypoint-required/shop/web"]);
    let Some(Resource::Backend(backend)) = world.resource(ResourceKind::Backend, "shop/web:80") else {
        panic!("no backend");
    };
    assert!(backend.via.is_some(), "{backend:?}");
    world.expect("AccessPolicy shop/p", "ancestor Service shop/web: Accepted=True/Accepted");
    // Nobody can carry it out before the waypoint is there.
    world.expect("AccessPolicy shop/p", "ancestor Service shop/web: fairway.dev/Enforced=False/Pending");
    world.remove(&policy("shop", "p", AT_SERVICE, DENY));
    assert!(world.judges_of_pod("shop/web-1").is_empty());
    assert!(world.compiler.wanted().waypoints.is_empty());
}

#[test]
fn a_service_without_a_cluster_ip_is_closed_and_its_policy_says_so() {
    let world = World::cluster(&format!("{CLASSES}---\n{SHOP}{}", policy("shop", "p", AT_SERVICE, DENY)));
    assert_eq!(world.judges_of_pod("shop/web-1"), ["waypoint-required/shop/web"]);
    world.expect("AccessPolicy shop/p", "ancestor Service shop/web: Accepted=False/Invalid");
}

#[test]
fn what_is_only_observed_keeps_nobody_from_the_pods() {
    let world = world(&policy("shop", "p", AT_SERVICE, &format!("mode: Observe, {DENY}")));
    assert_eq!(world.judges_of_backend("shop/web:80"), ["shop/p@service"]);
    assert_eq!(world.authorization("shop/p@service").mode, Mode::Observe);
    assert!(world.judges_of_pod("shop/web-1").is_empty());
    assert_eq!(world.compiler.wanted().waypoints.len(), 1);
}

#[test]
fn a_policy_of_pods_judges_those_that_it_selects_from_when_they_are_there() {
    let spec = "action: Allow, rules: [{ from: [{ serviceAccounts: [{ name: client }] }], to: [{ ports: [8080] }] }]";
    let mut world = world(&policy("shop", "p", AT_PODS, spec));
    assert_eq!(world.judges_of_pod("shop/web-1"), ["shop/p"]);
    world.add(&SHOP.replace("web-1", "web-2").replace("10.0.0.1", "10.0.0.2"));
    assert_eq!(world.judges_of_pod("shop/web-2"), ["shop/p"]);
    world.add(&SHOP.replace("labels: { app: web }", "labels: { app: other }"));
    assert!(world.judges_of_pod("shop/web-1").is_empty());
    world.expect("AccessPolicy shop/p", "ancestor Namespace shop: Accepted=True/Accepted");
}

#[test]
fn a_target_with_a_field_that_its_kind_does_not_have_closes_what_it_names_and_nothing_beside_it() {
    const PODS: &str = "group: '', kind: Pod";
    let other = SHOP.replace("web-1", "web-2").replace("10.0.0.1", "10.0.0.2");
    let allow = "action: Allow, rules: [{ from: [{ namespaces: [shop] }] }]";
    for (target, pods) in [
        (format!("{{ {PODS}, name: web-1 }}"), [vec!["shop/p@closed"], vec![]]),
        (format!("{{ {PODS}, name: web-1, selector: {{}} }}"), [vec!["shop/p@closed"], vec![]]),
        (format!("{{ {PODS}, name: gone }}"), [vec![], vec![]]),
        (
            format!("{{ {PODS}, selector: {{}}, sectionName: a }}"),
            [vec!["shop/p@closed"], vec!["shop/p@closed"]],
        ),
        (format!("{{ {PODS} }}"), [vec!["shop/p@closed"], vec!["shop/p@closed"]]),
        (format!("{{ {PODS}, selector: {{}} }}"), [vec!["shop/p"], vec!["shop/p"]]),
    ] {
        let mut world = world(&policy("shop", "p", &target, allow));
        world.add(&other);
        let judged = ["shop/web-1", "shop/web-2"].map(|it| world.judges_of_pod(it));
        assert_eq!(judged, pods, "{target}");
        let accepted = if target.ends_with("selector: {} }") && !target.contains("name") {
            "True/Accepted"
        } else {
            "False/Invalid"
        };
        world.expect("AccessPolicy shop/p", &format!("ancestor Namespace shop: Accepted={accepted}"));
    }
    let service = world(&policy("shop", "p", "{ group: '', kind: Service, name: web, selector: {} }", allow));
    assert_eq!(service.judges_of_backend("shop/web:80"), ["shop/p@closed"]);
    let route = world(&policy("shop", "p", &at_route("r", "").replace(" }", ", selector: {} }"), allow));
    assert_eq!(route.judges_of_rules("HTTPRoute/shop/r")[0], ["shop/p@closed"]);
    let gateway = world(&policy("edge", "p", &AT_GATEWAY.replace(" }", ", selector: {} }"), allow));
    assert_eq!(gateway.judges_of_listener("edge/public/http"), ["edge/p@closed"]);
}

#[test]
fn a_field_of_requests_closes_pods() {
    for (action, expected) in [("Allow", 0), ("Deny", 1)] {
        let spec = format!("action: {action}, rules: [{{ to: [{{ ports: [80], methods: [GET] }}] }}]");
        let world = world(&policy("shop", "p", AT_PODS, &spec));
        assert_eq!(world.judges_of_pod("shop/web-1"), ["shop/p"]);
        assert_eq!(world.authorization("shop/p").rules.len(), expected, "{action}");
        world.expect("AccessPolicy shop/p", "ancestor Namespace shop: Accepted=False/Invalid");
    }
}

#[test]
fn a_policy_that_cannot_be_read_closes_its_targets() {
    for spec in [
        "action: Audit",
        "action: Allow, when: [{ key: x }]",
        "action: Allow, rules: [{ from: [{ claims: [] }] }]",
        "action: Allow, rules: 7",
    ] {
        let targets = format!("{AT_SERVICE}, {AT_PODS}, {}", at_route("r", ""));
        let world = world(&policy("shop", "p", &targets, spec));
        assert_eq!(world.judges_of_pod("shop/web-1"), ["waypoint-required/shop/web", "shop/p"], "{spec}");
        assert_eq!(world.judges_of_backend("shop/web:80"), ["shop/p@service"], "{spec}");
        assert_eq!(world.judges_of_rules("HTTPRoute/shop/r")[1], ["shop/p@gateway"], "{spec}");
        for key in ["shop/p", "shop/p@service", "shop/p@gateway"] {
            let it = world.authorization(key);
            let denies_all = it.action == Action::Deny && it.rules.iter().any(|it| it.conditions.is_empty());
            assert!(denies_all, "{spec}: {it:?}");
        }
        world.expect("AccessPolicy shop/p", "ancestor Service shop/web: Accepted=False/Invalid");
    }
}

#[test]
fn an_invalid_value_lets_nobody_in_and_leaves_other_policies_as_they_are() {
    let invalid = "action: Allow, rules: [{ from: [{ cidrs: [10.0.0.1/8] }] }, {}]";
    let mut world = world(&policy("edge", "p", AT_GATEWAY, invalid));
    world.add(&policy("edge", "q", AT_GATEWAY, DENY));
    assert_eq!(world.authorization("edge/p@gateway").rules.len(), 0);
    assert_eq!(world.authorization("edge/q@gateway").rules.len(), 1);
    world.expect("AccessPolicy edge/p", "ancestor Gateway edge/public: Accepted=False/Invalid");
    world.expect("AccessPolicy edge/q", "ancestor Gateway edge/public: Accepted=True/Accepted");
}

#[test]
fn the_route_of_a_service_is_closed_where_a_policy_names_it() {
    let route = ROUTE.replace("{ name: public, namespace: edge }", "{ group: '', kind: Service, name: web }");
    let mut world = world("");
    world.add(&format!("{route}{}", policy("shop", "p", &at_route("r", ""), "action: Allow, rules: [{}]")));
    assert_eq!(world.judges_of_rules("HTTPRoute/shop/r")[0], ["shop/p@closed"]);
    let closed = world.authorization("shop/p@closed");
    assert!(closed.action == Action::Deny && closed.rules[0].conditions.is_empty(), "{closed:?}");
    world.expect("AccessPolicy shop/p", "ancestor HTTPRoute shop/r: Accepted=False/Invalid");
}

#[test]
fn a_deny_of_a_client_refuses_the_waypoint_that_may_speak_for_it() {
    let spec = "action: Deny, rules: [{ from: [{ serviceAccounts: [{ namespace: other, name: x }] }] }]";
    let world = world(&policy("shop", "p", &format!("{AT_SERVICE}, {AT_PODS}"), spec));
    let says = |key: &str| format!("{:?}", world.authorization(key).rules);
    for key in ["shop/p", "shop/p@service"] {
        assert!(says(key).contains("/ns/other/sa/waypoint-fairway-waypoint"), "{key}: {}", says(key));
    }
    assert!(says("shop/p").contains("/ns/shop/sa/waypoint-fairway-waypoint"), "{}", says("shop/p"));
    assert!(!says("shop/p@service").contains("/ns/shop/sa/waypoint"), "{}", says("shop/p@service"));
}

#[test]
fn an_allow_of_a_namespace_or_of_addresses_at_pods_does_not_let_in_the_waypoint_that_speaks_for_others() {
    let waypoint = SpiffeId::from_str("spiffe://cluster.local/ns/shop/sa/waypoint-fairway-waypoint").unwrap();
    let web = SpiffeId::from_str("spiffe://cluster.local/ns/shop/sa/web").unwrap();
    for (from, expected) in [
        ("{ namespaces: [shop] }", [true, false]),
        ("{ cidrs: [10.0.0.0/8] }", [true, false]),
        ("{ exceptCIDRs: [192.0.2.0/24] }", [true, false]),
        ("{ namespaces: [shop], serviceAccounts: [{ name: waypoint-fairway-waypoint }] }", [false, true]),
        ("{ serviceAccounts: [{ name: waypoint-fairway-waypoint }, { name: web }] }", [true, true]),
    ] {
        let world =
            world(&policy("shop", "p", AT_PODS, &format!("action: Allow, rules: [{{ from: [{from}] }}]")));
        let authorization = world.authorization("shop/p");
        let lets_in = |peer: &SpiffeId| {
            let client = Some([10, 0, 0, 9].into());
            let attributes = Attributes { peer: Some(peer), client, port: 8080, request: None };
            authorization.matching_rule(&attributes).is_some()
        };
        assert_eq!([&web, &waypoint].map(lets_in), expected, "{from}");
    }
}
