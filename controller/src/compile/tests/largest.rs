//! One object cannot hurt the plane by the length of its lists.

use super::World;
use crate::compile::service::endpoints::MOST_ENDPOINTS;
use fairway_config::model::Resource;
use std::time::Duration;
use tokio::time::Instant;

/// A Service with so many ports, and an EndpointSlice with as many and with so many endpoints. The API server takes up to
/// 20,000 ports and 1,000 endpoints in one slice.
fn wide(ports: usize, endpoints: usize) -> String {
    let each = |port: usize| format!("{{ name: p{port}, port: {} }},", port + 1);
    let list: String = (0..ports).map(each).collect();
    let address = |it: usize| format!("{{ addresses: [203.0.{}.{}] }},", it / 250, it % 250 + 1);
    let addresses: String = (0..endpoints).map(address).collect();
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{ name: s, namespace: shop }}\n\
         spec: {{ clusterIP: 10.1.0.1, ports: [{list}] }}\n\
         ---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata: {{ name: s-1, namespace: shop, labels: {{ kubernetes.io/service-name: s }} }}\n\
         addressType: IPv4\nports: [{list}]\nendpoints: [{addresses}]\n"
    )
}

fn endpoints(world: &World) -> usize {
    let of = |it: &Resource| match it {
        Resource::Endpoints(it) => it.endpoints.len(),
        _ => 0,
    };
    world.compiler.resources().map(|(_, it)| of(it)).sum()
}

fn is_said(world: &World) -> bool {
    let problems = world.problems();
    problems.iter().any(|it| it.starts_with("Service shop/s") && it.contains("endpoints"))
}

#[test]
fn endpoints_times_ports_have_a_bound_and_what_is_beyond_is_said() {
    let yaml = wide(1_000, 1_000);
    let started = Instant::now();
    let world = World::cluster(&yaml);
    println!("{} endpoints in {:?}", endpoints(&world), started.elapsed());
    assert!(endpoints(&world) <= MOST_ENDPOINTS, "{}", endpoints(&world));
    assert!(is_said(&world), "{:?}", world.problems());
    // Nothing is optimised here.
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

#[test]
fn what_people_have_is_taken_whole() {
    for (ports, many) in [(1, 1_000), (20, 1_000), (1_000, 20)] {
        let world = World::cluster(&wide(ports, many));
        assert_eq!(endpoints(&world), ports * many);
        assert!(!is_said(&world), "{:?}", world.problems());
    }
}
