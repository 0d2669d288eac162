//! `parametersRef`: how the proxies of a class, or of one Gateway, are run.

use crate::compile::program::Reader;
use crate::diagnostic::rule::qualified;
use crate::diagnostic::{Diagnostic, Reason};
use crate::provision::{Author, InvalidParameters, Parameters};
use crate::resources::gateway_parameters::GatewayParametersSpec;
use crate::resources::{Gateway, GatewayClass, GatewayParameters, Kind};
use fairway_config::model::ObjectName;
use std::sync::Arc;

const OF_CLASS: &str = "spec.parametersRef";
const OF_GATEWAY: &str = "spec.infrastructure.parametersRef";

/// The parameters a GatewayClass names, if they are in order.
pub(in crate::compile) fn of_class(
    reader: &mut Reader<'_>,
    class: &GatewayClass,
) -> Result<Option<Arc<GatewayParameters>>, Diagnostic> {
    let Some(named) = &class.spec.parameters_ref else { return Ok(None) };
    let Some(namespace) = named.namespace.as_deref() else {
        let message = format!("the namespace of {} {} is missing", named.kind, named.name);
        let remedy = "write the namespace";
        return Err(Diagnostic::error(Reason::ParametersNamespaceMissing, OF_CLASS, message, remedy));
    };
    let name = ObjectName::new(namespace, named.name.as_str());
    look_up(reader, OF_CLASS, (&named.group, &named.kind), &name, Author::Class).map(Some)
}

/// How a Gateway's proxy is run: its own parameters over those of its class.
pub(in crate::compile) fn of_gateway(
    reader: &mut Reader<'_>,
    name: &ObjectName,
    gateway: &Gateway,
    class: Option<&GatewayClass>,
) -> Result<Arc<Parameters>, Diagnostic> {
    let of_class = |class: &GatewayClass| {
        of_class(reader, class).map_err(|error| {
            let name = &class.meta.name;
            // What cannot be read is not known to be wrong.
            let (reason, message) = if error.reason == Reason::ParametersUnreadable {
                (error.reason, format!("GatewayClass {name}: {}", error.message))
            } else {
                let message = format!("the parameters of GatewayClass {name} are invalid: {}", error.message);
                (Reason::ClassParametersInvalid, message)
            };
            Diagnostic::error(reason, "spec.gatewayClassName", message, error.remedy)
        })
    };
    let defaults = class.map(of_class).transpose()?.flatten();
    let of_class = class.and_then(|it| it.spec.parameters_ref.as_ref());
    let is_of_class = |it: &ObjectName| {
        of_class
            .is_some_and(|named| named.name == *it.name && named.namespace.as_deref() == Some(&*it.namespace))
    };
    let named = gateway.spec.infrastructure.as_ref().and_then(|it| it.parameters_ref.as_ref());
    let own = named.map(|it| {
        // A local reference: the Gateway's own namespace (GEP-1867).
        let target = ObjectName::new(name.namespace.clone(), it.name.as_str());
        // What a class gives to all its Gateways it gives to this one as well.
        let author = if is_of_class(&target) { Author::Class } else { Author::Tenant };
        look_up(reader, OF_GATEWAY, (&it.group, &it.kind), &target, author)
    });
    let own = own.transpose()?;
    let spec = |it: &Option<Arc<GatewayParameters>>| -> Option<GatewayParametersSpec> {
        it.as_ref().map(|it| it.spec.clone())
    };
    // Both are in order by themselves, and then they are together.
    let parameters = Parameters::resolve(spec(&defaults).as_ref(), spec(&own).as_ref());
    parameters.map(Arc::new).map_err(|error| invalid(OF_GATEWAY, name, error))
}

fn invalid(field: &str, name: &ObjectName, error: InvalidParameters) -> Diagnostic {
    let message = format!("GatewayParameters {name}: {}: {}", error.field, error.message);
    Diagnostic::error(Reason::ParametersInvalid, field, message, error.remedy)
}

fn look_up(
    reader: &mut Reader<'_>,
    field: &'static str,
    (group, kind): (&str, &str),
    name: &ObjectName,
    author: Author,
) -> Result<Arc<GatewayParameters>, Diagnostic> {
    if Kind::named(group, kind) != Some(Kind::GatewayParameters) {
        let message = format!(
            "{} {} is not a kind of parameters that Fairway reads",
            qualified(group, kind),
            name.name
        );
        let remedy = format!("refer to an object of kind {} in group fairway.dev", Kind::GatewayParameters);
        return Err(Diagnostic::error(Reason::ParametersKindUnknown, field, message, remedy));
    }
    let Some(found) = reader.input::<GatewayParameters>(name) else {
        let message = format!("GatewayParameters {name} does not exist");
        let remedy = "create it, or correct the name";
        return Err(Diagnostic::error(Reason::ParametersNotFound, field, message, remedy));
    };
    if let Some(why) = &found.meta.unreadable {
        let message = format!(
            "GatewayParameters {name} cannot be read; proxies that run already stay as they are: {why}"
        );
        let remedy = "correct them, or upgrade Fairway if they are from a newer version";
        return Err(Diagnostic::error(Reason::ParametersUnreadable, field, message, remedy));
    }
    let in_order =
        Parameters::check(&found.spec).and_then(|_| reader.settings().rights.check(&found.spec, author));
    match in_order {
        Ok(()) => Ok(found),
        Err(error) => Err(invalid(field, name, error)),
    }
}
