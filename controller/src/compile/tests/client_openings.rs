//! How the connections to a port begin, where several objects listen on it.

use super::World;
use super::client_addresses::{CLASS, CONNECTION, FORWARDED, GATEWAY, PROXIED, of_gateway, policy, set};

/// What one listener of the Gateway on port 80 is, beside `shop`.
#[derive(Clone, Copy, Debug)]
enum Web {
    Served,
    /// Its certificate is not there.
    NotServed,
    /// It is not there itself.
    Absent,
}

const UNREADABLE: &str = "clientAddress: { source: Geneve }";
const UNKNOWN: &str = "compression: {}";
const NOTHING: &str = "";

/// A port on which `web` of the Gateway listens, and a ListenerSet of each of two tenants, the first one older, each with what its policy
/// says. On 443 all end TLS.
fn port(web: Web, of_web: &str, of_first: &str, of_second: &str) -> World {
    let of = |host: &str, certificate: &str| {
        format!(
            "port: 443, protocol: HTTPS, hostname: {host}.example, tls: {{ certificateRefs: [{{ name: {certificate} }}] }}"
        )
    };
    let gateway = GATEWAY.replace(
        "    - { name: web, port: 80, protocol: HTTP, hostname: a.example }\n",
        &match web {
            Web::Served => format!("    - {{ name: web, {} }}\n", of("a", "cert")),
            Web::NotServed => format!("    - {{ name: web, {} }}\n", of("a", "gone")),
            Web::Absent => String::new(),
        },
    );
    let mut yaml = format!("{CLASS}{gateway}");
    for namespace in ["edge", "a", "b"] {
        yaml += &super::gateways::secret(namespace);
    }
    for (day, namespace) in [(1, "a"), (2, "b")] {
        yaml += &set(namespace, day, &format!("{{ name: x, {} }}", of(&format!("x.{namespace}"), "cert")));
    }
    let of_set = "kind: ListenerSet, name: ls";
    for (namespace, target, says) in [
        ("edge", of_gateway("web"), of_web),
        ("a", of_set.to_owned(), of_first),
        ("b", of_set.to_owned(), of_second),
    ] {
        if says != NOTHING {
            yaml += &policy(namespace, "p", 1, &target, says);
        }
    }
    World::cluster(&yaml)
}

#[test]
fn the_connections_of_a_port_begin_as_the_gateway_says_or_else_as_no_tenant_closes_another() {
    for (web, of_web, of_first, of_second, expected) in [
        // The Gateway decides, also where its listener is not served.
        (Web::Served, PROXIED, NOTHING, NOTHING, ["proxied", "proxied"]),
        (Web::NotServed, PROXIED, NOTHING, NOTHING, ["proxied", "proxied"]),
        (Web::NotServed, PROXIED, CONNECTION, NOTHING, ["closed", "proxied"]),
        (Web::NotServed, PROXIED, PROXIED, FORWARDED, ["proxied", "closed"]),
        (Web::NotServed, CONNECTION, PROXIED, NOTHING, ["closed", "connection"]),
        (Web::NotServed, NOTHING, PROXIED, NOTHING, ["closed", "connection"]),
        (Web::NotServed, NOTHING, PROXIED, PROXIED, ["closed", "closed"]),
        // Where it does not listen there, the tenants are among themselves.
        (Web::Absent, NOTHING, PROXIED, PROXIED, ["proxied", "proxied"]),
        (Web::Absent, NOTHING, PROXIED, NOTHING, ["closed", "connection"]),
        (Web::Absent, NOTHING, NOTHING, PROXIED, ["connection", "closed"]),
        (Web::Absent, NOTHING, PROXIED, CONNECTION, ["closed", "connection"]),
        // What cannot be understood closes its own listener and has no say on the port.
        (Web::Absent, NOTHING, UNREADABLE, NOTHING, ["closed", "connection"]),
        (Web::Absent, NOTHING, UNREADABLE, PROXIED, ["closed", "proxied"]),
        (Web::Absent, NOTHING, UNKNOWN, PROXIED, ["closed", "proxied"]),
        (Web::Absent, NOTHING, PROXIED, UNKNOWN, ["proxied", "closed"]),
        (Web::Served, UNREADABLE, PROXIED, PROXIED, ["proxied", "proxied"]),
        (Web::Served, UNREADABLE, PROXIED, NOTHING, ["closed", "connection"]),
        (Web::Served, UNKNOWN, NOTHING, NOTHING, ["connection", "connection"]),
        (Web::NotServed, UNREADABLE, PROXIED, PROXIED, ["proxied", "proxied"]),
    ] {
        let world = port(web, of_web, of_first, of_second);
        let what = format!("{web:?}: {of_web:?}, {of_first:?}, {of_second:?}");
        assert_eq!(world.sources(&["a/ls/x", "b/ls/x"]), expected, "{what}");
        if let Web::Served = web {
            let own = match of_web {
                UNREADABLE | UNKNOWN => "closed",
                _ => "proxied",
            };
            assert_eq!(world.source("web"), own, "{what}");
        }
    }
}

/// The documentation says so (client-policy.md), and what to do about it.
#[test]
fn a_newer_listener_set_that_asks_for_no_header_closes_an_older_one_that_does_unless_the_gateway_decides() {
    let mut world = port(Web::Absent, NOTHING, PROXIED, NOTHING);
    assert_eq!(world.sources(&["a/ls/x", "b/ls/x"]), ["closed", "connection"]);
    world.expect("ListenerSet a/ls", "listener x: Programmed=False/Invalid");
    let message = world.message_of("ListenerSet a/ls", "listener x", "Programmed");
    assert!(message.contains("b/ls/x"), "it names the other one: {message}");
    // Before that one came, and when it has gone.
    world.remove(&set("b", 2, "{ name: x, port: 443, protocol: HTTPS }"));
    assert_eq!(world.source("a/ls/x"), "proxied");
    // Nobody closes what the Gateway says.
    let world = port(Web::Served, PROXIED, PROXIED, NOTHING);
    assert_eq!(world.sources(&["a/ls/x", "b/ls/x"]), ["proxied", "proxied"]);
}

/// Of two listeners of one object on a port the one with a policy decides, and of two with policies the one that is served.
#[test]
fn within_the_gateway_what_is_written_goes_before_what_is_not_and_then_what_is_served() {
    let one = |name: &str, certificate: &str| {
        format!(
            "    - {{ name: {name}, port: 443, protocol: HTTPS, hostname: {name}.example, tls: {{ certificateRefs: [{{ name: {certificate} }}] }} }}\n"
        )
    };
    for (of_gone, of_here, expected) in [
        (PROXIED, NOTHING, "proxied"),
        (PROXIED, CONNECTION, "connection"),
        (NOTHING, PROXIED, "proxied"),
        (CONNECTION, PROXIED, "proxied"),
    ] {
        let gateway = GATEWAY.replace(
            "    - { name: admin",
            &format!("{}{}    - {{ name: admin", one("gone", "gone"), one("here", "cert")),
        );
        let mut yaml = format!("{CLASS}{gateway}{}", super::gateways::secret("edge"));
        for (name, says) in [("gone", of_gone), ("here", of_here)] {
            if says != NOTHING {
                yaml += &policy("edge", name, 1, &of_gateway(name), says);
            }
        }
        assert_eq!(World::cluster(&yaml).source("here"), expected, "{of_gone:?}, {of_here:?}");
    }
}

/// What a ListenerSet asks for that cannot be read is not known. It is left out, and closes nobody else's listener.
#[test]
fn a_listener_set_that_cannot_be_read_has_no_say_on_a_port() {
    let unreadable = set("a", 1, "{ name: x, port: 84, protocol: HTTP, hostname: x.example, newer: 1 }");
    let other = set("b", 2, "{ name: x, port: 84, protocol: HTTP, hostname: y.example }");
    let of_set = "kind: ListenerSet, name: ls";
    let policies = ["a", "b"].map(|it| policy(it, "p", 1, of_set, PROXIED)).concat();
    let mut world = World::cluster("");
    world.apply(super::unreadable::seen(&format!("{CLASS}{GATEWAY}{unreadable}{other}{policies}")));
    assert_eq!(world.source("b/ls/x"), "proxied");
    world.expect("ListenerSet b/ls", "listener x: Programmed=True/Programmed");
}
