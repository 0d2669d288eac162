//! Certificates of listeners, out of Secrets.

use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::stage;
use crate::diagnostic::{Diagnostic, Reason};
use crate::resources::{ObjectRef, Secret};
use fairway_config::model::{Certificate, CertificateKey, ObjectName, Period, Resource};
use fairway_incremental::{OfSet, Query, Set};
use std::sync::Arc;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Gateways that use a Secret, and may.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) struct CertificateUsers(pub ObjectName);

impl Set<Cluster> for CertificateUsers {
    type Member = ObjectRef;
}

/// What a Secret holds, parsed once for all that use it.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::compile) struct KeyPair {
    /// Its certificate; if that is not in order, the one it had before.
    pub certificate: Option<Arc<Certificate>>,
    /// What is wrong with it.
    pub defect: Option<String>,
    /// Where the present stands to the certificate's validity.
    pub period: Period,
}

// === impl KeyPair ===

impl KeyPair {
    /// That the certificate in use is not valid at present.
    pub(in crate::compile) fn period_warning(&self, secret: &ObjectName) -> Option<Diagnostic> {
        let validity = self.certificate.as_ref()?.validity();
        let (expired, remedy) = match self.period {
            Period::Valid => return None,
            Period::Expired => (format!("expired at {}", date(validity.not_after)), "renew it"),
            Period::NotYetValid => {
                let remedy = "use one that is valid now, or correct the clock of whoever signs it";
                (format!("is not valid before {}", date(validity.not_before)), remedy)
            }
        };
        let message =
            format!("the certificate in Secret {secret} {expired}; it stays in use, and clients refuse it");
        Some(Diagnostic::warning(Reason::CertificateOutOfPeriod, "", message, remedy))
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
pub(in crate::compile) fn hostname_warning(
    certificates: &[(ObjectName, Arc<KeyPair>)],
    hostname: &str,
) -> Option<Diagnostic> {
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
    let message = format!("no certificate is for {hostname}, so clients refuse the connection: {each}");
    let remedy = "refer to a Secret whose certificate has the hostname among its subjectAltNames, or correct the hostname";
    Some(Diagnostic::warning(Reason::CertificateHostnameMismatch, "", message, remedy))
}

/// Whether a name of a certificate is one that a wildcard hostname covers. Unlike a certificate's, a listener's wildcard covers names of
/// any depth.
fn within(name: &str, hostname: &str) -> bool {
    let Some(suffix) = hostname.strip_prefix('*') else { return false };
    name.strip_prefix("*").unwrap_or(name).ends_with(&suffix.to_ascii_lowercase())
}

/// A time as people write it.
pub(super) fn date(seconds: i64) -> String {
    let at = OffsetDateTime::from_unix_timestamp(seconds).ok();
    at.and_then(|it| it.format(&Rfc3339).ok()).unwrap_or_else(|| format!("second {seconds} of the epoch"))
}

/// The key under which the certificate of a Secret goes to the proxies.
pub(in crate::compile) fn key(secret: &ObjectName) -> CertificateKey {
    CertificateKey::from(secret.to_string())
}

/// Parses the certificate in a Secret.
pub(in crate::compile) struct Parse;

impl Query<Cluster> for Parse {
    type Key = ObjectName;
    type Value = Option<Arc<KeyPair>>;
    const STAGE: u8 = stage::OBJECTS;

    fn run(name: &ObjectName, reader: &mut Reader<'_>, _: &mut Made) -> Option<Arc<KeyPair>> {
        let secret = reader.input::<Secret>(name)?;
        let (certificate, defect) = match secret.key_pair() {
            Ok(it) => (Some(it), None),
            Err(why) => (secret.last_good_pair(), Some(why)),
        };
        let pair = KeyPair { certificate: certificate.map(Arc::new), defect, period: secret.period };
        Some(Arc::new(pair))
    }
}

/// Sends a Secret's certificate out, once a listener uses it with leave.
pub(in crate::compile) struct Publish;

impl Query<Cluster> for Publish {
    type Key = ObjectName;
    type Value = ();
    const STAGE: u8 = stage::CLAIMS;

    fn run(name: &ObjectName, reader: &mut Reader<'_>, made: &mut Made) {
        if reader.count(&CertificateUsers(name.clone())) == 0 {
            return;
        }
        let certificate = reader.get::<Parse>(name).and_then(|it| it.certificate.clone());
        made.resources.extend(certificate.map(Resource::Certificate));
    }
}

impl OfSet<Cluster> for Publish {
    type Set = CertificateUsers;

    fn of_set(CertificateUsers(secret): &CertificateUsers) -> Option<Self::Key> {
        Some(secret.clone())
    }
}
