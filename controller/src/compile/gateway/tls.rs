//! The certificates of listeners, and the one a Gateway shows to backends.

use super::listener::Asked;
use crate::compile::gateway::certificate::{self, hostname_warning};
use crate::compile::gateway::reference::{Reference, resolve_certificate};
use crate::compile::program::{Made, Reader};
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
    /// Why clients refuse those that can be used.
    pub warnings: Vec<Diagnostic>,
}

/// Resolves a listener's certificate references.
pub(super) fn resolve(reader: &mut Reader<'_>, asked: &Asked<'_>, made: &mut Made) -> Certificates {
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
        let field = format!("{field}[{index}]");
        found.usable.extend(certificate.usable);
        found.errors.extend(certificate.error.map(|error| error.under(&field)));
        found.warnings.extend(certificate.warning.map(|warning| warning.under(&field)));
    }
    if found.usable.is_empty() && found.errors.is_empty() {
        found.errors.push(certificate_missing(&*field));
    }
    if let Some(hostname) = asked.written.hostname.as_deref().filter(|hostname| !hostname.is_empty()) {
        let usable = found.usable.iter();
        let pairs: Vec<_> = usable
            .filter_map(|secret| Some((secret.clone(), reader.get::<certificate::Parse>(secret)?)))
            .collect();
        let warning = hostname_warning(&pairs, hostname);
        found.warnings.extend(warning.map(|warning| warning.under(&field)));
    }
    found.errors.iter().chain(&found.warnings).for_each(|it| made.report(object, it.clone()));
    found
}

/// The certificate a Gateway shows to backends that ask for one (GEP-3155).
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct BackendCertificate {
    /// The Secret it is read from; none where nothing is asked for or the reference leads nowhere.
    pub usable: Option<ObjectName>,
    /// What is wrong with the reference.
    pub error: Option<Box<Diagnostic>>,
    /// Why backends refuse the certificate although it is in use.
    pub warning: Option<Box<Diagnostic>>,
}

/// Resolves `spec.tls.backend`, and reports what is wrong with it to the Gateway.
pub(super) fn for_backends(
    reader: &mut Reader<'_>,
    object: &ObjectRef,
    gateway: &Gateway,
    made: &mut Made,
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
    let mut report = |diagnostic: Diagnostic| {
        let diagnostic = diagnostic.under("spec.tls.backend.clientCertificateRef");
        made.report(object, diagnostic.clone());
        Box::new(diagnostic)
    };
    let (error, warning) = (found.error.map(&mut report), found.warning.map(&mut report));
    BackendCertificate { usable: found.usable, error, warning }
}
