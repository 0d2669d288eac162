//! What is said of a reference to an object that is not there, and of one to an object that cannot be read: for every kind of reference.

use super::World;
use super::gateways::secret;
use super::unreadable::seen;
use crate::resources::{ClusterTrustBundle, Edit};

/// An object that refers to another one.
struct Reference {
    /// What refers, and what that is.
    from: &'static str,
    yaml: String,
    /// What it refers to, in a version that cannot be read.
    to: &'static str,
    unreadable: String,
    /// A part of the reason why it cannot be read; none where whoever refers is not told.
    why: Option<&'static str>,
}

const CLASS: &str = "
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: { name: fairway }
spec: { controllerName: fairway.dev/controller }
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: public, namespace: edge }
spec:
  gatewayClassName: fairway
  listeners: [{ name: http, port: 80, protocol: HTTP, allowedRoutes: { namespaces: { from: All } } }]
";

fn manifest(api: &str, kind: &str, namespace: &str, name: &str, rest: &str) -> String {
    let namespace = if namespace.is_empty() { String::new() } else { format!(", namespace: {namespace}") };
    format!("\n---\napiVersion: {api}\nkind: {kind}\nmetadata: {{ name: '{name}'{namespace} }}\n{rest}\n")
}

fn gateway_api(kind: &str, name: &str, spec: &str) -> String {
    manifest("gateway.networking.k8s.io/v1", kind, "edge", name, &format!("spec: {spec}"))
}

fn ours(kind: &str, spec: &str) -> String {
    manifest("fairway.dev/v1alpha1", kind, "edge", "p", &format!("spec: {spec}"))
}

fn route(rest: &str) -> String {
    gateway_api("HTTPRoute", "r", &format!("{{ parentRefs: [{{ name: public }}], rules: [{{ {rest} }}] }}"))
}

fn service() -> String {
    manifest("v1", "Service", "edge", "web", "spec: { ports: [{ port: many }] }")
}

fn with_authorities(reference: &str) -> String {
    let tls = format!("frontend: {{ default: {{ validation: {{ caCertificateRefs: [{reference}] }} }} }}");
    let listener = "{ name: https, port: 443, protocol: HTTPS, tls: { certificateRefs: [{ name: cert }] } }";
    let spec = format!("{{ gatewayClassName: fairway, tls: {{ {tls} }}, listeners: [{listener}] }}");
    gateway_api("Gateway", "mutual", &spec) + &secret("edge")
}

fn backend_tls(reference: &str) -> String {
    let web =
        manifest("v1", "Service", "edge", "tls", "spec: { clusterIP: 10.1.0.1, ports: [{ port: 443 }] }");
    let validation = format!("{{ hostname: a.example, caCertificateRefs: [{reference}] }}");
    let targets = "[{ group: '', kind: Service, name: tls }]";
    let policy = gateway_api(
        "BackendTLSPolicy",
        "p",
        &format!("{{ targetRefs: {targets}, validation: {validation} }}"),
    );
    web + &policy + &route("backendRefs: [{ name: tls, port: 443 }]")
}

fn policies_at(target: &str) -> [(&'static str, String); 2] {
    let deny = "action: Deny, rules: [{ to: [{ paths: [{ value: /a }] }] }]";
    let ten = "local: [{ requests: 10, per: Second }]";
    [
        ("AccessPolicy edge/p", ours("AccessPolicy", &format!("{{ targetRefs: [{target}], {deny} }}"))),
        ("RateLimitPolicy edge/p", ours("RateLimitPolicy", &format!("{{ targetRefs: [{target}], {ten} }}"))),
    ]
}

fn references() -> Vec<Reference> {
    const SERVICE: &str = "Service edge/web";
    const PORT: Option<&str> = Some("spec.ports[0].port");
    let backend = "{ name: web, port: 80 }";
    let to_service = |from, yaml| Reference { from, yaml, to: SERVICE, unreadable: service(), why: PORT };
    let mut all = vec![
        to_service("HTTPRoute edge/r", route(&format!("backendRefs: [{backend}]"))),
        to_service(
            "HTTPRoute edge/r",
            route(&format!(
                "filters: [{{ type: RequestMirror, requestMirror: {{ backendRef: {backend} }} }}]"
            )),
        ),
        to_service(
            "HTTPRoute edge/r",
            route(&format!(
                "filters: [{{ type: ExternalAuth, externalAuth: {{ protocol: HTTP, backendRef: {backend} }} }}]"
            )),
        ),
        to_service(
            "HTTPRoute edge/r",
            gateway_api(
                "HTTPRoute",
                "r",
                "{ parentRefs: [{ group: '', kind: Service, name: web }], rules: [{}] }",
            ),
        ),
        to_service(
            "BackendTLSPolicy edge/p",
            gateway_api(
                "BackendTLSPolicy",
                "p",
                "{ targetRefs: [{ group: '', kind: Service, name: web }], \
                 validation: { hostname: a.example, wellKnownCACertificates: System } }",
            ) + &route(&format!("backendRefs: [{backend}]")),
        ),
    ];
    let at_service = policies_at("{ group: '', kind: Service, name: web }");
    all.extend(at_service.map(|(from, yaml)| to_service(from, yaml)));
    // What is so far from readable that it is not known whose it is.
    let no_route = || gateway_api("HTTPRoute", "gone", "5");
    let at_route = policies_at("{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: gone }");
    all.extend(at_route.map(|(from, yaml)| Reference {
        from,
        yaml,
        to: "HTTPRoute edge/gone",
        unreadable: no_route(),
        why: Some("spec"),
    }));
    let no_gateway = || {
        gateway_api(
            "Gateway",
            "gone",
            "{ gatewayClassName: 5, listeners: [{ name: http, port: 80, protocol: HTTP }] }",
        )
    };
    let to_gateway = |from, yaml| Reference {
        from,
        yaml,
        to: "Gateway edge/gone",
        unreadable: no_gateway(),
        why: Some("gatewayClassName"),
    };
    let at_gateway = policies_at("{ group: gateway.networking.k8s.io, kind: Gateway, name: gone }");
    all.extend(at_gateway.map(|(from, yaml)| to_gateway(from, yaml)));
    let of_clients = "{ targetRefs: [{ group: gateway.networking.k8s.io, kind: Gateway, name: gone }], clientAddress: { source: Connection } }";
    all.push(to_gateway("ClientPolicy edge/p", ours("ClientPolicy", of_clients)));
    all.push(to_gateway(
        "ListenerSet edge/more",
        gateway_api(
            "ListenerSet",
            "more",
            "{ parentRef: { name: gone }, listeners: [{ name: http, port: 81, protocol: HTTP }] }",
        ),
    ));
    let holders = [
        (
            "ConfigMap edge/ca",
            "{ group: '', kind: ConfigMap, name: ca }",
            "v1",
            "edge",
            "data: 5",
            Some("data"),
        ),
        ("Secret edge/ca", "{ group: '', kind: Secret, name: ca }", "v1", "edge", "data: 5", Some("data")),
        (
            "ClusterTrustBundle ca",
            "{ group: certificates.k8s.io, kind: ClusterTrustBundle, name: ca }",
            "certificates.k8s.io/v1",
            "",
            "spec: { trustBundle: 5 }",
            Some("trustBundle"),
        ),
    ];
    for (to, reference, api, namespace, rest, why) in holders {
        let kind = to.split(' ').next().unwrap();
        let unreadable = manifest(api, kind, namespace, "ca", rest);
        for (from, yaml) in [
            ("Gateway edge/mutual", with_authorities(reference)),
            ("BackendTLSPolicy edge/p", backend_tls(reference)),
        ] {
            all.push(Reference { from, yaml, to, unreadable: unreadable.clone(), why });
        }
    }
    let listener = "{ name: https, port: 443, protocol: HTTPS, tls: { certificateRefs: [{ name: cert }] } }";
    all.push(Reference {
        from: "Gateway edge/tls",
        yaml: gateway_api(
            "Gateway",
            "tls",
            &format!("{{ gatewayClassName: fairway, listeners: [{listener}] }}"),
        ),
        to: "Secret edge/cert",
        // The text of the error would have the value.
        unreadable: manifest("v1", "Secret", "edge", "cert", "data: secret-value"),
        why: Some("its field data is not valid"),
    });
    all.push(Reference {
        from: "Gateway edge/sized",
        yaml: gateway_api(
            "Gateway",
            "sized",
            "{ gatewayClassName: fairway, listeners: [{ name: http, port: 80, protocol: HTTP }], \
             infrastructure: { parametersRef: { group: fairway.dev, kind: GatewayParameters, name: p } } }",
        ),
        to: "GatewayParameters edge/p",
        unreadable: ours("GatewayParameters", "{ replicas: many }"),
        why: Some("replicas"),
    });
    all
}

/// Everything that is said.
fn texts(world: &World, of: &str) -> String {
    let status = world.compiler.statuses().find(|(it, _)| it.to_string() == of);
    let conditions = status.iter().flat_map(|(_, it)| it.conditions());
    let messages: Vec<String> = conditions.map(|(_, it)| it.message.to_string()).collect();
    let problems: Vec<String> = world.problems().into_iter().filter(|it| it.contains(of)).collect();
    format!("{}\n{}", messages.join("\n"), problems.join("\n"))
}

fn world(yaml: &str) -> World {
    let mut world = World::cluster("");
    world.apply(vec![Edit::Upsert(ClusterTrustBundle::of_kind())]);
    world.apply(seen(yaml));
    world
}

#[test]
fn what_cannot_be_read_is_not_said_not_to_exist() {
    for it in references() {
        let Reference { from, yaml, to, unreadable, why } = it;
        let absent = texts(&world(&format!("{CLASS}{yaml}")), from);
        assert!(absent.contains(&format!("{to} does not exist")), "{from} to {to}: {absent}");
        let unread = texts(&world(&format!("{CLASS}{yaml}{unreadable}")), from);
        assert!(unread.contains(&format!("{to} cannot be read")), "{from} to {to}: {unread}");
        assert!(why.is_none_or(|why| unread.contains(why)), "{from} to {to}: {unread}");
        assert!(!unread.contains("does not exist"), "{from} to {to}: {unread}");
        assert!(!unread.contains("secret-value"), "{from} to {to}: {unread}");
        // Once it is gone, or was never there, it does not exist.
        let mut world = world(&format!("{CLASS}{yaml}{unreadable}"));
        let objects: Vec<_> = seen(&unreadable).iter().map(Edit::object).collect();
        world.apply(objects.into_iter().map(Edit::Remove).collect());
        assert!(texts(&world, from).contains(&format!("{to} does not exist")), "{from} to {to}");
    }
}

#[test]
fn a_grant_that_cannot_be_read_grants_nothing_and_who_needs_it_is_told() {
    let yaml = CLASS.to_owned()
        + &route("backendRefs: [{ name: web, namespace: shop, port: 80 }]")
        + &manifest("v1", "Service", "shop", "web", "spec: { clusterIP: 10.1.0.1, ports: [{ port: 80 }] }");
    let grant = |from: &str| {
        manifest(
            "gateway.networking.k8s.io/v1",
            "ReferenceGrant",
            "shop",
            "g",
            &format!("spec: {{ from: {from}, to: [{{ group: '', kind: Service }}] }}"),
        )
    };
    let message = |grant: &str| texts(&world(&(yaml.clone() + grant)), "HTTPRoute edge/r");
    let from = "[{ group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: edge }]";
    assert!(!message(&grant(from)).contains("does not grant"));
    let without = message("");
    assert!(without.contains("does not grant its use") && !without.contains("cannot be read"), "{without}");
    let unread = message(&grant("[5]"));
    assert!(unread.contains("ReferenceGrant shop/g cannot be read, so it grants nothing"), "{unread}");
}
