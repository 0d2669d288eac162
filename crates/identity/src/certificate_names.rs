//! The names in a certificate, for those who want to know whose it is and do not go by identities of the mesh.

use crate::PeerIdentityError;
use crate::peer::parse;
use rustls_pki_types::CertificateDer;
use std::fmt::Write as _;
use x509_parser::extensions::GeneralName;
use x509_parser::x509::X509Name;

/// The names in a certificate.
///
/// ```
/// use fairway_identity::CertificateNames;
/// use rcgen::{CertificateParams, DnType, DistinguishedName, KeyPair, SanType};
///
/// let mut params = CertificateParams::new(vec!["client.example".to_owned()])?;
/// params.subject_alt_names.push(SanType::URI("spiffe://cluster.local/ns/shop/sa/web".try_into()?));
/// params.distinguished_name = DistinguishedName::new();
/// params.distinguished_name.push(DnType::OrganizationName, "Shop, Ltd.");
/// params.distinguished_name.push(DnType::CommonName, "client");
/// let names = CertificateNames::read(params.self_signed(&KeyPair::generate()?)?.der())?;
/// // The last one first, as in RFC 4514.
/// assert_eq!(names.subject, r"CN=client,O=Shop\, Ltd.");
/// assert_eq!(names.uris, ["spiffe://cluster.local/ns/shop/sa/web"]);
/// assert_eq!(names.dns, ["client.example"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateNames {
    /// The subject as RFC 4514 writes it; empty if it has none.
    pub subject: String,
    /// The URIs among its alternative names.
    pub uris: Vec<String>,
    /// The DNS names among its alternative names.
    pub dns: Vec<String>,
}

// === impl CertificateNames ===

impl CertificateNames {
    /// Those of a certificate.
    pub fn read(certificate: &CertificateDer<'_>) -> Result<Self, PeerIdentityError> {
        let parsed = parse(certificate)?;
        let mut names = Self { subject: subject(parsed.subject()), ..Self::default() };
        let alternative = parsed
            .subject_alternative_name()
            .map_err(|_| PeerIdentityError::Malformed("its alternative names cannot be read"))?;
        for name in alternative.iter().flat_map(|it| &it.value.general_names) {
            match name {
                GeneralName::URI(it) => names.uris.push((*it).to_owned()),
                GeneralName::DNSName(it) => names.dns.push((*it).to_owned()),
                _ => {}
            }
        }
        Ok(names)
    }
}

fn subject(name: &X509Name<'_>) -> String {
    let parts: Vec<String> = name
        .iter_rdn()
        .map(|rdn| {
            let attributes = rdn.iter().map(|it| {
                let value = it.as_str().unwrap_or_default();
                format!("{}={}", attribute(&it.attr_type().to_id_string()), escape(value))
            });
            attributes.collect::<Vec<_>>().join("+")
        })
        .collect();
    parts.into_iter().rev().collect::<Vec<_>>().join(",")
}

/// The short name of a kind of attribute (RFC 4514 §3); of others their number.
fn attribute(number: &str) -> &str {
    match number {
        "2.5.4.3" => "CN",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "STREET",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        other => other,
    }
}

/// A value as RFC 4514 §2.4 has it; what is no visible ASCII is written in hexadecimal, so that it fits into a header.
fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    let last = value.len().saturating_sub(1);
    for (index, byte) in value.bytes().enumerate() {
        let is_at_edge = index == 0 || index == last;
        match byte {
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' => escaped.extend(['\\', byte.into()]),
            b'#' if index == 0 => escaped.push_str("\\#"),
            b' ' if is_at_edge => escaped.push_str("\\ "),
            b' '..=b'~' => escaped.push(byte.into()),
            _ => drop(write!(escaped, "\\{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_end_its_part_of_the_name() {
        for (value, expected) in [
            ("client", "client"),
            ("a,b=c;d", r"a\,b=c\;d"),
            ("\"x\"", r#"\"x\""#),
            (r"a\", r"a\\"),
            (" a ", r"\ a\ "),
            ("#1", r"\#1"),
            ("K\u{f6}ln\r\n", r"K\C3\B6ln\0D\0A"),
            ("", ""),
        ] {
            assert_eq!(escape(value), expected, "{value:?}");
        }
    }
}
