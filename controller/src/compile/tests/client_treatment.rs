//! How listeners treat their clients by ClientPolicies, and what these are told of it.

use super::World;
use super::client_addresses::{CLASS, CONNECTION, FORWARDED, GATEWAY, of_gateway, policy, set, world};
use fairway_config::model::{
    ClientLimits, ClientTimeouts, ClientTreatment, RequestIds, Resource, ResourceKind, Underscores,
};
use std::time::Duration;

/// How a listener treats its clients; none if it is closed.
fn treatment(world: &World, listener: &str) -> Option<ClientTreatment> {
    match world.resource(ResourceKind::Listener, &format!("edge/public/{listener}")) {
        Some(Resource::Listener(it)) if it.closed.is_some() => None,
        Some(Resource::Listener(it)) => Some(it.treatment.as_deref().cloned().unwrap_or_default()),
        other => panic!("{listener}: {other:?}"),
    }
}

fn idle(world: &World, listener: &str) -> Option<u64> {
    treatment(world, listener).expect("it is open").timeouts.idle.map(|it| it.as_secs())
}

const ANCESTOR: &str = "ancestor Gateway edge/public";

#[test]
fn timeouts_are_those_of_the_policy_that_holds_for_the_listener_and_are_taken_whole() {
    let says = |idle: &str| format!("timeouts: {{ idle: {idle} }}");
    let mut world = world(&[
        policy("edge", "all", 1, &of_gateway(""), "timeouts: { idle: 1m30s, requestHeaders: 5s }"),
        policy("edge", "one", 5, &of_gateway("web"), &says("10s")),
        policy("edge", "late", 6, &of_gateway("web"), &says("20s")),
    ]);
    let seconds = |it| Some(Duration::from_secs(it));
    let of_web = treatment(&world, "web").unwrap().timeouts;
    assert_eq!(of_web, ClientTimeouts { idle: seconds(10), ..ClientTimeouts::default() });
    let of_shop = treatment(&world, "shop").unwrap().timeouts;
    let expected =
        ClientTimeouts { idle: seconds(90), request_headers: seconds(5), ..ClientTimeouts::default() };
    assert_eq!(of_shop, expected);
    // Nobody waits for anything of it there.
    assert_eq!(["bytes", "time"].map(|it| idle(&world, it)), [None; 2]);
    world.expect("ClientPolicy edge/all", &format!("{ANCESTOR}: Accepted=True/Accepted"));
    world.expect("ClientPolicy edge/all", &format!("{ANCESTOR}: fairway.dev/Enforced=True/ByProxies"));
    world.expect("ClientPolicy edge/late", &format!("{ANCESTOR} section web: Accepted=False/Conflicted"));
    // An empty field takes the listener out of the policy of its Gateway.
    world.add(&policy("edge", "one", 5, &of_gateway("web"), "timeouts: {}"));
    assert_eq!((idle(&world, "web"), idle(&world, "shop")), (None, Some(90)));
}

#[test]
fn a_field_that_can_have_no_effect_says_so() {
    for (section, says, told) in [
        ("bytes", "timeouts: { idle: 10s }", "timeouts has no effect at Gateway edge/public"),
        ("time", "timeouts: { handshake: 10s }", "timeouts has no effect at Gateway edge/public"),
        ("web", "timeouts: { handshake: 10s }", "timeouts has no effect at Gateway edge/public"),
        ("time", "limits: { connections: 1 }", "limits has no effect at Gateway edge/public"),
        ("bytes", "limits: { headers: 1, bodyBytes: 1 }", "limits has no effect at Gateway edge/public"),
        ("bytes", "limits: { headers: 1, connections: 1 }", "the policy is accepted"),
        (
            "web",
            "clientCertificateHeader: Set",
            "clientCertificateHeader has no effect at Gateway edge/public",
        ),
        ("web", "clientCertificateHeader: Drop", "the policy is accepted"),
        ("bytes", "underscores: Drop", "underscores has no effect at Gateway edge/public"),
        ("bytes", "requestID: Keep", "requestID has no effect at Gateway edge/public"),
        ("time", "keepalive: { probes: 2 }", "keepalive has no effect at Gateway edge/public"),
        ("bytes", "keepalive: { probes: 2 }", "the policy is accepted"),
        ("web", "timeouts: { idle: 10s }", "the policy is accepted"),
        ("web", "timeouts: { idle: 10s, handshake: 3s }", "the policy is accepted"),
    ] {
        let world = world(&[policy("edge", "p", 1, &of_gateway(section), says)]);
        let at = format!("{ANCESTOR} section {section}");
        world.expect("ClientPolicy edge/p", &format!("{at}: Accepted=True/Accepted"));
        let message = world.message_of("ClientPolicy edge/p", &at, "Accepted");
        let has_effect = told == "the policy is accepted";
        assert!(
            message.contains(told) && has_effect != message.contains("no effect"),
            "{section} {says}: {message}"
        );
    }
}

/// What follows from a value that cannot be understood, and that nothing else does.
#[test]
fn a_value_that_cannot_be_understood_is_named_with_what_follows_from_it() {
    for (says, field, told) in [
        ("timeouts: { idle: 2h }", "spec.timeouts.idle", "these listeners wait as without a policy"),
        ("underscores: Replace", "spec.underscores", "these listeners refuse headers with underscores"),
        ("requestID: Forget", "spec.requestID", "these listeners do as without it"),
        ("clientCertificateHeader: Add", "spec.clientCertificateHeader", "these listeners do as without it"),
        ("keepalive: { probes: 0 }", "spec.keepalive.probes", "these listeners do as without it"),
        ("timeouts: { connect: 2s }", "spec.timeouts.connect", "these listeners wait as without a policy"),
    ] {
        let both = format!("{FORWARDED}, {says}");
        let world = world(&[
            policy("edge", "bytes", 1, &of_gateway("bytes"), CONNECTION),
            policy("edge", "p", 1, &of_gateway("web"), &both),
        ]);
        let at = format!("{ANCESTOR} section web");
        world.expect("ClientPolicy edge/p", &format!("{at}: Accepted=False/Invalid"));
        world.expect("ClientPolicy edge/p", &format!("{at}: fairway.dev/Enforced=False/NotAccepted"));
        let message = world.message_of("ClientPolicy edge/p", &at, "Accepted");
        assert!(message.contains(field) && message.contains(told), "{says}: {message}");
        let expected = match says {
            "underscores: Replace" => {
                ClientTreatment { underscores: Underscores::Refuse, ..ClientTreatment::default() }
            }
            _ => ClientTreatment::default(),
        };
        assert_eq!(treatment(&world, "web"), Some(expected), "{says}");
        assert_eq!(world.source("web"), "forwarded", "{says}: the other field holds");
        assert_eq!(treatment(&world, "shop"), Some(ClientTreatment::default()), "{says}");
    }
}

#[test]
fn a_policy_of_the_whole_gateway_goes_before_that_of_a_listener_set() {
    let listener = "{ name: x, port: 82, protocol: HTTP, hostname: x.example }";
    let of_set = "kind: ListenerSet, name: ls";
    let own = policy("team", "p", 1, of_set, "timeouts: { idle: 10s }");
    let mut world = World::cluster(&format!("{CLASS}{GATEWAY}{}{own}", set("team", 1, listener)));
    assert_eq!(idle(&world, "team/ls/x"), Some(10));
    world.add(&policy("edge", "all", 9, &of_gateway(""), "timeouts: { idle: 20s }"));
    assert_eq!(idle(&world, "team/ls/x"), Some(20));
    world.expect("ClientPolicy team/p", "ancestor ListenerSet team/ls: Accepted=False/Conflicted");
}

#[test]
fn limits_are_those_of_the_policy_that_holds_and_listeners_are_closed_where_they_cannot_be_understood() {
    let says = "limits: { connections: 9, headers: 8, headerBytes: 2048, requestsPerConnection: 7, http2: { streams: 6 }, bodyBytes: 5 }";
    let mut world = world(&[policy("edge", "all", 1, &of_gateway(""), says)]);
    let expected = ClientLimits {
        connections: Some(9),
        headers: Some(8),
        header_bytes: Some(2048),
        requests_per_connection: Some(7),
        streams: Some(6),
        body_bytes: Some(5),
    };
    for listener in ["web", "admin", "bytes"] {
        assert_eq!(treatment(&world, listener).unwrap().limits, expected, "{listener}");
    }
    assert_eq!(treatment(&world, "time").unwrap().limits, ClientLimits::default());
    for (written, field) in [
        ("limits: { headers: 0 }", "spec.limits.headers"),
        ("limits: { bodyBytes: 1Mi }", "spec.limits.bodyBytes"),
        ("limits: { frames: 1 }", "spec.limits.frames"),
    ] {
        world.add(&policy("edge", "one", 5, &of_gateway("web"), written));
        assert_eq!(treatment(&world, "web"), None, "{written}");
        assert!(treatment(&world, "shop").is_some(), "{written}");
        let at = format!("{ANCESTOR} section web");
        world.expect("ClientPolicy edge/one", &format!("{at}: Accepted=False/Invalid"));
        let message = world.message_of("ClientPolicy edge/one", &at, "Accepted");
        assert!(message.contains(field) && message.contains("these listeners are closed"), "{message}");
        let message = world.message_of("Gateway edge/public", "listener web", "Programmed");
        assert!(message.starts_with("ClientPolicy edge/one closes the listener"), "{message}");
    }
    // Who has the listener's other fields is told who closes it.
    world.add(&policy("edge", "other", 6, &of_gateway("web"), "timeouts: { idle: 10s }"));
    let at = format!("{ANCESTOR} section web");
    world.expect("ClientPolicy edge/other", &format!("{at}: fairway.dev/Enforced=False/Pending"));
    world.remove(&policy("edge", "one", 5, &of_gateway("web"), "limits: { frames: 1 }"));
    assert_eq!(treatment(&world, "web").unwrap().limits, expected);
}

/// Each field holds by itself.
#[test]
fn fields_of_several_policies_make_one_treatment() {
    let world = world(&[
        policy("edge", "a", 1, &of_gateway(""), "requestID: Generate, underscores: Drop"),
        policy("edge", "b", 2, &of_gateway("web"), "underscores: Refuse"),
        policy("edge", "c", 3, &of_gateway("web"), "keepalive: { idle: 1m, probes: 5 }"),
    ]);
    let of_web = treatment(&world, "web").unwrap();
    assert_eq!((of_web.request_ids, of_web.underscores), (RequestIds::Generate, Underscores::Refuse));
    assert_eq!((of_web.keepalive.idle, of_web.keepalive.probes), (Some(Duration::from_secs(60)), Some(5)));
    let of_shop = treatment(&world, "shop").unwrap();
    assert_eq!((of_shop.request_ids, of_shop.underscores), (RequestIds::Generate, Underscores::Drop));
    for name in ["a", "b", "c"] {
        assert!(
            world
                .conditions(&format!("ClientPolicy edge/{name}"))
                .iter()
                .any(|it| it.contains("Enforced=True"))
        );
    }
}
