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
