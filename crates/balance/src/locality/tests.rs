use super::EndpointState::{Draining, Ready, Unready};
use super::*;
use proptest::prelude::*;
use std::net::IpAddr;

fn names(names: &[&str]) -> Vec<Arc<str>> {
    names.iter().map(|name| Arc::from(*name)).collect()
}

/// An endpoint by its last octet, on a node (in a zone of the same number), with hints for nodes and zones.
fn endpoint(host: u8, state: EndpointState, node: &str, nodes: &[&str], zones: &[&str]) -> Endpoint {
    let hints = Hints { nodes: names(nodes), zones: names(zones) };
    Endpoint {
        address: ([10, 0, 0, host], 80).into(),
        state,
        identity: None,
        node: Some(node.into()),
        hints: (hints != Hints::default()).then(|| Arc::new(hints)),
    }
}

fn endpoints(internal_traffic_policy: InternalTrafficPolicy, endpoints: Vec<Endpoint>) -> Endpoints {
    Endpoints { internal_traffic_policy, ..Endpoints::of_anybody("shop/web:80".into(), endpoints) }
}

fn chosen(all: &Endpoints, node: &str, zone: &str) -> Vec<u8> {
    let client = Locality::new(Some(node.to_owned()), Some(zone.to_owned()));
    let last = |endpoint: &Endpoint| match endpoint.address.ip() {
        IpAddr::V4(address) => address.octets()[3],
        IpAddr::V6(_) => 0,
    };
    candidates(all, Family::V4, &client).into_iter().map(last).collect()
}

#[test]
fn internal_traffic_policy_local_keeps_to_the_client_s_node() {
    let all = endpoints(
        InternalTrafficPolicy::Local,
        vec![
            endpoint(1, Ready, "n1", &[], &[]),
            endpoint(2, Draining, "n1", &[], &[]),
            endpoint(3, Draining, "n2", &[], &[]),
            endpoint(4, Unready, "n3", &[], &[]),
        ],
    );
    for (node, expected) in [("n1", &[1][..]), ("n2", &[3]), ("n3", &[]), ("n4", &[]), ("", &[1])] {
        assert_eq!(chosen(&all, node, "z1"), expected, "{node}");
    }
}

#[test]
fn hints_lead_to_the_node_then_to_the_zone_then_to_all() {
    let all = endpoints(
        InternalTrafficPolicy::Cluster,
        vec![
            endpoint(1, Ready, "n1", &["n1"], &["z1"]),
            endpoint(2, Ready, "n2", &["n2"], &["z1"]),
            endpoint(3, Ready, "n3", &["n3"], &["z2"]),
            endpoint(4, Unready, "n4", &["n4"], &["z3"]),
            endpoint(5, Draining, "n5", &["n5"], &["z4"]),
        ],
    );
    for (node, zone, expected) in [
        ("n1", "z1", &[1][..]),
        ("n9", "z1", &[1, 2]),
        ("n9", "", &[1, 2, 3]),
        ("", "z2", &[3]),
        // Hints of an endpoint that is not ready do not count.
        ("n4", "z3", &[1, 2, 3]),
        ("n5", "z4", &[1, 2, 3]),
        ("n9", "z9", &[1, 2, 3]),
    ] {
        assert_eq!(chosen(&all, node, zone), expected, "{node} {zone}");
    }
}

#[test]
fn hints_that_not_every_ready_endpoint_has_do_not_count() {
    let of = |second: Endpoint| {
        endpoints(InternalTrafficPolicy::Cluster, vec![endpoint(1, Ready, "n1", &["n1"], &["z1"]), second])
    };
    for (second, expected) in [
        (endpoint(2, Ready, "n2", &[], &[]), &[1, 2][..]),
        (endpoint(2, Ready, "n2", &[], &["z1"]), &[1, 2]),
        (endpoint(2, Ready, "n2", &[], &["z2"]), &[1]),
        (endpoint(2, Unready, "n2", &[], &[]), &[1]),
    ] {
        assert_eq!(chosen(&of(second.clone()), "n1", "z1"), expected, "{second:?}");
    }
}

#[test]
fn where_all_endpoints_are_terminating_hints_do_not_count() {
    let all = endpoints(
        InternalTrafficPolicy::Cluster,
        vec![endpoint(1, Draining, "n1", &["n1"], &["z1"]), endpoint(2, Draining, "n2", &["n2"], &["z2"])],
    );
    assert_eq!(chosen(&all, "n1", "z1"), [1, 2]);
}

/// Few names, so that clients, endpoints and hints meet.
fn any_names(prefix: &'static str) -> impl Strategy<Value = Vec<Arc<str>>> {
    prop::collection::vec((0..3_u8).prop_map(move |number| format!("{prefix}{number}").into()), 0..3)
}

fn any_endpoint() -> impl Strategy<Value = Endpoint> {
    let state = prop::sample::select(vec![Ready, Draining, Unready]);
    let hints = prop::option::of((any_names("n"), any_names("z")));
    (any::<u8>(), any::<bool>(), state, prop::option::of(0..3_u8), hints).prop_map(
        |(host, is_v6, state, node, hints)| Endpoint {
            address: match is_v6 {
                true => (std::net::Ipv6Addr::from(u128::from(host)), 80).into(),
                false => ([10, 0, 0, host], 80).into(),
            },
            state,
            identity: None,
            node: node.map(|node| format!("n{node}").into()),
            hints: hints.map(|(nodes, zones)| Arc::new(Hints { nodes, zones })),
        },
    )
}

/// An endpoint of IPv4 with hints for nodes and for zones.
fn any_hinted_endpoint() -> impl Strategy<Value = Endpoint> {
    let names = |prefix: &'static str| {
        prop::collection::vec((0..3_u8).prop_map(move |number| format!("{prefix}{number}").into()), 1..3)
    };
    (any_endpoint(), any::<u8>(), names("n"), names("z")).prop_map(|(endpoint, host, nodes, zones)| {
        Endpoint {
            address: ([10, 0, 0, host], 80).into(),
            hints: Some(Arc::new(Hints { nodes, zones })),
            ..endpoint
        }
    })
}

fn any_client() -> impl Strategy<Value = Locality> {
    (prop::option::of(0..3_u8), prop::option::of(0..3_u8)).prop_map(|(node, zone)| {
        Locality::new(node.map(|node| format!("n{node}")), zone.map(|zone| format!("z{zone}")))
    })
}

fn any_service() -> impl Strategy<Value = Endpoints> {
    let policy = prop::sample::select(vec![InternalTrafficPolicy::Cluster, InternalTrafficPolicy::Local]);
    (policy, prop::collection::vec(any_endpoint(), 0..8))
        .prop_map(|(internal_traffic_policy, list)| endpoints(internal_traffic_policy, list))
}

/// How far an endpoint is from a client: 0 has its node in the hints, 1 its zone, 2 neither.
fn distance(endpoint: &Endpoint, client: &Locality) -> u8 {
    let hints = endpoint.hints.as_deref().cloned().unwrap_or_default();
    let has =
        |hinted: &[Arc<str>], own: &Option<Arc<str>>| own.as_ref().is_some_and(|own| hinted.contains(own));
    match (has(&hints.nodes, &client.node), has(&hints.zones, &client.zone)) {
        (true, _) => 0,
        (false, true) => 1,
        (false, false) => 2,
    }
}

/// The rules as sentences, each over the whole list.
fn oracle(all: &Endpoints, family: Family, client: &Locality) -> Vec<Endpoint> {
    let mut list = all.endpoints.clone();
    list.retain(|endpoint| Family::from_address(endpoint.address.ip()) == family);
    if all.internal_traffic_policy == InternalTrafficPolicy::Local && client.node.is_some() {
        list.retain(|endpoint| endpoint.node == client.node);
    }
    if list.iter().any(|endpoint| endpoint.state == Ready) {
        list.retain(|endpoint| endpoint.state == Ready);
    } else {
        list.retain(|endpoint| endpoint.state == Draining);
        return list;
    }
    if all.internal_traffic_policy == InternalTrafficPolicy::Local {
        return list;
    }
    let hints = |endpoint: &Endpoint| endpoint.hints.as_deref().cloned().unwrap_or_default();
    let all_have_nodes = list.iter().all(|endpoint| !hints(endpoint).nodes.is_empty());
    let all_have_zones = list.iter().all(|endpoint| !hints(endpoint).zones.is_empty());
    let on_node: Vec<_> = list.iter().filter(|endpoint| distance(endpoint, client) == 0).cloned().collect();
    if all_have_nodes && !on_node.is_empty() {
        return on_node;
    }
    let in_zone =
        |endpoint: &&Endpoint| client.zone.as_ref().is_some_and(|zone| hints(endpoint).zones.contains(zone));
    let in_zone: Vec<_> = list.iter().filter(in_zone).cloned().collect();
    if all_have_zones && !in_zone.is_empty() { in_zone } else { list }
}

proptest! {
    #[test]
    fn candidates_are_those_of_the_oracle(
        all in any_service(),
        client in any_client(),
        family in prop::sample::select(vec![Family::V4, Family::V6]),
    ) {
        let found: Vec<Endpoint> = candidates(&all, family, &client).into_iter().cloned().collect();
        prop_assert_eq!(found, oracle(&all, family, &client));
    }

    #[test]
    fn a_farther_endpoint_is_no_candidate_while_a_nearer_one_is(
        // Hints count if every ready endpoint has some for nodes and for zones.
        list in prop::collection::vec(any_hinted_endpoint(), 1..8),
        client in any_client(),
    ) {
        let all = endpoints(InternalTrafficPolicy::Cluster, list);
        let found = candidates(&all, Family::V4, &client);
        let ready = all.endpoints.iter().filter(|endpoint| endpoint.state == Ready);
        let Some(nearest) = ready.map(|endpoint| distance(endpoint, &client)).min() else { return Ok(()) };
        let farthest = found.iter().map(|endpoint| distance(endpoint, &client)).max();
        prop_assert!(farthest <= Some(nearest), "{found:?}");
    }

    #[test]
    fn by_node_each_client_gets_what_it_would_get_alone(all in any_service(), node in 0..3_u8) {
        let all = Endpoints { internal_traffic_policy: InternalTrafficPolicy::Local, ..all };
        let client = Locality::new(Some(format!("n{node}")), None);
        let by_node = candidates_by_node(&all, Family::V4);
        let own = client.node.as_ref().and_then(|node| by_node.get(node)).cloned().unwrap_or_default();
        prop_assert_eq!(own, candidates(&all, Family::V4, &client));
    }

    #[test]
    fn nothing_is_lost_while_something_serves(all in any_service(), client in any_client()) {
        let serves = |endpoint: &Endpoint| endpoint.address.is_ipv4() && endpoint.state != Unready;
        let all = Endpoints { internal_traffic_policy: InternalTrafficPolicy::Cluster, ..all };
        prop_assert_eq!(candidates(&all, Family::V4, &client).is_empty(), !all.endpoints.iter().any(serves));
    }
}
