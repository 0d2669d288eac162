//! Listeners that are not served: what is for them never falls to a wider listener of the port, past what guards them.

use super::gateways::{gateway, secret};
use super::{SHOP, World};
use fairway_config::model::{Attachment, Listener, ListenerProtocol, Resource, ResourceKind};

const GATEWAY: &str = "Gateway edge/public";
const FILTERS: &str =
    "filters: { requests: [{ type: ExtensionRef, extensionRef: { group: g, kind: K, name: thing } }] }";
const SAME: &str = "allowedRoutes: { namespaces: { from: All } }";

fn http(name: &str, rest: &str) -> String {
    format!("    - {{ name: {name}, port: 80, protocol: HTTP, {SAME}{rest} }}\n")
}

fn tls(name: &str, mode: &str, rest: &str) -> String {
    format!("    - {{ name: {name}, port: 443, {mode}, {SAME}{rest} }}\n")
}

const HTTPS: &str = "protocol: HTTPS, tls: { certificateRefs: [{ name: cert }] }";
const TERMINATE: &str = "protocol: TLS, tls: { mode: Terminate, certificateRefs: [{ name: cert }] }";
const PASSTHROUGH: &str = "protocol: TLS, tls: { mode: Passthrough }";
const ELSEWHERE: &str = "protocol: HTTPS, tls: { certificateRefs: [{ name: cert, namespace: certs }] }";

const ADMIN: &str = ", hostname: admin.example.com";

/// Wider listeners of both ports: for every host, and for a domain.
fn wide() -> String {
    [
        http("all", ""),
        http("domain", ", hostname: '*.example.com'"),
        tls("tls-all", PASSTHROUGH, ""),
        tls("tls-domain", HTTPS, ", hostname: '*.example.com'"),
    ]
    .concat()
}

/// Routes of every kind for the host of the listener that is not served, and for whatever listener takes it.
fn routes() -> String {
    let route = |kind: &str| {
        format!(
            "\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\nmetadata: {{ name: r, namespace: shop }}\nspec:\n\
             \x20 parentRefs: [{{ name: public, namespace: edge }}]\n  hostnames: [admin.example.com]\n\
             \x20 rules: [{{ backendRefs: [{{ name: web, port: 80 }}] }}]\n"
        )
    };
    ["HTTPRoute", "TLSRoute"].into_iter().map(route).collect()
}

fn listener<'a>(world: &'a World, key: &str) -> Option<&'a Listener> {
    match world.resource(ResourceKind::Listener, key)? {
        Resource::Listener(it) => Some(it),
        _ => None,
    }
}

/// The listener that a proxy chooses for a host on a port: that with the most specific hostname.
fn chosen<'a>(world: &'a World, port: u16, host: &str) -> Option<&'a Listener> {
    let all = world.compiler.resources().filter_map(|(_, it)| match it {
        Resource::Listener(it) if it.port == port => Some(&**it),
        _ => None,
    });
    let taking = all.filter(|it| it.hostname.as_ref().is_none_or(|it| it.matches(host)));
    taking.max_by_key(|it| it.hostname.as_ref().map(|it| it.specificity()))
}

/// The listeners that routes are bound to.
fn bound(world: &World) -> Vec<String> {
    let resources = world.compiler.resources();
    let attachments = resources.flat_map(|(_, it)| match it {
        Resource::Route(it) => it.attachments.as_slice(),
        Resource::L4Route(it) => it.attachments.as_slice(),
        _ => &[],
    });
    let listeners = attachments.filter_map(|it| match it {
        Attachment::Listener { listener, .. } => Some(listener.to_string()),
        Attachment::Service { .. } => None,
    });
    listeners.collect()
}

/// Every reason for which a listener is not served although it can be said what is for it: its port, and how it is written.
fn reasons() -> Vec<(&'static str, u16, String)> {
    vec![
        ("filters", 80, http("admin", &format!("{ADMIN}, {FILTERS}"))),
        ("no certificate", 443, tls("admin", &HTTPS.replace("name: cert", "name: missing"), ADMIN)),
        ("no grant", 443, tls("admin", ELSEWHERE, ADMIN)),
        ("filters on HTTPS", 443, tls("admin", HTTPS, &format!("{ADMIN}, {FILTERS}"))),
        (
            "two of one name, and HTTPS is one",
            443,
            tls("admin", HTTPS, ADMIN) + &tls("admin-too", PASSTHROUGH, ADMIN),
        ),
        ("no certificate to end TLS with", 443, {
            tls("admin", &TERMINATE.replace("name: cert", "name: missing"), ADMIN)
        }),
        (
            "two of one name, and HTTPS is the other",
            443,
            tls("admin", TERMINATE, ADMIN) + &tls("admin-too", HTTPS, ADMIN),
        ),
    ]
}

#[test]
fn what_is_for_a_listener_that_is_not_served_falls_to_no_wider_one() {
    for (why, port, narrow) in reasons() {
        // The wider listeners stand before it or after it.
        for listeners in [wide() + &narrow, narrow.clone() + &wide()] {
            let world = World::plain(
                &(gateway(&listeners) + &secret("edge") + &secret("certs") + "---" + SHOP + &routes()),
            );
            let programmed = world.conditions(GATEWAY);
            let is_served = programmed.iter().any(|it| it.starts_with("listener admin: Programmed=True"));
            assert!(!is_served, "{why}: {programmed:#?}");
            let it = chosen(&world, port, "admin.example.com").unwrap();
            assert_eq!(it.key.as_str(), "edge/public/admin", "{why}");
            let said = world.message_of(GATEWAY, "listener admin", "Programmed");
            assert_eq!(it.closed.as_deref(), Some(&*said), "{why}");
            assert!(!bound(&world).contains(&it.key.to_string()), "{why}: a route is bound to it");
            let protocol = if port == 80 { ListenerProtocol::Http } else { ListenerProtocol::TlsPassthrough };
            assert_eq!(it.protocol, protocol, "{why}: it takes no certificate");
            // Its neighbours are served as before.
            for host in ["other.example.com", "example.org"] {
                let it = chosen(&world, port, host).unwrap();
                assert_eq!(
                    (it.closed.as_deref(), it.key.as_str() == "edge/public/admin"),
                    (None, false),
                    "{why} {host}"
                );
            }
        }
    }
}

#[test]
fn a_policy_of_a_listener_does_not_vanish_with_its_certificate() {
    let policy = "\n---\napiVersion: fairway.dev/v1alpha1\nkind: AccessPolicy\nmetadata: { name: p, namespace: edge }\nspec:\n\
                  \x20 targetRefs: [{ group: gateway.networking.k8s.io, kind: Gateway, name: public, sectionName: admin }]\n\
                  \x20 action: Allow\n  rules: [{ from: [{ cidrs: [10.0.0.0/8] }] }]\n";
    let listeners = tls("admin", ELSEWHERE, ADMIN) + &tls("domain", HTTPS, ", hostname: '*.example.com'");
    let grant = super::gateways::grant("certs", "Gateway", "edge", "cert");
    let certificate = secret("certs");
    let mut world = World::plain(
        &(gateway(&listeners) + &secret("edge") + &certificate + &grant + policy + "---" + SHOP + &routes()),
    );
    let admin = |world: &World| chosen(world, 443, "admin.example.com").cloned().unwrap();
    let served = admin(&world);
    assert_eq!((served.key.as_str(), served.closed.is_some()), ("edge/public/admin", false));
    assert_eq!(served.authorizations.len(), 1);
    for gone in [&grant, &certificate] {
        world.remove(gone);
        assert_eq!(admin(&world).key, served.key);
        assert!(admin(&world).closed.is_some() && admin(&world).authorizations.is_empty());
        world.add(gone);
        assert_eq!(admin(&world), served, "it is served again once it has what it lacked");
    }
}

fn set(name: &str, day: u8, listeners: &str) -> String {
    format!(
        "\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: ListenerSet\nmetadata: {{ name: {name}, namespace: team, \
         creationTimestamp: '2026-01-{day:02}T00:00:00Z' }}\nspec:\n  parentRef: {{ name: public, namespace: edge }}\n\
         \x20 listeners:\n{listeners}"
    )
}

fn allowing(from: &str, listeners: &str) -> String {
    gateway(listeners).replace(
        "  listeners:\n",
        &format!("  allowedListeners: {{ namespaces: {{ from: {from} }} }}\n  listeners:\n"),
    )
}

#[test]
fn a_listener_set_closes_its_hostnames_only_where_the_gateway_takes_it() {
    let narrow = http("admin", &format!("{ADMIN}, {FILTERS}"));
    for (from, closed) in [("All", true), ("None", false), ("Same", false)] {
        let world = World::plain(&(allowing(from, &http("all", "")) + &set("s", 1, &narrow)));
        let it = chosen(&world, 80, "admin.example.com").unwrap();
        assert_eq!(it.closed.is_some(), closed, "{from}");
        let key = if closed { "edge/public/team/s/admin" } else { "edge/public/all" };
        assert_eq!(it.key.as_str(), key, "{from}");
    }
}

#[test]
fn who_loses_a_conflict_does_not_close_what_the_winner_serves() {
    let lost = http("admin", ADMIN);
    let filtered = http("admin", &format!("{ADMIN}, {FILTERS}"));
    let other = "    - { name: admin, port: 80, protocol: TCP }\n".to_owned();
    for loser in [&lost, &filtered, &other] {
        // Against the Gateway, and against an older ListenerSet.
        let own =
            World::plain(&(allowing("All", &(http("all", "") + &http("mine", ADMIN))) + &set("s", 1, loser)));
        let sets = World::plain(
            &(allowing("All", &http("all", "")) + &set("z", 1, &http("mine", ADMIN)) + &set("a", 2, loser)),
        );
        for (world, key) in [(&own, "edge/public/mine"), (&sets, "edge/public/team/z/mine")] {
            let it = chosen(world, 80, "admin.example.com").unwrap();
            assert_eq!((it.key.as_str(), it.closed.as_deref()), (key, None), "{loser}");
        }
    }
    // Of two that are not served one is enough, and the proxy would refuse two of one hostname.
    let world = World::plain(
        &(allowing("All", &(http("all", "") + &filtered)) + &set("s", 1, &filtered) + &set("t", 2, &lost)),
    );
    assert_eq!(chosen(&world, 80, "admin.example.com").unwrap().key.as_str(), "edge/public/admin");
    assert_eq!(world.keys(ResourceKind::Listener), ["edge/public/admin", "edge/public/all"]);
}

#[test]
fn a_listener_beside_which_nothing_is_served_opens_no_port() {
    let admin = http("admin", &format!("{ADMIN}, {FILTERS}"));
    let tcp = "    - { name: other, port: 81, protocol: HTTP }\n".to_owned();
    for (what, listeners) in [
        ("alone on its port", admin.clone() + &tcp),
        ("of another family", admin + "    - { name: tcp, port: 80, protocol: TCP }\n" + &tcp),
        ("of an unknown protocol", {
            http("all", "") + &format!("    - {{ name: admin, port: 80, protocol: example.com/x{ADMIN} }}\n")
        }),
        ("at a port of the proxy", "    - { name: admin, port: 15020, protocol: HTTP }\n".to_owned() + &tcp),
    ] {
        let world = World::plain(&gateway(&listeners));
        assert!(listener(&world, "edge/public/admin").is_none(), "{what}");
    }
}
