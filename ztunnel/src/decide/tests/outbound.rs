use super::{PERMISSIVE, STRICT, address, endpoints, id, index, index_at, ip, mesh, pod, service};
use crate::decide::{Hop, Outbound, OutboundRefusal, Path, outbound};
use fairway_balance::Locality;
use fairway_config::model::{EndpointState, InternalTrafficPolicy, Mesh, Resource, SessionAffinity};
use fairway_hbone::Target;
use std::sync::Arc;

/// What a client's connection becomes: its hops in words, or why not.
fn decide(client: &str, destination: &str) -> String {
    let index = index(mesh());
    let client = index.workload(&client.into()).unwrap();
    match outbound(&index, client, address(destination)) {
        Outbound::Passthrough => "passes".to_owned(),
        Outbound::Refuse(refusal) => refusal.to_string(),
        Outbound::Forward { path, candidates } => {
            let hops = candidates.endpoints().iter().map(|it| match path.hop(it, address(destination)) {
                Some(Hop::Tunnel { target, authority }) => {
                    let who = target.identity.as_str().trim_start_matches("spiffe://cluster.local/ns/");
                    format!("{} as {who} for {authority}", target.address)
                }
                Some(Hop::Plain(address)) => format!("{address} in plain"),
                None => "nobody".to_owned(),
            });
            let way = match path {
                Path::Waypoint(_) => "waypoint",
                Path::Endpoint(_) => "endpoint",
                Path::Pod => "pod",
            };
            format!("{way} {}", hops.collect::<Vec<_>>().join(" or "))
        }
    }
}

#[test]
fn a_service_is_reached_through_the_clients_waypoint_else_its_own_else_directly() {
    for (client, destination, expected) in [
        ("shop/client", "10.96.0.1:80", "endpoint 10.0.0.2:15008 as shop/sa/server for 10.0.0.2:8080"),
        ("shop/client", "10.96.0.2:80", "waypoint 10.0.9.1:15008 as shop/sa/waypoint for 10.96.0.2:80"),
        ("shop/client", "10.96.0.3:80", "waypoint 10.0.9.1:15008 as shop/sa/waypoint for 10.96.0.3:80"),
        ("other/client", "10.96.0.3:80", "waypoint 10.0.9.2:15008 as other/sa/waypoint for 10.96.0.3:80"),
        ("other/client", "10.96.0.2:80", "waypoint 10.0.9.1:15008 as shop/sa/waypoint for 10.96.0.2:80"),
        ("shop/client", "10.96.0.6:80", "endpoint 10.0.2.1:8080 in plain"),
    ] {
        assert_eq!(decide(client, destination), expected, "{client} to {destination}");
    }
}

#[test]
fn what_should_go_through_a_waypoint_never_goes_around_it() {
    let around = |waypoint| format!("no ready endpoint of {waypoint}, and its traffic may not go around it");
    assert_eq!(decide("shop/client", "10.96.0.4:80"), around("waypoint/shop/unready"));
    // Not even through the Service's own, when the client's namespace has routes of its own.
    assert_eq!(decide("other/client", "10.96.0.7:80"), around("waypoint/other/unready"));
    assert_eq!(
        decide("shop/client", "10.96.0.7:80"),
        "waypoint 10.0.9.1:15008 as shop/sa/waypoint for 10.96.0.7:80"
    );
}

#[test]
fn a_service_without_endpoints_or_without_the_port_refuses() {
    assert_eq!(decide("shop/client", "10.96.0.5:80"), "no ready endpoint of shop/empty:80");
    assert_eq!(decide("shop/client", "10.96.0.1:81"), "shop/direct has no port 81");
}

#[test]
fn a_pod_is_reached_as_it_is_and_a_stranger_in_plain() {
    for (destination, expected) in [
        ("10.0.0.2:8080", "pod 10.0.0.2:15008 as shop/sa/server for 10.0.0.2:8080"),
        ("10.0.2.1:8080", "passes"),
        ("192.0.2.1:443", "passes"),
        ("192.0.2.1:15008", "passes"),
    ] {
        assert_eq!(decide("shop/client", destination), expected, "{destination}");
    }
}

#[test]
fn of_two_pods_at_one_address_the_captured_one_is_reached() {
    let client = pod("shop", "client", "10.0.0.1", PERMISSIVE, &[]);
    // The pod that had the address before is ending; its name may sort before or after.
    for ending in ["a", "z"] {
        for (new, way) in [(PERMISSIVE, "pod"), (STRICT, "pod"), (Mesh::Outside, "passes")] {
            let pods = [
                pod("shop", ending, "10.0.0.8", Mesh::Outside, &[]),
                pod("shop", "new", "10.0.0.8", new, &[]),
            ];
            let index = index(pods.into_iter().map(|it| Resource::Workload(Arc::new(it))));
            let decided = match outbound(&index, &client, address("10.0.0.8:8080")) {
                Outbound::Forward { path: Path::Pod, candidates } => {
                    let identities: Vec<_> =
                        candidates.endpoints().iter().map(|it| it.identity.clone()).collect();
                    assert_eq!(identities, [Some(id("shop", "new"))], "{ending}");
                    "pod"
                }
                Outbound::Passthrough => "passes",
                other => panic!("{other:?}"),
            };
            assert_eq!(decided, way, "{ending} {new:?}");
        }
    }
}

#[test]
fn what_would_come_back_here_is_refused() {
    for destination in [
        "127.0.0.1:80",
        "0.0.0.0:80",
        "[::1]:80",
        "10.0.0.1:15001",
        "10.0.0.1:15006",
        "10.0.0.1:15008",
        "10.0.0.2:15008",
    ] {
        let expected = format!("{destination} is an address or port of the tunnel itself");
        assert_eq!(decide("shop/client", destination), expected);
    }
}

#[test]
fn a_pod_that_is_being_released_speaks_as_if_it_were_already() {
    let index = index(mesh());
    let leaving = pod("shop", "client", "10.0.0.1", Mesh::Outside, &[]);
    assert_eq!(outbound(&index, &leaving, address("10.96.0.2:80")), Outbound::Passthrough);
    assert!(matches!(
        outbound(&index, &leaving, address("10.0.0.1:15001")),
        Outbound::Refuse(OutboundRefusal::Loop(_))
    ));
}

#[test]
fn the_tunnel_to_a_pod_expects_its_identity_and_names_its_address() {
    let index = index(mesh());
    let client = pod("shop", "client", "10.0.0.1", PERMISSIVE, &[]);
    let Outbound::Forward { path, candidates } = outbound(&index, &client, address("10.0.0.2:8080")) else {
        panic!("was not forwarded");
    };
    let target = Target { address: address("10.0.0.2:15008"), identity: id("shop", "server") };
    let authority = address("10.0.0.2:8080").into();
    assert_eq!(
        path.hop(&candidates.endpoints()[0], address("10.0.0.2:8080")),
        Some(Hop::Tunnel { target, authority })
    );
}

/// What becomes of a connection from node `n1` to a Service at 10.96.1.1 and fd00::1:1 with these endpoints.
fn decide_about(
    list: &[(&str, EndpointState, Option<&str>)],
    internal_traffic_policy: InternalTrafficPolicy,
    destination: &str,
) -> Result<Vec<String>, String> {
    let addresses: Vec<_> = list.iter().map(|(at, state, _)| (*at, *state, None)).collect();
    let mut all = endpoints("shop/both:80", &addresses);
    all.internal_traffic_policy = internal_traffic_policy;
    for (endpoint, (_, _, node)) in all.endpoints.iter_mut().zip(list) {
        endpoint.node = node.map(Arc::from);
    }
    let mut both = service("both", "10.96.1.1", None, &[]);
    both.addresses.push(ip("fd00::1:1"));
    let here = Locality::new(Some("n1".to_owned()), None);
    let resources = [Resource::Service(Arc::new(both)), Resource::Endpoints(Arc::new(all))];
    let index = index_at(here, resources);
    let client = pod("shop", "client", "10.0.0.1", PERMISSIVE, &[]);
    match outbound(&index, &client, address(destination)) {
        Outbound::Forward { candidates, .. } => {
            Ok(candidates.endpoints().iter().map(|it| it.address.to_string()).collect())
        }
        Outbound::Refuse(refusal) => Err(refusal.to_string()),
        Outbound::Passthrough => panic!("passed"),
    }
}

#[test]
fn who_dials_one_family_of_addresses_is_led_to_an_endpoint_of_that_family() {
    use EndpointState::{Draining, Ready};
    let list = [
        ("[fd00::2]:8080", Ready, None),
        ("10.0.0.2:8080", Draining, None),
        ("10.0.0.3:8080", Ready, None),
        ("[fd00::3]:8080", Draining, None),
    ];
    let of = |list, destination| decide_about(list, InternalTrafficPolicy::Cluster, destination);
    assert_eq!(of(&list, "10.96.1.1:80"), Ok(vec!["10.0.0.3:8080".to_owned()]));
    assert_eq!(of(&list, "[fd00::1:1]:80"), Ok(vec!["[fd00::2]:8080".to_owned()]));
    assert_eq!(of(&list[1..2], "10.96.1.1:80"), Ok(vec!["10.0.0.2:8080".to_owned()]));
    assert_eq!(of(&list[1..2], "[fd00::1:1]:80"), Err("no ready endpoint of shop/both:80".to_owned()));
}

#[test]
fn a_service_that_is_local_is_not_looked_for_on_other_nodes() {
    use EndpointState::Ready;
    let list = [("10.0.0.2:8080", Ready, Some("n1")), ("10.0.0.3:8080", Ready, Some("n2"))];
    assert_eq!(
        decide_about(&list, InternalTrafficPolicy::Local, "10.96.1.1:80"),
        Ok(vec!["10.0.0.2:8080".to_owned()])
    );
    assert_eq!(decide_about(&list, InternalTrafficPolicy::Cluster, "10.96.1.1:80").map(|it| it.len()), Ok(2));
    assert_eq!(
        decide_about(&list[1..], InternalTrafficPolicy::Local, "10.96.1.1:80"),
        Err("no ready endpoint of shop/both:80 on this node, and its internalTrafficPolicy is Local"
            .to_owned())
    );
}

#[test]
fn session_affinity_of_a_service_is_kept_with_its_candidates() {
    let mut all = endpoints("shop/sticky:80", &[("10.0.0.2:8080", EndpointState::Ready, None)]);
    all.session_affinity = SessionAffinity::ClientIp;
    let sticky = service("sticky", "10.96.1.2", None, &[]);
    let index = index(
        mesh().into_iter().chain([Resource::Service(Arc::new(sticky)), Resource::Endpoints(Arc::new(all))]),
    );
    let client = pod("shop", "client", "10.0.0.1", PERMISSIVE, &[]);
    for (destination, expected) in [("10.96.1.2:80", true), ("10.96.0.1:80", false)] {
        let Outbound::Forward { candidates, .. } = outbound(&index, &client, address(destination)) else {
            panic!("{destination}");
        };
        assert_eq!(candidates.has_affinity(), expected, "{destination}");
    }
}
