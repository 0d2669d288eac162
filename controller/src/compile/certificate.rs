//! Certificates of listeners, out of Secrets.

use super::evaluation::{Evaluation, Value};
use super::index::IndexKey;
use super::reader::Reader;
use fairway_config::model::{Certificate, CertificateKey, ObjectName, Period, Resource};
use std::sync::Arc;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What a Secret holds, parsed once for all that use it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct KeyPair {
    /// Its certificate; if that is not in order, the one it had before.
    pub certificate: Option<Arc<Certificate>>,
    /// What is wrong with it.
    pub defect: Option<String>,
    /// Where the present stands to the certificate's validity.
    pub period: Period,
}

/// What clients will say against a certificate that is in order and in use.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Objection {
    pub message: String,
    pub remedy: String,
}

// === impl KeyPair ===

impl KeyPair {
    /// That the certificate in use is not valid at present.
    pub(super) fn period_objection(&self, secret: &ObjectName) -> Option<Objection> {
        let validity = self.certificate.as_ref()?.validity();
        let (message, remedy) = match self.period {
            Period::Valid => return None,
            Period::Expired => {
                let when = date(validity.not_after);
                (format!("the certificate in Secret {secret} expired at {when}"), "renew it")
            }
            Period::NotYetValid => {
                let when = date(validity.not_before);
                let remedy = "use one that is valid now, or correct the clock of whoever signs it";
                (format!("the certificate in Secret {secret} is not valid before {when}"), remedy)
            }
        };
        let message = format!("{message}; it is in use all the same, and clients refuse it");
        Some(Objection { message, remedy: remedy.to_owned() })
    }

    /// Whether the certificate in use is for any name that the hostname covers.
    fn is_for_any_of(&self, hostname: &str) -> bool {
        self.certificate
            .iter()
            .any(|it| it.is_for(hostname) || it.dns_names().iter().any(|name| within(name, hostname)))
    }
}

/// That none of the certificates of a listener is for its hostname. Clients compare DNS names of the certificate with the host that they
/// asked for (RFC 9525 §6.3).
pub(super) fn hostname_objection(
    certificates: &[(ObjectName, Arc<KeyPair>)],
    hostname: &str,
) -> Option<Objection> {
    if certificates.is_empty() || certificates.iter().any(|(_, it)| it.is_for_any_of(hostname)) {
        return None;
    }
    let each = certificates.iter().map(|(secret, it)| {
        let names = it.certificate.iter().flat_map(|it| it.dns_names()).collect::<Vec<_>>();
        match names.is_empty() {
            true => format!("that in Secret {secret} has no DNS name"),
            false => format!("that in Secret {secret} is for {}", names.join(", ")),
        }
    });
    let each = each.collect::<Vec<_>>().join("; ");
    let message = format!("no certificate is for {hostname}: {each}. Clients refuse it");
    let remedy =
        "name a Secret whose certificate has the hostname among its subjectAltNames, or correct the hostname";
    Some(Objection { message, remedy: remedy.to_owned() })
}

/// Whether a name of a certificate is one that a wildcard hostname covers. Unlike a certificate's, a listener's wildcard covers names of
/// any depth.
fn within(name: &str, hostname: &str) -> bool {
    let Some(suffix) = hostname.strip_prefix('*') else { return false };
    name.strip_prefix("*").unwrap_or(name).ends_with(&suffix.to_ascii_lowercase())
}

fn date(seconds: i64) -> String {
    let at = OffsetDateTime::from_unix_timestamp(seconds).ok();
    at.and_then(|it| it.format(&Rfc3339).ok()).unwrap_or_else(|| format!("second {seconds} of the epoch"))
}

/// The key under which the certificate of a Secret goes to the proxies.
pub(super) fn key(secret: &ObjectName) -> CertificateKey {
    CertificateKey::from(secret.to_string())
}

/// Parses the certificate in a Secret.
pub(super) fn key_pair(reader: &mut Reader<'_>, name: &ObjectName) -> Evaluation {
    let mut made = Evaluation::default();
    if let Some(secret) = reader.secret(name) {
        let (certificate, defect) = match secret.key_pair() {
            Ok(it) => (Some(it), None),
            Err(why) => (secret.last_good_pair(), Some(why)),
        };
        let pair = KeyPair { certificate: certificate.map(Arc::new), defect, period: secret.period };
        made.value = Value::KeyPair(Arc::new(pair));
    }
    made
}

/// Sends a Secret's certificate out, once a listener uses it with leave.
pub(super) fn evaluate(reader: &mut Reader<'_>, name: &ObjectName) -> Evaluation {
    let mut made = Evaluation::default();
    if reader.count(IndexKey::CertificateUsers(name.clone())) == 0 {
        return made;
    }
    let certificate = reader.key_pair(name).and_then(|it| it.certificate.clone());
    made.resources.extend(certificate.map(Resource::Certificate));
    made
}
