//! The certificates of listeners, and the one a Gateway shows to backends.

use super::listener::Asked;
use crate::compile::evaluation::Evaluation;
use crate::compile::reader::Reader;
use crate::compile::reference::{Reference, resolve_certificate};
use crate::diagnostic::Diagnostic;
use crate::diagnostic::rule::certificate_missing;
use crate::resources::{Gateway, ObjectRef};
use fairway_config::model::ObjectName;

/// What became of a listener's certificate references.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    /// Those that can be used.
    pub usable: Vec<ObjectName>,
    /// What is wrong with the others.
    pub errors: Vec<Diagnostic>,
}

/// Resolves a listener's certificate references.
pub(super) fn resolve(reader: &mut Reader<'_>, asked: &Asked<'_>, made: &mut Evaluation) -> Certificates {
    let mut found = Certificates::default();
    let object = &asked.owner.object;
    let field = format!("{}.tls.certificateRefs", asked.field());
    let refs = asked.written.tls.iter().flat_map(|it| it.certificate_refs.iter().flatten());
    for (index, it) in refs.enumerate() {
        let written = Reference {
            group: it.group.as_deref().unwrap_or_default(),
            kind: it.kind.as_deref().unwrap_or("Secret"),
            namespace: it.namespace.as_deref(),
            name: &it.name,
        };
        let certificate = resolve_certificate(reader, object, written);
        found.usable.extend(certificate.usable);
        found.errors.extend(certificate.error.map(|error| error.under(&format!("{field}[{index}]"))));
    }
    if found.usable.is_empty() && found.errors.is_empty() {
        found.errors.push(certificate_missing(field));
    }
    found.errors.iter().for_each(|error| made.report(object, error.clone()));
    found
}

/// The certificate a Gateway shows to backends that ask for one (GEP-3155).
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct BackendCertificate {
    /// Its Secret.
    pub usable: Option<ObjectName>,
    /// What is wrong with the reference.
    pub error: Option<Box<Diagnostic>>,
}

/// Resolves `spec.tls.backend`.
pub(super) fn for_backends(
    reader: &mut Reader<'_>,
    object: &ObjectRef,
    gateway: &Gateway,
    made: &mut Evaluation,
) -> BackendCertificate {
    let backend = gateway.spec.tls.as_ref().and_then(|it| it.backend.as_ref());
    let Some(it) = backend.and_then(|it| it.client_certificate_ref.as_ref()) else {
        return BackendCertificate::default();
    };
    let written = Reference {
        group: it.group.as_deref().unwrap_or_default(),
        kind: it.kind.as_deref().unwrap_or("Secret"),
        namespace: it.namespace.as_deref(),
        name: &it.name,
    };
    let found = resolve_certificate(reader, object, written);
    let error = found.error.map(|error| {
        let error = error.under("spec.tls.backend.clientCertificateRef");
        made.report(object, error.clone());
        Box::new(error)
    });
    BackendCertificate { usable: found.usable, error }
}
