//! Where a Gateway is reached in a cluster: its proxy's Services say.

use super::World;
use super::listeners::CLASS;
use crate::status::ObjectStatus;
use fairway_config::model::{Resource, ResourceKind};

fn gateway(addresses: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{ name: public, namespace: edge }}\nspec:\n\
         \x20 gatewayClassName: fairway\n  addresses: {addresses}\n  listeners: [{{ name: http, port: 8080, protocol: HTTP }}]\n{CLASS}"
    )
}

/// A Service of the proxy as the cluster has it.
fn service(name: &str, r#type: &str, ingress: &str) -> String {
    format!(
        "\n---\napiVersion: v1\nkind: Service\nmetadata: {{ name: {name}, namespace: edge }}\nspec: {{ type: {type}, clusterIP: 10.96.0.9, \
         ports: [{{ port: 8080 }}] }}\nstatus: {{ loadBalancer: {{ ingress: {ingress} }} }}\n"
    )
}

fn addresses(world: &World) -> Vec<String> {
    let ObjectStatus::Gateway(status) = world.status("Gateway edge/public") else { panic!() };
    let rendered = serde_json::to_value(&status.addresses).unwrap();
    let each = rendered.as_array().unwrap().iter();
    each.map(|it| format!("{} {}", it["type"].as_str().unwrap(), it["value"].as_str().unwrap())).collect()
}

#[test]
fn addresses_are_those_of_the_services() {
    for (services, expected, programmed) in [
        (String::new(), vec![], "Programmed=False/AddressNotAssigned"),
        (service("public-fairway", "LoadBalancer", "[]"), vec![], "Programmed=False/AddressNotAssigned"),
        (
            service("public-fairway", "LoadBalancer", "[{ ip: 192.0.2.1 }, { ip: '2001:db8::1' }]"),
            vec!["IPAddress 192.0.2.1", "IPAddress 2001:db8::1"],
            "Programmed=True/Programmed",
        ),
        (
            service("public-fairway", "LoadBalancer", "[{ hostname: lb.example.com }]"),
            vec!["Hostname lb.example.com"],
            "Programmed=True/Programmed",
        ),
        (
            service("public-fairway", "ClusterIP", "[]"),
            vec!["IPAddress 10.96.0.9"],
            "Programmed=True/Programmed",
        ),
        (
            service("public", "LoadBalancer", "[{ ip: 192.0.2.1 }]"),
            vec![],
            "Programmed=False/AddressNotAssigned",
        ),
    ] {
        let world = World::cluster(&(gateway("[]") + &services));
        assert_eq!(addresses(&world), expected, "{services}");
        world.expect("Gateway edge/public", programmed);
        world.expect("Gateway edge/public", "Accepted=True/Accepted");
    }
}

/// The walk of the suite's test of static addresses: a type that nobody knows, an address that cannot be had, one that can.
#[test]
fn an_address_that_is_asked_for_is_had_or_named() {
    let strange = "{ type: test/fake-invalid-type, value: fake }";
    let (unusable, usable) = ("{ value: 203.0.113.9 }", "{ value: 192.0.2.7 }");
    let mut world = World::cluster(&gateway(&format!("[{strange}, {unusable}, {usable}]")));
    world.expect("Gateway edge/public", "Accepted=False/UnsupportedAddress");

    world.add(&gateway(&format!("[{unusable}, {usable}]")));
    world.add(&service("public-fairway", "LoadBalancer", "[]"));
    world.add(&service("public-fairway-2", "LoadBalancer", "[{ ip: 192.0.2.7 }]"));
    world.expect("Gateway edge/public", "Accepted=True/Accepted");
    world.expect("Gateway edge/public", "Programmed=False/AddressNotUsable");
    let message = world.message("Gateway edge/public", "Programmed");
    assert!(
        message.contains("spec.addresses[0]: 203.0.113.9") && message.contains("edge/public-fairway"),
        "{message}"
    );
    assert_eq!(addresses(&world), ["IPAddress 192.0.2.7"], "what it has it shows");

    world.add(&gateway(&format!("[{usable}]")));
    world.add(&service("public-fairway", "LoadBalancer", "[{ ip: 192.0.2.7 }]"));
    world.remove(&service("public-fairway-2", "LoadBalancer", "[]"));
    world.expect("Gateway edge/public", "Programmed=True/Programmed");
    assert_eq!(addresses(&world), ["IPAddress 192.0.2.7"]);
}

#[test]
fn a_service_that_gets_another_address_than_asked_for_is_told_of() {
    let services = service("public-fairway", "LoadBalancer", "[{ ip: 192.0.2.8 }]");
    let world = World::cluster(&(gateway("[{ value: 192.0.2.7 }]") + &services));
    world.expect("Gateway edge/public", "Programmed=False/AddressNotUsable");
    let message = world.message("Gateway edge/public", "Programmed");
    assert!(message.contains("192.0.2.7") && message.contains("has 192.0.2.8"), "{message}");
}

/// `routability value` of each address in the status.
fn scopes(world: &World) -> Vec<String> {
    let ObjectStatus::Gateway(status) = world.status("Gateway edge/public") else { panic!() };
    let rendered = serde_json::to_value(&status.addresses).unwrap();
    let text = |it: &serde_json::Value, name: &str| it[name].as_str().expect("it is always said").to_owned();
    let each = rendered.as_array().unwrap().iter();
    each.map(|it| format!("{} {}", text(it, "routability"), text(it, "value")).trim_start().to_owned())
        .collect()
}

/// The Services that are asked for: name, scope, address.
fn services(world: &World) -> Vec<String> {
    let proxy = world.compiler.proxies().next().unwrap();
    let service = |it: &crate::provision::ProxyService| {
        let address = it.address.map(|it| it.to_string()).unwrap_or_default();
        format!("{} {} {address}", it.name, it.routability.as_str()).trim_end().to_owned()
    };
    proxy.services.iter().map(service).collect()
}

fn cluster_ip(name: &str, address: &str) -> String {
    service(name, "ClusterIP", "[]").replace("10.96.0.9", address)
}

const CLUSTER: &str = "{ routability: Cluster }";

/// GEP-5093: each entry is judged on its own, and none is met with an address of another scope.
#[test]
fn an_address_reaches_as_far_as_its_entry_asks_for() {
    let balanced = service("public-fairway", "LoadBalancer", "[{ ip: 192.0.2.1 }, { ip: '2001:db8::1' }]");
    let inner = cluster_ip("public-fairway-cluster", "10.96.0.42");
    for (written, there, expected_services, addresses, assigned, programmed) in [
        // Nothing is asked for: what there is, and how far it reaches.
        ("[]", String::new(), vec!["public-fairway"], vec![], "", "False/AddressNotAssigned"),
        (
            "[]",
            balanced.clone(),
            vec!["public-fairway"],
            vec!["192.0.2.1", "2001:db8::1"],
            "True/Assigned",
            "True/Programmed",
        ),
        (
            "[]",
            cluster_ip("public-fairway", "10.96.0.9"),
            vec!["public-fairway"],
            vec!["Cluster 10.96.0.9"],
            "True/Assigned",
            "True/Programmed",
        ),
        // One entry, one address: also of a Service that has several.
        (
            "[{}]",
            balanced.clone(),
            vec!["public-fairway"],
            vec!["192.0.2.1"],
            "True/Assigned",
            "True/Programmed",
        ),
        (
            "[{ routability: '' }]",
            cluster_ip("public-fairway", "10.96.0.9"),
            vec!["public-fairway"],
            vec!["Cluster 10.96.0.9"],
            "True/Assigned",
            "True/Programmed",
        ),
        (
            "[{ routability: Cluster }]",
            inner.clone(),
            vec!["public-fairway-cluster Cluster"],
            vec!["Cluster 10.96.0.42"],
            "True/Assigned",
            "True/Programmed",
        ),
        // What a load balancer has is not what was asked for, whoever made the Service one.
        (
            "[{ routability: Cluster }]",
            balanced.clone() + &service("public-fairway-cluster", "LoadBalancer", "[{ ip: 192.0.2.9 }]"),
            vec!["public-fairway-cluster Cluster"],
            vec![],
            "False/NotAssigned",
            "False/AddressNotAssigned",
        ),
        (
            "[{}, { routability: Cluster }]",
            balanced.clone() + &inner,
            vec!["public-fairway", "public-fairway-cluster Cluster"],
            vec!["192.0.2.1", "Cluster 10.96.0.42"],
            "True/Assigned",
            "True/Programmed",
        ),
        // The order means nothing.
        (
            "[{ routability: Cluster }, {}]",
            balanced.clone() + &inner,
            vec!["public-fairway-cluster Cluster", "public-fairway"],
            vec!["Cluster 10.96.0.42", "192.0.2.1"],
            "True/Assigned",
            "True/Programmed",
        ),
        (
            "[{ routability: Cluster }, { routability: Cluster }]",
            inner.clone() + &cluster_ip("public-fairway-cluster-2", "10.96.0.43"),
            vec!["public-fairway-cluster Cluster", "public-fairway-cluster-2 Cluster"],
            vec!["Cluster 10.96.0.42", "Cluster 10.96.0.43"],
            "True/Assigned",
            "True/Programmed",
        ),
        (
            "[{ value: 10.96.0.50, routability: Cluster }]",
            cluster_ip("public-fairway-cluster-10-96-0-50", "10.96.0.50"),
            vec!["public-fairway-cluster-10-96-0-50 Cluster 10.96.0.50"],
            vec!["Cluster 10.96.0.50"],
            "True/Assigned",
            "True/Programmed",
        ),
        // Outside the Service network: the API server does not make such a Service.
        (
            "[{ value: 203.0.113.9, routability: Cluster }]",
            balanced.clone(),
            vec!["public-fairway-cluster-203-0-113-9 Cluster 203.0.113.9"],
            vec![],
            "False/NotAssigned",
            "False/AddressNotAssigned",
        ),
        (
            "[{ value: 203.0.113.9, routability: Cluster }, {}]",
            balanced.clone(),
            vec!["public-fairway-cluster-203-0-113-9 Cluster 203.0.113.9", "public-fairway"],
            vec!["192.0.2.1"],
            "False/PartiallyAssigned",
            "True/Programmed",
        ),
        // Of conformance: its word comes back, and nothing is promised.
        (
            "[{ routability: testing.x-k8s.io/sentinel }]",
            cluster_ip("public-fairway-sentinel", "10.96.0.44"),
            vec!["public-fairway-sentinel testing.x-k8s.io/sentinel"],
            vec!["testing.x-k8s.io/sentinel 10.96.0.44"],
            "True/Assigned",
            "True/Programmed",
        ),
        // Nobody gives these: nothing is made in their place.
        (
            "[{ routability: example.com/corp }]",
            balanced.clone(),
            vec![],
            vec![],
            "False/NotAssigned",
            "False/AddressNotAssigned",
        ),
        (
            "[{ routability: testing.x-k8s.io/other }, { routability: example.com/corp }]",
            balanced.clone(),
            vec![],
            vec![],
            "False/NotAssigned",
            "False/AddressNotAssigned",
        ),
        (
            "[{ routability: example.com/corp }, {}]",
            balanced.clone(),
            vec!["public-fairway"],
            vec!["192.0.2.1"],
            "False/PartiallyAssigned",
            "True/Programmed",
        ),
        // A name is no IP address.
        (
            "[{}]",
            service("public-fairway", "LoadBalancer", "[{ hostname: lb.example.com }]"),
            vec!["public-fairway"],
            vec![],
            "False/NotAssigned",
            "False/AddressNotAssigned",
        ),
    ] {
        let world = World::cluster(&(gateway(written) + &there));
        assert_eq!(services(&world), expected_services, "{written}");
        assert_eq!(scopes(&world), addresses, "{written}\n{there}");
        let conditions = world.conditions("Gateway edge/public");
        let found = conditions.iter().find_map(|it| it.strip_prefix("AddressesAssigned="));
        assert_eq!(found.unwrap_or_default(), assigned, "{written}");
        world.expect("Gateway edge/public", &format!("Programmed={programmed}"));
        world.expect("Gateway edge/public", "Accepted=True/Accepted");
    }
}

#[test]
fn entries_without_an_address_are_enumerated() {
    let written = "[{ routability: example.com/corp }, {}, { value: 203.0.113.9, routability: Cluster }]";
    let there = service("public-fairway", "LoadBalancer", "[{ ip: 192.0.2.1 }]");
    let message =
        World::cluster(&(gateway(written) + &there)).message("Gateway edge/public", "AddressesAssigned");
    assert!(message.contains("spec.addresses[0].routability: Fairway cannot assign"), "{message}");
    assert!(message.contains("spec.addresses[2]: 203.0.113.9 is not assigned"), "{message}");
    assert!(!message.contains("spec.addresses[1]"), "{message}");
}

/// Not even its pods listen: what they serve could be reached by other ways than the one that was asked for.
#[test]
fn a_gateway_that_can_be_given_no_address_serves_nothing() {
    let refused = "[{ routability: example.com/corp }]";
    for mut world in [World::plain(&gateway("[]")), World::cluster(&gateway("[]"))] {
        assert_eq!(world.keys(ResourceKind::Listener).len(), 1);
        world.add(&gateway(refused));
        assert!(world.keys(ResourceKind::Listener).is_empty());
        world.expect("Gateway edge/public", "AddressesAssigned=False/NotAssigned");
        world.expect("Gateway edge/public", "listener http: Accepted=True/Accepted");
        world.expect("Gateway edge/public", "listener http: Programmed=False/Invalid");
    }
}

/// A machine has no Service network.
#[test]
fn outside_a_cluster_no_scope_can_be_had() {
    for scope in ["Cluster", "testing.x-k8s.io/sentinel", "example.com/corp"] {
        let world = World::plain(&gateway(&format!("[{{ routability: {scope} }}]")));
        world.expect("Gateway edge/public", "AddressesAssigned=False/NotAssigned");
        world.expect("Gateway edge/public", "Programmed=False/AddressNotAssigned");
        assert!(world.keys(ResourceKind::Listener).is_empty(), "{scope}");
    }
    let world = World::plain(&gateway(&format!("[{CLUSTER}, {{ value: 127.0.0.9 }}, {{}}]")));
    world.expect("Gateway edge/public", "AddressesAssigned=False/PartiallyAssigned");
    world.expect("Gateway edge/public", "Programmed=True/Programmed");
    assert_eq!(scopes(&world), ["127.0.0.9", "127.0.0.1"]);
    let Some(Resource::Listener(it)) = world.resource(ResourceKind::Listener, "edge/public/http") else {
        panic!()
    };
    assert_eq!(it.addresses, ["127.0.0.9", "127.0.0.1"].map(|it| it.parse::<std::net::IpAddr>().unwrap()));
}

/// One machine, one port: the first by age, then by name, has it; whatever order they come in.
#[test]
fn of_gateways_on_one_machine_one_has_a_port() {
    let gateway = |name: &str, address: &str, listeners: &str| {
        format!(
            "\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{ name: {name}, namespace: edge }}\nspec:\n\
             \x20 gatewayClassName: fairway\n  addresses: {address}\n  listeners: {listeners}\n"
        )
    };
    let http = "[{ name: http, port: 8080, protocol: HTTP }]";
    let two = [gateway("a", "[]", http), gateway("b", "[]", http)];
    for order in [[0, 1], [1, 0]] {
        let mut world = World::plain(&two[order[0]]);
        world.add(&two[order[1]]);
        world.expect("Gateway edge/a", "listener http: Programmed=True/Programmed");
        world.expect("Gateway edge/b", "listener http: Accepted=False/PortUnavailable");
        world.expect("Gateway edge/b", "Programmed=False/Invalid");
        assert_eq!(world.keys(ResourceKind::Listener), ["edge/a/http"]);
        let problems = world.problems();
        let names_both = |it: &String| {
            it.contains("Gateway edge/b and Gateway edge/a both ask for port 8080 of 127.0.0.1")
        };
        assert!(problems.iter().any(names_both), "{problems:?}");
        world.remove(&two[0]);
        world.expect("Gateway edge/b", "listener http: Programmed=True/Programmed");
    }
    // Another address, another transport, another port; and every address is one of them too.
    for (address, listeners, programmed) in [
        ("[{ value: 127.0.0.2 }]", http, true),
        ("[]", "[{ name: http, port: 8081, protocol: HTTP }]", true),
        ("[]", "[{ name: http, port: 8080, protocol: UDP }]", true),
        ("[]", "[{ name: http, port: 8080, protocol: TCP }]", false),
        ("[{ value: 0.0.0.0 }]", http, false),
        ("[{ value: '::' }]", http, false),
        ("[{ value: '::1' }]", http, true),
    ] {
        let world = World::plain(&(two[0].clone() + &gateway("b", address, listeners)));
        let expected = if programmed { "Programmed=True/Programmed" } else { "Programmed=False/Invalid" };
        world.expect("Gateway edge/b", &format!("listener http: {expected}"));
    }
    // In a cluster each has pods of its own.
    let world = World::cluster(&(two.concat() + CLASS));
    assert_eq!(world.keys(ResourceKind::Listener), ["edge/a/http", "edge/b/http"]);
}

#[test]
fn the_proxys_own_ports_are_no_listeners() {
    for (port, protocol, taken) in [
        (15000, "HTTP", true),
        (15008, "HTTPS", true),
        (15020, "TCP", true),
        (15021, "HTTP", true),
        (15021, "UDP", false),
        (15022, "HTTP", false),
    ] {
        let listener = format!("{{ name: a, port: {port}, protocol: {protocol}, tls: TLS }}");
        let tls = if protocol == "HTTPS" { "{ certificateRefs: [{ name: cert }] }" } else { "null" };
        let listener = listener.replace("TLS }", &format!("{tls} }}"));
        let gateway = gateway("[]").replace(
            "listeners: [",
            &format!("allowedListeners: {{ namespaces: {{ from: Same }} }}\n  listeners: [{listener}, "),
        );
        let set = format!(
            "\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: ListenerSet\nmetadata: {{ name: more, namespace: edge }}\n\
             spec: {{ parentRef: {{ name: public }}, listeners: [{}] }}\n",
            listener.replace("name: a", "name: b")
        );
        for mut world in [World::cluster(&gateway), World::plain(&gateway)] {
            let expected = if taken { "Accepted=False/PortUnavailable" } else { "Accepted=True/Accepted" };
            world.expect("Gateway edge/public", &format!("listener a: {expected}"));
            if taken {
                world.remove(&gateway);
                world.add(&gateway.replace(&format!("{listener}, "), ""));
                world.add(&set);
                world.expect("ListenerSet edge/more", &format!("listener b: {expected}"));
            }
        }
    }
}
