//! GatewayClasses.

use super::ProxyClass;
use super::evaluation::Evaluation;
use super::features;
use super::parameters;
use super::reader::Reader;
use super::settings::Settings;
use crate::resources::{GatewayClass, Kind, ObjectRef};
use crate::status::{ClassStatus, Condition, ObjectStatus, reason};

/// What kind of proxy a class stands for; none when it is another controller's.
pub(super) fn of(class: &GatewayClass, settings: &Settings) -> Option<ProxyClass> {
    if class.spec.controller_name != *settings.controller_name {
        return None;
    }
    // Further classes of ours (with other parameters) are for Gateways.
    match *class.meta.name == *settings.waypoint_class {
        true => Some(ProxyClass::Waypoint),
        false => Some(ProxyClass::Gateway),
    }
}

/// The status of a GatewayClass of ours.
pub(super) fn evaluate(reader: &mut Reader<'_>, name: &str) -> Evaluation {
    let mut made = Evaluation::default();
    let settings = reader.settings();
    let Some(class) = reader.gateway_class(name) else { return made };
    let Some(kind) = of(&class, &settings) else { return made };
    let object = ObjectRef::new(Kind::GatewayClass, "", name);
    let generation = class.meta.generation;
    let accepted = match parameters::of_class(reader, &class) {
        Ok(_) => Condition::holds(
            reason::ACCEPTED,
            reason::ACCEPTED,
            "Gateways of this class are served by Fairway",
            generation,
        ),
        Err(parameters::Defect { field, message, remedy }) => {
            made.error(&object, field, message.clone(), remedy.clone());
            let message = format!("{field}: {message}; {remedy}");
            Condition::fails(reason::ACCEPTED, reason::INVALID_PARAMETERS, message, generation)
        }
    };
    let version = format!("made for Gateway API {}", fairway_gateway_api::BUNDLE_VERSION);
    let supported =
        Condition::holds(reason::SUPPORTED_VERSION, reason::SUPPORTED_VERSION, version, generation);
    let supported_features = features::of(kind);
    let status = ClassStatus { conditions: vec![accepted, supported], supported_features };
    made.statuses.push((object, ObjectStatus::GatewayClass(status)));
    made
}
