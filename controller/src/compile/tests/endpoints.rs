//! What Services and their slices say of who is sent where.

use super::{SHOP, World};
use fairway_config::model::{
    Endpoint, Endpoints, InternalTrafficPolicy, Resource, ResourceKind, SessionAffinity,
};
use std::sync::Arc;

fn endpoints(world: &World) -> Arc<Endpoints> {
    match world.resource(ResourceKind::Endpoints, "shop/hand:80") {
        Some(Resource::Endpoints(it)) => it.clone(),
        _ => panic!("no endpoints: {:?}", world.keys(ResourceKind::Endpoints)),
    }
}

/// A Service without selector, with these fields, and slices of both families.
fn by_hand(fields: &str) -> World {
    World::captured(&format!(
        "{SHOP}\n---\napiVersion: v1\nkind: Service\nmetadata: {{ name: hand, namespace: shop }}\nspec:\n  {fields}\n\
         \x20 clusterIP: fd00::1\n  clusterIPs: ['fd00::1', 10.96.0.9]\n  ipFamilies: [IPv6, IPv4]\n  ports: [{{ port: 80 }}]\n\
         ---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata: {{ name: hand-4, namespace: shop, labels: {{ kubernetes.io/service-name: hand }} }}\n\
         addressType: IPv4\nports: [{{ name: '', port: 7000 }}]\nendpoints:\n\
         - {{ addresses: [10.0.0.1], nodeName: n1, zone: z1 }}\n\
         - {{ addresses: [192.0.2.7], hints: {{ forZones: [{{ name: z2 }}, {{ name: z3 }}], forNodes: [{{ name: n7 }}] }} }}\n\
         ---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata: {{ name: hand-6, namespace: shop, labels: {{ kubernetes.io/service-name: hand }} }}\n\
         addressType: IPv6\nports: [{{ name: '', port: 7000 }}]\nendpoints: [{{ addresses: ['fd00::2'], zone: z1 }}]\n"
    ))
}

fn hints_of(endpoint: &Endpoint) -> String {
    let hints = endpoint.hints.as_deref().cloned().unwrap_or_default();
    let names = hints.nodes.iter().chain(&hints.zones);
    names.map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[test]
fn what_a_service_says_of_its_clients_and_its_slices_of_their_endpoints_is_kept() {
    for (fields, internal_traffic_policy, session_affinity, hints) in [
        (
            "internalTrafficPolicy: Cluster",
            InternalTrafficPolicy::Cluster,
            SessionAffinity::None,
            ["", "", "n7 z2 z3"],
        ),
        (
            "internalTrafficPolicy: Local",
            InternalTrafficPolicy::Local,
            SessionAffinity::None,
            ["", "", "n7 z2 z3"],
        ),
        (
            "sessionAffinity: ClientIP",
            InternalTrafficPolicy::Cluster,
            SessionAffinity::ClientIp,
            ["", "", "n7 z2 z3"],
        ),
        (
            "trafficDistribution: PreferClose",
            InternalTrafficPolicy::Cluster,
            SessionAffinity::None,
            ["z1", "z1", "n7 z2 z3"],
        ),
        (
            "trafficDistribution: PreferSameZone",
            InternalTrafficPolicy::Cluster,
            SessionAffinity::None,
            ["z1", "z1", "n7 z2 z3"],
        ),
        (
            "trafficDistribution: PreferSameNode",
            InternalTrafficPolicy::Cluster,
            SessionAffinity::None,
            ["z1", "n1 z1", "n7 z2 z3"],
        ),
        (
            "trafficDistribution: Somehow",
            InternalTrafficPolicy::Cluster,
            SessionAffinity::None,
            ["", "", "n7 z2 z3"],
        ),
    ] {
        let found = endpoints(&by_hand(fields));
        assert_eq!(
            (found.internal_traffic_policy, found.session_affinity),
            (internal_traffic_policy, session_affinity),
            "{fields}"
        );
        let said: Vec<_> = found.endpoints.iter().map(hints_of).collect();
        assert_eq!(said, hints, "{fields}");
    }
}

#[test]
fn a_service_of_two_families_has_both_addresses_and_the_endpoints_of_its_first_family_first() {
    let world = by_hand("internalTrafficPolicy: Cluster");
    let found = endpoints(&world);
    let addresses: Vec<_> = found.endpoints.iter().map(|it| it.address.to_string()).collect();
    assert_eq!(addresses, ["[fd00::2]:7000", "10.0.0.1:7000", "192.0.2.7:7000"]);
    let Some(Resource::Service(service)) = world.resource(ResourceKind::Service, "shop/hand") else {
        panic!("no Service");
    };
    let addresses: Vec<_> = service.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["fd00::1", "10.96.0.9"]);
    // A slice made by hand may name a pod of the mesh, which is then met as that pod; and anybody else.
    let in_mesh: Vec<_> = found.endpoints.iter().map(|it| it.identity.is_some()).collect();
    assert_eq!(in_mesh, [false, true, false]);
}
