//! References to certificates and to the certificates of authorities, and whether they may be made.

use crate::compile::gateway::{authority, certificate};
use crate::compile::names::absent::{Absent, CORRECT_NAME, absent};
use crate::compile::names::grant;
use crate::compile::program::Reader;
use crate::diagnostic::{Diagnostic, Reason};
use crate::resources::{Authorities, ClusterTrustBundle, ConfigMap, Kind, ObjectRef, Secret};
use fairway_config::model::{ObjectName, TrustBundle};
use std::sync::Arc;

/// A reference as written. The namespace is none for the one of the object that refers.
#[derive(Clone, Copy)]
pub(in crate::compile) struct Reference<'a> {
    pub group: &'a str,
    pub kind: &'a str,
    pub namespace: Option<&'a str>,
    pub name: &'a str,
}

/// What a reference to a certificate leads to. Both are there for a Secret that was valid once: its last good certificate
/// stays in force.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::compile) struct Found {
    /// The Secret, if it has a certificate that can be used.
    pub usable: Option<ObjectName>,
    /// What is wrong; its field is relative to the reference.
    pub error: Option<Diagnostic>,
    /// Why clients refuse the certificate although it is in use.
    pub warning: Option<Diagnostic>,
}

/// The Secret whose certificate `from` refers to.
pub(in crate::compile) fn resolve_certificate(
    reader: &mut Reader<'_>,
    from: &ObjectRef,
    reference: Reference<'_>,
) -> Found {
    let fail = |error: Diagnostic| Found { error: Some(error), ..Found::default() };
    if (reference.group, reference.kind) != ("", "Secret") {
        let message = format!("{} {} cannot hold a certificate", kind(reference), reference.name);
        let remedy = "refer to a Secret of type kubernetes.io/tls";
        return fail(Diagnostic::error(Reason::CertificateKindUnknown, "", message, remedy));
    }
    let name = match permit(reader, from, Kind::Secret, reference) {
        Ok(name) => name,
        Err(error) => return fail(error),
    };
    let Some(pair) = reader.get::<certificate::Parse>(&name) else {
        let Absent { message, remedy } =
            absent(reader, &ObjectRef::from_name(Kind::Secret, &name), CORRECT_NAME);
        return fail(Diagnostic::error(Reason::CertificateNotFound, "", message, remedy));
    };
    let warning = pair.period_warning(&name);
    let usable = pair.certificate.as_ref().map(|_| name);
    let error = pair.defect.as_ref().map(|why| {
        let message = match usable {
            Some(_) => format!("{why}; the certificate that it had before stays in use"),
            None => why.clone(),
        };
        let remedy = "put a PEM certificate chain in tls.crt and its key in tls.key of a Secret of type kubernetes.io/tls";
        Diagnostic::error(Reason::CertificateInvalid, "", message, remedy)
    });
    Found { usable, error, warning }
}

/// Certificates of authorities that a reference leads to.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::compile) struct FoundAuthorities {
    pub pem: Arc<str>,
    /// That some of them are not valid at present; its field is relative to the reference.
    pub warning: Option<Diagnostic>,
}

/// The certificates of authorities in the ConfigMap, Secret or ClusterTrustBundle that `from` refers to: those that a Gateway trusts for
/// its clients (GEP-91), and those that a BackendTLSPolicy trusts for backends (GEP-1897).
pub(in crate::compile) fn resolve_authorities(
    reader: &mut Reader<'_>,
    from: &ObjectRef,
    reference: Reference<'_>,
) -> Result<FoundAuthorities, Diagnostic> {
    let (holder, key, found) = match (reference.group, reference.kind) {
        ("", "ConfigMap") => {
            let name = permit(reader, from, Kind::ConfigMap, reference)?;
            let found = reader.input::<ConfigMap>(&name).map(|it| it.authorities.clone());
            (ObjectRef::from_name(Kind::ConfigMap, &name), "ca.crt", found)
        }
        ("", "Secret") => {
            let name = permit(reader, from, Kind::Secret, reference)?;
            let found = reader.input::<Secret>(&name).map(|it| it.authorities.clone());
            (ObjectRef::from_name(Kind::Secret, &name), "ca.crt", found)
        }
        ("certificates.k8s.io", "ClusterTrustBundle") => {
            let holder = bundle(reader, reference)?;
            let found = reader.input::<ClusterTrustBundle>(&*holder.name);
            (holder, "spec.trustBundle", found.map(|it| Some(it.authorities.clone())))
        }
        _ => {
            let message =
                format!("{} {} cannot hold the certificates of authorities", kind(reference), reference.name);
            let remedy = "refer to a ConfigMap that has them under ca.crt, or to a ClusterTrustBundle";
            return Err(Diagnostic::error(Reason::AuthoritiesKindUnknown, "kind", message, remedy));
        }
    };
    let Some(authorities) = found else {
        let Absent { message, remedy } = absent(reader, &holder, CORRECT_NAME);
        return Err(Diagnostic::error(Reason::AuthoritiesNotFound, "", message, remedy));
    };
    let checked = authorities.ok_or_else(|| format!("it has no key {key}"));
    let checked = checked.and_then(|Authorities { pem, periods }| match TrustBundle::from_pem(&pem) {
        Ok(_) => {
            let warning = authority::period_warning(&periods, &holder.to_string());
            Ok(FoundAuthorities { pem, warning })
        }
        Err(error) => Err(error.to_string()),
    });
    checked.map_err(|why| {
        let message = format!("{holder} has no certificates of authorities: {why}");
        let remedy = format!("put the authorities' certificates under {key}, as PEM");
        Diagnostic::error(Reason::AuthoritiesInvalid, "", message, remedy)
    })
}

/// The ClusterTrustBundle that is referred to. It has no namespace, so that nobody has to grant its use (GEP-5075): Kubernetes lets
/// every service account read it.
fn bundle(reader: &mut Reader<'_>, reference: Reference<'_>) -> Result<ObjectRef, Diagnostic> {
    if reference.namespace.is_some_and(|it| !it.is_empty()) {
        let message = "a ClusterTrustBundle has no namespace, so the reference leads to none";
        let (field, remedy) = ("namespace", "remove it");
        return Err(Diagnostic::error(Reason::AuthoritiesNamespace, field, message, remedy));
    }
    if reader.input::<ClusterTrustBundle>(ClusterTrustBundle::KIND).is_none() {
        let message = "the API server does not serve ClusterTrustBundles";
        let remedy = "enable certificates.k8s.io/v1beta1 in the API server, or refer to a ConfigMap";
        return Err(Diagnostic::error(Reason::AuthoritiesKindNotServed, "kind", message, remedy));
    }
    // The name that stands for the kind is none of a bundle: it has no certificates.
    Ok(ObjectRef::new(Kind::ClusterTrustBundle, "", reference.name))
}

/// Bytes of the certificates of authorities that a Gateway or a policy trusts at most. Each listener and each port of a Service has a
/// copy of its own; what the operating systems trust has about 220 KiB.
pub(in crate::compile) const MOST_AUTHORITIES: usize = 256 * 1024;

/// The authorities of several references together, each of which is in order by itself; none where no reference is.
pub(in crate::compile) fn join_authorities(
    found: &[FoundAuthorities],
) -> Result<Option<TrustBundle>, Diagnostic> {
    if found.iter().map(|it| it.pem.len()).sum::<usize>() > MOST_AUTHORITIES {
        let message = format!(
            "the certificates of authorities have more than {} KiB together",
            MOST_AUTHORITIES / 1024
        );
        let remedy = "refer to those authorities alone that sign the certificates";
        return Err(Diagnostic::error(Reason::AuthoritiesTooLarge, "", message, remedy));
    }
    let pem: Vec<&str> = found.iter().map(|it| &*it.pem).collect();
    Ok(TrustBundle::from_pem(&pem.join("\n")).ok())
}

/// The object that is referred to, if `from` may refer to it.
pub(in crate::compile) fn permit(
    reader: &mut Reader<'_>,
    from: &ObjectRef,
    target: Kind,
    reference: Reference<'_>,
) -> Result<ObjectName, Diagnostic> {
    let namespace = reference.namespace.map_or_else(|| from.namespace.clone(), Arc::from);
    if grant::permits(reader, (from.kind, &from.namespace), (target, &namespace, reference.name)) {
        return Ok(ObjectName::new(namespace, reference.name));
    }
    let message = grant::refusal(reader, &ObjectRef::new(target, namespace.clone(), reference.name));
    let remedy = grant::remedy((from.kind, &from.namespace), (target, &namespace, reference.name));
    Err(Diagnostic::error(Reason::ReferenceNotPermitted, "", message, remedy))
}

fn kind(reference: Reference<'_>) -> String {
    match reference.group.is_empty() {
        true => reference.kind.to_owned(),
        false => format!("{}/{}", reference.group, reference.kind),
    }
}
