//! What a controller that has begun anew makes of Gateways, classes and parameters that it cannot read, and never could.

use super::{GATEWAY, World};
use crate::compile::{ProxyClass, Want};
use crate::resources::Edit;
use crate::source::{FileChange, Scan};
use fairway_config::model::ResourceKind;

/// What a source makes of manifests that may have fields of a newer version.
pub(super) fn seen(yaml: &str) -> Vec<Edit> {
    Scan::default().apply([("a.yaml".into(), FileChange::Text(yaml.to_owned()))])
}

fn world(yaml: &str) -> World {
    let mut world = World::cluster("");
    world.apply(seen(yaml));
    world
}

/// The one proxy: what it is for, and what becomes of it.
fn proxy(world: &World) -> (ProxyClass, Want) {
    let proxies: Vec<_> = world.compiler.proxies().collect();
    let [proxy] = &proxies[..] else { panic!("{proxies:?}") };
    (proxy.class, proxy.want)
}

fn class(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {{ name: {name} }}\n\
         spec: {{ controllerName: fairway.dev/controller{spec} }}\n---\n"
    )
}

const ROUTE: &str = "
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: r, namespace: edge }
spec: { parentRefs: [{ name: public }], rules: [{}] }
";

#[test]
fn what_runs_for_a_gateway_that_cannot_be_read_is_held_as_it_is() {
    for change in [
        ("protocol: HTTP,", "protocol: HTTP, newer: 1,"),
        ("gatewayClassName: fairway", "gatewayClassName: fairway\n  newer: 1"),
        ("port: 80", "port: 0"),
        ("gateway.networking.k8s.io/v1\n", "gateway.networking.k8s.io/v2\n"),
    ] {
        let yaml = class("fairway", "") + &GATEWAY.replace(change.0, change.1) + ROUTE;
        let mut world = world(&yaml);
        assert_eq!(proxy(&world), (ProxyClass::Gateway, Want::Hold), "{change:?}");
        world.expect("Gateway edge/public", "Accepted=False/Invalid");
        let message = world.message("Gateway edge/public", "Accepted");
        assert!(message.contains("what runs for it stays as it is"), "{message}");
        assert_eq!(world.conditions("HTTPRoute edge/r"), Vec::<String>::new(), "{change:?}");
        assert_eq!(world.status("HTTPRoute edge/r").held().len(), 1, "{change:?}");
        assert!(world.problems().iter().all(|it| !it.contains("does not exist")), "{:?}", world.problems());
        // It can be read: it runs.
        world.apply(seen(&(GATEWAY.to_owned() + ROUTE)));
        assert_eq!(proxy(&world), (ProxyClass::Gateway, Want::Run), "{change:?}");
        world.expect("HTTPRoute edge/r", "parent Gateway public: Accepted=True/Accepted");
    }
}

#[test]
fn a_waypoint_that_cannot_be_read_stays_the_one_that_connections_pass_through() {
    let waypoint = GATEWAY
        .replace("name: public, namespace: edge", "name: w, namespace: shop")
        .replace("gatewayClassName: fairway", "gatewayClassName: fairway-waypoint")
        .replace("port: 80, protocol: HTTP", "port: 15008, protocol: HBONE, newer: 1");
    let world = world(&(class("fairway-waypoint", "") + &waypoint));
    // Its routes are those of Services, and they can be read.
    assert_eq!(proxy(&world), (ProxyClass::Waypoint, Want::Leave));
    let keys = world.keys(ResourceKind::Endpoints);
    assert!(keys.iter().any(|it| it.contains("shop/w")), "{keys:?}");
}

#[test]
fn gateways_of_a_class_or_with_parameters_that_cannot_be_read_go_on_as_they_are() {
    let own = GATEWAY.replace("gatewayClassName: fairway", "gatewayClassName: own");
    let named = "{ group: fairway.dev, kind: GatewayParameters, name: p }";
    let with_parameters = GATEWAY
        .replace("  listeners:", &format!("  infrastructure: {{ parametersRef: {named} }}\n  listeners:"));
    let parameters = "---\napiVersion: fairway.dev/v1alpha1\nkind: GatewayParameters\n\
                      metadata: { name: p, namespace: edge }\nspec: { replicas: many }\n";
    for (yaml, condition) in [
        (class("own", ", newer: 1") + &own, "Accepted=False/Pending"),
        (class("fairway", "") + &with_parameters + parameters, "Accepted=False/InvalidParameters"),
    ] {
        let world = world(&yaml);
        assert_eq!(proxy(&world), (ProxyClass::Gateway, Want::Leave), "{yaml}");
        assert_eq!(world.keys(ResourceKind::Listener), ["edge/public/http"], "{yaml}");
        world.expect("Gateway edge/public", condition);
        let message = world.message("Gateway edge/public", "Accepted");
        assert!(message.contains("cannot be read") && !message.contains("does not exist"), "{message}");
    }
}
