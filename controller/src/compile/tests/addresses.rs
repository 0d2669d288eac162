//! Where a Gateway is reached in a cluster: its proxy's Services say.

use super::World;
use super::listeners::CLASS;
use crate::status::ObjectStatus;

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
        // An empty value is a request for any address (GatewayAddressEmpty).
        for written in ["[]", "[{ type: IPAddress }]"] {
            let world = World::cluster(&(gateway(written) + &services));
            assert_eq!(addresses(&world), expected, "{services}");
            world.expect("Gateway edge/public", programmed);
            world.expect("Gateway edge/public", "Accepted=True/Accepted");
        }
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
