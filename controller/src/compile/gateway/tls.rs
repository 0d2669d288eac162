//! The certificates of listeners, and the one a Gateway shows to backends.

use super::listener::Asked;
use super::reference::{self, Reference};
use crate::compile::certificate::{self, Objection};
use crate::compile::evaluation::Evaluation;
use crate::compile::reader::Reader;
use crate::resources::{Gateway, ObjectRef};
use crate::status::reason;
use fairway_config::model::ObjectName;

/// What became of a listener's certificate references.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    /// Those that can be used.
    pub usable: Vec<ObjectName>,
    /// What is wrong with the others: the API's word and what to do.
    pub defects: Vec<(&'static str, String)>,
    /// What clients will say against those that can be used.
    pub objections: Vec<String>,
}

// === impl Certificates ===

impl Certificates {
    fn object_to(&mut self, made: &mut Evaluation, object: &ObjectRef, field: String, it: Objection) {
        self.objections.push(format!("{field}: {}; {}", it.message, it.remedy));
        made.warn(object, field, it.message, it.remedy);
    }
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
        let it = reference::certificate(reader, object, written, reason::INVALID_CERTIFICATE_REF);
        let field = format!("{field}[{index}]");
        if let Some(objection) = it.objection {
            found.object_to(made, object, field.clone(), objection);
        }
        found.usable.extend(it.usable);
        if let Some(it) = it.defect {
            found.defects.push((it.reason, format!("{field}: {}; {}", it.message, it.remedy)));
            made.error(object, field, it.message, it.remedy);
        }
    }
    if found.usable.is_empty() && found.defects.is_empty() {
        let (message, remedy) =
            ("a listener that ends TLS needs a certificate", "name a Secret of type kubernetes.io/tls");
        made.error(object, &*field, message, remedy);
        found.defects.push((reason::INVALID_CERTIFICATE_REF, format!("{field}: {message}; {remedy}")));
    }
    if let Some(hostname) = asked.written.hostname.as_deref().filter(|it| !it.is_empty()) {
        let pairs = found.usable.iter().filter_map(|it| Some((it.clone(), reader.key_pair(it)?)));
        let pairs: Vec<_> = pairs.collect();
        if let Some(it) = certificate::hostname_objection(&pairs, hostname) {
            found.object_to(made, object, field, it);
        }
    }
    found
}

/// The certificate a Gateway shows to backends that ask for one (GEP-3155).
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct BackendCertificate {
    /// Its Secret.
    pub usable: Option<ObjectName>,
    /// What is wrong with the reference: the API's word and what to do.
    pub defect: Option<(&'static str, String)>,
    /// What backends will say against the certificate.
    pub objection: Option<String>,
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
    let found = reference::certificate(reader, object, written, reason::INVALID_CLIENT_CERTIFICATE_REF);
    let field = "spec.tls.backend.clientCertificateRef";
    let objection = found.objection.map(|it| {
        let text = format!("{field}: {}; {}", it.message, it.remedy);
        made.warn(object, field, it.message, it.remedy);
        text
    });
    let defect = found.defect.map(|it| {
        let text = format!("{field}: {}; {}", it.message, it.remedy);
        made.error(object, field, it.message, it.remedy);
        (it.reason, text)
    });
    BackendCertificate { usable: found.usable, defect, objection }
}
