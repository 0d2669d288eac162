//! What one policy asks for.

use crate::compile::gateway::reference::{Reference, join_authorities, resolve_authorities};
use crate::compile::ignored::Ignored;
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::stage;
use crate::diagnostic::rule::{policy_names_no_authority, policy_names_two_authorities};
use crate::diagnostic::{Diagnostic, Reason, only_remedy};
use crate::resources::{BackendTlsPolicy, Kind, ObjectRef};
use fairway_config::model::{BackendTls, BackendTrust, ObjectName, SubjectName};
use fairway_gateway_api::backendtlspolicies::{
    BackendTlsPolicyValidationSubjectAltNames, BackendTlsPolicyValidationSubjectAltNamesType as NameType,
};
use fairway_incremental::{OfInput, Query};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a policy asks for, as far as it can be done.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::compile) struct Validation {
    /// How to speak to the backends, or why the policy cannot be met.
    pub tls: Result<BackendTls, Diagnostic>,
    /// The references that lead nowhere.
    pub unresolved: Vec<Diagnostic>,
    /// That authorities which the references lead to are not valid at present.
    pub warnings: Vec<Diagnostic>,
    /// What of it has no effect.
    pub ignored: Ignored,
}

/// Looks at what a policy says.
pub(in crate::compile) struct Validate;

impl Query<Cluster> for Validate {
    type Key = ObjectName;
    type Value = Option<Arc<Validation>>;
    const STAGE: u8 = stage::OBJECTS;

    fn run(name: &ObjectName, reader: &mut Reader<'_>, made: &mut Made) -> Option<Arc<Validation>> {
        let policy = reader.input::<BackendTlsPolicy>(name)?;
        if let Some(why) = &policy.meta.unreadable {
            // Whoever read it has reported it.
            let message = format!("the policy cannot be read: {why}");
            let remedy = "correct it, or upgrade Fairway if it is from a newer version of the API";
            let error = Diagnostic::error(Reason::PolicyUnreadable, "", message, remedy);
            let (unresolved, warnings, ignored) = (Vec::new(), Vec::new(), Ignored::default());
            return Some(Arc::new(Validation { tls: Err(error), unresolved, warnings, ignored }));
        }
        let object = ObjectRef::from_name(Kind::BackendTlsPolicy, name);
        let (unresolved, warnings) = (Vec::new(), Vec::new());
        let mut inspection = Inspection { object, made, unresolved, warnings };
        let trust = trust(reader, &policy, &mut inspection);
        let names = names(&policy, &mut inspection);
        let tls = trust.and_then(|trust| {
            let (hostname, names) = names?;
            Ok(BackendTls { hostname, names, trust })
        });
        let Inspection { object, unresolved, warnings, .. } = inspection;
        let ignored = ignored(&policy, &object, made);
        Some(Arc::new(Validation { tls, unresolved, warnings, ignored }))
    }
}

impl OfInput<Cluster> for Validate {
    fn of_input(name: &ObjectRef) -> Option<Self::Key> {
        (name.kind == Kind::BackendTlsPolicy).then(|| name.object_name())
    }
}

/// What of a policy has no effect.
fn ignored(policy: &BackendTlsPolicy, object: &ObjectRef, made: &mut Made) -> Ignored {
    let mut ignored = Ignored::default();
    for key in policy.spec.options.iter().flat_map(BTreeMap::keys) {
        let field = format!("spec.options[{key}]");
        let message = "Fairway has no TLS options, so this one has no effect";
        ignored.note(made, object, Diagnostic::warning(Reason::PolicyTlsOption, field, message, "remove it"));
    }
    for (index, it) in policy.spec.target_refs.iter().enumerate() {
        if !it.group.is_empty() || it.kind != "Service" {
            let message = format!(
                "Fairway does not apply policies to {}/{}, so this target has no effect",
                it.group, it.kind
            );
            let field = format!("spec.targetRefs[{index}].kind");
            let warning =
                Diagnostic::warning(Reason::PolicyTargetKindUnknown, field, message, "refer to a Service");
            ignored.note(made, object, warning);
        }
    }
    ignored
}

/// Where defects are noted.
struct Inspection<'a> {
    object: ObjectRef,
    made: &'a mut Made,
    unresolved: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
}

impl Inspection<'_> {
    fn report(&mut self, error: Diagnostic) -> Diagnostic {
        self.made.report(&self.object, error.clone());
        error
    }
}

/// Who signs the backends' certificates. References that can be used are enough even if others cannot: fewer are
/// believed, never more.
fn trust(
    reader: &mut Reader<'_>,
    policy: &BackendTlsPolicy,
    inspection: &mut Inspection<'_>,
) -> Result<BackendTrust, Diagnostic> {
    let field = "spec.validation.caCertificateRefs";
    let written = &policy.spec.validation;
    let refs = written.ca_certificate_refs.as_deref().unwrap_or_default();
    let well_known = written.well_known_ca_certificates.as_deref().filter(|it| !it.is_empty());
    match (refs, well_known) {
        ([], Some("System")) => return Ok(BackendTrust::System),
        ([], Some(other)) => {
            let message = format!(
                "`{other}` is not a set of authorities that Fairway knows, so no connection to the backend can be made"
            );
            let (field, remedy) = (
                "spec.validation.wellKnownCACertificates",
                "use System, or refer to a ConfigMap in caCertificateRefs",
            );
            return Err(inspection.report(Diagnostic::error(
                Reason::WellKnownUnknown,
                field,
                message,
                remedy,
            )));
        }
        ([], None) => {
            return Err(inspection.report(policy_names_no_authority(field)));
        }
        (_, Some(_)) => {
            return Err(inspection.report(policy_names_two_authorities(field)));
        }
        (_, None) => {}
    }
    let mut found = Vec::new();
    for (index, written) in refs.iter().enumerate() {
        let reference = Reference {
            // The CRD's pattern lets `core` through, and people mean the core group by it.
            group: if written.group == "core" { "" } else { &written.group },
            kind: &written.kind,
            namespace: None,
            name: &written.name,
        };
        let object = inspection.object.clone();
        let field = format!("{field}[{index}]");
        match resolve_authorities(reader, &object, reference) {
            Ok(mut it) => {
                let warning = it.warning.take().map(|it| inspection.report(it.under(&field)));
                inspection.warnings.extend(warning);
                found.push(it);
            }
            Err(error) => {
                let error = inspection.report(error.under(&field));
                inspection.unresolved.push(error);
            }
        }
    }
    let joined = join_authorities(&found).map_err(|error| inspection.report(error.under(field)))?;
    joined.map(BackendTrust::Bundle).ok_or_else(|| {
        let whys = inspection.unresolved.iter().map(Diagnostic::statement);
        let message = format!("no reference leads to an authority: {}", whys.collect::<Vec<_>>().join("; "));
        let remedy = only_remedy(&inspection.unresolved).unwrap_or("correct one of the references");
        Diagnostic::error(Reason::PolicyAuthoritiesMissing, field, message, remedy)
    })
}

/// The SNI, and the names of which the backend has to bear one; none is the SNI.
fn names(
    policy: &BackendTlsPolicy,
    inspection: &mut Inspection<'_>,
) -> Result<(Arc<str>, Vec<SubjectName>), Diagnostic> {
    let written = &policy.spec.validation;
    let hostname: Arc<str> = written.hostname.as_str().into();
    if hostname.starts_with("*.") || !SubjectName::Dns(hostname.clone()).is_valid() {
        let message = format!("`{hostname}` is not a DNS name, so no connection to the backend can be made");
        let (field, remedy) = ("spec.validation.hostname", "write a DNS name without a wildcard");
        return Err(inspection.report(Diagnostic::error(
            Reason::PolicyHostnameInvalid,
            field,
            message,
            remedy,
        )));
    }
    let mut names = Vec::new();
    for (index, it) in written.subject_alt_names.iter().flatten().enumerate() {
        match subject_name(it) {
            Some(name) => names.push(name),
            None => {
                let field = format!("spec.validation.subjectAltNames[{index}]");
                let message = "this is not a name that a certificate can have, so no connection to the backend can be made";
                let remedy = "write a DNS name in hostname, or a URI in uri, as the type says";
                return Err(inspection.report(Diagnostic::error(
                    Reason::SubjectAltNameInvalid,
                    field,
                    message,
                    remedy,
                )));
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
