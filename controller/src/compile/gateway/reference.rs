//! What Gateways and ListenerSets refer to: certificates and authorities, with leave.

use crate::compile::certificate::Objection;
use crate::compile::grant;
use crate::compile::reader::Reader;
use crate::resources::{Kind, ObjectRef};
use crate::status::reason;
use fairway_config::model::{ObjectName, TrustBundle};
use std::sync::Arc;

/// A reference as written.
#[derive(Clone, Copy)]
pub(super) struct Reference<'a> {
    pub group: &'a str,
    pub kind: &'a str,
    pub namespace: Option<&'a str>,
    pub name: &'a str,
}

/// What is wrong with a reference.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Defect {
    /// The API's word for it.
    pub reason: &'static str,
    pub message: String,
    pub remedy: String,
}

/// What a reference to a certificate leads to. Both are there for a Secret that was in order once: its last good
/// certificate stays in force.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Found {
    /// The Secret, if it has a certificate that can be used.
    pub usable: Option<ObjectName>,
    /// What is wrong.
    pub defect: Option<Defect>,
    /// What clients will say against the certificate in use.
    pub objection: Option<Objection>,
}

/// The Secret whose certificate `from` names; `invalid` is the API's word for one that is of no use.
pub(super) fn certificate(
    reader: &mut Reader<'_>,
    from: &ObjectRef,
    it: Reference<'_>,
    invalid: &'static str,
) -> Found {
    let nothing = |defect: Defect| Found { defect: Some(defect), ..Found::default() };
    if (it.group, it.kind) != ("", "Secret") {
        let message = format!("{} {} cannot hold a certificate", kind(it), it.name);
        return nothing(defect(invalid, message, "refer to a Secret of type kubernetes.io/tls"));
    }
    let name = match permitted(reader, from, Kind::Secret, it) {
        Ok(name) => name,
        Err(it) => return nothing(it),
    };
    let Some(pair) = reader.key_pair(&name) else {
        let message = format!("there is no Secret {name} of type kubernetes.io/tls");
        return nothing(defect(invalid, message, "create it, or correct the name"));
    };
    let objection = pair.period_objection(&name);
    let usable = pair.certificate.as_ref().map(|_| name);
    let defect = pair.defect.as_ref().map(|why| {
        let message = match usable {
            Some(_) => format!("{why}; the certificate it had before stays in use"),
            None => why.clone(),
        };
        let remedy = "put a PEM certificate chain in tls.crt and its key in tls.key of a Secret of type kubernetes.io/tls";
        defect(invalid, message, remedy)
    });
    Found { usable, defect, objection }
}

/// The authorities (PEM) in a ConfigMap or Secret that `from` names (GEP-91).
pub(super) fn authorities(
    reader: &mut Reader<'_>,
    from: &ObjectRef,
    it: Reference<'_>,
) -> Result<Arc<str>, Defect> {
    let target = match (it.group, it.kind) {
        ("", "ConfigMap") => Kind::ConfigMap,
        ("", "Secret") => Kind::Secret,
        _ => {
            let message = format!("{} {} cannot hold authorities", kind(it), it.name);
            let remedy = "refer to a ConfigMap that has them under ca.crt";
            return Err(defect(reason::INVALID_CA_CERTIFICATE_KIND, message, remedy));
        }
    };
    let name = permitted(reader, from, target, it)?;
    let found = match target {
        Kind::ConfigMap => reader.config_map(&name).map(|it| it.authorities.clone()),
        _ => reader.secret(&name).map(|it| it.authorities.clone()),
    };
    let invalid = |message: String, remedy: &str| defect(reason::INVALID_CA_CERTIFICATE_REF, message, remedy);
    let Some(pem) = found else {
        let message = format!("{target} {name} does not exist");
        return Err(invalid(message, "create it, or correct the name"));
    };
    let remedy = "put PEM certificates of authorities under ca.crt";
    let Some(pem) = pem else {
        return Err(invalid(format!("{target} {name} has no data `ca.crt`"), remedy));
    };
    match TrustBundle::from_pem(&pem) {
        Ok(_) => Ok(pem),
        Err(error) => Err(invalid(format!("{target} {name}: {error}"), remedy)),
    }
}

/// The object that is named, if `from` may name it.
fn permitted(
    reader: &mut Reader<'_>,
    from: &ObjectRef,
    target: Kind,
    it: Reference<'_>,
) -> Result<ObjectName, Defect> {
    let namespace = it.namespace.map_or_else(|| from.namespace.clone(), Arc::from);
    if grant::permits(reader, (from.kind, &from.namespace), (target, &namespace, it.name)) {
        return Ok(ObjectName::new(namespace, it.name));
    }
    let message =
        format!("{target} {namespace}/{} is in another namespace, which does not grant its use", it.name);
    let remedy = grant::remedy((from.kind, &from.namespace), (target, &namespace, it.name));
    Err(Defect { reason: reason::REF_NOT_PERMITTED, message, remedy })
}

fn kind(it: Reference<'_>) -> String {
    if it.group.is_empty() { it.kind.to_owned() } else { format!("{}/{}", it.group, it.kind) }
}

fn defect(reason: &'static str, message: String, remedy: &str) -> Defect {
    Defect { reason, message, remedy: remedy.to_owned() }
}
