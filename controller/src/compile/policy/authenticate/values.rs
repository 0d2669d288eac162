//! From what a policy says to what proxies ask for.

mod api_key;
mod jwt;
mod place;

use super::spec;
use crate::compile::policy::access::review::TOLD;
use crate::compile::policy::access::rules::counted;
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::stage;
use crate::diagnostic::{Diagnostic, Reason};
use crate::resources::access_policy::AccessOperation;
use crate::resources::authentication_policy::{AuthenticationPolicySpec, Exemption, Satisfy as Written};
use crate::resources::{AuthenticationPolicy, Kind, ObjectRef};
use fairway_config::model::{CredentialMethods, ObjectName, Satisfy};
use fairway_incremental::Query;
use fairway_policy::Condition;
use std::sync::Arc;

/// Compiles what a policy says.
pub(super) struct Compile;

/// What became of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Compiled {
    /// None if it cannot be carried out.
    pub methods: Option<CredentialMethods>,
    /// Why not, field by field. One that cannot be read says so itself.
    pub defects: Vec<Diagnostic>,
}

impl Query<Cluster> for Compile {
    type Key = ObjectName;
    type Value = Arc<Compiled>;
    const STAGE: u8 = stage::CHECKED;

    fn run(name: &ObjectName, reader: &mut Reader<'_>, _: &mut Made) -> Arc<Compiled> {
        let Some(policy) = reader.input::<AuthenticationPolicy>(name) else { return Arc::default() };
        let Some(spec) = spec(&policy) else { return Arc::default() };
        let mut defects = Defects::default();
        let methods = compile(reader, name, spec, &mut defects);
        let defects = defects.into_diagnostics();
        let methods = methods.filter(|_| defects.is_empty());
        Arc::new(Compiled { methods, defects })
    }
}

fn compile(
    reader: &mut Reader<'_>,
    name: &ObjectName,
    spec: &AuthenticationPolicySpec,
    defects: &mut Defects,
) -> Option<CredentialMethods> {
    let from = ObjectRef::from_name(Kind::AuthenticationPolicy, name);
    let api_keys = spec.api_key.as_ref().map(|it| api_key::compile(reader, &from, it, defects));
    let jwt = spec.jwt.as_ref().map(|it| jwt::compile(it, defects));
    if api_keys.is_none() && jwt.is_none() {
        defects.invalid("spec", "it asks for nothing");
    }
    let optional = spec.optional.unwrap_or_default();
    let satisfy = match spec.satisfy.unwrap_or_default() {
        Written::All => Satisfy::All,
        Written::Any => Satisfy::Any,
    };
    let exempt = spec.exempt.as_ref().map(|it| exempt(it, reader, defects)).unwrap_or_default();
    let jwt = jwt.unwrap_or_default();
    Some(CredentialMethods { optional, satisfy, exempt, api_keys: api_keys.flatten(), jwt })
}

/// What needs no credentials. An entry that says nothing would exempt everything.
fn exempt(written: &[Exemption], reader: &Reader<'_>, defects: &mut Defects) -> Vec<Vec<Condition>> {
    let field = "spec.exempt";
    if written.is_empty() {
        defects.invalid(field, "the list is empty; leave it out to exempt nothing");
    }
    for (index, it) in written.iter().enumerate() {
        if it.paths.is_empty() {
            defects.invalid(format!("{field}[{index}].paths"), "an exemption names a path");
        }
        if it.methods.as_ref().is_some_and(Vec::is_empty) {
            defects.invalid(
                format!("{field}[{index}].methods"),
                "the list is empty; leave it out for every method",
            );
        }
    }
    let operation = |it: &Exemption| AccessOperation {
        paths: Some(it.paths.clone()),
        methods: it.methods.clone(),
        ..AccessOperation::default()
    };
    let operations: Vec<AccessOperation> = written.iter().map(operation).collect();
    let (lists, invalid) = counted(field, &operations, &reader.settings());
    invalid.into_iter().for_each(|it| defects.invalid(it.field, it.reason));
    lists
}

/// What is wrong with a policy.
#[derive(Debug, Default)]
struct Defects {
    values: Vec<(String, String)>,
    /// What it refers to and cannot have. Told first: the rest may follow from it.
    referred: Option<Diagnostic>,
}

// === impl Defects ===

impl Defects {
    /// A value that is not valid.
    fn invalid(&mut self, field: impl Into<String>, reason: impl Into<String>) {
        self.values.push((field.into(), reason.into()));
    }

    /// A reference that leads to nothing that can be used.
    fn referred(&mut self, defect: Diagnostic) {
        self.referred.get_or_insert(defect);
    }

    fn into_diagnostics(self) -> Vec<Diagnostic> {
        let of_value = |(field, reason): (String, String)| {
            let code = Reason::AuthenticationPolicyValueInvalid;
            Diagnostic::error(code, field, reason, "correct the value")
        };
        self.referred.into_iter().chain(self.values.into_iter().map(of_value)).take(TOLD).collect()
    }
}
