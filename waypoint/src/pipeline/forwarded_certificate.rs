//! What endpoints are told of a client's certificate: `X-Forwarded-Client-Cert` in the form that Envoy gave it.

use fairway_identity::CertificateNames;
use http::HeaderValue;
use rustls::SupportedCipherSuite;
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls_pki_types::CertificateDer;
use std::fmt::Write as _;

/// The longest that endpoints are told; of a certificate with more names than fit they are told the hash alone.
const LONGEST: usize = 4096;

/// The value for a certificate: the hash of it, its subject, and its URIs and DNS names. None if it cannot be read.
pub fn forwarded_certificate(certificate: &CertificateDer<'_>) -> Option<HeaderValue> {
    let mut value = String::from("Hash=");
    for byte in sha256(certificate)? {
        let _ = write!(value, "{byte:02x}");
    }
    let hash = value.len();
    let names = CertificateNames::read(certificate).ok()?;
    let _ = write!(value, ";Subject=\"{}\"", names.subject);
    for (key, all) in [("URI", &names.uris), ("DNS", &names.dns)] {
        for name in all {
            let _ = write!(value, ";{key}={}", quoted(name));
        }
    }
    if value.len() > LONGEST {
        value.truncate(hash);
    }
    HeaderValue::try_from(value).ok()
}

fn sha256(bytes: &[u8]) -> Option<Vec<u8>> {
    let SupportedCipherSuite::Tls13(suite) = TLS13_AES_128_GCM_SHA256 else { return None };
    Some(suite.common.hash_provider.hash(bytes).as_ref().to_vec())
}

/// A name as it is, or in quotes where it has what ends a part of the header.
fn quoted(name: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b',' | b';' | b'=' | b'"' | b'\\');
    if name.bytes().all(is_plain) {
        return name.to_owned();
    }
    let mut text = String::from("\"");
    for byte in name.bytes() {
        match byte {
            b'"' | b'\\' => text.extend(['\\', byte.into()]),
            b' '..=b'~' => text.push(byte.into()),
            _ => drop(write!(text, "%{byte:02X}")),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    fn certificate(common_name: &str, uris: &[&str], dns: &[&str]) -> CertificateDer<'static> {
        let mut params =
            CertificateParams::new(dns.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>()).unwrap();
        let uris = uris.iter().map(|it| SanType::URI((*it).try_into().unwrap()));
        params.subject_alt_names.extend(uris);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    fn told(certificate: &CertificateDer<'_>) -> String {
        let value = forwarded_certificate(certificate).unwrap();
        let (hash, rest) = value.to_str().unwrap().split_at(5 + 64);
        assert!(hash.starts_with("Hash=") && hash[5..].bytes().all(|it| it.is_ascii_hexdigit()), "{hash}");
        rest.to_owned()
    }

    #[test]
    fn a_certificate_is_told_by_its_hash_and_its_names_and_no_name_can_add_a_part() {
        for (common_name, uris, dns, expected) in [
            (
                "client",
                &["spiffe://cluster.local/ns/a/sa/b"][..],
                &["a.example", "b.example"][..],
                r#";Subject="CN=client";URI=spiffe://cluster.local/ns/a/sa/b;DNS=a.example;DNS=b.example"#,
            ),
            ("x\";Hash=0,By=y", &[], &[], r#";Subject="CN=x\"\;Hash=0\,By=y""#),
            ("x", &["urn:a;DNS=admin,Hash=1"], &[], r#";Subject="CN=x";URI="urn:a;DNS=admin,Hash=1""#),
        ] {
            assert_eq!(told(&certificate(common_name, uris, dns)), expected);
        }
        let long = "a".repeat(60);
        let many: Vec<String> = (0..100).map(|it| format!("{long}.n{it}.example")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(told(&certificate("x", &[], &many)), "", "the hash alone");
        assert!(forwarded_certificate(&CertificateDer::from(vec![1, 2, 3])).is_none());
    }

    #[test]
    fn the_hash_is_sha_256() {
        let of_nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let hex: String = sha256(b"").unwrap().iter().map(|it| format!("{it:02x}")).collect();
        assert_eq!(hex, of_nothing);
    }
}
