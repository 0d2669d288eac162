use super::EndpointState::{Draining, Ready, Unready};
use super::*;
use std::collections::BTreeMap;

fn names(names: &[&str]) -> Vec<Arc<str>> {
    names.iter().map(|it| Arc::from(*it)).collect()
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

fn endpoints(reach: Reach, endpoints: Vec<Endpoint>) -> Endpoints {
    Endpoints { reach, ..Endpoints::of_anybody("shop/web:80".into(), endpoints) }
}

fn chosen(endpoints: &Endpoints, node: &str, zone: &str) -> Vec<u8> {
    let client = Locality::new(Some(node.to_owned()), Some(zone.to_owned()));
    let last = |it: &Endpoint| match it.address.ip() {
        IpAddr::V4(it) => it.octets()[3],
        IpAddr::V6(_) => 0,
    };
    endpoints.choosable(Family::V4, &client).into_iter().map(last).collect()
}

#[test]
fn of_a_service_that_is_local_only_endpoints_of_the_client_s_node_count() {
    let all = endpoints(
        Reach::Node,
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
fn hints_lead_to_the_node_then_to_the_zone_then_anywhere() {
    let all = endpoints(
        Reach::Cluster,
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
        // What is not ready is near nobody.
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
        endpoints(Reach::Cluster, vec![endpoint(1, Ready, "n1", &["n1"], &["z1"]), second])
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
fn where_all_are_ending_hints_count_for_nothing() {
    let all = endpoints(
        Reach::Cluster,
        vec![endpoint(1, Draining, "n1", &["n1"], &["z1"]), endpoint(2, Draining, "n2", &["n2"], &["z2"])],
    );
    assert_eq!(chosen(&all, "n1", "z1"), [1, 2]);
}

/// The endpoint of each of many clients, by its number.
fn of_clients(endpoints: &[u8]) -> Vec<u8> {
    let imprint = |it: &u8| Imprint::of_endpoint(([10, 0, 0, *it], 80).into());
    (0..2_000_u16)
        .map(|client| {
            let client = Imprint::of_client(IpAddr::from([10, 244, (client >> 8) as u8, client as u8]));
            *endpoints.iter().max_by_key(|it| imprint(it).affinity(client)).unwrap()
        })
        .collect()
}

#[test]
fn clients_are_spread_evenly_and_move_only_from_what_is_gone_or_to_what_is_new() {
    let before = of_clients(&[1, 2, 3, 4]);
    let mut counts = BTreeMap::new();
    before.iter().for_each(|it| *counts.entry(it).or_insert(0) += 1);
    // 500 each of 2,000; five standard deviations are 97.
    assert!(counts.len() == 4 && counts.values().all(|it| (400..=600).contains(it)), "{counts:?}");
    for (was, is) in before.iter().zip(of_clients(&[1, 2, 4])) {
        assert!(*was == 3 || *was == is);
    }
    for (was, is) in before.iter().zip(of_clients(&[1, 2, 3, 4, 5])) {
        assert!(is == 5 || *was == is);
    }
}

#[test]
fn an_imprint_is_the_same_in_every_version() {
    // Proxies of two versions serve one Service during an upgrade, and have to agree.
    let client = Imprint::of_client("10.244.1.7".parse().unwrap());
    let endpoint = Imprint::of_endpoint("[fd00::1]:8080".parse().unwrap());
    assert_eq!(client, Imprint::of_client("::ffff:10.244.1.7".parse().unwrap()));
    assert_eq!(endpoint.affinity(client), 447_546_417_622_411_065);
}
