//! Waypoints: who needs one, which one it is, who is let past it.

use super::{GATEWAY, SHOP, World};
use crate::provision::ProxyClass;
use fairway_config::model::{
    Authorization, Backend, EndpointState, Endpoints, Listener, Resource, ResourceKind, Workload,
};
use fairway_policy::{Attached, Attributes, Level, evaluate};
use std::sync::Arc;

const ROUTE: &str = "\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: { name: r, namespace: shop }\nspec:\n\
    \x20 parentRefs: [{ group: '', kind: Service, name: web }]\n  rules: [{ backendRefs: [{ name: web, port: 80 }] }]\n";

const WRITTEN: &str = "\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: { name: mine, namespace: shop }\nspec:\n\
    \x20 gatewayClassName: fairway-waypoint\n  listeners: [{ name: hbone, port: 15008, protocol: HBONE }]\n";

fn pod(namespace: &str, gateway: &str, ready: bool) -> String {
    let class = if namespace == "edge" { "fairway" } else { "fairway-waypoint" };
    format!(
        "\n---\napiVersion: v1\nkind: Pod\nmetadata: {{ name: wp-{gateway}, namespace: {namespace}, uid: w, labels: {{ gateway.networking.k8s.io/gateway-name: {gateway} }} }}\n\
         spec: {{ serviceAccountName: {gateway}-{class}, containers: [] }}\nstatus: {{ podIP: 10.0.0.99, conditions: [{{ type: Ready, status: '{}' }}] }}\n",
        if ready { "True" } else { "False" }
    )
}

fn endpoints(world: &World, key: &str) -> Arc<Endpoints> {
    match world.resource(ResourceKind::Endpoints, key) {
        Some(Resource::Endpoints(it)) => it.clone(),
        _ => panic!("no endpoints {key}: {:?}", world.keys(ResourceKind::Endpoints)),
    }
}

fn listener(world: &World, key: &str) -> Arc<Listener> {
    match world.resource(ResourceKind::Listener, key) {
        Some(Resource::Listener(it)) => it.clone(),
        _ => panic!("no listener {key}: {:?}", world.keys(ResourceKind::Listener)),
    }
}

#[test]
fn a_namespace_that_needs_none_has_none() {
    let world = World::captured(SHOP);
    assert_eq!(world.compiler.proxies().count(), 0);
    assert_eq!(world.keys(ResourceKind::Endpoints), ["shop/web:80", "shop/web:81"]);
}

#[test]
fn a_route_on_a_service_makes_a_waypoint_appear_and_its_removal_makes_it_go() {
    let mut world = World::captured(SHOP);
    let output = world.add(ROUTE);
    let [proxy] = &output.proxies[..] else { panic!("{:?}", output.proxies) };
    assert_eq!(
        (proxy.name.to_string().as_str(), proxy.class, proxy.implied),
        ("shop/waypoint", ProxyClass::Waypoint, true)
    );
    assert_eq!(proxy.identity.as_str(), "spiffe://cluster.local/ns/shop/sa/waypoint-fairway-waypoint");
    assert_eq!(world.keys(ResourceKind::Listener), ["shop/waypoint/mesh"]);
    let output = world.remove(ROUTE);
    assert_eq!(output.retired.len(), 1);
    assert!(world.keys(ResourceKind::Listener).is_empty());
    assert_eq!(world.keys(ResourceKind::Endpoints), ["shop/web:80", "shop/web:81"]);
}

#[test]
fn a_waypoint_that_a_user_wrote_is_used_instead() {
    let mut world = World::captured(&format!("{SHOP}{ROUTE}"));
    world.add(WRITTEN);
    let names: Vec<String> = world.compiler.proxies().map(|it| it.name.to_string()).collect();
    assert_eq!(names, ["shop/mine"]);
    let Some(Resource::Service(service)) = world.resource(ResourceKind::Service, "shop/web") else {
        panic!()
    };
    assert_eq!(service.waypoint.as_ref().unwrap().as_str(), "waypoint/shop/mine");
    assert_eq!(listener(&world, "shop/mine/hbone").port, 15008);
    world.expect("Gateway shop/mine", "Programmed=True/Programmed");
}

#[test]
fn a_waypoint_that_is_not_in_order_is_not_gone_around() {
    let broken = WRITTEN.replace("port: 15008", "port: 80");
    let world = World::captured(&format!("{SHOP}{ROUTE}{broken}"));
    world.expect("Gateway shop/mine", "listener hbone: Accepted=False/PortUnavailable");
    let Some(Resource::Service(service)) = world.resource(ResourceKind::Service, "shop/web") else {
        panic!()
    };
    assert_eq!(service.waypoint.as_ref().unwrap().as_str(), "waypoint/shop/mine");
    assert!(!world.keys(ResourceKind::Listener).iter().any(|it| it.starts_with("shop/mine")));
}

#[test]
fn its_endpoints_are_the_pods_of_its_service_account() {
    for (ready, state) in [(true, EndpointState::Ready), (false, EndpointState::Unready)] {
        let world = World::captured(&format!("{SHOP}{ROUTE}{}", pod("shop", "waypoint", ready)));
        let endpoints = endpoints(&world, "waypoint/shop/waypoint");
        let [endpoint] = &endpoints.endpoints[..] else { panic!("{endpoints:?}") };
        assert_eq!((endpoint.address.to_string().as_str(), endpoint.state), ("10.0.0.99:15008", state));
        let identity = "spiffe://cluster.local/ns/shop/sa/waypoint-fairway-waypoint";
        assert_eq!(endpoint.identity.as_ref().unwrap().as_str(), identity);
        assert!(listener(&world, "shop/waypoint/mesh").addresses.is_empty(), "it has a network of its own");
        assert_eq!(world.problems().is_empty(), ready, "one that is not ready is said to be so");
    }
}

#[test]
fn without_pods_it_has_an_address_of_its_own_on_this_machine() {
    let world = World::captured(&format!("{SHOP}{ROUTE}"));
    let address = endpoints(&world, "waypoint/shop/waypoint").endpoints[0].address;
    assert!(address.to_string().starts_with("127.97."), "{address}");
    assert_eq!(listener(&world, "shop/waypoint/mesh").addresses, [address.ip()]);
}

/// Who is believed to have routed requests for `shop/web`.
fn routers(world: &World) -> Vec<String> {
    match world.resource(ResourceKind::Service, "shop/web") {
        Some(Resource::Service(it)) => {
            it.routers.iter().map(|it| it.as_str().replace("spiffe://cluster.local/", "")).collect()
        }
        _ => panic!("no Service"),
    }
}

/// A Gateway of another namespace, and a route there that names `shop/web`.
fn foreign(parent: &str) -> String {
    format!(
        "\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{ name: g, namespace: evil }}\nspec:\n\
         \x20 gatewayClassName: fairway\n  listeners: [{{ name: http, port: 80, protocol: HTTP }}]\n\
         ---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{ name: r, namespace: evil }}\nspec:\n\
         \x20 parentRefs: [{{ {parent} }}]\n  rules: [{{ backendRefs: [{{ name: web, namespace: shop, port: 80 }}] }}]\n\
         ---\napiVersion: v1\nkind: Pod\nmetadata: {{ name: p, namespace: evil, labels: {{ gateway.networking.k8s.io/gateway-name: g }} }}\n\
         spec: {{ serviceAccountName: mallory, containers: [] }}\nstatus: {{ podIP: 10.0.1.1 }}\n"
    )
}

const GRANT: &str = "\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: ReferenceGrant\nmetadata: { name: g, namespace: shop }\n\
    spec: { from: [{ group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: evil }], to: [{ group: '', kind: Service }] }\n";

#[test]
fn whoever_is_believed_to_have_routed_has_been_granted_the_service() {
    let gateway = ["ns/evil/sa/g-fairway"];
    let waypoint = ["ns/evil/sa/waypoint-fairway-waypoint"];
    let to_gateway = "name: g";
    let to_service = "group: '', kind: Service, name: web, namespace: shop";
    for (parent, grant, expected) in [
        (to_gateway, "", &[][..]),
        (to_gateway, GRANT, &gateway[..]),
        (to_service, "", &[]),
        (to_service, GRANT, &waypoint),
        // A route that is not accepted speaks for nobody.
        ("name: g, sectionName: gone", GRANT, &[]),
    ] {
        let mut world = World::captured(&format!("{}{}{grant}", required(), foreign(parent)));
        assert_eq!(routers(&world), expected, "{parent} {grant}");
        if !grant.is_empty() {
            world.remove(grant);
            assert!(routers(&world).is_empty(), "{parent}: a grant that is taken back");
        }
    }
}

#[test]
fn the_gateways_of_a_service_s_own_routes_are_believed() {
    let route = ROUTE.replace("{ group: '', kind: Service, name: web }", "{ name: public, namespace: edge }");
    let world = World::captured(&format!("{}{route}---\n{GATEWAY}", required()));
    assert_eq!(routers(&world), ["ns/edge/sa/public-fairway"]);
}

#[test]
fn a_pod_with_the_label_of_a_proxy_and_another_account_is_a_problem_and_no_proxy() {
    let labelled = pod("shop", "waypoint", true).replace("waypoint-fairway-waypoint", "special");
    let world = World::captured(&format!("{}{labelled}", required()));
    let endpoints = endpoints(&world, "waypoint/shop/waypoint");
    assert!(endpoints.endpoints.iter().all(|it| it.address.ip().to_string() != "10.0.0.99"), "{endpoints:?}");
    assert_eq!(allowed(&world, Some("special"), 8080), Some(false));
    let problems = world.problems();
    assert!(
        problems.iter().any(|it| it.contains("Pod shop/wp-waypoint") && it.contains("`special`")),
        "{problems:?}"
    );
}

fn required() -> String {
    SHOP.replace(
        "metadata: { name: web, namespace: shop }",
        "metadata: { name: web, namespace: shop, labels: { fairway.dev/waypoint: required } }",
    )
}

#[test]
fn a_service_that_requires_its_waypoint_has_one_and_is_reached_through_it() {
    let world = World::captured(&required());
    let Some(Resource::Service(service)) = world.resource(ResourceKind::Service, "shop/web") else {
        panic!()
    };
    assert_eq!(service.waypoint.as_ref().unwrap().as_str(), "waypoint/shop/waypoint");
    let Some(Resource::Backend(backend)) = world.resource(ResourceKind::Backend, "shop/web:80") else {
        panic!()
    };
    let Backend { via: Some((waypoint, address)), .. } = &**backend else { panic!("{backend:?}") };
    assert_eq!(waypoint.as_str(), "waypoint/shop/waypoint");
    assert_eq!((address.ip(), address.port()), (service.addresses[0], 80));
}

#[test]
fn the_pods_behind_it_refuse_whoever_is_not_its_waypoint() {
    let world = World::captured(&required());
    let Some(Resource::Workload(workload)) = world.resource(ResourceKind::Workload, "shop/web-1") else {
        panic!()
    };
    let Workload { authorizations, .. } = &**workload;
    assert_eq!(authorizations[0].as_str(), "waypoint-required/shop/web");
    let waypoint = Some("waypoint-fairway-waypoint");
    for (peer, port, expected) in [
        (waypoint, 8080, true),
        (Some("client"), 8080, false),
        (None, 8080, false),
        // The named port, resolved at the pod.
        (Some("client"), 9001, false),
        // A port that is not the Service's.
        (Some("client"), 7000, true),
    ] {
        assert_eq!(allowed(&world, peer, port), Some(expected), "{peer:?} {port}");
    }
}

/// Whether a service account of `shop` is let in at a port of the pods behind `shop/web`; none if nothing guards them.
fn allowed(world: &World, peer: Option<&str>, port: u16) -> Option<bool> {
    let Resource::Authorization(it) =
        world.resource(ResourceKind::Authorization, "waypoint-required/shop/web")?
    else {
        return None;
    };
    let peer = peer.map(|it| format!("spiffe://cluster.local/ns/shop/sa/{it}").parse().unwrap());
    let it: &Authorization = it;
    let attached = Attached { level: Level::Pod, name: &it.name, authorization: Some(it) };
    let attributes = Attributes { peer: peer.as_ref(), client: None, port, request: None };
    Some(evaluate([attached], &attributes).verdict.is_allowed())
}

#[test]
fn a_service_guards_no_pods_of_other_namespaces_and_says_so() {
    let dos = "\n---\napiVersion: v1\nkind: Service\nmetadata: { name: dos, namespace: evil, labels: { fairway.dev/waypoint: required } }\n\
        spec: { ports: [{ name: http, port: 80 }] }\n\
        ---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: { name: s, namespace: evil, labels: { kubernetes.io/service-name: dos } }\n\
        addressType: IPv4\nendpoints: [{ addresses: [10.0.0.1] }]\nports: [{ name: http, port: 8080 }]\n";
    let before = World::captured(SHOP);
    let world = World::captured(&format!("{SHOP}{dos}"));
    let workload = |world: &World| world.resource(ResourceKind::Workload, "shop/web-1").cloned();
    assert_eq!(workload(&world), workload(&before));
    let message = world.message("Service evil/dos", "fairway.dev/ThroughWaypoint");
    let expected =
        "not everybody can be kept to the waypoint at 10.0.0.1: no pod of namespace evil has that address";
    assert!(message.ends_with(expected), "{message}");
    assert!(world.problems().iter().any(|it| it.contains("be kept to the waypoint at 10.0.0.1")));
}

#[test]
fn endpoints_say_which_services_guard_them_at_which_ports_whosesoever_they_are() {
    let sibling = "\n---\napiVersion: v1\nkind: Service\nmetadata: { name: web-v1, namespace: shop }\nspec:\n  selector: { app: web }\n\
        \x20 ports: [{ name: http, port: 80, targetPort: 8080 }, { name: metrics, port: 90, targetPort: 9999 }]\n";
    let world = World::captured(&format!("{}{sibling}", required()));
    let guards = |key: &str| -> Vec<String> {
        let guards = &endpoints(&world, key).guards;
        guards.iter().map(|it| format!("{} {:?}", it.service, it.endpoints)).collect()
    };
    assert_eq!(guards("shop/web:80"), ["shop/web [10.0.0.1:8080]"]);
    assert_eq!(guards("shop/web-v1:80"), ["shop/web [10.0.0.1:8080]"]);
    assert!(guards("shop/web-v1:90").is_empty());
    let world = World::captured(&format!("{SHOP}{sibling}"));
    assert!(endpoints(&world, "shop/web-v1:80").guards.is_empty(), "nothing requires a waypoint");
}

#[test]
fn a_label_that_is_not_understood_guards_all_the_same() {
    let world = World::captured(&required().replace("waypoint: required", "waypoint: requried"));
    assert!(world.resource(ResourceKind::Authorization, "waypoint-required/shop/web").is_some());
    assert!(
        world.problems().iter().any(|it| it.contains("`requried` is not a known value")),
        "{:?}",
        world.problems()
    );
}

#[test]
fn a_guard_that_cannot_be_enforced_is_said_to_be_so() {
    let world = World::captured(&required().replace("fairway.dev/mesh: enabled", "a: b"));
    assert!(
        world
            .problems()
            .iter()
            .any(|it| it.contains("pods outside the mesh are reached without the waypoint: web-1")),
        "{:?}",
        world.problems()
    );
}

#[test]
fn pods_behind_hand_written_slices_are_guarded_too() {
    let by_hand = required().replace("  selector: { app: web }\n", "")
        + "\n---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: { name: s, namespace: shop, labels: { kubernetes.io/service-name: web } }\n\
           addressType: IPv4\nendpoints: [{ addresses: [10.0.0.1] }]\nports: [{ name: http, port: 8080 }]\n";
    let world = World::captured(&by_hand);
    let Some(Resource::Workload(workload)) = world.resource(ResourceKind::Workload, "shop/web-1") else {
        panic!()
    };
    assert_eq!(workload.authorizations.len(), 1);
}
