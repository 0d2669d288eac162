//! Pods, endpoints and Services: which resources they become for tunnels.

use super::{CompileSettings, SHOP, World};
use fairway_config::model::{
    AppProtocol, CaptureExemption, EndpointState, Endpoints, ListenerProtocol, Mesh, MutualTls, Resource,
    ResourceKind, Workload,
};
use std::sync::Arc;

fn workload(world: &World, name: &str) -> Arc<Workload> {
    match world.resource(ResourceKind::Workload, name) {
        Some(Resource::Workload(it)) => it.clone(),
        _ => panic!("no workload {name}: {:?}", world.keys(ResourceKind::Workload)),
    }
}

fn endpoints(world: &World, name: &str) -> Arc<Endpoints> {
    match world.resource(ResourceKind::Endpoints, name) {
        Some(Resource::Endpoints(it)) => it.clone(),
        _ => panic!("no endpoints {name}: {:?}", world.keys(ResourceKind::Endpoints)),
    }
}

const CAPTURED: Mesh = Mesh::Captured(MutualTls::Permissive);
const STRICT: Mesh = Mesh::Captured(MutualTls::Strict);

#[test]
fn labels_say_whether_a_pod_is_in_the_mesh_and_how() {
    for (namespace, pod, spec, expected, complaint) in [
        ("fairway.dev/mesh: enabled", "", "", CAPTURED, false),
        ("", "", "", Mesh::Outside, false),
        ("fairway.dev/mesh: 'true'", "", "", Mesh::Outside, false),
        ("fairway.dev/mesh: enabled", "fairway.dev/mesh: disabled", "", Mesh::Outside, false),
        ("", "fairway.dev/mesh: enabled", "", Mesh::Outside, false),
        ("fairway.dev/mesh: enabled", "", "hostNetwork: true,", Mesh::Outside, false),
        ("fairway.dev/mesh: enabled, fairway.dev/mtls: strict", "", "", STRICT, false),
        ("fairway.dev/mesh: enabled", "fairway.dev/mtls: strict", "", STRICT, false),
        (
            "fairway.dev/mesh: enabled, fairway.dev/mtls: permissive",
            "fairway.dev/mtls: strict",
            "",
            STRICT,
            false,
        ),
        // The namespace's word is the least.
        (
            "fairway.dev/mesh: enabled, fairway.dev/mtls: strict",
            "fairway.dev/mtls: permissive",
            "",
            STRICT,
            true,
        ),
        (
            "fairway.dev/mesh: enabled, fairway.dev/mtls: always",
            "fairway.dev/mtls: permissive",
            "",
            STRICT,
            true,
        ),
        ("fairway.dev/mesh: enabled", "fairway.dev/mtls: Strict", "", STRICT, true),
        ("fairway.dev/mesh: enabled, fairway.dev/mtls: always", "", "", STRICT, true),
        (
            "fairway.dev/mesh: enabled",
            "gateway.networking.k8s.io/gateway-name: waypoint",
            "serviceAccountName: waypoint-fairway-waypoint,",
            Mesh::Outside,
            false,
        ),
        (
            "fairway.dev/mesh: enabled",
            "gateway.networking.k8s.io/gateway-name: public",
            "serviceAccountName: public-fairway,",
            Mesh::Outside,
            false,
        ),
        // A label alone makes no proxy, nor does the account of another.
        ("fairway.dev/mesh: enabled", "gateway.networking.k8s.io/gateway-name: waypoint", "", CAPTURED, true),
        ("fairway.dev/mesh: enabled", "gateway.networking.k8s.io/gateway-name: public", "", CAPTURED, true),
        (
            "fairway.dev/mesh: enabled, fairway.dev/mtls: strict",
            "gateway.networking.k8s.io/gateway-name: public",
            "serviceAccountName: public-fairway-waypoint,",
            STRICT,
            true,
        ),
        ("fairway.dev/mesh: enabled", "gateway.networking.k8s.io/gateway-name: other", "", CAPTURED, false),
    ] {
        let world = World::captured(&format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{ name: a, labels: {{ {namespace} }} }}\n---\n\
             apiVersion: v1\nkind: Pod\nmetadata: {{ name: p, namespace: a, labels: {{ {pod} }} }}\nspec: {{ {spec} containers: [] }}\n\
             status: {{ podIP: 10.0.0.7 }}\n---\n\
             apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{ name: public, namespace: a }}\n\
             spec: {{ gatewayClassName: fairway, listeners: [{{ name: a, port: 80, protocol: HTTP }}] }}\n"
        ));
        let found = workload(&world, "a/p");
        assert_eq!(found.mesh, expected, "{namespace} / {pod} / {spec}");
        let account =
            spec.strip_prefix("serviceAccountName: ").map_or("default", |it| it.trim_end_matches(','));
        assert_eq!(found.identity.as_str(), format!("spiffe://cluster.local/ns/a/sa/{account}"));
        assert_eq!(!world.problems().is_empty(), complaint, "{:?}", world.problems());
    }
}

#[test]
fn a_pod_that_is_set_aside_from_the_mesh_of_its_namespace_says_why() {
    for (namespace, pod, spec, aside) in [
        ("fairway.dev/mesh: enabled", "", "", None),
        ("fairway.dev/mesh: enabled", "", "hostNetwork: true,", Some(CaptureExemption::HostNetwork)),
        ("fairway.dev/mesh: enabled", "fairway.dev/mesh: disabled", "", Some(CaptureExemption::OptedOut)),
        (
            "fairway.dev/mesh: enabled",
            "gateway.networking.k8s.io/gateway-name: waypoint, fairway.dev/mesh: disabled",
            "serviceAccountName: waypoint-fairway-waypoint,",
            Some(CaptureExemption::Proxy),
        ),
        // Where there is no mesh nobody is set aside from it.
        ("", "", "hostNetwork: true,", None),
        ("", "fairway.dev/mesh: disabled", "", None),
    ] {
        let world = World::captured(&format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{ name: a, labels: {{ {namespace} }} }}\n---\n\
             apiVersion: v1\nkind: Pod\nmetadata: {{ name: p, namespace: a, labels: {{ {pod} }} }}\nspec: {{ {spec} containers: [] }}\n\
             status: {{ podIP: 10.0.0.7 }}\n"
        ));
        assert_eq!(workload(&world, "a/p").aside, aside, "{namespace} / {pod} / {spec}");
    }
}

#[test]
fn in_a_cluster_no_pod_is_a_proxy_without_its_gateway() {
    let world = |gateway: &str| {
        World::cluster(&format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{ name: a, labels: {{ fairway.dev/mesh: enabled, fairway.dev/mtls: strict }} }}\n---\n\
             apiVersion: v1\nkind: Pod\nmetadata: {{ name: p, namespace: a, labels: {{ app.kubernetes.io/part-of: fairway, gateway.networking.k8s.io/gateway-name: waypoint }} }}\n\
             spec: {{ serviceAccountName: waypoint-fairway-waypoint, enableServiceLinks: false, containers: [] }}\nstatus: {{ podIP: 10.0.0.7 }}\n---\n\
             apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {{ name: fairway-waypoint }}\n\
             spec: {{ controllerName: fairway.dev/controller }}\n---\n\
             apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{ name: {gateway}, namespace: a }}\n\
             spec: {{ gatewayClassName: fairway-waypoint, listeners: [{{ name: mesh, port: 15008, protocol: HBONE }}] }}\n"
        ))
    };
    assert_eq!(workload(&world("waypoint"), "a/p").aside, Some(CaptureExemption::Proxy));
    let without = world("another");
    let found = workload(&without, "a/p");
    assert_eq!((found.mesh, found.aside), (STRICT, None));
}

/// A proxy is not captured, not strict and judged by no policy, so that an application must not be taken for one.
#[test]
fn in_a_cluster_a_pod_is_a_proxy_only_if_it_is_what_fairway_makes() {
    const OURS: &str = "app.kubernetes.io/part-of: fairway,";
    for (labels, spec, aside, complaint) in [
        (OURS, "containers: [{ name: waypoint, image: 'registry/w:1' }]", Some(CaptureExemption::Proxy), ""),
        (OURS, "containers: [{ name: waypoint, image: 'registry/w:2' }]", Some(CaptureExemption::Proxy), ""),
        (
            "",
            "containers: [{ name: waypoint, image: 'registry/w:1' }]",
            None,
            "no label app.kubernetes.io/part-of=fairway",
        ),
        ("", "containers: [{ name: app, image: app }]", None, "no label"),
        (OURS, "containers: [{ name: app, image: app }]", None, "the container app"),
        (OURS, "containers: [{ name: waypoint, image: 'mine/w:1' }]", None, "the image mine/w:1"),
        (OURS, "containers: [{ name: waypoint, image: 'registry/w:1', command: [sh] }]", None, "a command"),
        (
            OURS,
            "containers: [{ name: waypoint, image: 'registry/w:1' }, { name: app, image: app }]",
            None,
            "the container app",
        ),
        (
            OURS,
            "containers: [{ name: waypoint, image: 'registry/w:1' }], initContainers: [{ name: i, image: i }]",
            None,
            "the init container i",
        ),
    ] {
        let settings = CompileSettings {
            proxy_image: Some("registry/w:1".into()),
            ..CompileSettings::kubernetes("cluster.local".parse().unwrap())
        };
        let world = World::new_in_cluster(
            settings,
            &format!(
                "apiVersion: v1\nkind: Namespace\nmetadata: {{ name: a, labels: {{ fairway.dev/mesh: enabled, fairway.dev/mtls: strict }} }}\n---\n\
                 apiVersion: v1\nkind: Pod\nmetadata: {{ name: p, namespace: a, labels: {{ {labels} gateway.networking.k8s.io/gateway-name: g }} }}\n\
                 spec: {{ serviceAccountName: g-fairway, enableServiceLinks: false, {spec} }}\nstatus: {{ podIP: 10.0.0.7 }}\n---\n\
                 apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {{ name: fairway }}\n\
                 spec: {{ controllerName: fairway.dev/controller }}\n---\n\
                 apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{ name: g, namespace: a }}\n\
                 spec: {{ gatewayClassName: fairway, listeners: [{{ name: h, port: 80, protocol: HTTP }}] }}\n"
            ),
        );
        let found = workload(&world, "a/p");
        assert_eq!(found.aside, aside, "{labels} {spec}");
        assert_eq!(found.mesh == STRICT, aside.is_none(), "{labels} {spec}: {:?}", found.mesh);
        let problems: Vec<_> = world.problems().into_iter().filter(|it| it.contains("Pod a/p")).collect();
        assert_eq!(problems.is_empty(), aside.is_some(), "{problems:?}");
        assert!(problems.iter().all(|it| it.contains(complaint)), "{problems:?}");
    }
}

#[test]
fn an_annotation_says_it_as_well_as_a_label() {
    let world =
        World::captured(&SHOP.replace("uid: u1,", "uid: u1, annotations: { fairway.dev/mtls: strict },"));
    assert_eq!(workload(&world, "shop/web-1").mesh, STRICT);
}

#[test]
fn without_capture_nobody_is_in_the_mesh() {
    let world = World::plain(SHOP);
    assert_eq!(workload(&world, "shop/web-1").mesh, Mesh::Outside);
    assert_eq!(endpoints(&world, "shop/web:80").endpoints[0].identity, None);
}

#[test]
fn endpoints_are_pods_with_their_ports_resolved_and_their_identities() {
    let world = World::captured(SHOP);
    for (key, address) in [("shop/web:80", "10.0.0.1:8080"), ("shop/web:81", "10.0.0.1:9001")] {
        let endpoints = endpoints(&world, key);
        let [endpoint] = &endpoints.endpoints[..] else { panic!("{endpoints:?}") };
        assert_eq!((endpoint.address.to_string().as_str(), endpoint.state), (address, EndpointState::Ready));
        assert_eq!(endpoint.identity.as_ref().unwrap().as_str(), "spiffe://cluster.local/ns/shop/sa/web");
        assert_eq!(endpoint.node.as_deref(), Some("n1"));
    }
}

#[test]
fn a_port_may_have_its_name_from_a_sidecar() {
    for (init, own, expected) in [
        ("restartPolicy: Always, ports: [{ name: admin, containerPort: 9002 }]", "", Some("10.0.0.1:9002")),
        // Of two ports of one name Kubernetes takes that of the container.
        (
            "restartPolicy: Always, ports: [{ name: admin, containerPort: 9002 }]",
            "ports: [{ name: admin, containerPort: 9001 }]",
            Some("10.0.0.1:9001"),
        ),
        // It has ended before the pod is ready.
        ("ports: [{ name: admin, containerPort: 9002 }]", "", None),
    ] {
        let containers = format!(
            "initContainers: [{{ name: s, image: x, {init} }}]\n  containers: [{{ name: c, image: x, {own} }}]"
        );
        let written = "containers: [{ name: c, image: x, ports: [{ name: admin, containerPort: 9001 }] }]";
        assert!(SHOP.contains(written));
        let world = World::captured(&SHOP.replace(written, &containers));
        let found = endpoints(&world, "shop/web:81");
        let found = found.endpoints.first().map(|it| it.address.to_string());
        assert_eq!(found.as_deref(), expected, "{init} / {own}");
    }
}

#[test]
fn a_pod_that_leaves_the_mesh_is_reached_in_plain() {
    let mut world = World::captured(SHOP);
    world.add(&SHOP.replace("fairway.dev/mesh: enabled", "fairway.dev/mesh: 'no'"));
    assert_eq!(endpoints(&world, "shop/web:80").endpoints[0].identity, None);
    assert_eq!(workload(&world, "shop/web-1").mesh, Mesh::Outside);
}

#[test]
fn slices_written_by_hand_replace_those_of_the_selector() {
    let slice = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: { name: s, namespace: shop, labels: { kubernetes.io/service-name: web } }\n\
        addressType: IPv4\nports: [{ name: http, port: 7000 }]\nendpoints:\n\
        - { addresses: [127.0.0.2], zone: z }\n\
        - { addresses: [127.0.0.3], conditions: { ready: false } }\n\
        - { addresses: [127.0.0.4], conditions: { ready: false, serving: true, terminating: true } }\n";
    let mut world = World::captured(SHOP);
    world.add(slice);
    let found = endpoints(&world, "shop/web:80");
    let rows: Vec<_> = found.endpoints.iter().map(|it| (it.address.to_string(), it.state)).collect();
    let expected = [
        ("127.0.0.2:7000", EndpointState::Ready),
        ("127.0.0.3:7000", EndpointState::Unready),
        ("127.0.0.4:7000", EndpointState::Draining),
    ];
    assert_eq!(rows, expected.map(|(a, b)| (a.to_owned(), b)));
    assert!(endpoints(&world, "shop/web:81").endpoints.is_empty());
    world.remove(slice);
    assert_eq!(endpoints(&world, "shop/web:80").endpoints[0].address.to_string(), "10.0.0.1:8080");
}

#[test]
fn publish_not_ready_addresses_makes_all_of_them_ready() {
    let unready =
        SHOP.replace("podIP: 10.0.0.1", "podIP: 10.0.0.1, conditions: [{ type: Ready, status: 'False' }]");
    assert_eq!(
        endpoints(&World::captured(&unready), "shop/web:80").endpoints[0].state,
        EndpointState::Unready
    );
    let published = unready
        .replace("  selector: { app: web }", "  publishNotReadyAddresses: true\n  selector: { app: web }");
    assert_eq!(
        endpoints(&World::captured(&published), "shop/web:80").endpoints[0].state,
        EndpointState::Ready
    );
}

#[test]
fn app_protocol_says_what_is_spoken() {
    for (written, expected) in [
        ("", AppProtocol::Unspecified),
        (", appProtocol: http", AppProtocol::Http1),
        (", appProtocol: kubernetes.io/ws", AppProtocol::Http1),
        (", appProtocol: kubernetes.io/h2c", AppProtocol::Http2),
        (", appProtocol: grpc", AppProtocol::Http2),
        (", appProtocol: tcp", AppProtocol::Tcp),
        (", appProtocol: mysql", AppProtocol::Tcp),
        (", appProtocol: https", AppProtocol::Tcp),
        (", appProtocol: WSS", AppProtocol::Tcp),
        (", appProtocol: grpcs", AppProtocol::Tcp),
        (", appProtocol: Redis", AppProtocol::Tcp),
        (", appProtocol: mqtt", AppProtocol::Tcp),
        (", appProtocol: h2c", AppProtocol::Http2),
        (", appProtocol: grpc-web", AppProtocol::Http1),
        (", appProtocol: http/1.1", AppProtocol::Http1),
        (", appProtocol: ws", AppProtocol::Http1),
        (", appProtocol: kubernetes.io/http", AppProtocol::Http1),
        // Nobody says that these are not HTTP.
        (", appProtocol: mycompany.com/http", AppProtocol::Unspecified),
        (", appProtocol: prometheus", AppProtocol::Unspecified),
        (", appProtocol: graphql", AppProtocol::Unspecified),
    ] {
        let world = World::captured(&SHOP.replace("targetPort: 8080", &format!("targetPort: 8080{written}")));
        let Some(Resource::Backend(backend)) = world.resource(ResourceKind::Backend, "shop/web:80") else {
            panic!()
        };
        assert_eq!(backend.protocol, expected, "{written}");
    }
}

#[test]
fn without_capture_services_listen_on_their_own_loopback_addresses() {
    let world = World::plain(SHOP);
    assert_eq!(world.keys(ResourceKind::Listener), ["service/shop/web/80", "service/shop/web/81"]);
    let Some(Resource::Listener(listener)) = world.resource(ResourceKind::Listener, "service/shop/web/80")
    else {
        panic!()
    };
    assert!(listener.addresses[0].to_string().starts_with("127.96."), "{:?}", listener.addresses);
    assert!(
        matches!(&listener.protocol, ListenerProtocol::Service { service, port: 80 } if service.as_str() == "shop/web")
    );
    assert!(World::captured(SHOP).keys(ResourceKind::Listener).is_empty());
    let elsewhere =
        World::plain(&SHOP.replace("spec:\n  selector", "spec:\n  clusterIP: 10.96.0.1\n  selector"));
    assert!(elsewhere.keys(ResourceKind::Listener).is_empty());
}

#[test]
fn two_services_share_pods_each_with_its_own_ports() {
    let second = "\n---\napiVersion: v1\nkind: Service\nmetadata: { name: also, namespace: shop }\nspec:\n  selector: { app: web }\n  ports: [{ port: 90, targetPort: 8080 }]\n";
    let world = World::captured(&format!("{SHOP}{second}"));
    assert_eq!(endpoints(&world, "shop/also:90").endpoints[0].address.to_string(), "10.0.0.1:8080");
}
