//! Which addresses of EndpointSlices become endpoints.

use super::World;
use fairway_config::model::{Endpoints, Resource, ResourceKind};
use std::sync::Arc;

const WORLD: &str = "
apiVersion: v1
kind: Namespace
metadata: { name: shop, labels: { fairway.dev/mesh: enabled } }
---
apiVersion: v1
kind: Namespace
metadata: { name: bank, labels: { fairway.dev/mesh: enabled } }
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: { name: fairway }
spec: { controllerName: fairway.dev/controller }
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: g, namespace: shop }
spec: { gatewayClassName: fairway, listeners: [{ name: http, port: 80, protocol: HTTP }] }
---
apiVersion: v1
kind: Service
metadata: { name: kubernetes, namespace: default }
spec: { clusterIP: 10.96.0.1, ports: [{ name: https, port: 443 }] }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: kubernetes, namespace: default, labels: { kubernetes.io/service-name: kubernetes } }
addressType: IPv4
ports: [{ name: https, port: 6443 }]
endpoints: [{ addresses: [192.0.2.1] }, { addresses: [192.0.2.9] }]
---
apiVersion: v1
kind: Service
metadata: { name: edge, namespace: bank }
spec:
  type: LoadBalancer
  clusterIP: 10.96.0.3
  externalIPs: [198.51.100.9]
  ports: [{ name: http, port: 80 }]
status: { loadBalancer: { ingress: [{ ip: 198.51.100.8 }, { ip: '2001:db8::8' }, { hostname: lb.example }] } }
---
apiVersion: v1
kind: Service
metadata: { name: s, namespace: shop }
spec: { clusterIP: 10.96.0.2, ports: [{ name: p, port: 80 }, { name: u, port: 81, protocol: UDP }] }
";

const NODES: &str = "
---
apiVersion: v1
kind: Node
metadata: { name: n1 }
spec: { podCIDR: 10.0.0.0/24, podCIDRs: [10.0.0.0/24, 'fd00:10::/64'] }
status:
  addresses:
    - { type: InternalIP, address: 192.0.2.10 }
    - { type: InternalIP, address: 'fd00:77::10' }
    - { type: ExternalIP, address: 198.51.100.20 }
    - { type: Hostname, address: n1 }
---
apiVersion: v1
kind: Node
metadata: { name: n2 }
spec: { podCIDR: 10.244.1.0/26 }
status: { addresses: [{ type: InternalIP, address: 192.0.2.13 }] }
";

fn pod(namespace: &str, name: &str, fields: &str, addresses: &str) -> String {
    format!(
        "\n---\napiVersion: v1\nkind: Pod\nmetadata: {{ name: {name}, namespace: {namespace}, labels: {{ app.kubernetes.io/part-of: fairway, gateway.networking.k8s.io/gateway-name: {name} }} }}\n\
         spec: {{ enableServiceLinks: false, serviceAccountName: {name}-fairway, nodeName: n1, {fields} containers: [] }}\nstatus: {{ {addresses} }}\n"
    )
}

fn slice(address: &str) -> String {
    let family = if address.contains(':') { "IPv6" } else { "IPv4" };
    format!(
        "\n---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{ name: s-1, namespace: shop, labels: {{ kubernetes.io/service-name: s }} }}\n\
         addressType: {family}\nports: [{{ name: p, port: 8080 }}, {{ name: u, port: 8081, protocol: UDP }}]\n\
         endpoints: [{{ addresses: [203.0.113.7] }}, {{ addresses: ['{address}'] }}]\n"
    )
}

const GRANT: &str = "\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: ReferenceGrant\nmetadata: { name: g, namespace: bank }\n\
    spec: { from: [{ group: '', kind: Service, namespace: shop }], to: [{ group: '', kind: Pod, name: ledger }] }\n";

/// A cluster in which two namespaces have pods, one of them on its node's network.
fn cluster(more: &str) -> World {
    let pods = [
        pod("shop", "web", "", "podIP: 10.0.0.1, hostIP: 192.0.2.10"),
        pod("shop", "g", "", "podIP: 10.0.0.2"),
        pod("shop", "agent", "hostNetwork: true,", "podIP: 192.0.2.11"),
        pod("bank", "ledger", "", "podIP: 10.0.1.1, podIPs: [{ ip: 10.0.1.1 }, { ip: 'fd00::1' }]"),
        pod("bank", "vault", "", "podIP: 10.0.1.2"),
        pod("bank", "agent", "hostNetwork: true,", "podIP: 192.0.2.12"),
    ];
    World::cluster(&format!("{WORLD}{NODES}{}{more}", pods.concat()))
}

fn endpoints(world: &World, key: &str) -> Arc<Endpoints> {
    match world.resource(ResourceKind::Endpoints, key) {
        Some(Resource::Endpoints(it)) => it.clone(),
        _ => panic!("no endpoints {key}: {:?}", world.keys(ResourceKind::Endpoints)),
    }
}

fn addresses(world: &World, key: &str) -> Vec<String> {
    endpoints(world, key).endpoints.iter().map(|it| it.address.to_string()).collect()
}

#[test]
fn a_slice_has_pods_of_its_own_namespace_and_what_is_outside_the_cluster() {
    for (address, complaint) in [
        ("10.0.0.1", ""),
        ("198.51.100.1", ""),
        ("2001:db8::1", ""),
        // A pod of its own on the node's network.
        ("192.0.2.11", ""),
        ("10.0.1.1", "the address of a pod, but of no pod in namespace shop"),
        ("fd00::1", "the address of a pod, but of no pod in namespace shop"),
        // IPv4 in the clothes of IPv6.
        ("::ffff:10.0.1.1", "the address of a pod"),
        ("::ffff:127.0.0.1", "a loopback address"),
        ("192.0.2.10", "the address of a node"),
        ("192.0.2.12", "the address of a node"),
        // A node on which no pod is known, and other addresses of nodes.
        ("192.0.2.13", "the address of a node"),
        ("198.51.100.20", "the address of a node"),
        ("fd00:77::10", "the address of a node"),
        // The node's own on the bridge of its pods, and what nobody has.
        ("10.244.1.1", "in a node's range for pods"),
        ("10.244.1.63", "in a node's range for pods"),
        ("10.244.1.64", ""),
        ("10.0.0.77", "in a node's range for pods"),
        ("fd00:10::1", "in a node's range for pods"),
        ("fd00:10:0:1::1", ""),
        ("10.96.0.1", "the address of a Service"),
        ("10.96.0.2", "the address of a Service"),
        // By the addresses that others see of it a Gateway could be told to call itself.
        ("10.96.0.3", "the address of a Service"),
        ("198.51.100.8", "the address of a Service"),
        // Whoever writes a Service chooses these, and takes nothing from others by it.
        ("198.51.100.9", ""),
        ("2001:db8::8", "the address of a Service"),
        ("192.0.2.1", "the address of the API server"),
        ("127.0.0.1", "a loopback address"),
        ("::1", "a loopback address"),
        ("169.254.169.254", "a link-local address"),
        ("fe80::1", "a link-local address"),
        ("fd00:ec2::254", "a cloud's metadata service"),
        ("100.100.100.200", "a cloud's metadata service"),
        // By a translator between IPv6 and IPv4.
        ("64:ff9b::a00:101", "the address of a pod"),
        ("64:ff9b::a9fe:a9fe", "a link-local address"),
        ("64:ff9b::7f00:1", "a loopback address"),
        ("64:ff9b::c633:6401", ""),
        ("64:ff9b::af4:101", "in a node's range for pods"),
        // By a translator of a network's own, and by tunnels.
        ("64:ff9b:1::a00:101", "the address of a pod"),
        ("64:ff9b:1:a00:1:100::", "the address of a pod"),
        ("64:ff9b:1::c633:6401", ""),
        ("::a00:101", "the address of a pod"),
        ("::a9fe:a9fe", "a link-local address"),
        ("::ffff:0:a00:101", "the address of a pod"),
        ("2002:a00:101::1", "the address of a pod"),
        ("2002:7f00:1::", "a loopback address"),
        ("2002:c000:20a::1", "the address of a node"),
        ("2002:c633:6401::1", ""),
        ("2001:0:c000:201::f5ff:fefe", "the address of the API server"),
        ("2001:db8::5efe:a60:1", "the address of a Service"),
        ("0.0.0.0", "an unspecified or broadcast address"),
        ("224.0.0.1", "a multicast address"),
    ] {
        let world = cluster(&slice(address));
        let is_taken = complaint.is_empty();
        for key in ["shop/s:80", "shop/s:81/udp"] {
            let found = addresses(&world, key);
            assert_eq!(found.len(), 1 + usize::from(is_taken), "{address}: {found:?}");
            assert!(found.iter().any(|it| it.starts_with("203.0.113.7:")), "the others stay: {found:?}");
        }
        let problems: Vec<_> =
            world.problems().into_iter().filter(|it| it.contains("EndpointSlice")).collect();
        assert_eq!(problems.is_empty(), is_taken, "{address}: {problems:?}");
        assert!(problems.iter().all(|it| it.contains(complaint)), "{address}: {problems:?}");
        let place = "EndpointSlice shop/s-1 endpoints[1].addresses[0]: ";
        assert!(problems.iter().all(|it| it.starts_with(place)), "{address}: {problems:?}");
        assert!(!problems.iter().any(|it| it.contains("bank")), "nobody hears of others' pods: {problems:?}");
    }
}

#[test]
fn the_api_server_s_own_service_names_it_wherever_it_is() {
    assert_eq!(addresses(&cluster(""), "default/kubernetes:443"), ["192.0.2.1:6443", "192.0.2.9:6443"]);
}

#[test]
fn a_namespace_can_grant_its_pods_to_the_services_of_another() {
    for (address, expected) in [("10.0.1.1", true), ("10.0.1.2", false)] {
        let mut world = cluster(&format!("{GRANT}{}", slice(address)));
        let found = endpoints(&world, "shop/s:80");
        assert_eq!(found.endpoints.len() == 2, expected, "{address}: {found:?}");
        if expected {
            let identity = found.endpoints[0].identity.as_ref().map(ToString::to_string);
            assert_eq!(identity.as_deref(), Some("spiffe://cluster.local/ns/bank/sa/ledger-fairway"));
        }
        world.remove(GRANT);
        assert_eq!(endpoints(&world, "shop/s:80").endpoints.len(), 1, "{address}: taken back");
    }
}

#[test]
fn an_address_that_a_pod_of_another_namespace_gets_is_an_endpoint_no_more() {
    let mut world = cluster(&slice("10.0.7.7"));
    assert_eq!(addresses(&world, "shop/s:80").len(), 2);
    let pod = pod("bank", "new", "", "podIP: 10.0.7.7");
    world.add(&pod);
    assert_eq!(addresses(&world, "shop/s:80").len(), 1);
    world.remove(&pod);
    assert_eq!(addresses(&world, "shop/s:80").len(), 2);
}

#[test]
fn an_address_of_a_range_for_pods_is_an_endpoint_while_a_pod_of_the_service_has_it() {
    let slice =
        slice("10.0.0.77").replace("['10.0.0.77']", "['10.0.0.77'], targetRef: { kind: Pod, name: new }");
    assert!(slice.contains("targetRef"));
    let pod = pod("shop", "new", "", "podIP: 10.0.0.77");
    let mut world = cluster(&slice);
    let said = |world: &World| world.problems().iter().any(|it| it.contains("EndpointSlice"));
    for _ in 0..2 {
        // Kubernetes writes both, in whatever order we hear of them, so that nobody is told.
        assert_eq!((addresses(&world, "shop/s:80").len(), said(&world)), (1, false));
        world.add(&pod);
        assert_eq!((addresses(&world, "shop/s:80").len(), said(&world)), (2, false));
        world.remove(&pod);
    }
    // Where its node is gone, nothing says that the address is of the cluster.
    world.remove(NODES);
    assert_eq!((addresses(&world, "shop/s:80").len(), said(&world)), (2, false));
}

#[test]
fn a_guard_of_the_pod_s_namespace_holds_for_whoever_is_granted_the_pod() {
    let required = "\n---\napiVersion: v1\nkind: Service\nmetadata: { name: ledger, namespace: bank, labels: { fairway.dev/waypoint: required } }\n\
        spec: { ports: [{ name: p, port: 80 }] }\n\
        ---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: { name: l-1, namespace: bank, labels: { kubernetes.io/service-name: ledger } }\n\
        addressType: IPv4\nports: [{ name: p, port: 8080 }]\nendpoints: [{ addresses: [10.0.1.1] }]\n";
    let world = cluster(&format!("{GRANT}{required}{}", slice("10.0.1.1")));
    let guards = &endpoints(&world, "shop/s:80").guards;
    assert_eq!(guards.len(), 1);
    assert_eq!((guards[0].service.as_str(), guards[0].endpoints.len()), ("bank/ledger", 1));
}

#[test]
fn pods_that_run_proxies_are_endpoints_for_pods_and_not_for_proxies() {
    let mut world = cluster(&slice("10.0.0.2"));
    let found = endpoints(&world, "shop/s:80");
    let proxies: Vec<String> = found.proxies.iter().map(ToString::to_string).collect();
    assert_eq!((found.endpoints.len(), proxies), (2, vec!["10.0.0.2:8080".to_owned()]));
    let is_said = |world: &World| world.problems().iter().any(|it| it.contains("proxies of Fairway"));
    assert!(!is_said(&world), "no Gateway is sent there");
    world.add(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: { name: r, namespace: shop }\n\
         spec: { parentRefs: [{ name: g }], rules: [{ backendRefs: [{ name: s, port: 80 }] }] }\n",
    );
    assert!(is_said(&world), "{:?}", world.problems());
    // The label alone makes no proxy: `web` has it too.
    assert!(endpoints(&cluster(&slice("10.0.0.1")), "shop/s:80").proxies.is_empty());
}

#[test]
fn where_one_owner_wrote_everything_programs_of_the_machine_are_endpoints() {
    for (address, expected) in
        [("127.0.0.1", 2), ("::1", 2), ("0.0.0.0", 1), ("169.254.1.1", 1), ("224.0.0.1", 1)]
    {
        let world = World::plain(&format!("{WORLD}{}", slice(address)));
        assert_eq!(addresses(&world, "shop/s:80").len(), expected, "{address}");
        assert_eq!(world.problems().len(), 2 - expected, "{address}: {:?}", world.problems());
    }
}
