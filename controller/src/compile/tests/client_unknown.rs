//! ClientPolicies of which something is not known or not right: what follows from it, and what each target is told.

use super::World;
use super::client_addresses::{
    CLASS, CONNECTION, FORWARDED, GATEWAY, PROXIED, of_gateway, policy, set, world,
};
use super::unreadable::seen;

const OWN: [&str; 5] = ["web", "shop", "admin", "bytes", "time"];

/// One for the listeners that have no requests, so that headers can be asked for elsewhere.
fn without_requests() -> String {
    ["bytes", "time"].map(|it| policy("edge", it, 1, &of_gateway(it), CONNECTION)).concat()
}

/// Which of its own listeners are closed, and which of two policies holds for `web` where it is not.
fn sources(world: &World) -> [&'static str; 3] {
    ["web", "shop", "admin"].map(|it| world.source(it))
}

#[test]
fn a_field_that_is_not_known_closes_what_the_policy_names_and_takes_no_field_from_another() {
    const UNKNOWN: &str = "compression: {}";
    let both = format!("{PROXIED}, {UNKNOWN}");
    let misspelled = FORWARDED.replace("clientAddress", "clientAdress");
    let all = String::new;
    let web = || "web".to_owned();
    // What the older of two policies says and where, where the younger one is, what listeners do, and what the younger one is told.
    for (says, section, of_known, expected, told) in [
        (UNKNOWN, all(), all(), ["closed", "closed", "closed"], "Accepted=True/Accepted"),
        (UNKNOWN, web(), all(), ["closed", "forwarded", "forwarded"], "Accepted=True/Accepted"),
        (UNKNOWN, all(), web(), ["closed", "closed", "closed"], "Accepted=True/Accepted"),
        (UNKNOWN, web(), web(), ["closed", "connection", "connection"], "Accepted=True/Accepted"),
        (&misspelled, web(), all(), ["closed", "forwarded", "forwarded"], "Accepted=True/Accepted"),
        // What is known of it holds in place of the other's.
        (&both, all(), all(), ["closed", "closed", "closed"], "Accepted=False/Conflicted"),
        (&both, web(), web(), ["closed", "connection", "connection"], "Accepted=False/Conflicted"),
    ] {
        let what = format!("{says} for {section:?}, and one for {of_known:?}");
        let unknown = policy("edge", "unknown", 1, &of_gateway(&section), says);
        let known = policy("edge", "known", 2, &of_gateway(&of_known), FORWARDED);
        let mut world = world(&[without_requests(), unknown.clone(), known]);
        assert_eq!(sources(&world), expected, "{what}");
        let ancestor = |section: &str| match section {
            "" => "ancestor Gateway edge/public".to_owned(),
            it => format!("ancestor Gateway edge/public section {it}"),
        };
        world.expect("ClientPolicy edge/unknown", &format!("{}: Accepted=False/Invalid", ancestor(&section)));
        world.expect(
            "ClientPolicy edge/unknown",
            &format!("{}: fairway.dev/Enforced=False/NotAccepted", ancestor(&section)),
        );
        let message = world.message("ClientPolicy edge/unknown", "Accepted");
        let field = if says == misspelled { "spec.clientAdress" } else { "spec.compression" };
        assert!(message.contains(field) && message.contains("unknown field"), "{what}: {message}");
        assert!(message.contains("these listeners are closed: edge/public/"), "{what}: {message}");
        world.expect("ClientPolicy edge/known", &format!("{}: {told}", ancestor(&of_known)));
        let message = world.message_of("Gateway edge/public", "listener web", "Programmed");
        assert!(message.starts_with("ClientPolicy edge/unknown closes the listener"), "{what}: {message}");
        // The one that is known holds at once when the other goes.
        world.remove(&unknown);
        assert_eq!(world.source("web"), "forwarded", "{what}");
    }
}

#[test]
fn a_policy_is_told_that_another_closes_its_listeners() {
    let unknown = |section: &str| policy("edge", "unknown", 1, &of_gateway(section), "compression: {}");
    let known = policy("edge", "known", 2, &of_gateway(""), FORWARDED);
    let ancestor = "ancestor Gateway edge/public";
    let some = world(&[without_requests(), unknown("web"), known.clone()]);
    let message = some.message("ClientPolicy edge/known", "Accepted");
    assert!(message.contains("ClientPolicy edge/unknown closes edge/public/web"), "{message}");
    some.expect("ClientPolicy edge/known", &format!("{ancestor}: fairway.dev/Enforced=True/ByProxies"));
    let all = world(&[without_requests(), unknown(""), known]);
    all.expect("ClientPolicy edge/known", &format!("{ancestor}: fairway.dev/Enforced=False/Pending"));
}

#[test]
fn a_policy_of_which_nothing_can_be_read_closes_its_listeners_and_takes_no_field_from_another() {
    let unreadable = policy("edge", "unknown", 1, &of_gateway("web"), "clientAddress: {}")
        .replace("fairway.dev/v1alpha1", "fairway.dev/v9");
    let known = policy("edge", "known", 2, &of_gateway("web"), FORWARDED);
    let mut world = World::cluster("");
    world.apply(seen(&format!("{CLASS}{GATEWAY}{unreadable}{known}")));
    assert_eq!(sources(&world), ["closed", "connection", "connection"]);
    let ancestor = "ancestor Gateway edge/public section web";
    world.expect("ClientPolicy edge/unknown", &format!("{ancestor}: Accepted=False/Invalid"));
    world.expect("ClientPolicy edge/known", &format!("{ancestor}: Accepted=True/Accepted"));
}

#[test]
fn one_tenant_closes_no_listener_of_another_with_a_field_that_is_not_known() {
    let listener = "{ name: x, port: 82, protocol: HTTP, hostname: x.example }";
    let other = "{ name: x, port: 82, protocol: HTTP, hostname: y.example }";
    let of_set = "kind: ListenerSet, name: ls";
    let world = world(&[
        set("a", 1, listener),
        set("b", 2, other),
        policy("a", "unknown", 1, of_set, "compression: {}"),
    ]);
    assert_eq!(world.sources(&OWN), ["connection"; 5]);
    assert_eq!(world.sources(&["a/ls/x", "b/ls/x"]), ["closed", "connection"]);
}

/// What is wrong with a policy has other consequences at each of its targets, and each is told its own.
#[test]
fn each_ancestor_is_told_exactly_what_holds_there() {
    const INVALID: &str = "clientAddress: { source: Geneve }";
    let target = |of: &str| format!("{{ group: gateway.networking.k8s.io, {of} }}");
    let several = |says: &str| {
        let targets = ["web", "shop", "gone"].map(|it| target(&of_gateway(it)));
        let set = target("kind: ListenerSet, name: gone");
        let one = policy("edge", "p", 5, &of_gateway("x"), says);
        one.replace(&target(&of_gateway("x")), &format!("{}, {set}", targets.join(", ")))
    };
    let older = policy("edge", "older", 1, &of_gateway("shop"), CONNECTION);
    let at = |part: &str| format!("ancestor Gateway edge/public section {part}");
    for (says, of_web, of_shop) in [
        (
            INVALID,
            ("False/Invalid", "these listeners are closed: edge/public/web"),
            (
                "False/Invalid",
                "nothing follows from it at Gateway edge/public, where clientAddress of ClientPolicy edge/older",
            ),
        ),
        (
            "compression: {}",
            ("False/Invalid", "these listeners are closed: edge/public/web"),
            ("False/Invalid", "these listeners are closed: edge/public/shop"),
        ),
        (
            "tls: { minVersion: '1.1' }",
            ("False/Invalid", "it is about no listener that is served"),
            ("False/Invalid", "it is about no listener that is served"),
        ),
        (
            FORWARDED,
            ("True/Accepted", "the policy is accepted"),
            ("False/Conflicted", "clientAddress of ClientPolicy edge/older applies"),
        ),
    ] {
        let world = world(&[older.clone(), several(says)]);
        for (part, (condition, message)) in [
            ("web", of_web),
            ("shop", of_shop),
            ("gone", ("False/TargetNotFound", "has no listener named gone")),
        ] {
            world.expect("ClientPolicy edge/p", &format!("{}: Accepted={condition}", at(part)));
            let told = world.message_of("ClientPolicy edge/p", &at(part), "Accepted");
            assert!(told.contains(message), "{says} at {part}: {told}");
        }
        let gone = "ancestor ListenerSet edge/gone";
        world.expect("ClientPolicy edge/p", &format!("{gone}: Accepted=False/TargetNotFound"));
    }
}

#[test]
fn a_policy_for_listeners_that_are_not_served_says_that_it_has_no_effect_yet() {
    let unserved = GATEWAY.replace(
        "{ name: web, port: 80, protocol: HTTP,",
        "{ name: web, port: 443, protocol: HTTPS, tls: { certificateRefs: [{ name: gone }] },",
    );
    let note = "no listener of Gateway edge/public is served, so it has no effect there until one is";
    for (says, condition, told) in [
        (FORWARDED, "Accepted=True/Accepted", note),
        ("tls: { minVersion: '1.3' }", "Accepted=True/Accepted", note),
        (
            "clientAddress: { source: Geneve }",
            "Accepted=False/Invalid",
            "it is about no listener that is served",
        ),
        ("compression: {}", "Accepted=False/Invalid", "so nothing is closed there for it"),
    ] {
        let world =
            World::cluster(&format!("{CLASS}{unserved}{}", policy("edge", "p", 1, &of_gateway("web"), says)));
        world
            .expect("ClientPolicy edge/p", &format!("ancestor Gateway edge/public section web: {condition}"));
        let message = world.message("ClientPolicy edge/p", "Accepted");
        assert!(message.contains(told), "{says}: {message}");
        let claims_enforcement =
            world.conditions("ClientPolicy edge/p").iter().any(|it| it.contains("Enforced=True"));
        assert!(!claims_enforcement, "{says}");
    }
}

#[test]
fn what_is_wrong_with_a_policy_of_the_whole_gateway_closes_its_listener_sets_and_says_so() {
    let listener = "{ name: x, port: 82, protocol: HTTP, hostname: x.example }";
    for says in ["compression: {}", "clientAddress: { source: Geneve }"] {
        let world = world(&[set("a", 1, listener), policy("edge", "p", 1, &of_gateway(""), says)]);
        assert_eq!(world.sources(&["web", "a/ls/x"]), ["closed", "closed"], "{says}");
        let message = world.message("ClientPolicy edge/p", "Accepted");
        assert!(message.contains("and those of its ListenerSets"), "{says}: {message}");
    }
}
