//! Gateways and listeners: what they become, and what their statuses say.

use super::{GATEWAY, World};
use crate::provision::{ProxyClass, Want};
use fairway_config::model::{ListenerProtocol, Resource, ResourceKind};

/// A certificate for tests, valid long enough.
pub(super) fn secret(namespace: &str) -> String {
    let certified = rcgen::generate_simple_self_signed(["www.example.com".to_owned()]).unwrap();
    let (chain, key) = (certified.cert.pem(), certified.signing_key.serialize_pem());
    let indent = |text: &str| text.replace('\n', "\n    ");
    format!(
        "\n---\napiVersion: v1\nkind: Secret\nmetadata: {{ name: cert, namespace: {namespace} }}\ntype: kubernetes.io/tls\n\
         stringData:\n  tls.crt: |\n    {}\n  tls.key: |\n    {}\n",
        indent(&chain),
        indent(&key)
    )
}

pub(super) fn gateway(listeners: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{ name: public, namespace: edge, generation: 7 }}\n\
         spec:\n  gatewayClassName: fairway\n  listeners:\n{listeners}"
    )
}

const HTTPS: &str = "    - { name: a, port: 443, protocol: HTTPS, tls: { certificateRefs: [{ name: cert, namespace: certs }] } }\n";

#[test]
fn a_gateway_in_order_is_served() {
    let world = World::plain(GATEWAY);
    assert_eq!(
        world.conditions("Gateway edge/public"),
        [
            "Accepted=True/Accepted",
            "Programmed=True/Programmed",
            "ResolvedRefs=True/ResolvedRefs",
            "AddressesAssigned=True/Assigned",
            "listener http: Accepted=True/Accepted",
            "listener http: ResolvedRefs=True/ResolvedRefs",
            "listener http: Conflicted=False/NoConflicts",
            "listener http: Programmed=True/Programmed",
        ]
    );
    assert_eq!(world.keys(ResourceKind::Listener), ["edge/public/http"]);
    let proxies: Vec<_> = world.compiler.proxies().collect();
    assert_eq!((proxies.len(), proxies[0].class, proxies[0].implied), (1, ProxyClass::Gateway, false));
    assert_eq!(proxies[0].identity.as_str(), "spiffe://cluster.local/ns/edge/sa/public-fairway");
}

#[test]
fn a_gateway_of_another_controller_is_none_of_our_business() {
    let class = "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: { name: other }\n\
                 spec: { controllerName: example.com/other }\n---\n";
    let world = World::plain(
        &(class.to_owned() + &GATEWAY.replace("gatewayClassName: fairway", "gatewayClassName: other")),
    );
    assert_eq!(world.compiler.statuses().count(), 2, "the two implied classes");
    assert!(world.keys(ResourceKind::Listener).is_empty());
}

#[test]
fn conditions_say_which_generation_they_saw() {
    let world = World::plain(&gateway("    - { name: a, port: 80, protocol: HTTP }\n"));
    for (of, condition) in world.status("Gateway edge/public").conditions() {
        assert_eq!(condition.observed_generation, 7, "{of} {}", condition.kind);
    }
}

#[test]
fn listeners_are_judged_one_by_one() {
    let http = "    - { name: ok, port: 80, protocol: HTTP }\n";
    for (listeners, gateway_accepted, listener) in [
        (
            "    - { name: a, port: 80, protocol: example.com/Strange }\n".to_owned(),
            "Accepted=False/ListenersNotValid",
            "listener a: Accepted=False/UnsupportedProtocol",
        ),
        (
            format!("{http}    - {{ name: a, port: 90, protocol: SCTP }}\n"),
            "Accepted=True/ListenersNotValid",
            "listener a: Accepted=False/UnsupportedProtocol",
        ),
        (
            format!(
                "{http}    - {{ name: a, port: 90, protocol: HTTP, allowedRoutes: {{ kinds: [{{ kind: TCPRoute }}] }} }}\n"
            ),
            "Accepted=True/Accepted",
            "listener a: ResolvedRefs=False/InvalidRouteKinds",
        ),
        (
            format!("{http}    - {{ name: a, port: 80, protocol: HTTPS, tls: {{ options: {{ a: b }} }} }}\n"),
            "Accepted=False/ListenersNotValid",
            "listener a: Conflicted=True/ProtocolConflict",
        ),
        (
            format!(
                "{http}    - {{ name: a, port: 81, protocol: HTTPS, tls: {{ certificateRefs: [{{ name: gone }}] }} }}\n"
            ),
            "Accepted=True/Accepted",
            "listener a: ResolvedRefs=False/InvalidCertificateRef",
        ),
        (
            format!(
                "{http}    - {{ name: a, port: 81, protocol: HTTPS, tls: {{ certificateRefs: [{{ kind: ConfigMap, name: x }}] }} }}\n"
            ),
            "ResolvedRefs=False/ListenersNotResolved",
            "listener a: ResolvedRefs=False/InvalidCertificateRef",
        ),
        (
            format!(
                "{http}    - {{ name: a, port: 81, protocol: HTTP, filters: {{ requests: [{{ type: ExtensionRef, extensionRef: {{ group: g, kind: K, name: thing }} }}] }} }}\n"
            ),
            "Accepted=True/ListenersNotValid",
            "listener a: Accepted=False/UnsupportedValue",
        ),
    ] {
        let world = World::plain(&gateway(&listeners));
        world.expect("Gateway edge/public", gateway_accepted);
        world.expect("Gateway edge/public", listener);
        let problems = world.problems();
        assert!(
            problems.iter().any(|it| it.contains("spec.listeners[") && it.contains('(')),
            "{listeners} {problems:?}"
        );
    }
}

#[test]
fn an_invalid_listener_is_never_bound() {
    let world = World::plain(&gateway(
        "    - { name: a, port: 80, protocol: SCTP }\n    - { name: ok, port: 81, protocol: HTTP }\n",
    ));
    assert_eq!(world.keys(ResourceKind::Listener), ["edge/public/ok"]);
    world.expect("Gateway edge/public", "listener a: Programmed=False/Invalid");
}

#[test]
fn a_gateway_that_asks_to_verify_clients_does_not_serve_https_without() {
    let gateway = gateway(HTTPS)
        + "  tls: { frontend: { default: { validation: { caCertificateRefs: [{ group: \"\", kind: ConfigMap, name: ca }] } } } }\n";
    let world = World::plain(&(gateway + &secret("certs") + &grant("certs", "Gateway", "edge", "cert")));
    world.expect("Gateway edge/public", "listener a: Accepted=False/NoValidCACertificate");
    world.expect("Gateway edge/public", "listener a: ResolvedRefs=False/InvalidCACertificateRef");
    assert!(world.keys(ResourceKind::Listener).is_empty());
}

pub(super) fn grant(namespace: &str, kind: &str, from: &str, name: &str) -> String {
    format!(
        "\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: ReferenceGrant\nmetadata: {{ name: g, namespace: {namespace} }}\nspec:\n\
         \x20 from: [{{ group: gateway.networking.k8s.io, kind: {kind}, namespace: {from} }}]\n  to: [{{ group: \"\", kind: Secret, name: {name} }}]\n"
    )
}

#[test]
fn a_certificate_of_another_namespace_takes_a_grant() {
    for (grant, expected) in [
        (String::new(), "RefNotPermitted"),
        (grant("certs", "Gateway", "edge", "cert"), "ResolvedRefs"),
        (grant("certs", "Gateway", "edge", "other"), "RefNotPermitted"),
        (grant("certs", "HTTPRoute", "edge", "cert"), "RefNotPermitted"),
        (grant("certs", "Gateway", "shop", "cert"), "RefNotPermitted"),
        (grant("edge", "Gateway", "edge", "cert"), "RefNotPermitted"),
    ] {
        let world = World::plain(&(gateway(HTTPS) + &secret("certs") + &grant));
        let truth = if expected == "ResolvedRefs" { "True" } else { "False" };
        world.expect("Gateway edge/public", &format!("listener a: ResolvedRefs={truth}/{expected}"));
        let certificates = if truth == "True" { vec!["certs/cert"] } else { vec![] };
        assert_eq!(world.keys(ResourceKind::Certificate), certificates, "{grant}");
    }
}

#[test]
fn a_certificate_leaves_with_its_grant_and_comes_back_with_it() {
    let mut world =
        World::plain(&(gateway(HTTPS) + &secret("certs") + &grant("certs", "Gateway", "edge", "cert")));
    let Some(Resource::Listener(listener)) = world.resource(ResourceKind::Listener, "edge/public/a") else {
        panic!()
    };
    assert!(
        matches!(&listener.protocol, ListenerProtocol::Https(tls) if tls.certificates[0].as_str() == "certs/cert")
    );
    let gone = world.remove(&grant("certs", "Gateway", "edge", "cert"));
    assert_eq!(gone.removals.len(), 2, "{:?}", gone.removals);
    let back = world.add(&grant("certs", "Gateway", "edge", "cert"));
    assert_eq!(back.upserts.len(), 2);
}

#[test]
fn a_malformed_certificate_is_said_to_be_so() {
    let broken = "\n---\napiVersion: v1\nkind: Secret\nmetadata: { name: cert, namespace: certs }\ntype: kubernetes.io/tls\n\
                  stringData: { tls.crt: rubbish, tls.key: rubbish }\n";
    let world = World::plain(&(gateway(HTTPS) + broken + &grant("certs", "Gateway", "edge", "cert")));
    world.expect("Gateway edge/public", "listener a: ResolvedRefs=False/InvalidCertificateRef");
    let message = world.message("Gateway edge/public", "Programmed");
    assert!(message.contains("see the conditions of the listeners"), "{message}");
    assert!(world.problems()[0].contains("tls.crt holds no PEM certificate"), "{:?}", world.problems());
}

#[test]
fn a_certificate_that_breaks_stays_in_use_as_it_was() {
    let good = secret("certs");
    let mut world = World::plain(&(gateway(HTTPS) + &good + &grant("certs", "Gateway", "edge", "cert")));
    let broken = "apiVersion: v1\nkind: Secret\nmetadata: { name: cert, namespace: certs }\ntype: kubernetes.io/tls\n\
                  stringData: { tls.crt: rubbish, tls.key: rubbish }\n";
    let output = world.add(broken);
    assert!(output.upserts.is_empty() && output.removals.is_empty(), "{output:?}");
    world.expect("Gateway edge/public", "listener a: ResolvedRefs=False/InvalidCertificateRef");
    world.expect("Gateway edge/public", "listener a: Programmed=True/Programmed");
    let told = world.problems().join("\n");
    assert!(told.contains("the certificate that it had before stays in use"), "{told}");
    world.add(&good);
    world.expect("Gateway edge/public", "listener a: ResolvedRefs=True/ResolvedRefs");
    world.add(broken);
    world.remove(broken);
    world.expect("Gateway edge/public", "listener a: Programmed=False/Invalid");
    assert!(world.keys(ResourceKind::Certificate).is_empty(), "who deletes it wants it gone");
}

#[test]
fn https_listeners_with_common_names_say_so() {
    let listener = |name: &str, host: &str| {
        format!(
            "    - {{ name: {name}, port: 443, hostname: \"{host}\", protocol: HTTPS, tls: {{ certificateRefs: [{{ name: cert }}] }} }}\n"
        )
    };
    let listeners =
        [listener("a", "foo.example.com"), listener("b", "foo.example.org"), listener("c", "*.example.com")];
    let world = World::plain(&(gateway(&listeners.concat()) + &secret("edge")));
    let overlaps: Vec<String> =
        world.conditions("Gateway edge/public").into_iter().filter(|it| it.contains("Overlapping")).collect();
    assert_eq!(
        overlaps,
        [
            "listener a: OverlappingTLSConfig=True/OverlappingHostnames",
            "listener c: OverlappingTLSConfig=True/OverlappingHostnames"
        ]
    );
}

#[test]
fn addresses_are_those_asked_for_or_the_machine_s_own() {
    for (addresses, condition, bound) in [
        ("", "Programmed=True/Programmed", vec!["127.0.0.1"]),
        ("  addresses: [{ value: 127.0.0.9 }]\n", "Programmed=True/Programmed", vec!["127.0.0.9"]),
        ("  addresses: [{ type: IPAddress }]\n", "Programmed=True/Programmed", vec!["127.0.0.1"]),
        (
            "  addresses: [{ type: Hostname, value: a.example.com }]\n",
            "Accepted=False/UnsupportedAddress",
            vec![],
        ),
    ] {
        let world = World::plain(&(gateway("    - { name: a, port: 80, protocol: HTTP }\n") + addresses));
        world.expect("Gateway edge/public", condition);
        let listener = world.resource(ResourceKind::Listener, "edge/public/a");
        let addresses = match listener {
            Some(Resource::Listener(it)) => it.addresses.iter().map(ToString::to_string).collect(),
            _ => Vec::new(),
        };
        assert_eq!(addresses, bound);
    }
}

#[test]
fn a_gateway_with_pods_of_its_own_binds_all_their_addresses() {
    let pod = "\n---\napiVersion: v1\nkind: Pod\nmetadata: { name: p, namespace: edge, labels: { gateway.networking.k8s.io/gateway-name: public } }\n\
               spec: { serviceAccountName: public-fairway, containers: [] }\nstatus: { podIP: 10.0.0.5 }\n";
    let world = World::plain(&(GATEWAY.to_owned() + pod));
    let Some(Resource::Listener(listener)) = world.resource(ResourceKind::Listener, "edge/public/http")
    else {
        panic!()
    };
    assert!(listener.addresses.is_empty());
    let crate::status::ObjectStatus::Gateway(status) = world.status("Gateway edge/public") else { panic!() };
    assert_eq!(status.addresses[0].address.to_string(), "10.0.0.5");
}

#[test]
fn in_a_cluster_a_gateway_without_an_address_is_not_programmed() {
    let class = "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: { name: fairway }\n\
                 spec: { controllerName: fairway.dev/controller }\n---\n";
    let world = World::cluster(&(class.to_owned() + GATEWAY));
    world.expect("GatewayClass fairway", "Accepted=True/Accepted");
    world.expect("Gateway edge/public", "Programmed=False/AddressNotAssigned");
}

const CLASS: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: { name: fairway }
spec: { controllerName: fairway.dev/controller }
---
";

#[test]
fn what_runs_for_a_gateway_stays_when_its_class_is_deleted() {
    let mut world = World::cluster(&(CLASS.to_owned() + GATEWAY));
    let listeners = world.keys(ResourceKind::Listener);
    assert!(!listeners.is_empty());
    let output = world.remove(CLASS);
    assert!(output.retired.is_empty(), "{:?}", output.retired);
    let wants: Vec<Want> = world.compiler.proxies().map(|it| it.want).collect();
    assert_eq!(wants, [Want::Leave]);
    assert_eq!(world.keys(ResourceKind::Listener), listeners);
    world.expect("Gateway edge/public", "Accepted=False/Pending");
    world.add(CLASS);
    world.expect("Gateway edge/public", "Accepted=True/Accepted");
    let another = CLASS.replace("fairway.dev/controller", "example.org/controller");
    let output = world.add(&another);
    assert_eq!(output.retired.len(), 1, "another controller has taken it over");
}

#[test]
fn a_class_says_whether_the_installed_version_of_the_api_is_supported() {
    let class = "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: { name: own }\n\
                 spec: { controllerName: fairway.dev/controller }\n";
    let definition = |name: &str, annotations: &str| {
        format!(
            "\n---\napiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n\
             metadata: {{ name: {name}.gateway.networking.k8s.io, annotations: {{ {annotations} }} }}\n"
        )
    };
    let bundle = |version: &str| format!("gateway.networking.k8s.io/bundle-version: {version}");
    let mut world = World::plain(class);
    let expect = |world: &World, condition: &str| {
        world.expect("GatewayClass own", &format!("SupportedVersion={condition}"));
        world.expect("GatewayClass own", "Accepted=True/Accepted");
    };
    expect(&world, "True/SupportedVersion");
    for (annotations, expected) in [
        (bundle("v1.7.0"), "True/SupportedVersion"),
        (bundle("v1.3.0"), "False/UnsupportedVersion"),
        (bundle("v1.4.1"), "True/SupportedVersion"),
        (bundle("v1.8.0"), "False/UnsupportedVersion"),
        ("example.com/version: v1.7.0".to_owned(), "False/UnsupportedVersion"),
    ] {
        world.add(&definition("gatewayclasses", &annotations));
        expect(&world, expected);
    }
    world.add(&definition("httproutes", &bundle("v1.3.0")));
    world.add(&definition("gatewayclasses", &bundle("v1.7.0")));
    expect(&world, "True/SupportedVersion");
}
