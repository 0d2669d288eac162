//! Certificates of listeners, out of Secrets.

use super::evaluation::{Evaluation, Value};
use super::index::IndexKey;
use super::reader::Reader;
use crate::resources::Secret;
use fairway_config::model::{Certificate, CertificateKey, ObjectName, Resource};
use std::sync::Arc;

/// What a Secret holds, parsed once for all that use it; none when there is no Secret.
pub(super) type KeyPair = Option<Result<Arc<Certificate>, String>>;

/// The key under which the certificate of a Secret goes to the proxies.
pub(super) fn key(secret: &ObjectName) -> CertificateKey {
    CertificateKey::from(secret.to_string())
}

/// Parses the certificate in a Secret.
pub(super) fn key_pair(reader: &mut Reader<'_>, name: &ObjectName) -> Evaluation {
    let mut made = Evaluation::default();
    if let Some(secret) = reader.secret(name) {
        made.value = Value::KeyPair(Arc::new(Some(parse(name, &secret).map(Arc::new))));
    }
    made
}

/// The certificate in a Secret, or what is wrong with it.
fn parse(name: &ObjectName, secret: &Secret) -> Result<Certificate, String> {
    if !secret.is_tls() {
        return Err(format!("Secret {name} has type {}, not kubernetes.io/tls", secret.kind));
    }
    let part =
        |part: &Option<Arc<str>>, key: &str| part.clone().ok_or(format!("Secret {name} has no data `{key}`"));
    let (chain, private) = (part(&secret.certificate, "tls.crt")?, part(&secret.private_key, "tls.key")?);
    Certificate::from_pem(key(name), &chain, &private).map_err(|error| format!("Secret {name}: {error}"))
}

/// Sends a Secret's certificate out, once a listener uses it with leave.
pub(super) fn evaluate(reader: &mut Reader<'_>, name: &ObjectName) -> Evaluation {
    let mut made = Evaluation::default();
    if reader.count(IndexKey::CertificateUsers(name.clone())) == 0 {
        return made;
    }
    if let Some(Ok(it)) = &*reader.key_pair(name) {
        made.resources.push(Resource::Certificate(it.clone()));
    }
    made
}
