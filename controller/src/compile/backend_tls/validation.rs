//! What one policy asks for.

use crate::compile::evaluation::{Evaluation, Value};
use crate::compile::ignored::Ignored;
use crate::compile::reader::Reader;
use crate::resources::{BackendTlsPolicy, Kind, ObjectRef};
use crate::status::reason;
use fairway_config::model::{BackendTls, BackendTrust, ObjectName, SubjectName, TrustBundle};
use fairway_gateway_api::backendtlspolicies::{
    BackendTlsPolicyValidationSubjectAltNames, BackendTlsPolicyValidationSubjectAltNamesType as NameType,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a policy asks for, as far as it can be done.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::compile) struct Validation {
    /// How to speak to the backends, or why the policy cannot be met.
    pub tls: Result<BackendTls, Defect>,
    /// The references that lead nowhere.
    pub unresolved: Vec<Defect>,
    /// What of it has no effect.
    pub ignored: Ignored,
}

/// What is wrong: the API's word, and why.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::compile) struct Defect {
    pub reason: &'static str,
    pub message: String,
}

/// Looks at what a policy says.
pub(in crate::compile) fn check(reader: &mut Reader<'_>, name: &ObjectName) -> Evaluation {
    let mut made = Evaluation::default();
    let Some(policy) = reader.backend_tls_policy(name) else { return made };
    let mut inspection = Inspection { object: ObjectRef::of(Kind::BackendTlsPolicy, name), made: &mut made };
    let mut unresolved = Vec::new();
    let trust = trust(reader, &policy, &mut inspection, &mut unresolved);
    let names = names(&policy, &mut inspection);
    let tls = trust.and_then(|trust| {
        let (hostname, names) = names?;
        Ok(BackendTls { hostname, names, trust })
    });
    let ignored = ignored(&policy, &ObjectRef::of(Kind::BackendTlsPolicy, name), &mut made);
    made.value = Value::Validation(Arc::new(Validation { tls, unresolved, ignored }));
    made
}

/// What of a policy has no effect.
fn ignored(policy: &BackendTlsPolicy, object: &ObjectRef, made: &mut Evaluation) -> Ignored {
    let mut ignored = Ignored::default();
    for key in policy.spec.options.iter().flat_map(BTreeMap::keys) {
        let field = format!("spec.options[{key}]");
        ignored.note(made, object, field, "Fairway knows no options of TLS", "remove it");
    }
    for (index, it) in policy.spec.target_refs.iter().enumerate() {
        if !it.group.is_empty() || it.kind != "Service" {
            let message = format!("{}/{} has no backends that Fairway connects to", it.group, it.kind);
            let field = format!("spec.targetRefs[{index}].kind");
            ignored.note(made, object, field, &message, "name a Service");
        }
    }
    ignored
}

/// Where defects are noted.
struct Inspection<'a> {
    object: ObjectRef,
    made: &'a mut Evaluation,
}

impl Inspection<'_> {
    fn defect(&mut self, reason: &'static str, field: &str, message: String, remedy: &str) -> Defect {
        self.made.error(&self.object, field, message.clone(), remedy);
        Defect { reason, message: format!("{field}: {message}; {remedy}") }
    }
}

/// Who signs the backends' certificates. References that can be used are enough even if others cannot: fewer are
/// believed, never more.
fn trust(
    reader: &mut Reader<'_>,
    policy: &BackendTlsPolicy,
    inspection: &mut Inspection<'_>,
    unresolved: &mut Vec<Defect>,
) -> Result<BackendTrust, Defect> {
    let field = "spec.validation.caCertificateRefs";
    let written = &policy.spec.validation;
    let refs = written.ca_certificate_refs.as_deref().unwrap_or_default();
    let well_known = written.well_known_ca_certificates.as_deref().filter(|it| !it.is_empty());
    match (refs, well_known) {
        ([], Some("System")) => return Ok(BackendTrust::System),
        ([], Some(other)) => {
            let message = format!("`{other}` is no set of authorities that Fairway knows");
            let field = "spec.validation.wellKnownCACertificates";
            return Err(inspection.defect(
                reason::INVALID,
                field,
                message,
                "use System, or name a ConfigMap",
            ));
        }
        ([], None) => {
            let message = "nobody is named who signs the backend's certificate".to_owned();
            let remedy = "name a ConfigMap, or set wellKnownCACertificates to System";
            return Err(inspection.defect(reason::INVALID, field, message, remedy));
        }
        (_, Some(_)) => {
            let message = "cannot stand together with wellKnownCACertificates".to_owned();
            return Err(inspection.defect(reason::INVALID, field, message, "keep one of them"));
        }
        (_, None) => {}
    }
    let mut found: Vec<Arc<str>> = Vec::new();
    for (index, it) in refs.iter().enumerate() {
        let field = format!("{field}[{index}]");
        let name = ObjectName::new(policy.meta.namespace.clone(), it.name.as_str());
        let held = match (it.group.as_str(), it.kind.as_str()) {
            ("" | "core", "ConfigMap") => reader.config_map(&name).map(|it| it.authorities.clone()),
            ("" | "core", "Secret") => reader.secret(&name).map(|it| it.authorities.clone()),
            (group, kind) => {
                let message = format!("{group}/{kind} cannot hold certificates of authorities");
                unresolved.push(inspection.defect(
                    reason::INVALID_KIND,
                    &format!("{field}.kind"),
                    message,
                    "refer to a ConfigMap",
                ));
                continue;
            }
        };
        let text = match held {
            None => Err(format!("{} {name} does not exist", it.kind)),
            Some(None) => Err(format!("{} {name} has no data `ca.crt`", it.kind)),
            Some(Some(text)) => match TrustBundle::from_pem(&text) {
                Ok(_) => Ok(text),
                Err(error) => Err(format!("{} {name}: {error}", it.kind)),
            },
        };
        match text {
            Ok(text) => found.push(text),
            Err(message) => {
                let remedy = "put PEM certificates of authorities in ca.crt";
                unresolved.push(inspection.defect(
                    reason::INVALID_CA_CERTIFICATE_REF,
                    &field,
                    message,
                    remedy,
                ));
            }
        }
    }
    // Each was in order, so all are; none at all is not.
    TrustBundle::from_pem(&found.join("\n")).map(BackendTrust::Bundle).map_err(|_| {
        let all: Vec<&str> = unresolved.iter().map(|it| it.message.as_str()).collect();
        Defect { reason: reason::NO_VALID_CA_CERTIFICATE, message: all.join(". ") }
    })
}

/// The SNI, and the names of which the backend has to bear one; none is the SNI.
fn names(
    policy: &BackendTlsPolicy,
    inspection: &mut Inspection<'_>,
) -> Result<(Arc<str>, Vec<SubjectName>), Defect> {
    let written = &policy.spec.validation;
    let hostname: Arc<str> = written.hostname.as_str().into();
    if hostname.starts_with("*.") || !SubjectName::Dns(hostname.clone()).is_valid() {
        let message = format!("`{hostname}` is no hostname");
        let field = "spec.validation.hostname";
        return Err(inspection.defect(reason::INVALID, field, message, "write a DNS name"));
    }
    let mut names = Vec::new();
    for (index, it) in written.subject_alt_names.iter().flatten().enumerate() {
        match subject_name(it) {
            Some(name) => names.push(name),
            None => {
                let field = format!("spec.validation.subjectAltNames[{index}]");
                let message = "is no name that a certificate can bear".to_owned();
                let remedy = "write a DNS name as hostname, or a URI as uri, as the type says";
                return Err(inspection.defect(reason::INVALID, &field, message, remedy));
            }
        }
    }
    Ok((hostname, names))
}

fn subject_name(written: &BackendTlsPolicyValidationSubjectAltNames) -> Option<SubjectName> {
    let name = match written.r#type {
        NameType::Hostname => SubjectName::Dns(written.hostname.as_deref()?.into()),
        NameType::Uri => SubjectName::Uri(written.uri.as_deref()?.into()),
    };
    name.is_valid().then_some(name)
}
