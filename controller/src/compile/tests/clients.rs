//! Certificates of clients, and the one that backends are shown.

use super::World;
use super::gateways::{grant, secret};
use crate::compile::gateway::reference::MOST_AUTHORITIES;
use fairway_config::model::{ListenerProtocol, Resource, ResourceKind, WithoutCertificate};

/// A Gateway with listeners for HTTPS (443, 7443, 8443, 6443) and HTTP (80).
fn gateway(tls: &str) -> String {
    let https = |name: &str, port: u16| {
        format!(
            "    - {{ name: {name}, port: {port}, protocol: HTTPS, tls: {{ certificateRefs: [{{ name: cert }}] }} }}\n"
        )
    };
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{ name: public, namespace: edge }}\nspec:\n\
         \x20 gatewayClassName: fairway\n  tls: {tls}\n  listeners:\n{}{}{}{}    - {{ name: http, port: 80, protocol: HTTP }}\n{}",
        https("https", 443),
        https("b", 7443),
        https("c", 8443),
        https("d", 6443),
        secret("edge"),
    )
}

pub(super) fn authority() -> String {
    rcgen::generate_simple_self_signed(["authority".to_owned()]).unwrap().cert.pem()
}

pub(super) fn config_map(namespace: &str, name: &str, key: &str, text: &str) -> String {
    let text = serde_json::Value::String(text.to_owned());
    format!(
        "\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: {name}, namespace: {namespace} }}\ndata: {{ {key}: {text} }}\n"
    )
}

fn validation(references: &str) -> String {
    format!("{{ validation: {{ caCertificateRefs: {references} }} }}")
}

fn clients(world: &World, listener: &str) -> Option<(usize, WithoutCertificate)> {
    match world.resource(ResourceKind::Listener, &format!("edge/public/{listener}")) {
        Some(Resource::Listener(it)) => match &it.protocol {
            ListenerProtocol::Https(tls) => {
                tls.clients.as_ref().map(|it| (it.trust.roots().len(), it.without))
            }
            _ => None,
        },
        _ => panic!("{listener} is not served"),
    }
}

const CA: &str = "[{ group: '', kind: ConfigMap, name: ca }]";

#[test]
fn what_is_asked_of_clients_is_by_port_and_only_of_https() {
    let tls = format!(
        "{{ frontend: {{ default: {}, perPort: [{{ port: 7443, tls: {{ validation: {{ mode: AllowInsecureFallback, caCertificateRefs: {CA} }} }} }}, {{ port: 8443, tls: {{}} }}] }} }}",
        validation(CA)
    );
    let world = World::plain(&(gateway(&tls) + &config_map("edge", "ca", "ca.crt", &authority())));
    assert_eq!(clients(&world, "https"), Some((1, WithoutCertificate::Refused)));
    assert_eq!(clients(&world, "b"), Some((1, WithoutCertificate::Served)));
    assert_eq!(clients(&world, "c"), None, "the port says for itself that nothing is asked");
    assert_eq!(clients(&world, "http"), None);
    world.expect("Gateway edge/public", "InsecureFrontendValidationMode=True/ConfigurationChanged");
    world.expect("Gateway edge/public", "Programmed=True/Programmed");
}

#[test]
fn the_insecure_condition_is_only_there_while_it_is_so() {
    let tls = format!("{{ frontend: {{ default: {} }} }}", validation(CA));
    let world = World::plain(&(gateway(&tls) + &config_map("edge", "ca", "ca.crt", &authority())));
    let conditions = world.conditions("Gateway edge/public");
    assert!(!conditions.iter().any(|it| it.contains("InsecureFrontendValidationMode")), "{conditions:#?}");
}

#[test]
fn a_reference_that_leads_nowhere_refuses_only_the_listeners_it_is_for() {
    let grants_other = grant("certs", "Gateway", "edge", "other").replace("kind: Secret", "kind: ConfigMap");
    for (reference, reason) in [
        ("{ group: '', kind: ConfigMap, name: gone }", "InvalidCACertificateRef"),
        ("{ group: '', kind: ConfigMap, name: keyless }", "InvalidCACertificateRef"),
        ("{ group: '', kind: ConfigMap, name: rubbish }", "InvalidCACertificateRef"),
        ("{ group: '', kind: Service, name: ca }", "InvalidCACertificateKind"),
        ("{ group: certificates.k8s.io, kind: ClusterTrustBundle, name: ca }", "InvalidCACertificateRef"),
        ("{ group: certificates.k8s.io, kind: PodCertificateRequest, name: ca }", "InvalidCACertificateKind"),
        ("{ group: '', kind: ConfigMap, name: ca, namespace: certs }", "RefNotPermitted"),
    ] {
        let tls = format!(
            "{{ frontend: {{ default: {}, perPort: [{{ port: 7443, tls: {} }}, {{ port: 80, tls: {} }}] }} }}",
            validation(CA),
            validation(&format!("[{reference}]")),
            validation(&format!("[{reference}]"))
        );
        let world = World::plain(
            &(gateway(&tls)
                + &config_map("edge", "ca", "ca.crt", &authority())
                + &config_map("edge", "keyless", "other", "x")
                + &config_map("edge", "rubbish", "ca.crt", "rubbish")
                + &config_map("certs", "ca", "ca.crt", &authority())
                + &grants_other),
        );
        world.expect("Gateway edge/public", &format!("listener b: ResolvedRefs=False/{reason}"));
        world.expect("Gateway edge/public", "listener b: Accepted=False/NoValidCACertificate");
        world.expect("Gateway edge/public", "listener b: Programmed=False/Invalid");
        for fine in ["https", "http"] {
            for kind in ["ResolvedRefs", "Accepted", "Programmed"] {
                world.expect("Gateway edge/public", &format!("listener {fine}: {kind}=True/{kind}"));
            }
        }
        assert!(
            world.resource(ResourceKind::Listener, "edge/public/b").is_none(),
            "never without validation"
        );
        world.expect("Gateway edge/public", "Accepted=True/ListenersNotValid");
        let told = world.problems().join("\n");
        assert!(told.contains("spec.tls.frontend.perPort[0].tls.validation.caCertificateRefs[0]"), "{told}");
    }
}

#[test]
fn references_in_order_hold_although_another_is_not() {
    let both = "[{ group: '', kind: ConfigMap, name: gone }, { group: '', kind: ConfigMap, name: ca }, { group: '', kind: Secret, name: ca }]";
    let tls = format!("{{ frontend: {{ default: {} }} }}", validation(both));
    let secret = config_map("edge", "ca", "ca.crt", &authority())
        .replace("kind: ConfigMap", "kind: Secret")
        .replace("\ndata:", "\nstringData:");
    let world = World::plain(&(gateway(&tls) + &config_map("edge", "ca", "ca.crt", &authority()) + &secret));
    world.expect("Gateway edge/public", "listener https: ResolvedRefs=False/InvalidCACertificateRef");
    world.expect("Gateway edge/public", "listener https: Accepted=True/Accepted");
    world.expect("Gateway edge/public", "listener https: Programmed=True/Programmed");
    assert_eq!(clients(&world, "https"), Some((2, WithoutCertificate::Refused)));
}

#[test]
fn authorities_of_another_namespace_take_a_grant_and_go_with_it() {
    let references = "[{ group: '', kind: ConfigMap, name: ca, namespace: certs }]";
    let tls = format!("{{ frontend: {{ default: {} }} }}", validation(references));
    let grant = grant("certs", "Gateway", "edge", "ca").replace("kind: Secret", "kind: ConfigMap");
    let mut world =
        World::plain(&(gateway(&tls) + &config_map("certs", "ca", "ca.crt", &authority()) + &grant));
    assert_eq!(clients(&world, "https"), Some((1, WithoutCertificate::Refused)));
    world.remove(&grant);
    world.expect("Gateway edge/public", "listener https: Accepted=False/NoValidCACertificate");
    assert_eq!(world.keys(ResourceKind::Listener), ["edge/public/http"]);
}

#[test]
fn the_gateways_clients_are_asked_on_the_listeners_of_its_listener_sets_too() {
    let tls = format!(
        "{{ frontend: {{ default: {} }} }}\n  allowedListeners: {{ namespaces: {{ from: All }} }}",
        validation(CA)
    );
    let set = format!(
        "\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: ListenerSet\nmetadata: {{ name: s, namespace: team }}\nspec:\n\
         \x20 parentRef: {{ name: public, namespace: edge }}\n  listeners:\n\
         \x20   - {{ name: x, port: 443, hostname: x.example.com, protocol: HTTPS, tls: {{ certificateRefs: [{{ name: cert }}] }} }}\n{}",
        secret("team")
    );
    let world = World::plain(&(gateway(&tls) + &config_map("edge", "ca", "ca.crt", &authority()) + &set));
    assert_eq!(clients(&world, "team/s/x"), Some((1, WithoutCertificate::Refused)));
    let world = World::plain(&(gateway(&tls) + &set));
    world.expect("ListenerSet team/s", "listener x: Accepted=False/NoValidCACertificate");
    assert!(world.message("ListenerSet team/s", "Accepted").contains("x"));
}

#[test]
fn a_certificate_for_backends_is_on_every_listener_or_the_status_says_why_not() {
    let opaque =
        "\n---\napiVersion: v1\nkind: Secret\nmetadata: { name: malformed, namespace: edge }\ntype: Opaque\n";
    for (reference, expected) in [
        ("{ name: cert }", "ResolvedRefs=True/ResolvedRefs"),
        ("{ name: gone }", "ResolvedRefs=False/InvalidClientCertificateRef"),
        (
            "{ group: wrong.group.company.io, kind: Secret, name: cert }",
            "ResolvedRefs=False/InvalidClientCertificateRef",
        ),
        ("{ group: '', kind: WrongKind, name: cert }", "ResolvedRefs=False/InvalidClientCertificateRef"),
        ("{ name: malformed }", "ResolvedRefs=False/InvalidClientCertificateRef"),
        ("{ name: cert, namespace: certs }", "ResolvedRefs=False/RefNotPermitted"),
    ] {
        let tls = format!("{{ backend: {{ clientCertificateRef: {reference} }} }}");
        let world = World::plain(&(gateway(&tls) + opaque + &secret("certs")));
        world.expect("Gateway edge/public", expected);
        world.expect("Gateway edge/public", "Accepted=True/Accepted");
        world.expect("Gateway edge/public", "Programmed=True/Programmed");
        let Some(Resource::Listener(it)) = world.resource(ResourceKind::Listener, "edge/public/http") else {
            panic!()
        };
        let shown = it.backend_certificate.as_ref().map(ToString::to_string);
        assert_eq!(shown.as_deref(), expected.contains("True").then_some("edge/cert"), "{reference}");
    }
    let alone = "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: { name: public, namespace: edge }\nspec:\n\
        \x20 gatewayClassName: fairway\n  tls: { backend: { clientCertificateRef: { name: cert } } }\n\
        \x20 listeners: [{ name: http, port: 80, protocol: HTTP }]\n";
    let world = World::plain(&(alone.to_owned() + &secret("edge")));
    assert_eq!(world.keys(ResourceKind::Certificate), ["edge/cert"], "it goes to the proxy");
}

/// Each listener has a copy of them.
#[test]
fn more_authorities_than_any_system_trusts_are_refused() {
    let one = authority();
    let half = one.repeat(MOST_AUTHORITIES / 2 / one.len() + 1);
    for (times, is_served) in [(1, true), (2, false)] {
        let refs = ["{ group: '', kind: ConfigMap, name: ca }"; 2][..times].join(", ");
        let tls = format!("{{ frontend: {{ default: {} }} }}", validation(&format!("[{refs}]")));
        let world = World::plain(&(gateway(&tls) + &config_map("edge", "ca", "ca.crt", &half)));
        let served = world.resource(ResourceKind::Listener, "edge/public/https").is_some();
        assert_eq!(served, is_served, "{times}: {:?}", world.problems());
        let is_said = world.problems().iter().any(|it| it.contains("more than 256 KiB together"));
        assert_eq!(is_said, !is_served, "{times}: {:?}", world.problems());
    }
}
