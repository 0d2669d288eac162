//! What a Gateway asks of its clients: certificates, by port (GEP-91).

use crate::compile::gateway::reference::{Reference, join_authorities, resolve_authorities};
use crate::compile::program::{Made, Reader};
use crate::diagnostic::Diagnostic;
use crate::resources::{Gateway, ObjectRef};
use fairway_config::model::{ClientValidation, WithoutCertificate};
use fairway_gateway_api::gateways::{
    GatewayTlsFrontendDefaultValidation, GatewayTlsFrontendDefaultValidationMode,
    GatewayTlsFrontendPerPortTlsValidation, GatewayTlsFrontendPerPortTlsValidationMode,
};
use std::collections::BTreeMap;

/// What a Gateway asks of its clients.
#[derive(Debug, Default)]
pub(super) struct Clients {
    default: Option<Validation>,
    /// Ports with a say of their own, even if it is that nothing is asked.
    ports: BTreeMap<i32, Option<Validation>>,
}

/// How clients are validated on a port.
#[derive(Clone, Debug)]
pub(super) struct Validation {
    /// None when no reference leads to authorities: then nobody can be believed.
    pub usable: Option<ClientValidation>,
    /// Where it is written.
    pub field: String,
    /// What is wrong with the references; about the Gateway.
    pub errors: Vec<Diagnostic>,
    /// That authorities are not valid at present; about the Gateway.
    pub warnings: Vec<Diagnostic>,
    is_insecure: bool,
}

/// The two places where it is written have types of their own, with the same fields.
struct Written<'a> {
    references: Vec<Reference<'a>>,
    is_insecure: bool,
}

// === impl Clients ===

impl Clients {
    /// Reads `spec.tls.frontend`: the default, and the ports that differ from it.
    pub(super) fn read(
        reader: &mut Reader<'_>,
        object: &ObjectRef,
        gateway: &Gateway,
        made: &mut Made,
    ) -> Self {
        let Some(frontend) = gateway.spec.tls.as_ref().and_then(|it| it.frontend.as_ref()) else {
            return Self::default();
        };
        let mut resolve = |field: String, it: Written<'_>| resolve(reader, object, field, &it, made);
        let default = frontend.default.validation.as_ref().map(Written::from);
        let default = default.map(|it| resolve("spec.tls.frontend.default".to_owned(), it));
        let ports = frontend.per_port.iter().flatten().enumerate().map(|(index, it)| {
            let field = format!("spec.tls.frontend.perPort[{index}].tls");
            (it.port, it.tls.validation.as_ref().map(Written::from).map(|it| resolve(field, it)))
        });
        let ports = ports.collect();
        Self { default, ports }
    }

    /// How clients of HTTPS listeners are validated on a port; none when no certificate is asked for.
    pub(super) fn on(&self, port: i32) -> Option<&Validation> {
        self.ports.get(&port).map_or(self.default.as_ref(), Option::as_ref)
    }

    /// Whether clients without a valid certificate are served somewhere although one is asked for.
    pub(super) fn is_insecure(&self) -> bool {
        self.default.iter().chain(self.ports.values().flatten()).any(|it| it.is_insecure)
    }
}

fn resolve(
    reader: &mut Reader<'_>,
    object: &ObjectRef,
    field: String,
    written: &Written<'_>,
    made: &mut Made,
) -> Validation {
    let field = format!("{field}.validation.caCertificateRefs");
    let (mut found, mut errors, mut warnings) = (Vec::new(), Vec::new(), Vec::new());
    for (index, it) in written.references.iter().enumerate() {
        let field = format!("{field}[{index}]");
        match resolve_authorities(reader, object, *it) {
            Ok(mut it) => {
                let warning = it.warning.take().map(|it| it.under(&field).about(object));
                warning.iter().for_each(|it| made.report(object, it.clone()));
                warnings.extend(warning);
                found.push(it);
            }
            Err(error) => {
                let error = error.under(&field).about(object);
                made.report(object, error.clone());
                errors.push(error);
            }
        }
    }
    let without = match written.is_insecure {
        true => WithoutCertificate::Served,
        false => WithoutCertificate::Refused,
    };
    let trust = join_authorities(&found).unwrap_or_else(|error| {
        let error = error.under(&field).about(object);
        made.report(object, error.clone());
        errors.push(error);
        None
    });
    let usable = trust.map(|trust| ClientValidation { trust, without });
    Validation { usable, field, errors, warnings, is_insecure: written.is_insecure }
}

// === impl Written ===

macro_rules! written_from {
    ($($validation:ty, $mode:ty);+ $(;)?) => {$(
        impl<'a> From<&'a $validation> for Written<'a> {
            fn from(it: &'a $validation) -> Self {
                let references = it.ca_certificate_refs.iter().map(|it| Reference {
                    group: &it.group,
                    kind: &it.kind,
                    namespace: it.namespace.as_deref(),
                    name: &it.name,
                });
                let is_insecure = it.mode == Some(<$mode>::AllowInsecureFallback);
                Self { references: references.collect(), is_insecure }
            }
        }
    )+};
}

written_from! {
    GatewayTlsFrontendDefaultValidation, GatewayTlsFrontendDefaultValidationMode;
    GatewayTlsFrontendPerPortTlsValidation, GatewayTlsFrontendPerPortTlsValidationMode;
}
