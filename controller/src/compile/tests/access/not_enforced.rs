//! What some clients get past is not called accepted.

use super::*;

const ALLOW: &str = "action: Allow, rules: [{ from: [{ serviceAccounts: [{ name: client }] }] }]";

fn pod(name: &str, labels: &str, more: &str) -> String {
    format!(
        "\n---\napiVersion: v1\nkind: Pod\nmetadata: {{ name: {name}, namespace: shop, uid: u-{name}, labels: {{ {labels} }} }}\n\
         spec: {{ serviceAccountName: x, nodeName: n1, containers: [], {more} }}\nstatus: {{ podIP: 10.0.7.{} }}\n",
        name.len()
    )
}

/// A pod of a Gateway's proxy, as provisioning makes it.
fn proxy(labels: &str) -> String {
    pod(
        "proxy",
        &format!("{labels}, app.kubernetes.io/part-of: fairway, gateway.networking.k8s.io/gateway-name: own"),
        "",
    )
    .replace("serviceAccountName: x", "enableServiceLinks: false, serviceAccountName: own-fairway")
}

fn gateway() -> String {
    GATEWAY.replace("namespace: edge", "namespace: shop").replace("name: public", "name: own")
}

fn pods(labels: &str) -> String {
    format!("{{ group: '', kind: Pod, selector: {{ matchLabels: {{ {labels} }} }} }}")
}

fn service(name: &str, selector: &str, ports: &str) -> String {
    format!(
        "\n---\napiVersion: v1\nkind: Service\nmetadata: {{ name: {name}, namespace: shop }}\n\
         spec: {{ clusterIP: 10.96.0.9, selector: {{ {selector} }}, ports: [{ports}] }}\n"
    )
}

#[test]
fn what_nobody_judges_is_not_accepted_and_not_enforced() {
    let outside = pod("out", "app: out", "hostNetwork: true");
    let tcp = "{ name: a, port: 80 }";
    let (udp, both) = (
        "{ name: a, port: 53, protocol: UDP }",
        "{ name: a, port: 53, protocol: UDP }, { name: b, port: 53 }",
    );
    let named = |name: &str| format!("{{ group: '', kind: Service, name: {name} }}");
    for (what, more, target, ancestor) in [
        ("a Service of UDP", service("s", "app: web", udp), named("s"), "Service shop/s"),
        ("a Service of UDP and TCP", service("s", "app: web", both), named("s"), "Service shop/s"),
        ("a Service of pods outside", service("s", "app: out", tcp) + &outside, named("s"), "Service shop/s"),
        ("pods outside", outside.clone(), pods("app: out"), "Namespace shop"),
        (
            "pods outside among others",
            outside.clone(),
            format!("{}, {}", pods("app: web"), pods("app: out")),
            "Namespace shop",
        ),
        (
            "pods outside beside none",
            outside.clone(),
            format!("{}, {}", pods("app: gone"), pods("app: out")),
            "Namespace shop",
        ),
        ("proxies", gateway() + "---" + &proxy("app: own"), pods("app: own"), "Namespace shop"),
        (
            "a Service of proxies",
            gateway() + "---" + &proxy("app: own") + &service("s", "app: own", tcp),
            named("s"),
            "Service shop/s",
        ),
    ] {
        let world = world(&format!("---{more}{}", policy("shop", "p", &target, ALLOW)));
        world.expect("AccessPolicy shop/p", &format!("ancestor {ancestor}: Accepted=False/NotEnforced"));
        world.expect(
            "AccessPolicy shop/p",
            &format!("ancestor {ancestor}: fairway.dev/Enforced=False/NotAccepted"),
        );
        assert!(
            world.problems().iter().any(|it| it.contains("AccessPolicy shop/p")),
            "{what}: {:?}",
            world.problems()
        );
    }
}

#[test]
fn a_policy_of_all_pods_is_not_about_the_proxies_among_them() {
    let world = world(&format!(
        "---{}---{}{}",
        gateway(),
        proxy("app: own"),
        policy("shop", "p", "{ group: '', kind: Pod, selector: {} }", "action: Allow")
    ));
    world.expect("AccessPolicy shop/p", "ancestor Namespace shop: Accepted=True/Accepted");
    assert_eq!(world.judges_of_pod("shop/web-1"), ["shop/p"]);
}

#[test]
fn where_nothing_is_captured_a_policy_of_pods_says_so() {
    let world =
        World::plain(&format!("{GATEWAY}{CLASSES}---\n{SHOP}{}", policy("shop", "p", AT_PODS, ALLOW)));
    world.expect("AccessPolicy shop/p", "ancestor Namespace shop: Accepted=False/NotEnforced");
}

#[test]
fn what_only_observes_closes_nothing_even_if_it_cannot_be_read() {
    let spec = "action: Deny, mode: Observe, rules: [{ to: [{ phase: full }] }]";
    let targets = format!("{AT_SERVICE}, {AT_PODS}, {}", at_route("r", ""));
    let world = world(&policy("shop", "p", &targets, spec));
    assert_eq!(world.judges_of_pod("shop/web-1"), ["shop/p"]);
    for key in ["shop/p", "shop/p@service", "shop/p@gateway"] {
        assert_eq!(world.authorization(key).mode, Mode::Observe, "{key}");
    }
    world.expect("AccessPolicy shop/p", "ancestor Service shop/web: Accepted=False/Invalid");
}

#[test]
fn a_deny_of_a_client_at_an_address_refuses_the_waypoint_that_comes_in_its_place_from_another() {
    let from = "{ serviceAccounts: [{ namespace: other, name: x }], cidrs: [10.1.0.0/16] }";
    let world = world(&policy("shop", "p", AT_PODS, &format!("action: Deny, rules: [{{ from: [{from}] }}]")));
    let authorization = world.authorization("shop/p");
    for (account, address, is_denied) in [
        ("other/sa/x", [10, 1, 0, 9], true),
        ("other/sa/x", [10, 2, 0, 9], false),
        ("other/sa/y", [10, 1, 0, 9], false),
        ("other/sa/waypoint-fairway-waypoint", [10, 2, 0, 9], true),
        ("shop/sa/waypoint-fairway-waypoint", [10, 2, 0, 9], true),
        ("third/sa/waypoint-fairway-waypoint", [10, 1, 0, 9], false),
    ] {
        let peer = SpiffeId::from_str(&format!("spiffe://cluster.local/ns/{account}")).unwrap();
        let attributes =
            Attributes { peer: Some(&peer), client: Some(address.into()), port: 8080, request: None };
        assert_eq!(authorization.matching_rule(&attributes).is_some(), is_denied, "{account} {address:?}");
    }
}

#[test]
fn what_of_an_accepted_policy_has_no_effect_is_said_in_its_condition() {
    let spec = "action: Deny, rules: [{ from: [{ namespaces: [other] }] }]";
    let world = world(&policy("edge", "p", AT_GATEWAY, spec));
    let status = world.status("AccessPolicy edge/p");
    let accepted = status.conditions().into_iter().find(|(_, it)| it.kind == "Accepted").unwrap().1.clone();
    assert!(accepted.message.contains("clients of a Gateway prove no identity"), "{}", accepted.message);
}

#[test]
fn a_policy_that_compares_more_than_a_request_can_be_kept_waiting_for_closes() {
    let paths = |count: usize| {
        let entry = |it: usize| {
            let paths: String = (0..64).map(|at| format!("{{ value: /a{it}-{at} }}, ")).collect();
            format!("{{ paths: [{paths}] }}, ")
        };
        (0..count).map(entry).collect::<String>()
    };
    for (action, entries, is_closed) in [("Allow", 15, false), ("Allow", 16, true), ("Deny", 16, true)] {
        let spec = format!("action: {action}, rules: [{{ to: [{}] }}]", paths(entries));
        let world = world(&policy("edge", "p", AT_GATEWAY, &spec));
        let authorization = world.authorization("edge/p@gateway");
        let attributes = Attributes { peer: None, client: None, port: 80, request: None };
        // What is not understood is met by everything in a Deny, and by nothing in an Allow, where no rule is left.
        let denies = authorization.matching_rule(&attributes).is_some() == (action == "Deny");
        let expected = if is_closed { "False/Invalid" } else { "True/Accepted" };
        world.expect("AccessPolicy edge/p", &format!("ancestor Gateway edge/public: Accepted={expected}"));
        assert!(
            !is_closed || (denies && authorization.rules.len() == usize::from(action == "Deny")),
            "{action}"
        );
    }
    // Ranges of addresses are found, however many there are.
    let ranges: String = (0..5000).map(|it| format!("10.{}.{}.0/24, ", it / 250, it % 250)).collect();
    let world = world(&policy(
        "edge",
        "p",
        AT_GATEWAY,
        &format!("action: Allow, rules: [{{ from: [{{ cidrs: [{ranges}] }}] }}]"),
    ));
    world.expect("AccessPolicy edge/p", "ancestor Gateway edge/public: Accepted=True/Accepted");
}

#[test]
fn an_edit_of_the_rules_of_a_policy_looks_at_no_pod() {
    let runs = |pods: usize| {
        let many: String = (0..pods).map(|it| pod(&format!("p{}", "x".repeat(it)), "app: web", "")).collect();
        let mut world = world(&format!("---{many}{}", policy("shop", "p", AT_PODS, ALLOW)));
        world.add(&policy("shop", "p", AT_PODS, DENY_PORT));
        world.compiler.runs()
    };
    let few = runs(2);
    println!("{few:?}");
    assert_eq!(few, runs(40));
}

const DENY_PORT: &str = "action: Deny, rules: [{ to: [{ ports: [8080] }] }]";
