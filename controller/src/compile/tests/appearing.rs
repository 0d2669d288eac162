//! Waypoints in a cluster: they are asked for, and traffic moves to them once they have been ready.

use super::{SHOP, World, settings};
use crate::compile::{Capture, CompileSettings, Mode};
use crate::resources::{self, Edit, Gateway, Object};
use crate::source::objects;
use fairway_config::model::{Resource, ResourceKind, Service};
use std::sync::Arc;

const CLASSES: &str = "
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: { name: fairway-waypoint }
spec: { controllerName: fairway.dev/controller }
";

const ROUTE: &str = "
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: r, namespace: shop }
spec:
  parentRefs: [{ group: '', kind: Service, name: web }]
  rules: [{ backendRefs: [{ name: web, port: 80 }] }]
";

const CONSUMER: &str = "
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: c, namespace: client }
spec:
  parentRefs: [{ group: '', kind: Service, name: web, namespace: shop, port: 80 }]
  rules: [{ backendRefs: [{ name: web, namespace: shop, port: 80 }] }]
";

/// As the leader makes it.
const MADE: &str = "
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: waypoint, namespace: shop, annotations: { fairway.dev/implied: 'true' } }
spec: { gatewayClassName: fairway-waypoint, listeners: [{ name: mesh, port: 15008, protocol: HBONE }] }
";

fn written() -> String {
    MADE.replace("name: waypoint,", "name: mine,")
        .replace(", annotations: { fairway.dev/implied: 'true' }", "")
}

fn shop() -> String {
    SHOP.replace("spec:\n  selector", "spec:\n  clusterIP: 10.96.0.1\n  selector") + CLASSES
}

fn pod(gateway: &str, ready: bool) -> String {
    format!(
        "\n---\napiVersion: v1\nkind: Pod\nmetadata: {{ name: {gateway}-1, namespace: shop, uid: w, labels: {{ app.kubernetes.io/part-of: fairway, gateway.networking.k8s.io/gateway-name: {gateway} }} }}\n\
         spec: {{ enableServiceLinks: false, serviceAccountName: {gateway}-fairway-waypoint, containers: [] }}\nstatus: {{ podIP: 10.0.0.99, conditions: [{{ type: Ready, status: '{}' }}] }}\n",
        if ready { "True" } else { "False" }
    )
}

/// Gateways and Services after our word in their status has come back.
fn bound(manifests: &str) -> Vec<Edit> {
    let bound = |it| match it {
        Object::Gateway(it) => Object::Gateway(Arc::new(Gateway { bound: true, ..Arc::unwrap_or_clone(it) })),
        Object::Service(it) => Object::Service(Arc::new(resources::Service {
            through_waypoint: true,
            ..Arc::unwrap_or_clone(it)
        })),
        Object::HttpRoute(mut it) => {
            Arc::make_mut(&mut it).meta.enforced = true;
            Object::HttpRoute(it)
        }
        it => it,
    };
    objects(manifests).into_iter().map(bound).map(Edit::Upsert).collect()
}

fn waypoint(world: &World) -> Option<String> {
    let Some(Resource::Service(it)) = world.resource(ResourceKind::Service, "shop/web") else { panic!() };
    let Service { waypoint, .. } = &**it;
    waypoint.as_ref().map(ToString::to_string)
}

fn implied(world: &World) -> Vec<String> {
    world.compiler.wanted().waypoints.iter().map(ToString::to_string).collect()
}

#[test]
fn a_route_asks_for_a_waypoint_and_traffic_moves_when_it_is_ready() {
    let mut world = World::cluster(&shop());
    assert!(implied(&world).is_empty());
    let output = world.add(ROUTE);
    assert!(output.is_wanting());
    assert_eq!((implied(&world), waypoint(&world)), (vec!["shop/waypoint".to_owned()], None));
    assert!(output.proxies.is_empty(), "it is a Gateway's");
    world.expect("HTTPRoute shop/r", "parent Service web: Accepted=True/Accepted");
    world.expect("HTTPRoute shop/r", "parent Service web: fairway.dev/Enforced=False/Pending");
    world.expect("Service shop/web", "fairway.dev/ThroughWaypoint=False/Pending");

    world.add(MADE);
    world.expect("Gateway shop/waypoint", "fairway.dev/Bound=False/Pending");
    world.add(&pod("waypoint", false));
    assert_eq!((implied(&world).len(), waypoint(&world)), (1, None), "it is still asked for");

    world.add(&pod("waypoint", true));
    assert_eq!(waypoint(&world).as_deref(), Some("waypoint/shop/waypoint"));
    world.expect("Gateway shop/waypoint", "fairway.dev/Bound=True/HasBeenReady");
    world.expect("HTTPRoute shop/r", "parent Service web: fairway.dev/Enforced=True/ByWaypoint");
    world.expect("Service shop/web", "fairway.dev/ThroughWaypoint=True/ByWaypoint");
    assert!(world.message("HTTPRoute shop/r", "fairway.dev/Enforced").contains("shop/waypoint"));
}

#[test]
fn a_pod_that_is_not_what_fairway_makes_binds_no_waypoint() {
    for (from, to) in [
        ("app.kubernetes.io/part-of: fairway, ", ""),
        ("containers: []", "containers: [{ name: app, image: app }]"),
        ("serviceAccountName: waypoint-fairway-waypoint", "serviceAccountName: app"),
    ] {
        let pod = pod("waypoint", true);
        assert!(pod.contains(from));
        let world = World::cluster(&(shop() + ROUTE + MADE + &pod.replace(from, to)));
        assert_eq!(waypoint(&world), None, "{from}");
    }
}

#[test]
fn what_was_bound_once_is_never_gone_around() {
    let mut world = World::cluster(&(shop() + ROUTE + MADE + &pod("waypoint", true)));
    world.apply(bound(MADE));
    world.remove(&pod("waypoint", true));
    assert_eq!(waypoint(&world).as_deref(), Some("waypoint/shop/waypoint"));
    // And by a controller that starts now and has never seen it ready.
    let mut world = World::cluster(&(shop() + ROUTE));
    world.apply(bound(MADE));
    assert_eq!(waypoint(&world).as_deref(), Some("waypoint/shop/waypoint"));
    world.expect("Gateway shop/waypoint", "fairway.dev/Bound=True/HasBeenReady");
}

#[test]
fn a_user_s_own_waypoint_wins_when_it_has_been_ready() {
    let mut world = World::cluster(&(shop() + ROUTE + MADE + &pod("waypoint", true)));
    world.add(&written());
    assert_eq!(waypoint(&world).as_deref(), Some("waypoint/shop/waypoint"), "nothing breaks while it comes");
    assert_eq!(implied(&world), ["shop/waypoint"]);
    world.add(&pod("mine", true).replace("10.0.0.99", "10.0.0.98"));
    assert_eq!(waypoint(&world).as_deref(), Some("waypoint/shop/mine"));
    assert!(implied(&world).is_empty(), "nothing needs ours any more");
    // Where there is none of ours, none is made beside the user's.
    let world = World::cluster(&(shop() + ROUTE + &written()));
    assert_eq!((implied(&world).len(), waypoint(&world)), (0, None));
}

#[test]
fn a_waypoint_that_is_deleted_is_not_gone_around_until_another_is_ready() {
    // A consumer's that is not ready either makes it forget nothing.
    for routes in [ROUTE.to_owned(), ROUTE.to_owned() + CONSUMER] {
        let mut world = World::cluster(CLASSES);
        world.apply(bound(&(shop() + &routes)));
        assert_eq!(waypoint(&world).as_deref(), Some("waypoint/shop/waypoint"));
        assert!(implied(&world).contains(&"shop/waypoint".to_owned()), "{:?}", implied(&world));
        world.expect("Service shop/web", "fairway.dev/ThroughWaypoint=True/ByWaypoint");
        assert!(world.message("HTTPRoute shop/r", "fairway.dev/Enforced").contains("refused"));
    }
}

#[test]
fn a_consumer_s_waypoint_that_is_deleted_is_not_gone_around_either() {
    let consumers = |world: &World| match world.resource(ResourceKind::Service, "shop/web") {
        Some(Resource::Service(it)) => it.consumer_waypoints.len(),
        _ => panic!(),
    };
    let mut world = World::cluster(&shop());
    world.apply(bound(CONSUMER));
    assert_eq!((consumers(&world), waypoint(&world)), (1, None), "only theirs");
    world.expect(
        "HTTPRoute client/c",
        "parent Service shop/web port 80: fairway.dev/Enforced=False/WaypointGone",
    );
    assert!(world.message("HTTPRoute client/c", "fairway.dev/Enforced").contains("refused"));
    // One that is written now holds no less, and makes nothing forgotten; another namespace's is its own matter.
    let second = CONSUMER.replace("name: c,", "name: d,");
    let other = CONSUMER.replace("namespace: client", "namespace: other");
    world.add(&(second + &other));
    assert_eq!(consumers(&world), 1);
    world.expect(
        "HTTPRoute client/d",
        "parent Service shop/web port 80: fairway.dev/Enforced=False/WaypointGone",
    );
    world.expect("HTTPRoute other/c", "parent Service shop/web port 80: fairway.dev/Enforced=False/Pending");
    world.remove(CONSUMER);
    assert_eq!(consumers(&world), 0, "what says so has gone");
}

#[test]
fn a_service_that_requires_its_waypoint_does_not_go_without_it_even_at_first() {
    let required = shop().replace(
        "metadata: { name: web, namespace: shop }",
        "metadata: { name: web, namespace: shop, labels: { fairway.dev/waypoint: required } }",
    );
    let world = World::cluster(&(required + ROUTE));
    assert_eq!(waypoint(&world).as_deref(), Some("waypoint/shop/waypoint"));
    assert_eq!(implied(&world), ["shop/waypoint"]);
    assert!(world.message("Service shop/web", "fairway.dev/ThroughWaypoint").contains("refused"));
    assert!(world.message("HTTPRoute shop/r", "fairway.dev/Enforced").contains("refused"));
}

#[test]
fn a_consumer_s_clients_go_without_its_waypoint_until_that_is_ready() {
    let mut world = World::cluster(&(shop() + CONSUMER));
    assert_eq!(implied(&world), ["client/waypoint"]);
    let consumers = |world: &World| match world.resource(ResourceKind::Service, "shop/web") {
        Some(Resource::Service(it)) => it.consumer_waypoints.len(),
        _ => panic!(),
    };
    assert_eq!(consumers(&world), 0);
    let theirs = |text: &str| text.replace("namespace: shop", "namespace: client");
    world.add(&theirs(&(MADE.to_owned() + &pod("waypoint", true))));
    assert_eq!(consumers(&world), 1);
    let message = world.message("Service shop/web", "fairway.dev/ThroughWaypoint");
    assert!(
        message.contains("namespace client to port 80 pass through waypoint client/waypoint"),
        "{message}"
    );
}

#[test]
fn a_name_that_somebody_has_is_not_taken() {
    let taken = MADE
        .replace("fairway-waypoint", "other")
        .replace(", annotations: { fairway.dev/implied: 'true' }", "");
    let world = World::cluster(&(shop() + ROUTE + &taken));
    assert_eq!(implied(&world), ["shop/fairway-waypoint"]);
}

#[test]
fn nothing_is_left_when_nothing_needs_it() {
    let mut world = World::cluster(&(shop() + ROUTE + MADE + &pod("waypoint", true)));
    let output = world.remove(ROUTE);
    assert!(output.is_wanting() && implied(&world).is_empty());
    assert_eq!(waypoint(&world), None);
    assert!(
        !world.compiler.statuses().any(|(it, _)| it.to_string() == "Service shop/web"),
        "it says nothing any more"
    );
}

#[test]
fn without_tunnels_there_is_no_mesh() {
    let settings = CompileSettings { capture: Capture::Off, mode: Mode::Kubernetes, ..settings() };
    let mut world =
        World { compiler: super::Compiler::new(settings), standalone: None, last_good: Default::default() };
    world.add(&(shop() + ROUTE));
    assert!(implied(&world).is_empty());
    assert_eq!(waypoint(&world), None);
    assert!(
        !world.compiler.statuses().any(|(it, _)| it.to_string() == "HTTPRoute shop/r"),
        "another mesh may speak for it"
    );
    let Some(Resource::Endpoints(it)) = world.resource(ResourceKind::Endpoints, "shop/web:80") else {
        panic!()
    };
    assert!(it.endpoints.iter().all(|it| it.identity.is_none()), "nothing is tunnelled");
}

#[test]
fn the_mesh_says_what_it_can_do() {
    let mesh = |name: &str, controller: &str, more: &str| {
        format!(
            "\n---\napiVersion: gateway.networking.x-k8s.io/v1alpha1\nkind: XMesh\nmetadata: {{ name: {name} }}\n\
             spec: {{ controllerName: {controller}{more} }}\n"
        )
    };
    let ours = "fairway.dev/controller";
    for (name, controller, more, expected) in [
        ("fairway", ours, "", Some("Accepted=True/Accepted")),
        (
            "fairway",
            ours,
            ", parametersRef: { group: a.b, kind: C, name: d }",
            Some("Accepted=False/InvalidParameters"),
        ),
        ("other", ours, "", Some("Accepted=False/Conflicted")),
        ("fairway", "example.com/mesh", "", None),
    ] {
        let world = World::cluster(&mesh(name, controller, more));
        let object = format!("XMesh {name}");
        match expected {
            Some(condition) => world.expect(&object, condition),
            None => assert_eq!(world.compiler.statuses().count(), 0),
        }
        assert_eq!(
            world.problems().is_empty(),
            expected == Some("Accepted=True/Accepted"),
            "{:?}",
            world.problems()
        );
    }
}
