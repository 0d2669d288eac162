//! Certificates that are in order and that clients refuse all the same: out of their time, or for other names.

use super::World;
use super::gateways::gateway;
use crate::resources::{Edit, Object};
use crate::source::{CertificatePeriods, objects};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A Secret `edge/<name>` whose certificate is for these names, and valid in May 2020.
fn secret(name: &str, names: &[&str]) -> String {
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|it| (*it).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = date_time_ymd(2020, 5, 1);
    params.not_after = date_time_ymd(2020, 6, 1);
    let made = params.self_signed(&key).unwrap();
    let [certificate, key] = [made.pem(), key.serialize_pem()].map(serde_json::Value::String);
    format!(
        "\n---\napiVersion: v1\nkind: Secret\nmetadata: {{ name: {name}, namespace: edge }}\ntype: kubernetes.io/tls\n\
         stringData: {{ tls.crt: {certificate}, tls.key: {key} }}\n"
    )
}

fn listener(hostname: &str, secrets: &[&str]) -> String {
    let hostname = if hostname.is_empty() { String::new() } else { format!("hostname: \"{hostname}\", ") };
    let refs: Vec<String> = secrets.iter().map(|it| format!("{{ name: {it} }}")).collect();
    let refs = refs.join(", ");
    format!(
        "    - {{ name: a, port: 443, {hostname}protocol: HTTPS, tls: {{ certificateRefs: [{refs}] }} }}\n"
    )
}

fn on(month: u64) -> SystemTime {
    // 15 January 2020, and months of 30.4 days.
    UNIX_EPOCH + Duration::from_secs(1_579_046_400 + (month - 1) * 2_626_560)
}

/// The objects, with their certificates as they are at a time.
fn at(yaml: &str, now: SystemTime) -> Vec<Edit> {
    let mut edits = objects(yaml).into_iter().map(Edit::Upsert).collect::<Vec<_>>();
    CertificatePeriods::default().carry(&mut edits, now);
    edits
}

#[test]
fn a_certificate_out_of_its_time_stays_in_use_and_is_named_in_the_condition_and_by_check() {
    let yaml = gateway(&listener("", &["pair"])) + &secret("pair", &["shop.example"]);
    for (month, said) in [
        (3, Some("is not valid before 2020-05-01T00:00:00Z")),
        (5, None),
        (9, Some("expired at 2020-06-01T00:00:00Z")),
    ] {
        let mut world = World::plain("");
        world.apply(at(&yaml, on(month)));
        // Proxies may know better: the condition stays true, and its message says what is wrong.
        world.expect("Gateway edge/public", "listener a: ResolvedRefs=True/ResolvedRefs");
        world.expect("Gateway edge/public", "listener a: Programmed=True/Programmed");
        let message = world.message_of("Gateway edge/public", "listener a", "ResolvedRefs");
        let problems = world.problems().join("\n");
        match said {
            Some(said) => {
                let field = "spec.listeners[0].tls.certificateRefs[0]";
                for text in [&message, &problems] {
                    assert!(
                        text.contains(said) && text.contains(field) && text.contains("edge/pair"),
                        "{text}"
                    );
                }
            }
            None => assert!(!message.contains("refuse") && problems.is_empty(), "{message} {problems}"),
        }
    }
}

#[test]
fn a_certificate_that_expires_or_becomes_valid_without_an_edit_changes_what_is_said() {
    let mut world = World::plain("");
    let mut periods = CertificatePeriods::default();
    let yaml = gateway(&listener("", &["pair"])) + &secret("pair", &["shop.example"]);
    let mut edits = objects(&yaml).into_iter().map(Edit::Upsert).collect::<Vec<_>>();
    periods.carry(&mut edits, on(5));
    world.apply(edits);
    assert_eq!(world.problems(), Vec::<String>::new());
    let output = world.apply(periods.take_due(on(6)));
    assert!(world.problems().join("\n").contains("expired"), "{:?}", world.problems());
    assert!(output.upserts.is_empty(), "proxies know the time themselves: {output:?}");
    world.add(&secret("pair", &["shop.example"]));
    assert_eq!(world.problems(), Vec::<String>::new(), "renewed");
}

#[test]
fn a_listener_whose_certificates_are_all_for_other_names_says_so() {
    let cases: [(&str, &[&[&str]], bool); 14] = [
        ("", &[&["shop.example"]], true),
        ("shop.example", &[&["shop.example"]], true),
        ("shop.example", &[&["Shop.Example"]], true),
        ("shop.example", &[&["other.example", "shop.example"]], true),
        ("shop.example", &[&["other.example"], &["shop.example"]], true),
        ("shop.example", &[&["*.example"]], true),
        ("a.shop.example", &[&["*.example"]], false),
        ("example", &[&["*.example"]], false),
        ("shop.example", &[&["shop.example.org"]], false),
        ("shop.example", &[&["other.example"], &["third.example"]], false),
        ("*.example", &[&["*.example"]], true),
        ("*.example", &[&["shop.example"]], true),
        ("*.example", &[&["example"]], false),
        ("*.shop.example", &[&["notshop.example"]], false),
    ];
    for (hostname, certificates, fits) in cases {
        let names: Vec<String> = (0..certificates.len()).map(|it| format!("pair-{it}")).collect();
        let refs: Vec<&str> = names.iter().map(String::as_str).collect();
        let secrets: String =
            names.iter().zip(certificates).map(|(name, names)| secret(name, names)).collect();
        let mut world = World::plain("");
        world.apply(at(&(gateway(&listener(hostname, &refs)) + &secrets), on(5)));
        world.expect("Gateway edge/public", "listener a: Programmed=True/Programmed");
        let message = world.message_of("Gateway edge/public", "listener a", "ResolvedRefs");
        let problems = world.problems().join("\n");
        for text in [&message, &problems] {
            assert_eq!(text.contains("no certificate is for"), !fits, "{hostname} {certificates:?}: {text}");
        }
    }
}

#[test]
fn the_certificate_that_stays_in_use_behind_a_broken_edit_is_the_one_that_is_judged() {
    let mut world = World::plain("");
    let good = gateway(&listener("", &["pair"])) + &secret("pair", &["shop.example"]);
    world.apply(at(&good, on(5)));
    let broken = "apiVersion: v1\nkind: Secret\nmetadata: { name: pair, namespace: edge }\ntype: kubernetes.io/tls\n\
                  stringData: { tls.crt: rubbish, tls.key: rubbish }\n";
    let mut edits: Vec<Edit> = objects(broken).into_iter().map(Edit::Upsert).collect();
    world.last_good.carry(&mut edits);
    CertificatePeriods::default().carry(&mut edits, on(9));
    let [Edit::Upsert(Object::Secret(secret))] = &mut edits[..] else { panic!("{edits:?}") };
    assert!(secret.last_good.is_some());
    let secret = Arc::clone(secret);
    world.compiler.apply([Edit::Upsert(Object::Secret(secret))]);
    let problems = world.problems().join("\n");
    assert!(problems.contains("rubbish") || problems.contains("tls.crt"), "{problems}");
    assert!(problems.contains("expired"), "{problems}");
}

/// A Gateway that asks its clients for certificates, a BackendTLSPolicy, and the ConfigMap and the Secret whose authorities they trust: for
/// each, the first and the last year of its certificate.
fn with_authorities(of_config_map: &[(i32, i32)], of_secret: &[(i32, i32)]) -> String {
    let pem = |years: &[(i32, i32)]| {
        let one = |(from, to): &(i32, i32)| {
            let mut params = CertificateParams::new(vec!["authority".to_owned()]).unwrap();
            (params.not_before, params.not_after) = (date_time_ymd(*from, 1, 1), date_time_ymd(*to, 1, 1));
            params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
        };
        serde_json::Value::String(years.iter().map(one).collect())
    };
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{ name: public, namespace: edge }}\nspec:\n\
         \x20 gatewayClassName: fairway\n\
         \x20 tls: {{ frontend: {{ default: {{ validation: {{ caCertificateRefs: [{{ group: '', kind: ConfigMap, name: ca }}] }} }} }} }}\n\
         \x20 listeners:\n{}{}\n\
         ---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: ca, namespace: edge }}\ndata: {{ ca.crt: {} }}\n\
         ---\napiVersion: v1\nkind: Secret\nmetadata: {{ name: ca, namespace: edge }}\nstringData: {{ ca.crt: {} }}\n\
         ---\napiVersion: v1\nkind: Service\nmetadata: {{ name: s, namespace: edge }}\nspec: {{ clusterIP: 10.1.0.1, ports: [{{ port: 80 }}] }}\n\
         ---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{ name: r, namespace: edge }}\n\
         spec: {{ parentRefs: [{{ name: public }}], rules: [{{ backendRefs: [{{ name: s, port: 80 }}] }}] }}\n\
         ---\napiVersion: gateway.networking.k8s.io/v1\nkind: BackendTLSPolicy\nmetadata: {{ name: p, namespace: edge }}\n\
         spec: {{ targetRefs: [{{ group: '', kind: Service, name: s }}], \
         validation: {{ hostname: s.example, caCertificateRefs: [{{ group: '', kind: Secret, name: ca }}] }} }}\n",
        listener("", &["pair"]),
        secret("pair", &["shop.example"]),
        pem(of_config_map),
        pem(of_secret),
    )
}

#[test]
fn authorities_out_of_their_time_stay_in_use_and_are_named_in_the_condition_and_by_check() {
    // It is May 2020.
    let (good, old, older, early) = ((2010, 2030), (2018, 2020), (2018, 2019), (2021, 2030));
    type Years = [(i32, i32)];
    let cases: [(&Years, Option<&str>); 7] = [
        (&[good], None),
        (&[good, good], None),
        (&[old], Some("the certificate of the authority in HOLDER expired at 2020-01-01T00:00:00Z;")),
        (
            &[early],
            Some("the certificate of the authority in HOLDER is not valid before 2021-01-01T00:00:00Z;"),
        ),
        (&[good, old], Some("1 of 2 certificates of authorities in HOLDER expired at 2020-01-01T00:00:00Z;")),
        (
            &[old, older, good],
            Some(
                "2 of 3 certificates of authorities in HOLDER expired, the last one at 2020-01-01T00:00:00Z;",
            ),
        ),
        (
            &[early, old],
            Some(
                "1 of 2 certificates of authorities in HOLDER expired at 2020-01-01T00:00:00Z, \
                 and 1 of 2 certificates of authorities in HOLDER is not valid before 2021-01-01T00:00:00Z;",
            ),
        ),
    ];
    for (years, said) in cases {
        for is_clients in [true, false] {
            let (clients, backends): (&[_], &[_]) =
                if is_clients { (years, &[good]) } else { (&[good], years) };
            let mut world = World::plain("");
            world.apply(at(&with_authorities(clients, backends), on(5)));
            // What is in force stays.
            world.expect("Gateway edge/public", "listener a: Programmed=True/Programmed");
            world.expect("Gateway edge/public", "listener a: ResolvedRefs=True/ResolvedRefs");
            let listener = world.message_of("Gateway edge/public", "listener a", "ResolvedRefs");
            let (policy, ancestor) = ("BackendTLSPolicy edge/p", "ancestor Gateway edge/public");
            world.expect(policy, &format!("{ancestor}: Accepted=True/Accepted"));
            world.expect(policy, &format!("{ancestor}: ResolvedRefs=True/ResolvedRefs"));
            let policy = world.message_of(policy, ancestor, "ResolvedRefs");
            let problems = world.problems().join("\n");
            let holder = if is_clients { "ConfigMap edge/ca" } else { "Secret edge/ca" };
            let (told, other) = if is_clients { (listener, policy) } else { (policy, listener) };
            assert!(!other.contains("authorit"), "{years:?}: {other}");
            match said.map(|it| it.replace("HOLDER", holder)) {
                Some(said) => {
                    assert!(told.contains(&said), "{years:?}: {told}");
                    assert!(told.contains("caCertificateRefs[0]"), "{years:?}: {told}");
                    assert!(problems.contains(&said), "{years:?}: {problems}");
                }
                None => assert!(!told.contains("authorit") && problems.is_empty(), "{told} {problems}"),
            }
        }
    }
}

#[test]
fn an_authority_that_expires_without_an_edit_changes_what_is_said_and_nothing_else() {
    let mut world = World::plain("");
    let mut periods = CertificatePeriods::default();
    let yaml = with_authorities(&[(2010, 2021)], &[(2010, 2022)]);
    let mut edits = objects(&yaml).into_iter().map(Edit::Upsert).collect::<Vec<_>>();
    periods.carry(&mut edits, on(5));
    world.apply(edits);
    let says = |world: &World| {
        let problems = world.problems();
        ["ConfigMap edge/ca", "Secret edge/ca"].map(|it| problems.iter().any(|problem| problem.contains(it)))
    };
    assert_eq!(says(&world), [false, false], "{:?}", world.problems());
    for (month, expected) in [(14, [true, false]), (26, [true, true])] {
        let output = world.apply(periods.take_due(on(month)));
        assert_eq!(says(&world), expected, "{:?}", world.problems());
        assert!(output.upserts.is_empty(), "{output:?}");
    }
}
