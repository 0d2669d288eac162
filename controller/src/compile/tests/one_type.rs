//! One type of route for each port of a Service (GEP-1294), and routes that do not look into what they carry.

use super::{SHOP, World};
use fairway_config::model::{Attachment, Resource, ResourceKind};

fn route(kind: &str, name: &str, port: Option<u16>, created: u32) -> String {
    let port = port.map(|it| format!(", port: {it}")).unwrap_or_default();
    let hostnames = if kind == "TLSRoute" { "\n  hostnames: [means.nothing.example]" } else { "" };
    format!(
        "\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\nmetadata: {{ name: {name}, namespace: shop, creationTimestamp: '2026-01-0{created}T00:00:00Z' }}\nspec:\n\
         \x20 parentRefs: [{{ group: '', kind: Service, name: web{port} }}]{hostnames}\n  rules: [{{ backendRefs: [{{ name: web, port: 80 }}] }}]\n"
    )
}

/// The ports a route holds; none is all.
fn held(world: &World, kind: &str, name: &str) -> Vec<Option<u16>> {
    let key = format!("{kind}/shop/{name}");
    let attachments = match (world.route(&key), world.resource(ResourceKind::L4Route, &key)) {
        (Some(it), _) => it.attachments.clone(),
        (_, Some(Resource::L4Route(it))) => it.attachments.clone(),
        _ => Vec::new(),
    };
    let port = |it| match it {
        Attachment::Service { port, .. } => port,
        Attachment::Listener { .. } => panic!(),
    };
    attachments.into_iter().map(port).collect()
}

#[test]
fn the_most_specific_kind_holds_a_port_and_the_others_are_told_who_does() {
    let kinds = ["GRPCRoute", "HTTPRoute", "TLSRoute", "TCPRoute"];
    for (place, winner) in kinds.iter().enumerate() {
        for loser in &kinds[place + 1..] {
            // However old it is.
            let routes = route(winner, "w", Some(80), 9) + &route(loser, "l", Some(80), 1);
            let world = World::captured(&format!("{SHOP}{routes}"));
            assert_eq!(held(&world, winner, "w"), [Some(80)], "{winner} {loser}");
            assert!(held(&world, loser, "l").is_empty(), "{winner} {loser}");
            let condition = "parent Service web port 80: Accepted=False/Conflicted";
            world.expect(&format!("{loser} shop/l"), condition);
            let message = world.message(&format!("{loser} shop/l"), "Accepted");
            assert!(message.contains(&format!("{winner} shop/w")), "{message}");
        }
    }
}

#[test]
fn on_other_ports_the_others_hold() {
    let routes = route("HTTPRoute", "h", Some(80), 1) + &route("TCPRoute", "t", None, 1);
    let mut world = World::captured(&format!("{SHOP}{routes}"));
    assert_eq!(
        (held(&world, "HTTPRoute", "h"), held(&world, "TCPRoute", "t")),
        (vec![Some(80)], vec![Some(81)])
    );
    assert!(world.message("TCPRoute shop/t", "Accepted").contains("in part"));
    world.remove(&route("HTTPRoute", "h", Some(80), 1));
    assert_eq!(held(&world, "TCPRoute", "t"), [None]);
}

#[test]
fn of_routes_that_cannot_be_told_apart_the_older_carries_all() {
    let routes = route("TCPRoute", "old", None, 1) + &route("TCPRoute", "young", None, 2);
    let mut world = World::captured(&format!("{SHOP}{routes}"));
    assert_eq!(held(&world, "TCPRoute", "old"), [None]);
    assert!(held(&world, "TCPRoute", "young").is_empty());
    world.expect("TCPRoute shop/young", "parent Service web: Accepted=True/Accepted");
    assert!(world.message("TCPRoute shop/young", "Accepted").contains("TCPRoute shop/old"));
    world.remove(&route("TCPRoute", "old", None, 1));
    assert_eq!(held(&world, "TCPRoute", "young"), [None]);
}

#[test]
fn datagrams_pass_the_mesh_by() {
    let world = World::captured(&format!("{SHOP}{}", route("UDPRoute", "u", None, 1)));
    world.expect("UDPRoute shop/u", "parent Service web: Accepted=False/UnsupportedValue");
}

#[test]
fn http_routes_among_themselves_are_merged_and_do_not_wait_for_each_other() {
    let routes: String = (1..9).map(|it| route("HTTPRoute", &format!("r{it}"), None, it)).collect();
    let mut world = World::captured(&format!("{SHOP}{routes}"));
    for it in 1..9 {
        assert_eq!(held(&world, "HTTPRoute", &format!("r{it}")), [None]);
    }
    world.remove(&route("HTTPRoute", "r1", None, 1));
    assert!(world.compiler.runs() < 8, "{}", world.compiler.runs());
}
