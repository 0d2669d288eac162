//! ClientPolicies: what proxies get of them, and what they are told.

use super::World;
use fairway_config::model::{
    AddressSource, CipherSuite, KeyExchangeGroup, Resource, ResourceKind, TlsVersion,
};

pub(super) const CLASS: &str = "
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

pub(super) const GATEWAY: &str = "
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: public, namespace: edge }
spec:
  gatewayClassName: fairway
  allowedListeners: { namespaces: { from: All } }
  listeners:
    - { name: web, port: 80, protocol: HTTP, hostname: a.example }
    - { name: shop, port: 80, protocol: HTTP, hostname: b.example }
    - { name: admin, port: 81, protocol: HTTP }
    - { name: bytes, port: 90, protocol: TCP }
    - { name: time, port: 123, protocol: UDP }
";

const ROUTE: &str = "
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: r, namespace: edge }
spec:
  parentRefs: [{ name: public, sectionName: web }, { name: public, sectionName: shop }]
  rules: [{ filters: [{ type: RequestRedirect, requestRedirect: { hostname: c.example } }] }]
";

pub(super) const FORWARDED: &str = "clientAddress: { source: ForwardedFor, trustedCIDRs: [10.0.0.0/8] }";
pub(super) const PROXIED: &str = "clientAddress: { source: ProxyProtocol, trustedCIDRs: [10.0.0.0/8] }";
pub(super) const CONNECTION: &str = "clientAddress: { source: Connection }";
const ACCEPTED: &str = "Accepted=True/Accepted";

pub(super) fn policy(namespace: &str, name: &str, day: u8, target: &str, says: &str) -> String {
    format!(
        "\n---\napiVersion: fairway.dev/v1alpha1\nkind: ClientPolicy\n\
         metadata: {{ name: {name}, namespace: {namespace}, generation: 2, creationTimestamp: '2026-01-{day:02}T00:00:00Z' }}\n\
         spec: {{ targetRefs: [{{ group: gateway.networking.k8s.io, {target} }}], {says} }}\n"
    )
}

pub(super) fn of_gateway(section: &str) -> String {
    let section = if section.is_empty() { String::new() } else { format!(", sectionName: {section}") };
    format!("kind: Gateway, name: public{section}")
}

pub(super) fn set(namespace: &str, day: u8, listeners: &str) -> String {
    format!(
        "\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: ListenerSet\n\
         metadata: {{ name: ls, namespace: {namespace}, creationTimestamp: '2026-02-{day:02}T00:00:00Z' }}\n\
         spec: {{ parentRef: {{ name: public, namespace: edge }}, listeners: [{listeners}] }}\n"
    )
}

fn access(namespace: &str, target: &str) -> String {
    format!(
        "\n---\napiVersion: fairway.dev/v1alpha1\nkind: AccessPolicy\nmetadata: {{ name: office, namespace: {namespace} }}\n\
         spec: {{ targetRefs: [{{ group: gateway.networking.k8s.io, {target} }}], action: Allow, \
         rules: [{{ from: [{{ cidrs: [203.0.113.0/24] }}] }}] }}\n"
    )
}

pub(super) fn world(more: &[String]) -> World {
    World::cluster(&format!("{CLASS}{GATEWAY}{}", more.concat()))
}

impl World {
    /// The word for how a listener learns where its clients are.
    pub(super) fn source(&self, listener: &str) -> &'static str {
        let key = format!("edge/public/{listener}");
        match self.resource(ResourceKind::Listener, &key) {
            Some(Resource::Listener(it)) if it.closed.is_some() => "closed",
            Some(Resource::Listener(it)) => match it.address_source {
                AddressSource::Connection => "connection",
                AddressSource::ProxyProtocol(_) => "proxied",
                AddressSource::ForwardedFor(_) => "forwarded",
                AddressSource::Header { .. } => "header",
            },
            other => panic!("{key}: {other:?}"),
        }
    }

    /// Why a listener is closed, as proxies are told.
    pub(super) fn said_closed(&self, listener: &str) -> Option<String> {
        match self.resource(ResourceKind::Listener, &format!("edge/public/{listener}")) {
            Some(Resource::Listener(it)) => it.closed.as_ref().map(ToString::to_string),
            other => panic!("{listener}: {other:?}"),
        }
    }

    /// The listeners that a route is bound to.
    fn bound_to(&self, route: &str) -> Vec<String> {
        let route = self.resource(ResourceKind::Route, route).unwrap_or_else(|| panic!("{route}"));
        let mut listeners: Vec<_> = route.listeners().map(ToString::to_string).collect();
        listeners.sort();
        listeners
    }

    pub(super) fn sources(&self, listeners: &[&str]) -> Vec<&'static str> {
        listeners.iter().map(|it| self.source(it)).collect()
    }
}

const OWN: [&str; 5] = ["web", "shop", "admin", "bytes", "time"];

#[test]
fn without_a_policy_clients_are_where_their_connections_come_from() {
    assert_eq!(world(&[]).sources(&OWN), ["connection"; 5]);
    // A policy of another namespace is about another Gateway.
    let other = world(&[policy("shop", "p", 1, &of_gateway(""), FORWARDED)]);
    assert_eq!(other.sources(&OWN), ["connection"; 5]);
    other.expect("ClientPolicy shop/p", "ancestor Gateway shop/public: Accepted=False/TargetNotFound");
}

#[test]
fn a_policy_of_a_listener_goes_before_one_of_its_gateway_and_the_older_before_the_younger() {
    let mut world = world(&[
        policy("edge", "all", 2, &of_gateway(""), CONNECTION),
        policy("edge", "one", 5, &of_gateway("web"), FORWARDED),
        policy("edge", "late", 6, &of_gateway("web"), PROXIED),
        policy("edge", "young", 7, &of_gateway(""), PROXIED),
    ]);
    assert_eq!(world.sources(&["web", "shop", "admin"]), ["forwarded", "connection", "connection"]);
    for (name, section, expected) in [
        ("all", "", ACCEPTED),
        ("one", " section web", ACCEPTED),
        ("late", " section web", "Accepted=False/Conflicted"),
        ("young", "", "Accepted=False/Conflicted"),
    ] {
        world.expect(
            &format!("ClientPolicy edge/{name}"),
            &format!("ancestor Gateway edge/public{section}: {expected}"),
        );
    }
    world.expect(
        "ClientPolicy edge/one",
        "ancestor Gateway edge/public section web: fairway.dev/Enforced=True/ByProxies",
    );
    world.remove(&policy("edge", "one", 5, &of_gateway("web"), FORWARDED));
    world.remove(&policy("edge", "late", 6, &of_gateway("web"), PROXIED));
    assert_eq!(world.sources(&["web", "shop", "admin"]), ["connection"; 3]);
}

#[test]
fn a_policy_that_is_not_valid_or_cannot_be_read_closes_its_listeners_and_no_others() {
    for says in [
        "clientAddress: { source: ForwardedFor, trustedCIDRs: [10.0.0.1/8] }",
        "clientAddress: { source: ForwardedFor, trustedCIDRs: [] }",
        "clientAddress: { source: ProxyProtocol }",
        "clientAddress: { source: Header, trustedCIDRs: [10.0.0.0/8] }",
        "clientAddress: { source: Header, trustedCIDRs: [10.0.0.0/8], header: connection }",
        "clientAddress: { source: Geneve }",
        "clientAddress: { source: ForwardedFor, trustedCIDRs: [10.0.0.0/8], trustedHops: 1 }",
        "clientAddress: 1",
    ] {
        let world = world(&[policy("edge", "p", 1, &of_gateway("web"), says)]);
        assert_eq!(
            world.sources(&["web", "shop", "admin"]),
            ["closed", "connection", "connection"],
            "{says}"
        );
        let ancestor = "ancestor Gateway edge/public section web";
        world.expect("ClientPolicy edge/p", &format!("{ancestor}: Accepted=False/Invalid"));
        world.expect("ClientPolicy edge/p", &format!("{ancestor}: fairway.dev/Enforced=False/NotAccepted"));
        let message = world.message("ClientPolicy edge/p", "Accepted");
        assert!(message.contains("these listeners are closed: edge/public/web"), "{says}: {message}");
    }
}

#[test]
fn a_policy_that_says_nothing_has_no_effect() {
    let ancestor = "ancestor Gateway edge/public section web";
    let empty = world(&[policy("edge", "p", 1, &of_gateway("web"), "clientAddress: null")]);
    assert_eq!(empty.source("web"), "connection");
    empty.expect("ClientPolicy edge/p", &format!("{ancestor}: Accepted=False/Invalid"));
}

#[test]
fn headers_and_the_proxy_protocol_are_for_listeners_that_can_have_them() {
    let whole = world(&[policy("edge", "p", 1, &of_gateway(""), FORWARDED)]);
    assert_eq!(whole.sources(&OWN), ["forwarded", "forwarded", "forwarded", "closed", "closed"]);
    whole.expect("ClientPolicy edge/p", "ancestor Gateway edge/public: Accepted=False/Invalid");
    let message = whole.message("ClientPolicy edge/p", "Accepted");
    assert!(message.contains("edge/public/bytes"), "{message}");
    let proxied = world(&[
        policy("edge", "p", 1, &of_gateway(""), PROXIED),
        policy("edge", "udp", 1, &of_gateway("time"), CONNECTION),
    ]);
    assert_eq!(proxied.sources(&OWN), ["proxied", "proxied", "proxied", "proxied", "connection"]);
    proxied.expect("ClientPolicy edge/p", "ancestor Gateway edge/public: Accepted=True/Accepted");
}

#[test]
fn the_connections_of_a_port_begin_in_one_way() {
    // Nothing is said of the other listener of the port: it follows.
    let follows = world(&[policy("edge", "p", 1, &of_gateway("web"), PROXIED)]);
    assert_eq!(follows.sources(&["web", "shop", "admin"]), ["proxied", "proxied", "connection"]);
    // It is said that the other one is without: then this one is closed, and says why.
    let differs = world(&[
        policy("edge", "p", 1, &of_gateway("shop"), PROXIED),
        policy("edge", "q", 2, &of_gateway("web"), CONNECTION),
    ]);
    assert_eq!(differs.sources(&["web", "shop"]), ["connection", "closed"]);
    differs
        .expect("ClientPolicy edge/p", "ancestor Gateway edge/public section shop: Accepted=False/Invalid");
    let message = differs.message("ClientPolicy edge/p", "Accepted");
    assert!(message.contains("edge/public/web"), "{message}");
    // What a request says is each listener's own matter.
    let requests = world(&[policy("edge", "p", 1, &of_gateway("shop"), FORWARDED)]);
    assert_eq!(requests.sources(&["web", "shop"]), ["connection", "forwarded"]);
}

#[test]
fn a_listener_set_is_located_by_its_gateway_or_else_by_its_own_policy() {
    let of_set = |section: &str| format!("kind: ListenerSet, name: ls{section}");
    let listeners = "{ name: x, port: 82, protocol: HTTP }, { name: z, port: 83, protocol: HTTP }";
    let mut world = world(&[
        set("team", 1, listeners),
        policy("team", "all", 1, &of_set(""), PROXIED),
        policy("team", "one", 2, &of_set(", sectionName: z"), FORWARDED),
    ]);
    assert_eq!(world.sources(&["team/ls/x", "team/ls/z", "web"]), ["proxied", "forwarded", "connection"]);
    world.expect("ClientPolicy team/all", "ancestor ListenerSet team/ls: Accepted=True/Accepted");
    world.expect("ClientPolicy team/one", "ancestor ListenerSet team/ls section z: Accepted=True/Accepted");
    // One of a single listener of the Gateway says nothing of others.
    world.add(&policy("edge", "one", 3, &of_gateway("web"), FORWARDED));
    assert_eq!(world.sources(&["team/ls/x", "team/ls/z"]), ["proxied", "forwarded"]);
    // One of the whole Gateway holds for its ListenerSets.
    world.add(&policy("edge", "all", 4, &of_gateway(""), CONNECTION));
    assert_eq!(world.sources(&["team/ls/x", "team/ls/z"]), ["connection", "connection"]);
    world.expect("ClientPolicy team/all", "ancestor ListenerSet team/ls: Accepted=False/Conflicted");
}

/// Who may add listeners must not choose for the Gateway's policies where clients are.
#[test]
fn a_listener_set_does_not_say_for_the_policies_of_its_gateway_whom_to_believe() {
    let everybody = "clientAddress: { source: ForwardedFor, trustedCIDRs: [0.0.0.0/0] }";
    let listeners = "{ name: x, port: 82, protocol: HTTP }";
    let of_set = "kind: ListenerSet, name: ls";
    let mut world = world(&[set("team", 1, listeners), policy("team", "p", 1, of_set, everybody)]);
    assert_eq!(world.source("team/ls/x"), "forwarded");
    world.add(&access("edge", &of_gateway("")));
    assert_eq!(world.source("team/ls/x"), "closed");
    world.expect("ClientPolicy team/p", "ancestor ListenerSet team/ls: Accepted=False/Invalid");
    // Its own policies are its own matter, and so are those of listeners that it does not have.
    world.remove(&access("edge", &of_gateway("")));
    world.add(&access("team", of_set));
    world.add(&access("edge", &of_gateway("web")));
    assert_eq!(world.source("team/ls/x"), "forwarded");
    // The owner of the Gateway may say it.
    world.add(&access("edge", &of_gateway("")));
    world.add(&policy("edge", "all", 9, &of_gateway(""), FORWARDED));
    assert_eq!(world.source("team/ls/x"), "forwarded");
}

/// Of each field the oldest policy holds that has it, and a policy of which a field is overridden says which.
#[test]
fn policies_with_different_fields_for_one_target_hold_beside_each_other() {
    const TLS: &str = "tls: { minVersion: '1.3' }";
    let both = format!("{CONNECTION}, {TLS}");
    let ancestor = "ancestor Gateway edge/public";
    for (older, younger, accepted, enforced) in [
        (TLS, FORWARDED, "True/Accepted", Some("True/ByProxies")),
        (FORWARDED, TLS, "True/Accepted", None),
        (TLS, &both, "True/Accepted", Some("False/Overridden")),
        (FORWARDED, &both, "True/Accepted", Some("False/Overridden")),
        (&both, TLS, "False/Conflicted", Some("False/NotAccepted")),
        (&both, FORWARDED, "False/Conflicted", Some("False/NotAccepted")),
        (&both, &both, "False/Conflicted", Some("False/NotAccepted")),
    ] {
        let udp = policy("edge", "udp", 1, &of_gateway("time"), CONNECTION);
        let bytes = policy("edge", "bytes", 1, &of_gateway("bytes"), CONNECTION);
        let world = world(&[
            policy("edge", "older", 1, &of_gateway(""), older),
            policy("edge", "younger", 2, &of_gateway(""), younger),
            udp,
            bytes,
        ]);
        let source =
            if [older, younger].contains(&FORWARDED) && older != both { "forwarded" } else { "connection" };
        assert_eq!(world.sources(&["web", "shop", "admin"]), [source; 3], "{older} before {younger}");
        world.expect("ClientPolicy edge/older", &format!("{ancestor}: {ACCEPTED}"));
        world.expect("ClientPolicy edge/younger", &format!("{ancestor}: Accepted={accepted}"));
        let conditions = world.conditions("ClientPolicy edge/younger");
        let found = conditions.iter().find_map(|it| it.split_once("fairway.dev/Enforced=")).map(|it| it.1);
        assert_eq!(found, enforced, "{older} before {younger}");
        if enforced == Some("False/Overridden") {
            let field = if older == TLS { "tls" } else { "clientAddress" };
            for kind in ["Accepted", "fairway.dev/Enforced"] {
                let message = world.message("ClientPolicy edge/younger", kind);
                let expected = format!("{field} of ClientPolicy edge/older applies");
                assert!(message.contains(&expected), "{kind}: {message}");
            }
        }
    }
}

#[test]
fn a_policy_says_at_which_listeners_others_hold() {
    let world = world(&[
        policy("edge", "all", 1, &of_gateway(""), CONNECTION),
        policy("edge", "one", 2, &of_gateway("web"), FORWARDED),
    ]);
    world
        .expect("ClientPolicy edge/all", "ancestor Gateway edge/public: fairway.dev/Enforced=True/ByProxies");
    let message = world.message("ClientPolicy edge/all", "Accepted");
    assert_eq!(
        message,
        "the policy is accepted. clientAddress is that of ClientPolicy edge/one at edge/public/web"
    );
}

/// Whoever was there first says how connections to a port begin, for itself. A Gateway says it for its ListenerSets, too.
#[test]
fn a_listener_set_does_not_say_for_other_tenants_how_their_connections_begin() {
    let of_set = "kind: ListenerSet, name: ls";
    let listener = |port: u16, host: &str| {
        format!("{{ name: x, port: {port}, protocol: HTTP, hostname: {host}.example }}")
    };
    let twice =
        format!("{}, {{ name: z, port: 84, protocol: HTTP, hostname: z.example }}", listener(84, "x"));
    let mut world = world(&[
        set("a", 1, &twice),
        set("b", 2, &listener(84, "y")),
        policy("a", "p", 1, &format!("{of_set}, sectionName: z"), PROXIED),
    ]);
    // Another tenant asks for no header: the listener that does is closed, though its ListenerSet is older, and says why.
    assert_eq!(world.sources(&["a/ls/x", "a/ls/z", "b/ls/x"]), ["connection", "closed", "connection"]);
    world.expect("ListenerSet a/ls", "listener z: Programmed=False/Invalid");
    world.expect("ListenerSet b/ls", "listener x: Programmed=True/Programmed");
    let message = world.message_of("ListenerSet a/ls", "listener z", "Programmed");
    assert!(message.contains("listener edge/public/b/ls/x is on the same port"), "{message}");
    world.expect("ClientPolicy a/p", "ancestor ListenerSet a/ls section z: Accepted=False/Invalid");
    // The same where the other one says so.
    world.add(&policy("b", "p", 1, of_set, CONNECTION));
    assert_eq!(world.sources(&["a/ls/z", "b/ls/x"]), ["closed", "connection"]);
    world.remove(&policy("b", "p", 1, of_set, CONNECTION));
    // Who asks for the same is served, and the other listener of the ListenerSet follows.
    world.add(&policy("b", "p", 1, of_set, PROXIED));
    assert_eq!(world.sources(&["a/ls/x", "a/ls/z", "b/ls/x"]), ["proxied"; 3]);
    world.expect("ListenerSet b/ls", "listener x: Programmed=True/Programmed");
    // A policy for a listener of the Gateway on that port: those without a policy of their own follow it.
    let mut world = self::world(&[
        set("a", 1, &listener(80, "x")),
        set("b", 2, &listener(80, "y")),
        policy("edge", "p", 9, &of_gateway("web"), PROXIED),
    ]);
    assert_eq!(world.sources(&["web", "shop", "a/ls/x", "b/ls/x"]), ["proxied"; 4]);
    world.add(&policy("a", "p", 1, of_set, FORWARDED));
    assert_eq!(world.sources(&["web", "a/ls/x", "b/ls/x"]), ["proxied", "closed", "proxied"]);
}

#[test]
fn a_listener_that_is_closed_does_not_call_itself_programmed() {
    let unreadable = "clientAddress: { source: Geneve }";
    let mut world = world(&[policy("edge", "p", 1, &of_gateway("web"), unreadable)]);
    world.expect("Gateway edge/public", "listener web: Programmed=False/Invalid");
    world.expect("Gateway edge/public", "listener shop: Programmed=True/Programmed");
    let message = world.message_of("Gateway edge/public", "listener web", "Programmed");
    assert!(message.starts_with("ClientPolicy edge/p closes the listener"), "{message}");
    // A proxy that does not know closed listeners has nothing to serve there.
    world.add(ROUTE);
    assert_eq!(world.bound_to("HTTPRoute/edge/r"), ["edge/public/shop"]);
    assert_eq!(world.said_closed("web"), Some(message));
    world.remove(&policy("edge", "p", 1, &of_gateway("web"), unreadable));
    world.expect("Gateway edge/public", "listener web: Programmed=True/Programmed");
    assert_eq!(world.bound_to("HTTPRoute/edge/r"), ["edge/public/shop", "edge/public/web"]);
    assert_eq!(world.said_closed("web"), None);
}

#[test]
fn a_listener_set_does_not_change_how_connections_begin_on_a_port_that_others_have() {
    let of_set = "kind: ListenerSet, name: ls";
    let world = world(&[
        set(
            "a",
            1,
            "{ name: x, port: 80, protocol: HTTP, hostname: x.example }, { name: z, port: 84, protocol: HTTP, hostname: x.example }",
        ),
        set("b", 2, "{ name: x, port: 84, protocol: HTTP, hostname: y.example }"),
        policy("a", "p", 1, of_set, CONNECTION),
        policy("b", "p", 1, of_set, PROXIED),
    ]);
    assert_eq!(
        world.sources(&["web", "a/ls/x", "a/ls/z", "b/ls/x"]),
        ["connection", "connection", "connection", "closed"]
    );
    let other = World::cluster(&format!(
        "{CLASS}{GATEWAY}{}{}",
        set("a", 1, "{ name: x, port: 80, protocol: HTTP, hostname: x.example }"),
        policy("a", "p", 1, of_set, PROXIED)
    ));
    assert_eq!(other.sources(&["web", "shop", "a/ls/x"]), ["connection", "connection", "closed"]);
}

#[test]
fn the_lowest_version_of_tls_is_that_of_the_policy_and_the_newest_where_it_cannot_be_read() {
    let secret = super::gateways::secret("edge");
    let gateway = GATEWAY.replace(
        "    - { name: admin",
        "    - { name: tls, port: 443, protocol: HTTPS, tls: { certificateRefs: [{ name: cert }] } }\n    - { name: admin",
    );
    let version = |policies: &[String]| {
        let world = World::cluster(&format!("{CLASS}{gateway}{secret}{}", policies.concat()));
        match world.resource(ResourceKind::Listener, "edge/public/tls") {
            Some(Resource::Listener(it)) => {
                (it.protocol.termination().unwrap().min_version, it.address_source.is_connection())
            }
            other => panic!("{other:?}"),
        }
    };
    let all = |says: &str| policy("edge", "all", 1, &of_gateway(""), says);
    assert_eq!(version(&[]), (TlsVersion::V1_2, true));
    assert_eq!(version(&[all("tls: { minVersion: '1.3' }")]), (TlsVersion::V1_3, true));
    assert_eq!(version(&[all("tls: { minVersion: '1.2' }")]), (TlsVersion::V1_2, true));
    assert_eq!(version(&[all("tls: { minVersion: '1.1' }")]), (TlsVersion::V1_3, true));
    let algorithms = "tls: { cipherSuites: [TLS_AES_256_GCM_SHA384], curves: [x25519] }";
    let told = World::cluster(&format!("{CLASS}{gateway}{secret}{}", all(algorithms)));
    match told.resource(ResourceKind::Listener, "edge/public/tls") {
        Some(Resource::Listener(it)) => {
            let tls = it.protocol.termination().unwrap();
            assert_eq!(tls.algorithms.cipher_suites, [CipherSuite::Aes256GcmSha384]);
            assert_eq!(tls.algorithms.groups, [KeyExchangeGroup::X25519]);
            assert_eq!(tls.min_version, TlsVersion::V1_2);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(version(&[all("tls: { cipherSuites: [TLS_NULL] }")]), (TlsVersion::V1_3, true));
    // Parts hold one by one: one policy says where clients are, and the other which TLS is spoken.
    let one = policy("edge", "one", 2, &of_gateway("tls"), FORWARDED);
    assert_eq!(version(&[all("tls: { minVersion: '1.3' }"), one]), (TlsVersion::V1_3, false));
    let world = world(&[all("tls: { minVersion: '1.1' }")]);
    world.expect("ClientPolicy edge/all", "ancestor Gateway edge/public: Accepted=False/Invalid");
    assert_eq!(world.sources(&OWN), ["connection"; 5], "nothing is closed for it");
}

#[test]
fn a_target_that_is_not_there_or_has_no_such_clients_is_named() {
    let waypoint = "\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: { name: w, namespace: edge }\n\
                    spec: { gatewayClassName: fairway-waypoint, listeners: [{ name: m, port: 15008, protocol: HBONE }] }\n";
    for (target, ancestor, reason) in [
        ("kind: Gateway, name: gone", "Gateway edge/gone", "TargetNotFound"),
        ("kind: ListenerSet, name: gone", "ListenerSet edge/gone", "TargetNotFound"),
        (
            "kind: Gateway, name: public, sectionName: gone",
            "Gateway edge/public section gone",
            "TargetNotFound",
        ),
        ("kind: Gateway, name: w", "Gateway edge/w", "Invalid"),
        ("kind: HTTPRoute, name: r", "HTTPRoute edge/r", "Invalid"),
    ] {
        let world = world(&[waypoint.to_owned(), policy("edge", "p", 1, target, FORWARDED)]);
        world.expect("ClientPolicy edge/p", &format!("ancestor {ancestor}: Accepted=False/{reason}"));
        assert_eq!(world.sources(&OWN), ["connection"; 5], "{target}");
    }
}
