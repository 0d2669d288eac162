use super::{PERMISSIVE, STRICT, address, id, index, pod};
use crate::decide::{Client, Inbound, Incoming, inbound};
use fairway_config::model::{Mesh, Probe, ProbeAction, Resource, Workload};
use fairway_policy::{Action, Authorization, Condition, Mode, Rule};
use std::sync::Arc;

fn only_from_waypoint() -> Resource {
    let others = vec![Condition::PeerIsNot(vec![id("shop", "waypoint")]), Condition::PortIs(vec![8080])];
    let rules = vec![Rule::when(others)];
    Resource::Authorization(Arc::new(Authorization::new("required", Action::Deny, rules)))
}

/// What becomes of a connection to a pod: "in", or why not.
fn decide(mesh: Mesh, authorizations: &[&str], peer: Option<&str>, destination: &str) -> String {
    let index = index([only_from_waypoint()]);
    let pod = pod("shop", "server", "10.0.0.2", mesh, authorizations);
    let peer = peer.map(|account| id("shop", account));
    let client = peer.as_ref().map_or(Client::Plaintext, Client::Peer);
    said(inbound(&index, &pod, &pod.addresses, incoming(client, destination)))
}

fn incoming<'a>(client: Client<'a>, destination: &str) -> Incoming<'a> {
    Incoming { client, address: [10, 0, 0, 1].into(), destination: address(destination) }
}

fn said(decided: Inbound) -> String {
    match decided {
        Inbound::Admit { observed: None } => "in".to_owned(),
        Inbound::Admit { observed: Some(refusal) } => format!("in, observed: {refusal}"),
        Inbound::AdmitProbe => "probe".to_owned(),
        Inbound::Refuse(refusal) => format!("{} {refusal}", refusal.status().as_u16()),
    }
}

#[test]
fn kubelet_probes_the_ports_that_the_pod_asked_to_be_probed_at_and_does_nothing_else() {
    let index = index([only_from_waypoint()]);
    let probed = |mesh, authorizations: &[&str]| Workload {
        probes: [8080, 9090].map(|port| Probe { port, action: ProbeAction::Connect }).into(),
        ..pod("shop", "server", "10.0.0.2", mesh, authorizations)
    };
    let guarded = "401 denied by policy=\"required\" rule=\"0\"";
    let peer = id("shop", "client");
    for (mesh, authorizations, client, destination, expected) in [
        (STRICT, &[][..], Client::Node, "10.0.0.2:8080", "probe"),
        (STRICT, &[][..], Client::Node, "10.0.0.2:8081", "401 this pod takes mTLS only"),
        (STRICT, &[][..], Client::Plaintext, "10.0.0.2:8080", "401 this pod takes mTLS only"),
        // What others must not reach, kubelet still asks.
        (STRICT, &["required"][..], Client::Node, "10.0.0.2:8080", "probe"),
        (STRICT, &["unknown"][..], Client::Node, "10.0.0.2:9090", "probe"),
        // What anybody may, kubelet may.
        (PERMISSIVE, &[][..], Client::Node, "10.0.0.2:8080", "in"),
        (PERMISSIVE, &["required"][..], Client::Node, "10.0.0.2:8080", "probe"),
        (PERMISSIVE, &["required"][..], Client::Plaintext, "10.0.0.2:8080", guarded),
        (STRICT, &["required"][..], Client::Peer(&peer), "10.0.0.2:8080", guarded),
        (PERMISSIVE, &["required"][..], Client::Node, "10.0.0.2:9090", "in"),
        (STRICT, &[][..], Client::Node, "10.0.0.3:8080", "400 10.0.0.3:8080 is not an address of this pod"),
    ] {
        let pod = probed(mesh, authorizations);
        let decided = inbound(&index, &pod, &pod.addresses, incoming(client, destination));
        assert_eq!(said(decided), expected, "{client:?} to {destination}");
    }
}

#[test]
fn a_pod_that_the_configuration_gives_no_address_yet_has_those_it_was_registered_with() {
    let index = index([]);
    let pod = Workload { addresses: vec![], ..pod("shop", "server", "10.0.0.2", STRICT, &[]) };
    let (peer, registered) = (id("shop", "client"), ["10.0.0.2".parse().unwrap()]);
    for (destination, expected) in
        [("10.0.0.2:8080", "in"), ("10.0.0.3:8080", "400 10.0.0.3:8080 is not an address of this pod")]
    {
        let decided = inbound(&index, &pod, &registered, incoming(Client::Peer(&peer), destination));
        assert_eq!(said(decided), expected);
    }
}

#[test]
fn plaintext_is_let_in_by_permissive_pods_only() {
    for (mesh, peer, expected) in [
        (PERMISSIVE, None, "in"),
        (PERMISSIVE, Some("client"), "in"),
        (STRICT, Some("client"), "in"),
        (STRICT, None, "401 this pod takes mTLS only"),
        (Mesh::Outside, None, "in"),
    ] {
        assert_eq!(decide(mesh, &[], peer, "10.0.0.2:8080"), expected, "{mesh:?} {peer:?}");
    }
}

#[test]
fn a_required_waypoint_refuses_whoever_else_comes() {
    let denied = "401 denied by policy=\"required\" rule=\"0\"";
    for (mesh, peer, destination, expected) in [
        (STRICT, Some("waypoint"), "10.0.0.2:8080", "in"),
        (STRICT, Some("client"), "10.0.0.2:8080", denied),
        (PERMISSIVE, None, "10.0.0.2:8080", denied),
        (PERMISSIVE, Some("client"), "10.0.0.2:9090", "in"),
    ] {
        assert_eq!(decide(mesh, &["required"], peer, destination), expected, "{peer:?} {destination}");
    }
}

#[test]
fn what_is_only_observed_lets_pass_and_says_whom_it_would_refuse() {
    let rule =
        Rule { name: Some("web".into()), ..Rule::when(vec![Condition::PeerIs(vec![id("shop", "web")])]) };
    let observed = |name: &str, action, rules| {
        Resource::Authorization(Arc::new(Authorization {
            mode: Mode::Observe,
            ..Authorization::new(name, action, rules)
        }))
    };
    let index = index([
        only_from_waypoint(),
        observed("shop/allow", Action::Allow, vec![rule.clone()]),
        observed("shop/deny", Action::Deny, vec![rule]),
    ]);
    let nothing = "in, observed: nothing allows it at the level of the pod, where shop/allow asks for it";
    for (authorizations, peer, expected) in [
        (&["shop/allow"][..], "web", "in"),
        (&["shop/allow"][..], "client", nothing),
        (&["shop/deny"][..], "web", "in, observed: denied by shop/deny (rule web)"),
        (&["shop/deny"][..], "client", "in"),
        // What is enforced beside it refuses.
        (&["shop/allow", "required"][..], "client", "401 denied by policy=\"required\" rule=\"0\""),
        (&["shop/allow", "required"][..], "waypoint", nothing),
    ] {
        let pod = pod("shop", "server", "10.0.0.2", STRICT, authorizations);
        let peer = id("shop", peer);
        let decided = inbound(&index, &pod, &pod.addresses, incoming(Client::Peer(&peer), "10.0.0.2:8080"));
        assert_eq!(said(decided), expected, "{authorizations:?} {peer}");
    }
}

#[test]
fn an_authorization_that_is_not_known_refuses() {
    assert_eq!(
        decide(PERMISSIVE, &["unheard-of"], Some("waypoint"), "10.0.0.2:8080"),
        "401 denied by policy=\"unheard-of\": it is not known here"
    );
}

#[test]
fn only_this_pods_own_ports_are_served() {
    for (destination, expected) in [
        ("10.0.0.3:8080", "400 10.0.0.3:8080 is not an address of this pod"),
        ("127.0.0.1:8080", "400 127.0.0.1:8080 is not an address of this pod"),
        ("10.0.0.2:15001", "400 10.0.0.2:15001 is a port of the tunnel itself"),
        ("10.0.0.2:15006", "400 10.0.0.2:15006 is a port of the tunnel itself"),
        ("10.0.0.2:15008", "400 10.0.0.2:15008 is a port of the tunnel itself"),
    ] {
        assert_eq!(decide(PERMISSIVE, &[], Some("client"), destination), expected);
    }
}
