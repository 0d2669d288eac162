//! TLSRoutes, TCPRoutes and UDPRoutes (the official suite's shapes).

use super::World;
use fairway_config::model::{
    Attachment, BackendTarget, EndpointState, L4Kind, L4Route, Resource, ResourceKind, Unresolved,
};

const CLASS: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: { name: fairway }
spec: { controllerName: fairway.dev/controller }
---
apiVersion: v1
kind: Service
metadata: { name: echo, namespace: infra }
spec:
  clusterIP: 10.1.0.1
  ports: [{ name: tcp, port: 53 }, { name: udp, port: 53, protocol: UDP }, { name: other, port: 54 }]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: echo-1, namespace: infra, labels: { kubernetes.io/service-name: echo } }
addressType: IPv4
ports: [{ name: tcp, port: 3000 }, { name: udp, port: 3001, protocol: UDP }]
endpoints: [{ addresses: [10.0.0.1] }]
---
apiVersion: v1
kind: Service
metadata: { name: far, namespace: elsewhere }
spec: { clusterIP: 10.1.0.2, ports: [{ port: 53 }] }
";

fn gateway(listeners: &str) -> String {
    format!(
        "\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{ name: g, namespace: infra }}\n\
         spec:\n  gatewayClassName: fairway\n  listeners:\n{listeners}"
    )
}

fn route(kind: &str, name: &str, created: &str, spec: &str) -> String {
    format!(
        "\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\n\
         metadata: {{ name: {name}, namespace: infra, creationTimestamp: '2026-01-01T00:00:{created}Z' }}\nspec: {{ {spec} }}\n"
    )
}

fn world(more: &str) -> World {
    World::cluster(&format!("{CLASS}{more}"))
}

const TO_ECHO: &str = "rules: [{ backendRefs: [{ name: echo, port: 53 }] }]";
const TCP: &str =
    "    - { name: tcp, protocol: TCP, port: 9300, allowedRoutes: { kinds: [{ kind: TCPRoute }] } }\n";
const UDP: &str =
    "    - { name: udp, protocol: UDP, port: 5300, allowedRoutes: { kinds: [{ kind: UDPRoute }] } }\n";

impl World {
    fn l4(&self, name: &str) -> Option<&L4Route> {
        match self.resource(ResourceKind::L4Route, name)? {
            Resource::L4Route(it) => Some(it),
            other => panic!("{other:?}"),
        }
    }

    /// `<listener>: <effective>/<original>, …` of each listener a route is attached to.
    fn attachments(&self, name: &str) -> Vec<String> {
        let row = |it: &Attachment| match it {
            Attachment::Listener { listener, hostnames } => {
                let hosts = hostnames.iter().map(|it| format!("{}/{}", it.effective, it.original));
                format!("{listener}: {}", hosts.collect::<Vec<_>>().join(", "))
            }
            other => panic!("{other:?}"),
        };
        self.l4(name).map(|it| it.attachments.iter().map(row).collect()).unwrap_or_default()
    }

    fn attached(&self, gateway: &str) -> Vec<u64> {
        let status = serde_json::to_value(self.status(gateway)).unwrap();
        let listeners = status["listeners"].as_array().unwrap().iter();
        listeners.map(|it| it["attachedRoutes"].as_u64().unwrap()).collect()
    }
}

#[test]
fn a_listener_is_found_by_name_by_port_and_by_both() {
    let listeners = "    - { name: one, protocol: TCP, port: 9300 }\n    - { name: two, protocol: TCP, port: 9301 }\n    - { name: three, protocol: UDP, port: 9302 }\n";
    for (parent, of, expected, attached) in [
        ("name: g, port: 9300", "g port 9300", vec!["infra/g/one: "], [1, 0, 0]),
        ("name: g, sectionName: two", "g section two", vec!["infra/g/two: "], [0, 1, 0]),
        (
            "name: g, sectionName: two, port: 9301",
            "g section two port 9301",
            vec!["infra/g/two: "],
            [0, 1, 0],
        ),
        ("name: g", "g", vec!["infra/g/one: ", "infra/g/two: "], [1, 1, 0]),
    ] {
        let spec = format!("parentRefs: [{{ {parent} }}], {TO_ECHO}");
        let world = world(&(gateway(listeners) + &route("TCPRoute", "r", "01", &spec)));
        assert_eq!(world.attachments("TCPRoute/infra/r"), expected, "{parent}");
        assert_eq!(world.attached("Gateway infra/g"), attached, "{parent}");
        world.expect("TCPRoute infra/r", &format!("parent Gateway {of}: Accepted=True/Accepted"));
        world.expect("TCPRoute infra/r", &format!("parent Gateway {of}: ResolvedRefs=True/ResolvedRefs"));
    }
}

#[test]
fn a_route_is_refused_where_the_listener_is_of_another_protocol_or_not_there() {
    let http = "    - { name: l, protocol: HTTP, port: 80 }\n";
    let tls = "    - { name: l, protocol: TLS, port: 443, tls: { mode: Passthrough } }\n";
    for (kind, listeners, section, reason) in [
        ("TCPRoute", http, "l", "NotAllowedByListeners"),
        ("UDPRoute", tls, "l", "NotAllowedByListeners"),
        ("TCPRoute", UDP, "udp", "NotAllowedByListeners"),
        ("UDPRoute", UDP, "nope", "NoMatchingParent"),
    ] {
        let spec = format!("parentRefs: [{{ name: g, sectionName: {section} }}], {TO_ECHO}");
        let world = world(&(gateway(listeners) + &route(kind, "r", "01", &spec)));
        world.expect(
            &format!("{kind} infra/r"),
            &format!("parent Gateway g section {section}: Accepted=False/{reason}"),
        );
        assert_eq!(world.attached("Gateway infra/g"), [0], "{kind}");
        assert!(world.keys(ResourceKind::L4Route).is_empty());
    }
}

#[test]
fn of_several_routes_all_are_accepted_and_the_oldest_carries_the_traffic() {
    for (kind, listener, section) in [("TCPRoute", TCP, "tcp"), ("UDPRoute", UDP, "udp")] {
        let spec = format!("parentRefs: [{{ name: g, sectionName: {section} }}], {TO_ECHO}");
        // By name the younger would go first.
        let (older, younger) = (route(kind, "z", "01", &spec), route(kind, "a", "02", &spec));
        let mut world = world(&(gateway(listener) + &older + &younger));
        let keys = |world: &World| world.keys(ResourceKind::L4Route);
        assert_eq!(keys(&world), [format!("{kind}/infra/z")]);
        assert_eq!(world.attached("Gateway infra/g"), [2]);
        for name in ["a", "z"] {
            world.expect(
                &format!("{kind} infra/{name}"),
                &format!("parent Gateway g section {section}: Accepted=True/Accepted"),
            );
        }
        let message = world.message(&format!("{kind} infra/a"), "Accepted");
        assert!(message.contains(&format!("{kind} infra/z")), "{message}");

        world.remove(&older);
        assert_eq!(keys(&world), [format!("{kind}/infra/a")], "the next one takes over");
        assert!(!world.message(&format!("{kind} infra/a"), "Accepted").contains("infra/z"));
    }
}

#[test]
fn backends_have_weights_and_what_leads_nowhere_keeps_its_share() {
    let spec = "parentRefs: [{ name: g }], rules: [{ name: only, backendRefs: [\
        { name: echo, port: 53, weight: 70 }, { name: echo, port: 54, weight: 0 }, { name: nope, port: 1, weight: 30 }] }]";
    let world = world(&(gateway(TCP) + &route("TCPRoute", "r", "01", spec)));
    let l4 = world.l4("TCPRoute/infra/r").unwrap();
    assert_eq!((l4.kind, l4.rule.as_deref(), l4.created), (L4Kind::Tcp, Some("only"), 1_767_225_601));
    let backends: Vec<_> = l4.backends.iter().map(|it| (it.weight, it.target.clone())).collect();
    assert_eq!(
        backends,
        [
            (70, BackendTarget::Backend("infra/echo:53".into())),
            (0, BackendTarget::Backend("infra/echo:54".into())),
            (30, BackendTarget::Unresolved(Unresolved::NotFound)),
        ]
    );
    world.expect("TCPRoute infra/r", "parent Gateway g: Accepted=True/Accepted");
    world.expect("TCPRoute infra/r", "parent Gateway g: ResolvedRefs=False/BackendNotFound");
}

#[test]
fn a_backend_that_cannot_be_had_is_said() {
    for (kind, backend, reason) in [
        ("TCPRoute", "{ name: nope, port: 8080 }", "BackendNotFound"),
        ("UDPRoute", "{ name: echo, port: 54 }", "BackendNotFound"),
        ("TCPRoute", "{ name: far, namespace: elsewhere, port: 53 }", "RefNotPermitted"),
        (
            "TLSRoute",
            "{ group: unknownkind.example.com, kind: NonExistent, name: echo, port: 443 }",
            "InvalidKind",
        ),
    ] {
        let tls = "    - { name: tls, protocol: TLS, port: 443, tls: { mode: Passthrough } }\n";
        let spec = format!(
            "parentRefs: [{{ name: g }}], {} rules: [{{ backendRefs: [{backend}] }}]",
            if kind == "TLSRoute" { "hostnames: [example.com]," } else { "" }
        );
        let world = world(&(gateway(&format!("{TCP}{UDP}{tls}")) + &route(kind, "r", "01", &spec)));
        world.expect(&format!("{kind} infra/r"), "parent Gateway g: Accepted=True/Accepted");
        world.expect(&format!("{kind} infra/r"), &format!("parent Gateway g: ResolvedRefs=False/{reason}"));
        let l4 = world.l4(&format!("{kind}/infra/r")).unwrap();
        assert!(matches!(l4.backends[0].target, BackendTarget::Unresolved(_)));
    }
}

#[test]
fn a_grant_opens_another_namespace_and_its_end_closes_it() {
    let spec = "parentRefs: [{ name: g }], rules: [{ backendRefs: [{ name: far, namespace: elsewhere, port: 53 }] }]";
    let grant = "\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: ReferenceGrant\nmetadata: { name: x, namespace: elsewhere }\n\
        spec: { from: [{ group: gateway.networking.k8s.io, kind: TCPRoute, namespace: infra }], to: [{ group: '', kind: Service }] }\n";
    let mut world = world(&(gateway(TCP) + &route("TCPRoute", "r", "01", spec) + grant));
    world.expect("TCPRoute infra/r", "parent Gateway g: ResolvedRefs=True/ResolvedRefs");
    world.remove(grant);
    world.expect("TCPRoute infra/r", "parent Gateway g: ResolvedRefs=False/RefNotPermitted");
}

#[test]
fn one_number_over_tcp_and_udp_is_two_backends() {
    let spec = format!("parentRefs: [{{ name: g }}], {TO_ECHO}");
    let world = world(
        &(gateway(&format!("{TCP}{UDP}"))
            + &route("UDPRoute", "u", "01", &spec)
            + &route("TCPRoute", "t", "01", &spec)),
    );
    for (key, backend, address) in [
        ("UDPRoute/infra/u", "infra/echo:53/udp", "10.0.0.1:3001"),
        ("TCPRoute/infra/t", "infra/echo:53", "10.0.0.1:3000"),
    ] {
        assert_eq!(world.l4(key).unwrap().backends[0].target, BackendTarget::Backend(backend.into()));
        assert!(world.resource(ResourceKind::Backend, backend).is_some());
        let Some(Resource::Endpoints(it)) = world.resource(ResourceKind::Endpoints, backend) else {
            panic!()
        };
        assert_eq!(it.endpoints.len(), 1, "{backend}");
        assert_eq!(
            (it.endpoints[0].address.to_string().as_str(), it.endpoints[0].state),
            (address, EndpointState::Ready)
        );
    }
}

#[test]
fn hostnames_of_a_tls_route_are_met_with_the_listeners() {
    let tls = |hostname: &str| {
        format!("    - {{ name: tls, protocol: TLS, port: 443, {hostname} tls: {{ mode: Passthrough }} }}\n")
    };
    for (listener, hostnames, expected) in [
        ("hostname: abc.example.com,", "'*.example.com'", Some("abc.example.com/*.example.com")),
        ("hostname: '*.example.com',", "abc.example.com", Some("abc.example.com/abc.example.com")),
        ("hostname: '*.example.com',", "'*.com'", Some("*.example.com/*.com")),
        ("hostname: '*.com',", "'*.example.com'", Some("*.example.com/*.example.com")),
        ("", "abc.example.com", Some("abc.example.com/abc.example.com")),
        ("hostname: www.example.com,", "www.nomatch.com, '*.nomatch.com'", None),
        ("hostname: '*.example.com',", "www.different.com", None),
    ] {
        let spec = format!("parentRefs: [{{ name: g }}], hostnames: [{hostnames}], {TO_ECHO}");
        let world = world(&(gateway(&tls(listener)) + &route("TLSRoute", "r", "01", &spec)));
        let condition = match expected {
            Some(_) => "Accepted=True/Accepted",
            None => "Accepted=False/NoMatchingListenerHostname",
        };
        world.expect("TLSRoute infra/r", &format!("parent Gateway g: {condition}"));
        assert_eq!(
            world.attached("Gateway infra/g"),
            [u64::from(expected.is_some())],
            "{listener} {hostnames}"
        );
        let expected: Vec<String> = expected.iter().map(|it| format!("infra/g/tls: {it}")).collect();
        assert_eq!(world.attachments("TLSRoute/infra/r"), expected);
    }
}

#[test]
fn tls_routes_of_one_listener_all_hold_and_are_told_apart_by_the_proxy() {
    let tls = "    - { name: tls, protocol: TLS, port: 443, hostname: '*.example.com', tls: { mode: Passthrough } }\n";
    let spec = |host: &str| format!("parentRefs: [{{ name: g }}], hostnames: ['{host}'], {TO_ECHO}");
    let world = world(
        &(gateway(tls)
            + &route("TLSRoute", "a", "01", &spec("*.com"))
            + &route("TLSRoute", "b", "02", &spec("a.example.com"))),
    );
    assert_eq!(world.attached("Gateway infra/g"), [2]);
    assert_eq!(world.keys(ResourceKind::L4Route), ["TLSRoute/infra/a", "TLSRoute/infra/b"]);
}

#[test]
fn a_service_behind_its_waypoint_takes_no_datagrams_from_elsewhere() {
    let service = "\n---\napiVersion: v1\nkind: Service\nmetadata: { name: shut, namespace: infra, labels: { fairway.dev/waypoint: required } }\n\
        spec: { clusterIP: 10.1.0.9, ports: [{ name: u, port: 53, protocol: UDP }] }\n";
    let spec = "parentRefs: [{ name: g }], rules: [{ backendRefs: [{ name: shut, port: 53 }] }]";
    let world = world(&(gateway(UDP) + service + &route("UDPRoute", "r", "01", spec)));
    world.expect("UDPRoute infra/r", "parent Gateway g: ResolvedRefs=False/UnsupportedProtocol");
}

#[test]
fn a_route_none_of_whose_hostnames_is_one_does_not_take_every_host() {
    use crate::resources::{Edit, Kind, Object};
    let tls = "    - { name: tls, protocol: TLS, port: 443, tls: { mode: Passthrough } }\n";
    let mut world = world(&gateway(tls));
    // As an API server without the rules of this version would let it through.
    let manifest = serde_json::json!({
        "metadata": { "name": "r", "namespace": "infra" },
        "spec": {
            "parentRefs": [{ "name": "g" }], "hostnames": ["a..b"],
            "rules": [{ "backendRefs": [{ "name": "echo", "port": 53 }] }],
        },
    });
    world.apply(vec![Edit::Upsert(Object::parse(Kind::TlsRoute, manifest).unwrap())]);
    world.expect("TLSRoute infra/r", "parent Gateway g: Accepted=False/UnsupportedValue");
    assert!(world.keys(ResourceKind::L4Route).is_empty());
}
