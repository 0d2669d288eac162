//! Waypoints: who needs one, which one it is, who is let past it.

use super::{GATEWAY, SHOP, World};
use crate::compile::ProxyClass;
use fairway_config::model::{
    Authorization, Backend, EndpointState, Endpoints, Listener, ListenerProtocol, Resource, ResourceKind,
    Workload,
};
use fairway_policy::{Connection, evaluate};
use std::sync::Arc;

const ROUTE: &str = "\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: { name: r, namespace: shop }\nspec:\n\
    \x20 parentRefs: [{ group: '', kind: Service, name: web }]\n  rules: [{ backendRefs: [{ name: web, port: 80 }] }]\n";

const WRITTEN: &str = "\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: { name: mine, namespace: shop }\nspec:\n\
    \x20 gatewayClassName: fairway-waypoint\n  listeners: [{ name: hbone, port: 15008, protocol: HBONE }]\n";

fn pod(namespace: &str, gateway: &str, ready: bool) -> String {
    format!(
        "\n---\napiVersion: v1\nkind: Pod\nmetadata: {{ name: wp-{gateway}, namespace: {namespace}, uid: w, labels: {{ gateway.networking.k8s.io/gateway-name: {gateway} }} }}\n\
         spec: {{ serviceAccountName: special, containers: [] }}\nstatus: {{ podIP: 10.0.0.99, conditions: [{{ type: Ready, status: '{}' }}] }}\n",
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
fn its_endpoints_are_its_pods_with_their_own_identities() {
    for (ready, state) in [(true, EndpointState::Ready), (false, EndpointState::Unready)] {
        let world = World::captured(&format!("{SHOP}{ROUTE}{}", pod("shop", "waypoint", ready)));
        let endpoints = endpoints(&world, "waypoint/shop/waypoint");
        let [endpoint] = &endpoints.endpoints[..] else { panic!("{endpoints:?}") };
        assert_eq!((endpoint.address.to_string().as_str(), endpoint.state), ("10.0.0.99:15008", state));
        assert_eq!(endpoint.identity.as_ref().unwrap().as_str(), "spiffe://cluster.local/ns/shop/sa/special");
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

#[test]
fn every_waypoint_believes_every_proxy_of_ours_and_nobody_else() {
    let world = World::captured(&format!("{SHOP}{ROUTE}---\n{GATEWAY}{}", pod("edge", "public", true)));
    let ListenerProtocol::Hbone { routers } = &listener(&world, "shop/waypoint/mesh").protocol else {
        panic!()
    };
    let routers: Vec<&str> = routers.iter().map(|it| it.as_str()).collect();
    assert_eq!(
        routers,
        [
            "spiffe://cluster.local/ns/edge/sa/special",
            "spiffe://cluster.local/ns/shop/sa/waypoint-fairway-waypoint"
        ]
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
    let Some(Resource::Authorization(it)) =
        world.resource(ResourceKind::Authorization, "waypoint-required/shop/web")
    else {
        panic!()
    };
    let allowed = |peer: Option<&str>, port| {
        let peer = peer.map(|it| format!("spiffe://cluster.local/ns/shop/sa/{it}").parse().unwrap());
        let it: &Authorization = it;
        evaluate([(&it.name, Some(it))], Connection { peer: peer.as_ref(), port }).is_allowed()
    };
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
        assert_eq!(allowed(peer, port), expected, "{peer:?} {port}");
    }
}

#[test]
fn a_label_that_is_not_understood_guards_all_the_same() {
    let world = World::captured(&required().replace("waypoint: required", "waypoint: requried"));
    assert!(world.resource(ResourceKind::Authorization, "waypoint-required/shop/web").is_some());
    assert!(
        world.problems().iter().any(|it| it.contains("`requried` is not understood")),
        "{:?}",
        world.problems()
    );
}

#[test]
fn a_guard_that_cannot_be_enforced_is_said_to_be_so() {
    let world = World::captured(&required().replace("fairway.dev/mesh: enabled", "a: b"));
    assert!(
        world.problems().iter().any(|it| it.contains("pods outside the mesh: web-1")),
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
