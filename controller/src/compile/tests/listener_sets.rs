//! ListenerSets: who may add listeners to a Gateway, and who wins.

use super::World;
use super::gateways::{grant, secret};
use fairway_config::model::{Resource, ResourceKind};

/// A Gateway that takes ListenerSets from these namespaces.
fn gateway(allowed: &str, listeners: &str) -> String {
    let allowed = match allowed {
        "" => String::new(),
        it => format!("  allowedListeners: {{ namespaces: {it} }}\n"),
    };
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{ name: public, namespace: edge }}\n\
         spec:\n  gatewayClassName: fairway\n{allowed}  listeners:\n{listeners}"
    )
}

fn set(namespace: &str, name: &str, day: u8, listeners: &str) -> String {
    format!(
        "\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: ListenerSet\nmetadata: {{ name: {name}, namespace: {namespace}, \
         generation: 5, creationTimestamp: '2026-01-{day:02}T00:00:00Z' }}\nspec:\n  parentRef: {{ name: public, namespace: edge }}\n\
         \x20 listeners:\n{listeners}"
    )
}

const OWN: &str = "    - { name: http, port: 80, protocol: HTTP, hostname: own.example.com }\n";
const ADDED: &str = "    - { name: http, port: 80, protocol: HTTP, hostname: added.example.com }\n";

fn attached(world: &World) -> u64 {
    let status = serde_json::to_value(world.status("Gateway edge/public")).unwrap();
    status["attachedListenerSets"].as_u64().unwrap()
}

#[test]
fn a_gateway_says_whose_listener_sets_it_takes() {
    let team = "\n---\napiVersion: v1\nkind: Namespace\nmetadata: { name: team, labels: { allowed: ns } }\n";
    for (allowed, from_edge, from_team) in [
        ("", false, false),
        ("{ from: None }", false, false),
        ("{ from: Same }", true, false),
        ("{ from: All }", true, true),
        ("{ from: Selector, selector: { matchLabels: { allowed: ns } } }", false, true),
        (
            "{ from: Selector, selector: { matchExpressions: [{ key: kubernetes.io/metadata.name, operator: In, values: [edge] }] } }",
            true,
            false,
        ),
        ("{ from: Selector }", false, false),
    ] {
        let other = ADDED.replace("added", "other");
        let world = World::plain(
            &(gateway(allowed, OWN) + team + &set("edge", "s", 1, ADDED) + &set("team", "s", 2, &other)),
        );
        for (namespace, taken) in [("edge", from_edge), ("team", from_team)] {
            let object = format!("ListenerSet {namespace}/s");
            for (kind, reason) in [("Accepted", "Accepted"), ("Programmed", "Programmed")] {
                let condition = match taken {
                    true => format!("{kind}=True/{reason}"),
                    false => format!("{kind}=False/NotAllowed"),
                };
                world.expect(&object, &condition);
            }
            let key = format!("edge/public/{namespace}/s/http");
            assert_eq!(
                world.resource(ResourceKind::Listener, &key).is_some(),
                taken,
                "{allowed} {namespace}"
            );
        }
        assert_eq!(attached(&world), u64::from(from_edge) + u64::from(from_team), "{allowed}");
        world.expect("Gateway edge/public", "Accepted=True/Accepted");
    }
}

#[test]
fn what_a_listener_set_adds_is_the_gateways() {
    let world = World::plain(&(gateway("{ from: All }", OWN) + &set("team", "s", 1, ADDED)));
    let key = "edge/public/team/s/http";
    let Some(Resource::Listener(it)) = world.resource(ResourceKind::Listener, key) else {
        panic!("not served")
    };
    assert_eq!((it.gateway.to_string().as_str(), &*it.section, it.port), ("edge/public", "http", 80));
    assert_eq!(it.addresses.len(), 1, "it binds what the Gateway binds");
    let proxy = world.compiler.proxies().next().unwrap();
    let listeners: Vec<String> =
        proxy.listeners.iter().map(|(name, port)| format!("{name}:{port}")).collect();
    assert_eq!(listeners, ["http:80", "team/s/http:80"]);
    for (of, condition) in world.status("ListenerSet team/s").conditions() {
        assert_eq!(condition.observed_generation, 5, "{of} {}", condition.kind);
    }
}

/// The shape of the suite's tests of precedence: of each set, what becomes of its listeners.
#[test]
fn the_gateway_goes_first_then_the_older_set_then_the_first_by_name() {
    for (clash, reason) in [
        ("port: 80, protocol: HTTP, hostname: own.example.com", "HostnameConflict"),
        ("port: 80, protocol: TCP", "ProtocolConflict"),
    ] {
        let (with_gateway, with_set) = (
            format!("    - {{ name: with-gateway, {clash} }}\n"),
            "    - { name: with-set, port: 80, protocol: HTTP, hostname: set.example.com }\n",
        );
        let world = World::plain(
            &(gateway("{ from: Same }", OWN)
                + &set("edge", "a", 1, &format!("{ADDED}{with_gateway}{with_set}"))
                + &set("edge", "b", 1, &with_gateway)
                + &set("edge", "c", 1, with_set)
                // Younger, though its name comes first.
                + &set("edge", "aa", 2, with_set)),
        );
        world.expect("Gateway edge/public", "Accepted=True/Accepted");
        world.expect("Gateway edge/public", "listener http: Conflicted=False/NoConflicts");
        world.expect("ListenerSet edge/a", "Accepted=True/ListenersNotValid");
        world.expect("ListenerSet edge/a", "Programmed=True/Programmed");
        world.expect("ListenerSet edge/a", "listener http: Programmed=True/Programmed");
        world.expect("ListenerSet edge/a", "listener with-set: Programmed=True/Programmed");
        for (object, listener, reason) in [
            ("a", "with-gateway", reason),
            ("b", "with-gateway", reason),
            ("c", "with-set", "HostnameConflict"),
            ("aa", "with-set", "HostnameConflict"),
        ] {
            let object = format!("ListenerSet edge/{object}");
            world.expect(&object, &format!("listener {listener}: Accepted=False/{reason}"));
            world.expect(&object, &format!("listener {listener}: Programmed=False/{reason}"));
            world.expect(&object, &format!("listener {listener}: Conflicted=True/{reason}"));
        }
        for object in ["b", "c", "aa"] {
            world.expect(&format!("ListenerSet edge/{object}"), "Accepted=False/ListenersNotValid");
            world.expect(&format!("ListenerSet edge/{object}"), "Programmed=False/ListenersNotValid");
        }
        assert_eq!(attached(&world), 1);
        let told = world.problems().join("\n");
        assert!(
            told.contains("ListenerSet edge/b spec.listeners[0]")
                && told.contains("http of Gateway edge/public"),
            "{told}"
        );
        assert!(told.contains("with-set of ListenerSet edge/a"), "the winner is named: {told}");
    }
}

#[test]
fn the_next_in_line_takes_over_when_the_winner_goes() {
    let (older, younger) = (set("edge", "a", 1, ADDED), set("edge", "b", 2, ADDED));
    let mut world = World::plain(&(gateway("{ from: Same }", OWN) + &older + &younger));
    world.expect("ListenerSet edge/b", "listener http: Conflicted=True/HostnameConflict");
    world.remove(&older);
    world.expect("ListenerSet edge/b", "Accepted=True/Accepted");
    assert_eq!(world.keys(ResourceKind::Listener), ["edge/public/edge/b/http", "edge/public/http"]);
}

#[test]
fn a_mistake_in_the_gateway_hands_its_ports_to_nobody() {
    let own = "    - { name: a, port: 80, protocol: HTTP }\n    - { name: b, port: 80, protocol: TCP }\n    - { name: c, port: 81, protocol: HTTP }\n";
    let taking = "    - { name: x, port: 80, protocol: HTTP }\n";
    let world = World::plain(&(gateway("{ from: Same }", own) + &set("edge", "s", 1, taking)));
    world.expect("Gateway edge/public", "listener a: Conflicted=True/ProtocolConflict");
    world.expect("ListenerSet edge/s", "listener x: Accepted=False/ProtocolConflict");
}

#[test]
fn a_gateway_that_is_not_accepted_serves_nobodys_listeners() {
    for (own, addresses) in [
        ("    - { name: a, port: 80, protocol: STRANGE }\n", ""),
        (OWN, "  addresses: [{ type: example.com/strange, value: x }]\n"),
    ] {
        let world = World::plain(&(gateway("{ from: Same }", own) + addresses + &set("edge", "s", 1, ADDED)));
        world.expect("ListenerSet edge/s", "Accepted=False/ParentNotAccepted");
        world.expect("ListenerSet edge/s", "Programmed=False/ParentNotProgrammed");
        assert!(world.keys(ResourceKind::Listener).is_empty());
        assert_eq!(attached(&world), 0);
    }
}

#[test]
fn a_grant_to_the_gateway_is_none_to_its_listener_sets() {
    let https = "    - { name: x, port: 443, protocol: HTTPS, tls: { certificateRefs: [{ name: cert, namespace: certs }] } }\n";
    for (kind, from, expected) in [
        ("ListenerSet", "team", "ResolvedRefs=True/ResolvedRefs"),
        ("Gateway", "edge", "ResolvedRefs=False/RefNotPermitted"),
        ("Gateway", "team", "ResolvedRefs=False/RefNotPermitted"),
        ("ListenerSet", "edge", "ResolvedRefs=False/RefNotPermitted"),
    ] {
        let world = World::plain(
            &(gateway("{ from: All }", OWN)
                + &set("team", "s", 1, https)
                + &secret("certs")
                + &grant("certs", kind, from, "cert")),
        );
        world.expect("ListenerSet team/s", &format!("listener x: {expected}"));
        let accepted = if expected.contains("True") { "True/Accepted" } else { "False/ListenersNotValid" };
        world.expect("ListenerSet team/s", &format!("Accepted={accepted}"));
        let sent = world.keys(ResourceKind::Certificate);
        assert_eq!(sent.len(), usize::from(expected.contains("True")), "{kind} {from}");
    }
    let own = https.replace(", namespace: certs", "");
    let world = World::plain(&(gateway("{ from: All }", OWN) + &set("team", "s", 1, &own) + &secret("team")));
    world.expect("ListenerSet team/s", "listener x: Programmed=True/Programmed");
    assert_eq!(world.keys(ResourceKind::Certificate), ["team/cert"], "its own namespace needs no grant");
}

#[test]
fn same_means_the_listener_sets_own_namespace() {
    let route = |name: &str, namespace: &str| {
        format!(
            "\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{ name: {name}, namespace: {namespace} }}\n\
             spec: {{ parentRefs: [{{ kind: ListenerSet, group: gateway.networking.k8s.io, name: s, namespace: team }}] }}\n"
        )
    };
    let world = World::plain(
        &(gateway("{ from: All }", OWN)
            + &set("team", "s", 1, ADDED)
            + &route("in", "team")
            + &route("out", "edge")),
    );
    world.expect("HTTPRoute team/in", "parent ListenerSet team/s: Accepted=True/Accepted");
    world.expect("HTTPRoute edge/out", "parent ListenerSet team/s: Accepted=False/NotAllowedByListeners");
    let status = serde_json::to_value(world.status("ListenerSet team/s")).unwrap();
    assert_eq!(status["listeners"][0]["attachedRoutes"], 1);
    let own = serde_json::to_value(world.status("Gateway edge/public")).unwrap();
    assert_eq!(
        own["listeners"][0]["attachedRoutes"], 0,
        "the Gateway's own listener has the same name and no route"
    );
}

#[test]
fn tls_listeners_of_different_objects_say_that_they_overlap() {
    let https = |host: &str| {
        format!(
            "    - {{ name: x, port: 443, hostname: '{host}', protocol: HTTPS, tls: {{ certificateRefs: [{{ name: cert }}] }} }}\n"
        )
    };
    let world = World::plain(
        &(gateway("{ from: Same }", &https("*.example.com"))
            + &set("edge", "s", 1, &https("foo.example.com"))
            + &set("edge", "t", 1, &https("foo.example.org"))
            + &secret("edge")),
    );
    let overlapping = "listener x: OverlappingTLSConfig=True/OverlappingHostnames".to_owned();
    for (object, expected) in
        [("Gateway edge/public", true), ("ListenerSet edge/s", true), ("ListenerSet edge/t", false)]
    {
        assert_eq!(world.conditions(object).contains(&overlapping), expected, "{object}");
    }
}

#[test]
fn a_listener_set_whose_gateway_is_not_ours_has_no_status_of_ours_and_one_without_a_gateway_is_pending() {
    let world = World::plain(&set("edge", "s", 1, ADDED));
    assert!(world.problems()[0].contains("Gateway edge/public does not exist"), "{:?}", world.problems());
    let foreign =
        gateway("{ from: All }", OWN).replace("gatewayClassName: fairway", "gatewayClassName: other");
    let other = World::plain(&(foreign + &set("edge", "s", 1, ADDED)));
    assert!(!other.compiler.statuses().any(|(it, _)| it.to_string() == "ListenerSet edge/s"));
    // It is written only where it was ours before.
    world.expect("ListenerSet edge/s", "Accepted=Unknown/Pending");
}

#[test]
fn a_waypoint_takes_no_listener_sets() {
    let own = "    - { name: mesh, port: 15008, protocol: HBONE }\n";
    let waypoint = gateway("{ from: All }", own)
        .replace("gatewayClassName: fairway", "gatewayClassName: fairway-waypoint");
    let world = World::plain(&(waypoint + &set("edge", "s", 1, ADDED)));
    world.expect("ListenerSet edge/s", "Accepted=False/NotAllowed");
}

#[test]
fn another_listener_set_does_not_wake_the_routes_of_the_gateway() {
    let route = "\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: { name: r, namespace: edge }\nspec: { parentRefs: [{ name: public }] }\n";
    let mut world = World::plain(&(gateway("{ from: Same }", OWN) + route));
    world.add(&set("edge", "s", 1, ADDED));
    let units = world.compiler.runs();
    // The Gateway's check, listeners and status, the ListenerSet's listeners and status, and the tunnels of waypoints.
    assert!(units <= 6, "{units} units ran");
}

#[test]
fn a_listener_set_without_its_gateway_is_neither_accepted_nor_programmed() {
    let theirs =
        gateway("{ from: All }", OWN).replace("gatewayClassName: fairway", "gatewayClassName: other");
    let own = gateway("{ from: All }", OWN);
    let mut world = World::plain(&(own.clone() + &set("edge", "s", 1, ADDED)));
    world.expect("ListenerSet edge/s", "Programmed=True/Programmed");
    world.remove(&own);
    for kind in ["Accepted", "Programmed"] {
        world.expect("ListenerSet edge/s", &format!("{kind}=Unknown/Pending"));
        assert_eq!(world.message("ListenerSet edge/s", kind), "Gateway edge/public does not exist");
    }
    assert_eq!(world.conditions("ListenerSet edge/s").len(), 2, "and nothing of its listeners");
    // Another's Gateway: it has no status of ours.
    world.add(&theirs);
    assert!(world.compiler.statuses().all(|(it, _)| it.to_string() != "ListenerSet edge/s"));
    world.remove(&theirs);
    world.expect("ListenerSet edge/s", "Accepted=Unknown/Pending");
    world.add(&own);
    world.expect("ListenerSet edge/s", "Accepted=True/Accepted");
}
