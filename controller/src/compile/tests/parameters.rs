//! `parametersRef`, and what it means for what runs.

use super::{GATEWAY, World};
use crate::name;
use crate::provision::Scale;
use crate::provision::{Proxy, Want};
use fairway_config::model::{Mesh, Resource, ResourceKind};

const CLASS: &str = "
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: { name: fairway }
spec: { controllerName: fairway.dev/controller }
";

fn parameters(name: &str, spec: &str) -> String {
    format!(
        "\n---\napiVersion: fairway.dev/v1alpha1\nkind: GatewayParameters\nmetadata: {{ name: {name}, namespace: edge }}\n\
         spec: {spec}\n"
    )
}

/// The Gateway, with parameters.
fn gateway(reference: &str) -> String {
    let with = format!("spec:\n  infrastructure: {{ parametersRef: {reference} }}\n");
    assert!(GATEWAY.contains("spec:\n"));
    format!("\n---\n{}", GATEWAY.replacen("spec:\n", &with, 1))
}

const OWN: &str = "{ group: fairway.dev, kind: GatewayParameters, name: own }";

fn proxy(world: &World) -> Proxy {
    let [proxy] = &world.compiler.proxies().cloned().collect::<Vec<_>>()[..] else { panic!() };
    proxy.clone()
}

#[test]
fn a_gateway_is_run_as_its_parameters_say_and_its_classs() {
    let class = CLASS.replace(
        "controller }",
        "controller, parametersRef: { group: fairway.dev, kind: GatewayParameters, name: all, namespace: edge } }",
    );
    let all = parameters("all", "{ replicas: 3, service: { type: ClusterIP } }");
    let mut world =
        World::cluster(&format!("{class}{all}{}", gateway(OWN) + &parameters("own", "{ replicas: 5 }")));
    world.expect("GatewayClass fairway", "Accepted=True/Accepted");
    world.expect("Gateway edge/public", "Accepted=True/Accepted");
    assert_eq!(proxy(&world).parameters.scale, Some(Scale::Fixed(5)));
    assert!(proxy(&world).parameters.service.r#type.is_some());

    world.add(&parameters("own", "{}"));
    assert_eq!(proxy(&world).parameters.scale, Some(Scale::Fixed(3)));
    world.remove(&all);
    world.expect("GatewayClass fairway", "Accepted=False/InvalidParameters");
    world.expect("Gateway edge/public", "Accepted=False/InvalidParameters");
}

#[test]
fn parameters_that_are_of_no_use_are_named() {
    for (reference, spec, words) in [
        ("{ group: '', kind: ConfigMap, name: own }", "{}", "refer to an object of kind GatewayParameters"),
        (OWN, "{ replicas: -1 }", "replicas"),
        (OWN, "{ drain: { grace: 2h } }", "spec.drain.grace"),
        ("{ group: fairway.dev, kind: GatewayParameters, name: gone }", "{}", "does not exist"),
    ] {
        let world = World::cluster(&format!("{CLASS}{}{}", gateway(reference), parameters("own", spec)));
        world.expect("Gateway edge/public", "Accepted=False/InvalidParameters");
        let said = world.compiler.problems().any(|it| it.to_string().contains(words));
        let conditions = format!("{:?}", world.status("Gateway edge/public"));
        assert!(said || conditions.contains(words), "{words}: {conditions}");
    }
}

const RIGHTS: [(&str, &str); 8] = [
    ("pod.image", "{ pod: { image: evil/waypoint } }"),
    ("pod.imagePullSecrets", "{ pod: { imagePullSecrets: [{ name: x }] } }"),
    ("pod.priorityClassName", "{ pod: { priorityClassName: system-node-critical } }"),
    ("pod.tolerations", "{ pod: { tolerations: [{ operator: Exists }] } }"),
    ("pod.nodeSelector", "{ pod: { nodeSelector: { node-role.kubernetes.io/control-plane: '' } } }"),
    ("pod.affinity", "{ pod: { affinity: { nodeAffinity: {} } } }"),
    ("pod.annotations", "{ pod: { annotations: { sidecar.istio.io/proxyImage: evil } } }"),
    (
        "service.annotations",
        "{ service: { annotations: { external-dns.alpha.kubernetes.io/hostname: bank.example } } }",
    ),
];

#[test]
fn what_is_a_right_is_not_for_a_gateways_own_parameters() {
    for (field, spec) in RIGHTS {
        let mut world = World::cluster(&format!("{CLASS}{}{}", gateway(OWN), parameters("own", "{}")));
        world.expect("Gateway edge/public", "Accepted=True/Accepted");
        let before = proxy(&world).parameters;
        world.add(&parameters("own", spec));
        world.expect("Gateway edge/public", "Accepted=False/InvalidParameters");
        let said = format!("{:?}", world.status("Gateway edge/public"));
        for word in ["GatewayParameters edge/own", &format!("spec.{field}"), "gatewayParameters.tenantFields"]
        {
            assert!(said.contains(word), "{field}: {word} is not in {said}");
        }
        // What runs goes on as it is, and nothing of that is made.
        assert_eq!((proxy(&world).want, proxy(&world).parameters), (Want::Leave, before), "{field}");
    }
    let many = World::cluster(&format!("{CLASS}{}{}", gateway(OWN), parameters("own", "{ replicas: 1000 }")));
    many.expect("Gateway edge/public", "Accepted=False/InvalidParameters");
}

#[test]
fn what_a_class_chooses_its_gateways_have() {
    let class = CLASS.replace(
        "controller }",
        "controller, parametersRef: { group: fairway.dev, kind: GatewayParameters, name: own, namespace: edge } }",
    );
    let own = parameters("own", "{ pod: { tolerations: [{ operator: Exists }] } }");
    for reference in ["{ group: fairway.dev, kind: GatewayParameters, name: other }", OWN] {
        let other = parameters("other", "{ replicas: 2 }");
        let world = World::cluster(&format!("{class}{own}{other}{}", gateway(reference)));
        world.expect("Gateway edge/public", "Accepted=True/Accepted");
        assert!(proxy(&world).parameters.pod.tolerations.is_some());
    }
    // The lists hold for classes too: the admission policy knows only them.
    let image = parameters("own", "{ pod: { image: evil/waypoint } }");
    let world = World::cluster(&format!("{class}{image}\n---\n{GATEWAY}"));
    world.expect("GatewayClass fairway", "Accepted=False/InvalidParameters");
}

#[test]
fn what_runs_goes_on_while_a_gateway_has_to_be_mended() {
    let own = parameters("own", "{ replicas: 5 }");
    let mut world = World::cluster(&format!("{CLASS}{}{own}", gateway(OWN)));
    let before = world.keys(ResourceKind::Listener);
    assert_eq!((before.len(), proxy(&world).want), (1, Want::Run));
    world.remove(&own);
    world.expect("Gateway edge/public", "Accepted=False/InvalidParameters");
    world.expect("Gateway edge/public", "Programmed=False/Invalid");
    assert_eq!(world.keys(ResourceKind::Listener), before);
    assert_eq!(proxy(&world).want, Want::Leave);
}

#[test]
fn the_pods_of_a_gateway_with_a_long_name_are_known_by_their_annotation() {
    let long = "a".repeat(253);
    let gateway = GATEWAY.replace("name: public", &format!("name: {long}"));
    let pod = format!(
        "
---
apiVersion: v1
kind: Namespace
metadata: {{ name: edge, labels: {{ fairway.dev/mesh: enabled }} }}
---
apiVersion: v1
kind: Pod
metadata:
  name: proxy
  namespace: edge
  uid: u
  labels: {{ app.kubernetes.io/part-of: fairway, gateway.networking.k8s.io/gateway-name: {} }}
  annotations: {{ fairway.dev/gateway: {long} }}
spec: {{ enableServiceLinks: false, serviceAccountName: {}, nodeName: n1, containers: [] }}
status: {{ podIP: 10.0.0.9 }}
",
        name::as_label(&long),
        name::of_proxy(&long, "fairway"),
    );
    let world = World::cluster(&format!("{CLASS}\n---\n{gateway}{pod}"));
    let meshes: Vec<Mesh> = world
        .compiler
        .resources()
        .filter_map(|(_, it)| match it {
            Resource::Workload(it) => Some(it.mesh),
            _ => None,
        })
        .collect();
    assert_eq!(meshes, [Mesh::Outside], "our own proxies are not captured");
}
