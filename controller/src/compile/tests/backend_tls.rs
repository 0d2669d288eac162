//! BackendTLSPolicies (the official suite's shapes).

use super::{GATEWAY, World};
use crate::resources::{Edit, Kind, Object, ObjectRef};
use crate::source::objects;
use crate::status::{Enforcer, ObjectStatus};
use fairway_config::model::{
    AppProtocol, Backend, BackendSecurity, BackendTrust, ObjectName, Resource, ResourceKind, SubjectName,
};

/// A Service with two TLS ports, one of them by name `HTTPS`, and a route to both.
const SECURE: &str = "
apiVersion: v1
kind: Service
metadata: { name: tls, namespace: infra }
spec:
  clusterIP: 10.1.0.1
  selector: { app: tls }
  ports: [{ name: https-1, port: 443, targetPort: 8443, appProtocol: HTTPS }, { name: https-2, port: 8443 }]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: r, namespace: infra }
spec:
  parentRefs: [{ name: public, namespace: edge }]
  rules:
    - { matches: [{ path: { value: /a } }], backendRefs: [{ name: tls, port: 443 }] }
    - { matches: [{ path: { value: /b } }], backendRefs: [{ name: tls, port: 8443 }] }
";

const ANCESTOR: &str = "ancestor Gateway edge/public";

fn authority() -> String {
    rcgen::generate_simple_self_signed(["authority".to_owned()]).unwrap().cert.pem()
}

fn config_map(name: &str, pem: Option<&str>) -> String {
    let data = pem.map_or("{}".to_owned(), |it| format!("{{ ca.crt: {} }}", serde_json::json!(it)));
    format!(
        "\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: {name}, namespace: infra }}\ndata: {data}\n"
    )
}

fn policy(name: &str, created: &str, section: &str, validation: &str) -> String {
    format!(
        "\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: BackendTLSPolicy\n\
         metadata: {{ name: {name}, namespace: infra, generation: 3, creationTimestamp: '2026-01-01T00:00:{created}Z' }}\n\
         spec:\n  targetRefs: [{{ group: '', kind: Service, name: tls{section} }}]\n  validation: {{ {validation} }}\n"
    )
}

const GOOD: &str = "caCertificateRefs: [{ group: '', kind: ConfigMap, name: ca }], hostname: abc.example.com";

fn world(more: &str) -> World {
    World::cluster(&format!(
        "{GATEWAY}---\napiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {{ name: fairway }}\n\
         spec: {{ controllerName: fairway.dev/controller }}\n---\n{SECURE}{}{more}",
        config_map("ca", Some(&authority()))
    ))
}

impl World {
    fn backend(&self, name: &str) -> &Backend {
        match self.resource(ResourceKind::Backend, name) {
            Some(Resource::Backend(it)) => it,
            other => panic!("{name}: {other:?}"),
        }
    }

    fn security(&self, name: &str) -> &BackendSecurity {
        &self.backend(name).security
    }

    fn sni(&self, name: &str) -> Option<String> {
        match self.security(name) {
            BackendSecurity::Tls(it) => Some(it.hostname.to_string()),
            _ => None,
        }
    }
}

#[test]
fn a_policy_makes_tls_of_the_ports_it_names_and_is_told_so_for_each_gateway() {
    let world = world(&policy("p", "01", "", GOOD));
    assert_eq!(world.sni("infra/tls:443").as_deref(), Some("abc.example.com"));
    assert_eq!(world.sni("infra/tls:8443").as_deref(), Some("abc.example.com"));
    // What is inside the TLS is the route's to say, not bytes.
    assert_eq!(world.backend("infra/tls:443").protocol, AppProtocol::Unspecified);
    world.expect("BackendTLSPolicy infra/p", &format!("{ANCESTOR}: Accepted=True/Accepted"));
    world.expect("BackendTLSPolicy infra/p", &format!("{ANCESTOR}: ResolvedRefs=True/ResolvedRefs"));
    world.expect("HTTPRoute infra/r", "parent Gateway edge/public: ResolvedRefs=True/ResolvedRefs");
    let status = serde_json::to_value(world.status("BackendTLSPolicy infra/p")).unwrap();
    let ancestor = &status["ancestors"][0];
    assert_eq!(
        ancestor["ancestorRef"],
        serde_json::json!({ "group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "edge", "name": "public" })
    );
    assert_eq!(ancestor["controllerName"], "fairway.dev/controller");
    assert_eq!(ancestor["conditions"][0]["observedGeneration"], 3);
}

/// What proxies have to acknowledge of a policy for its one ancestor.
fn carriers(world: &World, policy: &str) -> Vec<String> {
    let object = ObjectRef::new(Kind::BackendTlsPolicy, "infra", policy);
    let enforcements = world.status(&object.to_string()).enforcements(&object);
    let [(0, it)] = &enforcements[..] else { panic!("{enforcements:?}") };
    assert_eq!(it.by, [Enforcer::Gateway(ObjectName::new("edge", "public"))].into());
    it.carriers.iter().map(|it| it.name.to_string()).collect()
}

#[test]
fn a_policy_is_enforced_when_gateways_have_the_backends_that_it_holds_for() {
    let named = policy("b", "02", ", sectionName: https-1", GOOD);
    let world = world(&format!("{}{named}{}", policy("a", "01", "", GOOD), policy("c", "03", "", GOOD)));
    for (name, carried, enforced) in [
        ("a", &["infra/tls:8443"][..], "True/ByProxies"),
        ("b", &["infra/tls:443"], "True/ByProxies"),
        ("c", &[], "False/NotAccepted"),
    ] {
        assert_eq!(carriers(&world, name), carried, "{name}");
        let object = format!("BackendTLSPolicy infra/{name}");
        world.expect(&object, &format!("{ANCESTOR}: fairway.dev/Enforced={enforced}"));
    }
}

#[test]
fn a_policy_that_cannot_be_read_closes_what_it_names_and_says_why() {
    let mut world = world("");
    let mut edits: Vec<Edit> = objects(&policy("p", "01", "", GOOD)).into_iter().map(Edit::Upsert).collect();
    let [Edit::Upsert(Object::BackendTlsPolicy(it))] = &mut edits[..] else { panic!("{edits:?}") };
    std::sync::Arc::make_mut(it).meta.unreadable = Some("spec.newer: there is no such field".into());
    world.apply(edits);
    for backend in ["infra/tls:443", "infra/tls:8443"] {
        assert!(matches!(world.security(backend), BackendSecurity::Unusable(_)), "{backend}");
    }
    world.expect("BackendTLSPolicy infra/p", &format!("{ANCESTOR}: Accepted=False/Invalid"));
    world.expect("BackendTLSPolicy infra/p", &format!("{ANCESTOR}: fairway.dev/Enforced=False/NotAccepted"));
    let message = world.message("BackendTLSPolicy infra/p", "Accepted");
    assert!(message.contains("spec.newer: there is no such field"), "{message}");
    let problems = world.problems();
    assert!(
        !problems.iter().any(|it| it.contains("BackendTLSPolicy infra/p")),
        "who reads it reports it: {problems:?}"
    );
}

#[test]
fn ancestors_for_which_a_status_has_no_room_are_said() {
    let gateways: String = (0..20)
        .map(|it| format!("\n---{}", GATEWAY.replace("name: public", &format!("name: g{it}"))))
        .collect();
    let parents: String = (0..20).map(|it| format!("{{ name: g{it}, namespace: edge }}, ")).collect();
    let route = format!(
        "\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{ name: many, namespace: infra }}\n\
         spec: {{ parentRefs: [{parents}], rules: [{{ backendRefs: [{{ name: tls, port: 443 }}] }}] }}\n"
    );
    let world = world(&format!("{}{gateways}{route}", policy("p", "01", "", GOOD)));
    let ObjectStatus::Policy(status) = world.status("BackendTLSPolicy infra/p") else { panic!() };
    // And the one that the others have.
    assert_eq!((status.ancestors.len(), status.left_out), (16, 5));
    let problems = world.problems();
    let told = problems
        .iter()
        .find(|it| it.contains("5 are left out, first Gateway edge/g"))
        .unwrap_or_else(|| panic!("{problems:?}"));
    assert!(
        told.starts_with("BackendTLSPolicy infra/p status.ancestors") && told.contains("21 ancestors"),
        "{told}"
    );
}

#[test]
fn without_a_policy_a_port_of_the_applications_own_tls_is_no_backend_of_requests() {
    let world = world("");
    world.expect("HTTPRoute infra/r", "parent Gateway edge/public: ResolvedRefs=False/UnsupportedProtocol");
    assert_eq!(*world.security("infra/tls:443"), BackendSecurity::Plain);
    assert_eq!(world.backend("infra/tls:443").protocol, AppProtocol::Tcp);
}

#[test]
fn of_policies_for_one_target_the_older_holds_and_the_other_hears_of_it() {
    for (section, ports) in [("", ["443", "8443"].as_slice()), (", sectionName: https-1", &["443"])] {
        let other = GOOD.replace("abc.", "other.");
        let world = world(&(policy("b", "02", section, GOOD) + &policy("z", "01", section, &other)));
        for port in ports {
            assert_eq!(world.sni(&format!("infra/tls:{port}")).as_deref(), Some("other.example.com"));
        }
        world.expect("BackendTLSPolicy infra/z", &format!("{ANCESTOR}: Accepted=True/Accepted"));
        world.expect("BackendTLSPolicy infra/b", &format!("{ANCESTOR}: Accepted=False/Conflicted"));
        let message = world.message("BackendTLSPolicy infra/b", "Accepted");
        assert!(message.contains("BackendTLSPolicy infra/z"), "{message}");
    }
    // Of the same age the first by name.
    let world = world(&(policy("b", "01", "", GOOD) + &policy("a", "01", "", GOOD)));
    world.expect("BackendTLSPolicy infra/a", &format!("{ANCESTOR}: Accepted=True/Accepted"));
    world.expect("BackendTLSPolicy infra/b", &format!("{ANCESTOR}: Accepted=False/Conflicted"));
}

#[test]
fn a_policy_for_a_port_goes_before_one_for_the_service_and_both_are_accepted() {
    let other = GOOD.replace("abc.", "other.");
    let world =
        world(&(policy("old", "01", "", GOOD) + &policy("new", "02", ", sectionName: https-1", &other)));
    assert_eq!(world.sni("infra/tls:443").as_deref(), Some("other.example.com"));
    assert_eq!(world.sni("infra/tls:8443").as_deref(), Some("abc.example.com"));
    for name in ["old", "new"] {
        world.expect(
            &format!("BackendTLSPolicy infra/{name}"),
            &format!("{ANCESTOR}: Accepted=True/Accepted"),
        );
    }
}

#[test]
fn a_policy_that_cannot_be_met_closes_the_backend() {
    let refs = |kind: &str, name: &str| {
        format!("caCertificateRefs: [{{ {kind}, name: {name} }}], hostname: abc.example.com")
    };
    let map = "group: '', kind: ConfigMap";
    for (validation, accepted, resolved) in [
        (refs(map, "nonexistent"), "False/NoValidCACertificate", "False/InvalidCACertificateRef"),
        (refs(map, "empty"), "False/NoValidCACertificate", "False/InvalidCACertificateRef"),
        (refs(map, "nonsense"), "False/NoValidCACertificate", "False/InvalidCACertificateRef"),
        (
            refs("group: invalid.io, kind: InvalidKind", "x"),
            "False/NoValidCACertificate",
            "False/InvalidKind",
        ),
        (
            "wellKnownCACertificates: example.com/ours, hostname: a.example.com".into(),
            "False/Invalid",
            "True/ResolvedRefs",
        ),
    ] {
        let more = config_map("empty", None) + &config_map("nonsense", Some("nonsense"));
        let world = world(&(more + &policy("p", "01", "", &validation)));
        world.expect("BackendTLSPolicy infra/p", &format!("{ANCESTOR}: Accepted={accepted}"));
        world.expect("BackendTLSPolicy infra/p", &format!("{ANCESTOR}: ResolvedRefs={resolved}"));
        let security = world.security("infra/tls:443");
        assert!(
            matches!(security, BackendSecurity::Unusable(why) if why.contains("BackendTLSPolicy infra/p")),
            "{security:?}"
        );
        // The route itself is in order: its share is answered with an error, and it says nothing of 500 for good.
        world.expect("HTTPRoute infra/r", "parent Gateway edge/public: Accepted=True/Accepted");
    }
}

#[test]
fn references_that_can_be_used_are_enough() {
    let validation = "caCertificateRefs: [{ group: '', kind: ConfigMap, name: nope }, { group: '', kind: ConfigMap, name: ca }], hostname: a.b";
    let world = world(&policy("p", "01", "", validation));
    world.expect("BackendTLSPolicy infra/p", &format!("{ANCESTOR}: Accepted=True/Accepted"));
    world.expect(
        "BackendTLSPolicy infra/p",
        &format!("{ANCESTOR}: ResolvedRefs=False/InvalidCACertificateRef"),
    );
    let BackendSecurity::Tls(tls) = world.security("infra/tls:443") else { panic!() };
    assert!(matches!(&tls.trust, BackendTrust::Bundle(it) if it.roots().len() == 1), "{tls:?}");
}

#[test]
fn a_config_map_that_changes_is_followed_both_ways() {
    let mut world = world(&policy("p", "01", "", &GOOD.replace("name: ca", "name: later")));
    world.expect("BackendTLSPolicy infra/p", &format!("{ANCESTOR}: Accepted=False/NoValidCACertificate"));
    let pem = authority();
    for (now, accepted) in
        [(pem.as_str(), "True/Accepted"), ("", "False/NoValidCACertificate"), (&pem, "True/Accepted")]
    {
        world.add(&config_map("later", Some(now)));
        world.expect("BackendTLSPolicy infra/p", &format!("{ANCESTOR}: Accepted={accepted}"));
        assert_eq!(world.sni("infra/tls:443").is_some(), accepted == "True/Accepted");
    }
}

#[test]
fn names_and_well_known_authorities_are_carried_over() {
    let validation = "wellKnownCACertificates: System, hostname: abc.example.com, subjectAltNames: \
        [{ type: URI, uri: 'spiffe://abc.example.com/test-identity' }, { type: Hostname, hostname: '*.example.com' }]";
    let world = world(&policy("p", "01", "", validation));
    let BackendSecurity::Tls(tls) = world.security("infra/tls:443") else { panic!() };
    assert_eq!(tls.trust, BackendTrust::System);
    let names = [
        SubjectName::Uri("spiffe://abc.example.com/test-identity".into()),
        SubjectName::Dns("*.example.com".into()),
    ];
    assert_eq!(tls.names, names);
}

#[test]
fn a_policy_hears_of_gateways_only_that_use_its_service() {
    let mut world = world(&policy("p", "01", "", GOOD));
    let route = "\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: { name: second, namespace: infra }\n\
        spec: { parentRefs: [{ name: public, namespace: edge }], rules: [{ backendRefs: [{ name: tls, port: 443 }] }] }\n";
    world.add(route);
    world.remove(SECURE.split("---").nth(1).unwrap());
    world.expect("BackendTLSPolicy infra/p", &format!("{ANCESTOR}: Accepted=True/Accepted"));
    let output = world.remove(route);
    let gone: Vec<String> = output.unjudged.iter().map(ToString::to_string).collect();
    assert!(gone.contains(&"BackendTLSPolicy infra/p".to_owned()), "{gone:?}");
    assert!(world.compiler.statuses().all(|(it, _)| it.to_string() != "BackendTLSPolicy infra/p"));
    // It holds all the same.
    assert!(world.sni("infra/tls:443").is_some());
}

#[test]
fn a_target_that_is_not_there_is_said() {
    let world = world(&(policy("port", "01", ", sectionName: nope", GOOD) + &policy("p", "02", "", GOOD)));
    world.expect("BackendTLSPolicy infra/port", &format!("{ANCESTOR}: Accepted=False/TargetNotFound"));
    world.expect("BackendTLSPolicy infra/p", &format!("{ANCESTOR}: Accepted=True/Accepted"));
    assert!(world.sni("infra/tls:443").is_some());
}

#[test]
fn a_policy_that_names_no_port_that_is_there_leaves_none_in_the_clear() {
    let closed = |world: &World, backend: &str| matches!(world.security(backend), BackendSecurity::Unusable(why) if why.contains("BackendTLSPolicy infra/p"));
    for section in ["httpss", "'443'", "https", "https-1x"] {
        let mut world = world(&policy("p", "01", &format!(", sectionName: {section}"), GOOD));
        assert!(closed(&world, "infra/tls:443") && closed(&world, "infra/tls:8443"), "{section}");
        world.expect("BackendTLSPolicy infra/p", &format!("{ANCESTOR}: Accepted=False/TargetNotFound"));
        // A port that has a policy of its own goes by that.
        world.add(&policy("good", "02", ", sectionName: https-1", GOOD));
        assert!(world.sni("infra/tls:443").is_some() && closed(&world, "infra/tls:8443"), "{section}");
        world.remove(&policy("p", "01", &format!(", sectionName: {section}"), GOOD));
        assert_eq!(*world.security("infra/tls:8443"), BackendSecurity::Plain);
    }
}

/// Each port of the Service has a copy of them.
#[test]
fn a_policy_with_more_authorities_than_any_system_trusts_closes_the_backend() {
    let one = authority();
    let half = one.repeat(128 * 1024 / one.len() + 1);
    for (times, is_met) in [(1, true), (2, false)] {
        let refs = ["{ group: '', kind: ConfigMap, name: many }"; 2][..times].join(", ");
        let validation = format!("hostname: abc.example.com, caCertificateRefs: [{refs}]");
        let world = world(&(policy("p", "01", "", &validation) + &config_map("many", Some(&half))));
        assert_eq!(world.sni("infra/tls:443").is_some(), is_met, "{times}: {:?}", world.problems());
        let is_closed = matches!(world.security("infra/tls:443"), BackendSecurity::Unusable(_));
        let is_said = world.problems().iter().any(|it| it.contains("more than 256 KiB together"));
        assert_eq!((is_closed, is_said), (!is_met, !is_met), "{times}: {:?}", world.problems());
    }
}
