//! Listeners of every protocol, and which of them can be told apart.

use super::gateways::{gateway, secret};
use super::{World, objects};
use crate::provision::Transport;
use fairway_config::model::{ListenerProtocol, Resource, ResourceKind};

fn protocol<'a>(world: &'a World, listener: &str) -> &'a ListenerProtocol {
    match world.resource(ResourceKind::Listener, listener) {
        Some(Resource::Listener(it)) => &it.protocol,
        _ => panic!("{listener} is not served"),
    }
}

fn supported_kinds(world: &World, object: &str, listener: &str) -> Vec<String> {
    let status = serde_json::to_value(world.status(object)).unwrap();
    let listeners = status["listeners"].as_array().unwrap();
    let it = listeners.iter().find(|it| it["name"] == listener).unwrap();
    it["supportedKinds"].as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect()
}

const EVERY_PROTOCOL: &str = "
    - { name: http, port: 80, protocol: HTTP }
    - { name: https, port: 443, hostname: a.example.com, protocol: HTTPS, tls: { certificateRefs: [{ name: cert }] } }
    - { name: end, port: 443, hostname: b.example.com, protocol: TLS, tls: { mode: Terminate, certificateRefs: [{ name: cert }] } }
    - { name: pass, port: 443, hostname: c.example.com, protocol: TLS, tls: { mode: Passthrough } }
    - { name: tcp, port: 53, protocol: TCP }
    - { name: udp, port: 53, protocol: UDP }
";

#[test]
fn every_protocol_is_served_each_with_its_kinds_of_routes() {
    let world = World::cluster(&(gateway(EVERY_PROTOCOL) + &secret("edge") + CLASS));
    world.expect("Gateway edge/public", "Accepted=True/Accepted");
    for (listener, kinds) in [
        ("http", vec!["HTTPRoute", "GRPCRoute"]),
        ("https", vec!["HTTPRoute", "GRPCRoute"]),
        ("end", vec!["TLSRoute"]),
        ("pass", vec!["TLSRoute"]),
        ("tcp", vec!["TCPRoute"]),
        ("udp", vec!["UDPRoute"]),
    ] {
        world.expect("Gateway edge/public", &format!("listener {listener}: Programmed=True/Programmed"));
        assert_eq!(supported_kinds(&world, "Gateway edge/public", listener), kinds, "{listener}");
    }
    assert!(matches!(protocol(&world, "edge/public/http"), ListenerProtocol::Http));
    assert!(
        matches!(protocol(&world, "edge/public/https"), ListenerProtocol::Https(it) if it.clients.is_none())
    );
    let ended = protocol(&world, "edge/public/end");
    assert!(
        matches!(ended, ListenerProtocol::TlsTerminate(it) if it.certificates[0].as_str() == "edge/cert")
    );
    assert!(matches!(protocol(&world, "edge/public/pass"), ListenerProtocol::TlsPassthrough));
    assert!(matches!(protocol(&world, "edge/public/tcp"), ListenerProtocol::Tcp));
    assert!(matches!(protocol(&world, "edge/public/udp"), ListenerProtocol::Udp));
    let proxy = world.compiler.proxies().next().unwrap();
    let (tcp, udp) = (Transport::Tcp, Transport::Udp);
    assert_eq!(proxy.ports, [(53, tcp), (53, udp), (80, tcp), (443, tcp)]);
}

/// The GatewayClass, which nothing fills in in a cluster.
pub(super) const CLASS: &str = "
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: { name: fairway }
spec: { controllerName: fairway.dev/controller }
";

#[test]
fn a_listener_takes_only_routes_of_its_protocol() {
    for (listener, kinds, supported) in [
        ("port: 80, protocol: HTTP", "[{ kind: InvalidRoute }]", vec![]),
        ("port: 80, protocol: HTTP", "[{ kind: InvalidRoute }, { kind: HTTPRoute }]", vec!["HTTPRoute"]),
        ("port: 80, protocol: HTTP", "[{ kind: HTTPRoute, group: example.com }]", vec![]),
        (
            "port: 443, protocol: TLS, tls: { mode: Passthrough }",
            "[{ kind: TCPRoute }, { kind: TLSRoute }]",
            vec!["TLSRoute"],
        ),
        ("port: 443, protocol: TLS, tls: { mode: Passthrough }", "[{ kind: HTTPRoute }]", vec![]),
        ("port: 53, protocol: TCP", "[{ kind: UDPRoute }]", vec![]),
        ("port: 53, protocol: UDP", "[{ kind: TCPRoute }, { kind: UDPRoute }]", vec!["UDPRoute"]),
    ] {
        let world = World::plain(&gateway(&format!(
            "    - {{ name: a, {listener}, allowedRoutes: {{ kinds: {kinds} }} }}\n"
        )));
        assert_eq!(supported_kinds(&world, "Gateway edge/public", "a"), supported, "{listener} {kinds}");
        world.expect("Gateway edge/public", "listener a: ResolvedRefs=False/InvalidRouteKinds");
        world.expect("Gateway edge/public", "listener a: Accepted=True/Accepted");
    }
}

#[test]
fn an_unknown_protocol_takes_no_routes() {
    let world = World::plain(&gateway("    - { name: a, port: 1111, protocol: INVALID }\n"));
    world.expect("Gateway edge/public", "Accepted=False/ListenersNotValid");
    world.expect("Gateway edge/public", "listener a: Accepted=False/UnsupportedProtocol");
    assert!(supported_kinds(&world, "Gateway edge/public", "a").is_empty());
}

#[test]
fn listeners_that_share_a_port_are_told_apart_or_refused_together() {
    let pass = "protocol: TLS, tls: { mode: Passthrough }";
    let https = "protocol: HTTPS, tls: { options: { a: b } }";
    for (a, b, expected) in [
        ("protocol: HTTP".to_owned(), "protocol: TCP".to_owned(), "ProtocolConflict"),
        ("protocol: HTTP".to_owned(), format!("hostname: b.example.com, {https}"), "ProtocolConflict"),
        ("protocol: TCP".to_owned(), format!("hostname: b.example.com, {pass}"), "ProtocolConflict"),
        ("protocol: TCP".to_owned(), "protocol: UDP".to_owned(), "NoConflicts"),
        ("protocol: HTTP".to_owned(), "protocol: UDP".to_owned(), "NoConflicts"),
        (
            format!("hostname: a.example.com, {https}"),
            format!("hostname: b.example.com, {pass}"),
            "NoConflicts",
        ),
        (
            format!("hostname: a.example.com, {https}"),
            format!("hostname: a.example.com, {pass}"),
            "HostnameConflict",
        ),
        (https.to_owned(), pass.to_owned(), "HostnameConflict"),
        (
            format!("hostname: '*.example.com', {pass}"),
            format!("hostname: a.example.com, {pass}"),
            "NoConflicts",
        ),
        (
            "protocol: HTTP, hostname: a.example.com".to_owned(),
            "protocol: HTTP, hostname: b.example.com".to_owned(),
            "NoConflicts",
        ),
    ] {
        let listeners = format!("    - {{ name: a, port: 443, {a} }}\n    - {{ name: b, port: 443, {b} }}\n");
        let world = World::plain(&gateway(&listeners));
        let truth = if expected == "NoConflicts" { "False" } else { "True" };
        for listener in ["a", "b"] {
            world.expect(
                "Gateway edge/public",
                &format!("listener {listener}: Conflicted={truth}/{expected}"),
            );
            if truth == "True" {
                world.expect(
                    "Gateway edge/public",
                    &format!("listener {listener}: Accepted=False/{expected}"),
                );
                world.expect(
                    "Gateway edge/public",
                    &format!("listener {listener}: Programmed=False/{expected}"),
                );
            }
        }
        if truth == "True" {
            let told = world.problems().join("\n");
            assert!(told.contains("listener b") && told.contains("uses port 443"), "{told}");
            assert!(world.keys(ResourceKind::Listener).is_empty(), "none of them wins");
        }
    }
}

#[test]
fn a_listener_without_a_certificate_counts_its_routes_all_the_same() {
    let yaml = gateway(
        "    - { name: tls, port: 443, protocol: HTTPS, tls: { mode: Terminate, certificateRefs: [{ name: does-not-exist }] } }\n",
    ) + "
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: r, namespace: edge }
spec: { parentRefs: [{ name: public, sectionName: tls }], rules: [{ backendRefs: [{ name: does-not-exist, port: 8080 }] }] }
";
    let world = World::plain(&yaml);
    world.expect("Gateway edge/public", "listener tls: ResolvedRefs=False/InvalidCertificateRef");
    world.expect("Gateway edge/public", "listener tls: Programmed=False/Invalid");
    let status = serde_json::to_value(world.status("Gateway edge/public")).unwrap();
    assert_eq!(status["listeners"][0]["attachedRoutes"], 1);
}

#[test]
fn a_gateway_with_the_longest_name_is_compiled() {
    let name = "a".repeat(253);
    let yaml = gateway("    - { name: http, port: 80, protocol: HTTP }\n").replace("public", &name);
    let world = World::plain(&yaml);
    world.expect(&format!("Gateway edge/{name}"), "Programmed=True/Programmed");
    let proxy = world.compiler.proxies().next().unwrap();
    assert!(proxy.service_account.len() <= 63, "{}", proxy.service_account);
}

#[test]
fn a_class_says_what_its_gateways_can_do() {
    let world = World::cluster(&CLASS.replace("name: fairway }", "name: fairway, generation: 4 }"));
    world.expect("GatewayClass fairway", "Accepted=True/Accepted");
    let status = crate::status::render(world.status("GatewayClass fairway"));
    let features = status["supportedFeatures"].as_array().unwrap();
    assert!(features.iter().any(|it| it["name"] == "ListenerSet"), "{features:?}");
    assert!(features.iter().any(|it| it["name"] == "GatewayListenerFilters"), "{features:?}");
    assert!(
        world.status("GatewayClass fairway").conditions().iter().all(|(_, it)| it.observed_generation == 4)
    );
    assert_eq!(objects(CLASS).len(), 1);
}
