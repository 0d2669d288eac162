//! Routes on Services (GEP-1294).

use super::{GATEWAY, SHOP, World};
use fairway_config::model::{
    Attachment, Audience, BackendTarget, Resource, ResourceKind, Service, Unresolved,
};
use std::sync::Arc;

fn route(kind: &str, name: &str, namespace: &str, parent: &str, backend: &str) -> String {
    format!(
        "\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\nmetadata: {{ name: {name}, namespace: {namespace} }}\nspec:\n\
         \x20 parentRefs: [{{ group: '', kind: Service, {parent} }}]\n  rules: [{{ backendRefs: [{{ {backend} }}] }}]\n"
    )
}

fn service(world: &World, name: &str) -> Arc<Service> {
    match world.resource(ResourceKind::Service, name) {
        Some(Resource::Service(it)) => it.clone(),
        _ => panic!("no Service {name}"),
    }
}

fn attachments(world: &World, route: &str) -> Vec<(Option<u16>, Audience)> {
    let attachments = world.route(route).map(|it| it.attachments.clone()).unwrap_or_default();
    let one = |it| match it {
        Attachment::Service { port, audience, .. } => (port, audience),
        other => panic!("{other:?}"),
    };
    attachments.into_iter().map(one).collect()
}

const OTHER_SERVICES: &str = "\n---\napiVersion: v1\nkind: Service\nmetadata: { name: headless, namespace: shop }\nspec: { clusterIP: None, ports: [{ port: 80 }] }\n\
    ---\napiVersion: v1\nkind: Service\nmetadata: { name: alias, namespace: shop }\nspec: { type: ExternalName, externalName: a.b, ports: [{ port: 80 }] }\n\
    ---\napiVersion: v1\nkind: Service\nmetadata: { name: udp, namespace: shop }\nspec: { ports: [{ port: 53, protocol: UDP }] }\n";

#[test]
fn a_service_is_a_parent_by_port_by_section_or_whole() {
    let producer = Audience::Producer;
    for (parent, condition, expected) in [
        ("name: web", "Accepted=True/Accepted", vec![(None, producer.clone())]),
        ("name: web, port: 80", "Accepted=True/Accepted", vec![(Some(80), producer.clone())]),
        ("name: web, sectionName: admin", "Accepted=True/Accepted", vec![(Some(81), producer.clone())]),
        ("name: web, sectionName: admin, port: 80", "Accepted=False/NoMatchingParent", vec![]),
        ("name: web, port: 99", "Accepted=False/NoMatchingParent", vec![]),
        ("name: gone", "Accepted=False/NoMatchingParent", vec![]),
        ("name: udp", "Accepted=False/NoMatchingParent", vec![]),
        ("name: headless", "Accepted=False/UnsupportedValue", vec![]),
        ("name: alias", "Accepted=False/UnsupportedValue", vec![]),
    ] {
        let world = World::captured(&format!(
            "{SHOP}{OTHER_SERVICES}{}",
            route("HTTPRoute", "r", "shop", parent, "name: web, port: 80")
        ));
        let conditions = world.conditions("HTTPRoute shop/r");
        assert!(conditions[0].ends_with(condition), "{parent}: {conditions:?}");
        assert_eq!(attachments(&world, "HTTPRoute/shop/r"), expected, "{parent}");
    }
}

#[test]
fn a_producer_route_is_for_everyone_and_its_waypoint_is_the_service_s() {
    let world = World::captured(&format!(
        "{SHOP}{}",
        route("HTTPRoute", "r", "shop", "name: web", "name: web, port: 80")
    ));
    let web = service(&world, "shop/web");
    assert_eq!(web.waypoint.as_ref().unwrap().as_str(), "waypoint/shop/waypoint");
    assert!(web.consumer_waypoints.is_empty());
}

#[test]
fn a_consumer_route_is_for_its_own_namespace_and_its_waypoint_is_there() {
    let world = World::captured(&format!(
        "{SHOP}{}",
        route(
            "HTTPRoute",
            "r",
            "client",
            "name: web, namespace: shop",
            "name: web, namespace: shop, port: 80"
        )
    ));
    assert_eq!(attachments(&world, "HTTPRoute/client/r"), [(None, Audience::Consumer("client".into()))]);
    let web = service(&world, "shop/web");
    assert_eq!(web.waypoint, None);
    assert_eq!(
        (&*web.consumer_waypoints[0].namespace, web.consumer_waypoints[0].waypoint.as_str()),
        ("client", "waypoint/client/waypoint")
    );
    world.expect("HTTPRoute client/r", "parent Service shop/web: ResolvedRefs=True/ResolvedRefs");
    assert_eq!(
        world.route("HTTPRoute/client/r").unwrap().rules[0].backends[0].target,
        BackendTarget::Backend("shop/web:80".into())
    );
}

#[test]
fn of_two_kinds_of_routes_on_one_port_grpc_holds() {
    let to_web = "name: web, port: 80";
    for (grpc, http, conflicted, expected) in [
        ("name: web", "name: web", true, vec![]),
        ("name: web, port: 80", "name: web, port: 80", true, vec![]),
        ("name: web, port: 81", "name: web, port: 80", false, vec![(Some(80), Audience::Producer)]),
        ("name: web, port: 81", "name: web", false, vec![(Some(80), Audience::Producer)]),
    ] {
        let routes =
            route("GRPCRoute", "g", "shop", grpc, to_web) + &route("HTTPRoute", "h", "shop", http, to_web);
        let world = World::captured(&format!("{SHOP}{routes}"));
        let condition = world.conditions("HTTPRoute shop/h").remove(0);
        assert_eq!(condition.contains("Accepted=False/Conflicted"), conflicted, "{grpc} {http}: {condition}");
        assert_eq!(attachments(&world, "HTTPRoute/shop/h"), expected, "{grpc} {http}");
        assert!(
            world.message("HTTPRoute shop/h", "Accepted").contains("GRPCRoute shop/g")
                || !conflicted && http.contains("80")
        );
    }
}

#[test]
fn a_consumer_route_on_one_port_leaves_the_other_ports_to_the_producer() {
    let parent = "name: web, namespace: shop, port: 80";
    let world = World::captured(&format!("{SHOP}{}", route("HTTPRoute", "r", "client", parent, parent)));
    let web = service(&world, "shop/web");
    assert_eq!(web.consumer_waypoint("client", 80).map(|it| it.as_str()), Some("waypoint/client/waypoint"));
    assert_eq!(web.consumer_waypoint("client", 81), None);
    assert_eq!(web.consumer_waypoint("shop", 80), None);
}

#[test]
fn a_consumer_s_grpc_route_does_not_undo_the_producer_s_http_route() {
    let routes = route(
        "GRPCRoute",
        "g",
        "client",
        "name: web, namespace: shop",
        "name: web, namespace: shop, port: 80",
    ) + &route("HTTPRoute", "h", "shop", "name: web", "name: web, port: 80");
    let world = World::captured(&format!("{SHOP}{routes}"));
    assert_eq!(attachments(&world, "HTTPRoute/shop/h"), [(None, Audience::Producer)]);
    assert_eq!(attachments(&world, "GRPCRoute/client/g"), [(None, Audience::Consumer("client".into()))]);
}

#[test]
fn one_route_on_a_gateway_and_a_service_follows_the_rules_of_each() {
    let both = "\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: { name: r, namespace: client }\nspec:\n\
        \x20 parentRefs: [{ name: public, namespace: edge }, { group: '', kind: Service, name: web, namespace: shop }]\n\
        \x20 hostnames: [a.example.com]\n  rules: [{ backendRefs: [{ name: web, namespace: shop, port: 80 }] }]\n";
    let world = World::captured(&format!("{SHOP}---\n{GATEWAY}{both}"));
    world.expect("HTTPRoute client/r", "parent Gateway edge/public: ResolvedRefs=False/RefNotPermitted");
    world.expect("HTTPRoute client/r", "parent Service shop/web: ResolvedRefs=True/ResolvedRefs");
    let target = |key: &str| world.route(key).unwrap().rules[0].backends[0].target.clone();
    assert_eq!(target("HTTPRoute/client/r"), BackendTarget::Unresolved(Unresolved::NotPermitted));
    assert_eq!(target("HTTPRoute/client/r/mesh"), BackendTarget::Backend("shop/web:80".into()));
}

#[test]
fn a_route_that_leaves_gives_its_port_back() {
    let to_web = "name: web, port: 80";
    let grpc = route("GRPCRoute", "g", "shop", "name: web", to_web);
    let mut world =
        World::captured(&format!("{SHOP}{grpc}{}", route("HTTPRoute", "h", "shop", "name: web", to_web)));
    assert!(attachments(&world, "HTTPRoute/shop/h").is_empty());
    world.remove(&grpc);
    assert_eq!(attachments(&world, "HTTPRoute/shop/h"), [(None, Audience::Producer)]);
}

const MORE_SERVICES: &str = "\n---\napiVersion: v1\nkind: Service\nmetadata: { name: tls, namespace: shop }\nspec: { ports: [{ port: 80, appProtocol: https }] }\n";

/// What a route of another namespace is told of its references, with the names of Services left out: what was asked for may be said back.
fn told(object: &str, route: &str, grant: &str) -> (Vec<String>, Vec<String>) {
    let world = World::captured(&format!("{SHOP}{OTHER_SERVICES}{MORE_SERVICES}{CLIENT}{grant}{route}"));
    let names = ["gone", "headless", "alias", "udp", "tls", "web"];
    let plain =
        |it: String| names.iter().fold(it, |text, name| text.replace(&format!("shop/{name}"), "shop/X"));
    let conditions = world.status(object).conditions().into_iter();
    let conditions =
        conditions.map(|(_, it)| plain(format!("{} {} {}: {}", it.kind, it.status, it.reason, it.message)));
    let problems = world.problems().into_iter().filter(|it| it.contains("client/r")).map(plain);
    (conditions.collect(), problems.collect())
}

const CLIENT: &str = "\n---\napiVersion: v1\nkind: Service\nmetadata: { name: own, namespace: client }\nspec: { ports: [{ port: 80 }] }\n";

/// Leave for routes of a kind.
fn leave(kind: &str) -> String {
    format!(
        "\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: ReferenceGrant\nmetadata: {{ name: g, namespace: shop }}\n\
         spec: {{ from: [{{ group: gateway.networking.k8s.io, kind: {kind}, namespace: client }}], to: [{{ group: '', kind: Service }}] }}\n"
    )
}

const BACKENDS: [&str; 5] =
    ["gone, port: 80", "alias, port: 80", "udp, port: 80", "tls, port: 80", "web, port: 99"];

#[test]
fn services_of_others_that_are_there_and_those_that_are_not_are_refused_alike() {
    for kind in ["HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute"] {
        let object = format!("{kind} client/r");
        let route = |parent: &str, backend: &str| {
            let route = route(kind, "r", "client", parent, backend);
            if kind == "TLSRoute" {
                route.replace("  rules:", "  hostnames: [a.ex]\n  rules:")
            } else {
                route
            }
        };
        let to_web = "name: web, namespace: shop, port: 80";
        let parents = |grant: &str| {
            ["gone", "headless", "alias", "udp"]
                .map(|it| told(&object, &route(&format!("name: {it}, namespace: shop"), to_web), grant))
        };
        let backends = |grant: &str| {
            // What speaks TLS is for routes of bytes.
            let speaks_tls = |it: &&str| it.starts_with("tls") && ["TLSRoute", "TCPRoute"].contains(&kind);
            let backends = BACKENDS.into_iter().filter(|it| !speaks_tls(it)).map(|it| {
                told(
                    &object,
                    &route("name: web, namespace: shop", &format!("namespace: shop, name: {it}")),
                    grant,
                )
            });
            backends.collect::<Vec<_>>()
        };
        let nobody = parents("");
        assert!(nobody.iter().all(|it| *it == nobody[0]), "{kind}: {nobody:#?}");
        assert!(nobody[0].0[0].contains("NoMatchingParent"), "{kind}: {:?}", nobody[0]);
        let nobody = backends("");
        assert!(nobody.iter().all(|it| *it == nobody[0]), "{kind}: {nobody:#?}");
        assert!(nobody[0].0.iter().any(|it| it.contains("BackendNotFound")), "{kind}: {:?}", nobody[0]);
        // Whom the Service's namespace has granted it is told; leave for another kind is none.
        let (granted, other) =
            (leave(kind), leave(if kind == "TCPRoute" { "HTTPRoute" } else { "TCPRoute" }));
        assert_eq!((parents(&other), backends(&other)), (parents(""), backends("")), "{kind}");
        assert!(parents(&granted)[1].0[0].contains("headless"), "{kind}: {:?}", parents(&granted)[1]);
        let granted = backends(&granted);
        let told = &granted[granted.len() - 1].1;
        assert!(told.iter().any(|it| it.contains("use one of its ports: 80, 81")), "{kind}: {told:?}");
    }
}

#[test]
fn so_are_those_that_filters_name() {
    for (kind, filter) in [
        ("HTTPRoute", "{ type: RequestMirror, requestMirror: { backendRef: { BACKEND } } }"),
        ("GRPCRoute", "{ type: RequestMirror, requestMirror: { backendRef: { BACKEND } } }"),
        (
            "HTTPRoute",
            "{ type: ExternalAuth, externalAuth: { protocol: HTTP, http: {}, backendRef: { BACKEND } } }",
        ),
        (
            "HTTPRoute",
            "{ type: ExternalAuth, externalAuth: { protocol: GRPC, grpc: {}, backendRef: { BACKEND } } }",
        ),
    ] {
        let object = format!("{kind} client/r");
        let all = |grant: &str| {
            BACKENDS.map(|it| {
                let filter = filter.replace("BACKEND", &format!("namespace: shop, name: {it}"));
                let route = route(kind, "r", "client", "name: own", "name: own, port: 80")
                    .replace("rules: [{", &format!("rules: [{{ filters: [{filter}],"));
                assert!(route.contains("filters"));
                told(&object, &route, grant)
            })
        };
        let nobody = all("");
        assert!(nobody.iter().all(|it| *it == nobody[0]), "{filter}: {nobody:#?}");
        assert!(nobody[0].0.iter().any(|it| it.contains("BackendNotFound")), "{filter}: {:?}", nobody[0]);
        let granted = all(&leave(kind));
        assert!(granted.iter().any(|it| *it != granted[0]), "{filter}: who is granted it is told");
    }
}
