use super::*;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SignatureAlgorithm};
use std::time::Duration;

const NOW: u64 = 1_800_000_000;
const DAY: u64 = 86_400;

fn certificate_of(
    names: &[&str],
    algorithm: &'static SignatureAlgorithm,
    from: u64,
    to: u64,
) -> Arc<Certificate> {
    let names: Vec<String> = names.iter().map(|it| (*it).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    let time = |seconds: u64| time::OffsetDateTime::from_unix_timestamp(seconds as i64).unwrap();
    (params.not_before, params.not_after) = (time(from), time(to));
    let key = KeyPair::generate_for(algorithm).unwrap();
    let made = params.self_signed(&key).unwrap();
    Arc::new(Certificate::from_pem("shop/cert".into(), &made.pem(), &key.serialize_pem()).unwrap())
}

fn certificate(names: &[&str]) -> Arc<Certificate> {
    certificate_of(names, &PKCS_ECDSA_P256_SHA256, NOW - DAY, NOW + DAY)
}

fn resolver(listeners: &[(&str, &[&Arc<Certificate>])]) -> BySni {
    let mut hosts = HostIndex::default();
    for (pattern, list) in listeners {
        let pattern: HostnamePattern = pattern.parse().unwrap();
        hosts.insert(Some(&pattern), list.iter().map(|it| (*it).clone()).collect::<Box<[_]>>());
    }
    BySni { hosts, suites: rustls::crypto::aws_lc_rs::default_provider().cipher_suites }
}

const ECDSA: SignatureScheme = SignatureScheme::ECDSA_NISTP256_SHA256;
const RSA: SignatureScheme = SignatureScheme::RSA_PSS_SHA256;
const TLS13: CipherSuite = CipherSuite::TLS13_AES_128_GCM_SHA256;
const TLS12_ECDSA: CipherSuite = CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
const TLS12_RSA: CipherSuite = CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256;

#[track_caller]
fn check(
    resolver: &BySni,
    sni: Option<&str>,
    schemes: &[SignatureScheme],
    suites: &[CipherSuite],
    expected: Option<&Arc<Certificate>>,
) {
    let now = UnixTime::since_unix_epoch(Duration::from_secs(NOW));
    let chosen = resolver.choose(sni, &Offer { schemes, suites }, now);
    assert_eq!(chosen.is_some(), expected.is_some(), "{sni:?}");
    if let (Some(chosen), Some(expected)) = (chosen, expected) {
        assert!(Arc::ptr_eq(&chosen, expected.certified()), "{sni:?} {schemes:?} {suites:?}");
    }
}

#[test]
fn the_certificate_follows_the_listener_and_then_the_name() {
    let (a, b, all) = (certificate(&["a.example.com"]), certificate(&["b.example.com"]), certificate(&["x"]));
    let resolver = resolver(&[("*.example.com", &[&a, &b]), ("shop.example.org", &[&all])]);
    for (sni, expected) in [
        (Some("a.example.com"), Some(&a)),
        (Some("b.example.com"), Some(&b)),
        (Some("c.example.com"), Some(&a)),
        (Some("shop.example.org"), Some(&all)),
        (Some("other.example.org"), None),
        (None, None),
    ] {
        check(&resolver, sni, &[ECDSA, RSA], &[TLS13], expected);
    }
}

#[test]
fn a_client_gets_the_certificate_whose_signatures_it_can_verify() {
    let ecdsa = certificate(&["a.example.com"]);
    let rsa = certificate_of(&["a.example.com"], &PKCS_RSA_SHA256, NOW - DAY, NOW + DAY);
    for order in [[&ecdsa, &rsa], [&rsa, &ecdsa]] {
        let resolver = resolver(&[("a.example.com", &order)]);
        for (schemes, suites, expected) in [
            (&[ECDSA][..], &[TLS13][..], &ecdsa),
            (&[RSA], &[TLS13], &rsa),
            (&[RSA, ECDSA], &[TLS13], order[0]),
            // Before TLS 1.3 the cipher suite decides as well.
            (&[RSA, ECDSA], &[TLS12_ECDSA], &ecdsa),
            (&[RSA, ECDSA], &[TLS12_RSA], &rsa),
            (&[ECDSA], &[TLS12_RSA, TLS12_ECDSA], &ecdsa),
        ] {
            check(&resolver, Some("a.example.com"), schemes, suites, Some(expected));
        }
    }
}

#[test]
fn a_certificate_that_is_valid_now_goes_before_one_that_is_not() {
    let of = |from, to| certificate_of(&["a.example.com"], &PKCS_ECDSA_P256_SHA256, from, to);
    let (expired, valid, later) =
        (of(NOW - 2 * DAY, NOW - DAY), of(NOW - DAY, NOW + DAY), of(NOW + DAY, NOW + 2 * DAY));
    let other = certificate(&["b.example.com"]);
    let name = Some("a.example.com");
    for (list, expected) in [
        (&[&expired, &valid][..], &valid),
        (&[&later, &valid], &valid),
        (&[&valid, &expired], &valid),
        (&[&expired, &later, &valid], &valid),
        // Of those that are not valid the first is shown; a name that is wrong is worse than a time that is over.
        (&[&expired, &later], &expired),
        (&[&other, &expired], &expired),
    ] {
        check(&resolver(&[("a.example.com", list)]), name, &[ECDSA], &[TLS13], Some(expected));
    }
}

#[test]
fn a_valid_certificate_that_the_client_cannot_use_gives_way_to_one_it_can() {
    let valid = certificate(&["a.example.com"]);
    let usable = certificate_of(&["a.example.com"], &PKCS_RSA_SHA256, NOW - 2 * DAY, NOW - DAY);
    let resolver = resolver(&[("a.example.com", &[&valid, &usable])]);
    check(&resolver, Some("a.example.com"), &[RSA], &[TLS13], Some(&usable));
}
