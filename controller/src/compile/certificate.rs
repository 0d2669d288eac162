//! Certificates of listeners, out of Secrets.

use super::evaluation::{Evaluation, Value};
use super::index::IndexKey;
use super::reader::Reader;
use fairway_config::model::{Certificate, CertificateKey, ObjectName, Resource};
use std::sync::Arc;

/// What a Secret holds, parsed once for all that use it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct KeyPair {
    /// Its certificate; if that is not in order, the one it had before.
    pub certificate: Option<Arc<Certificate>>,
    /// What is wrong with it.
    pub defect: Option<String>,
}

/// The key under which the certificate of a Secret goes to the proxies.
pub(super) fn key(secret: &ObjectName) -> CertificateKey {
    CertificateKey::from(secret.to_string())
}

/// Parses the certificate in a Secret.
pub(super) fn key_pair(reader: &mut Reader<'_>, name: &ObjectName) -> Evaluation {
    let mut made = Evaluation::default();
    if let Some(secret) = reader.secret(name) {
        let pair = match secret.key_pair() {
            Ok(it) => KeyPair { certificate: Some(Arc::new(it)), defect: None },
            Err(why) => KeyPair { certificate: secret.last_good_pair().map(Arc::new), defect: Some(why) },
        };
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
