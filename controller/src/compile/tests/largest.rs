//! One object cannot hurt the plane by the length of its lists.

use super::World;
use crate::compile::service::endpoints::{MOST_ENDPOINTS, MOST_GUARDS};
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

/// So many Services that require their waypoint, all of the same pods.
fn of_the_same_pods(services: usize, pods: usize) -> String {
    let addresses: String = (0..pods).map(|it| format!("{{ addresses: [10.9.0.{it}] }}, ")).collect();
    let pod = |it: usize| {
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{ name: p{it}, namespace: shop, labels: {{ app: a }} }}\n\
             spec: {{ serviceAccountName: a, nodeName: n1, containers: [] }}\nstatus: {{ podIP: 10.9.0.{it} }}\n"
        )
    };
    let service = |it: usize| {
        format!(
            "---\napiVersion: v1\nkind: Service\n\
             metadata: {{ name: s{it}, namespace: shop, labels: {{ fairway.dev/waypoint: required }} }}\n\
             spec: {{ selector: {{ app: a }}, ports: [{{ name: http, port: 80, targetPort: 8080 }}] }}\n\
             ---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
             metadata: {{ name: s{it}-1, namespace: shop, labels: {{ kubernetes.io/service-name: s{it} }} }}\n\
             addressType: IPv4\nports: [{{ name: http, port: 8080 }}]\nendpoints: [{addresses}]\n"
        )
    };
    let namespace =
        "apiVersion: v1\nkind: Namespace\nmetadata: { name: shop, labels: { fairway.dev/mesh: enabled } }\n";
    let services: String = (0..services).map(service).collect();
    namespace.to_owned() + &(0..pods).map(pod).collect::<String>() + &services
}

#[test]
fn services_of_the_same_pods_have_a_bound_and_beyond_it_the_pods_are_reached_through_none_of_them() {
    let guards = |world: &World| -> usize {
        let of = |it: &Resource| match it {
            Resource::Endpoints(it) => it.guards.iter().map(|it| it.endpoints.len()).sum(),
            _ => 0,
        };
        world.compiler.resources().map(|(_, it)| of(it)).sum()
    };
    let is_said = |world: &World| {
        let said = world.problems().iter().filter(|it| it.contains("through their waypoint only")).count();
        said > 0
    };
    let most = World::cluster(&of_the_same_pods(MOST_GUARDS, 3));
    assert_eq!((endpoints(&most), guards(&most)), (MOST_GUARDS * 3, MOST_GUARDS * MOST_GUARDS * 3));
    assert!(!is_said(&most), "{:?}", most.problems());
    let more = World::cluster(&of_the_same_pods(MOST_GUARDS + 1, 3));
    assert_eq!((endpoints(&more), guards(&more)), (0, 0));
    assert!(is_said(&more), "{:?}", more.problems());
}
