//! GatewayClasses.

use super::ProxyClass;
use super::evaluation::Evaluation;
use super::features;
use super::parameters;
use super::reader::Reader;
use super::settings::{Mode, Settings};
use crate::resources::{GatewayClass, Kind, ObjectRef};
use crate::status::{ClassStatus, Condition, ObjectStatus, reason};
use std::sync::Arc;

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

/// The class that a Gateway names, if it is ours.
pub(super) struct Named {
    /// What kind of proxy it stands for.
    pub class: ProxyClass,
    /// The object; none when it was deleted. An uninstall deletes it, and Gateways must not go with it.
    pub object: Option<Arc<GatewayClass>>,
}

/// Finds the class that a Gateway names; none when it is not ours.
pub(super) fn named(reader: &mut Reader<'_>, name: &str) -> Option<Named> {
    let settings = reader.settings();
    if let Some(object) = reader.gateway_class(name) {
        return Some(Named { class: of(&object, &settings)?, object: Some(object) });
    }
    let class = match name {
        _ if settings.mode == Mode::Standalone => return None,
        it if it == &*settings.gateway_class => ProxyClass::Gateway,
        it if it == &*settings.waypoint_class => ProxyClass::Waypoint,
        _ => return None,
    };
    Some(Named { class, object: None })
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
        Err(error) => {
            let message = error.text();
            made.report(&object, error);
            Condition::fails(reason::ACCEPTED, reason::INVALID_PARAMETERS, message, generation)
        }
    };
    let version = format!("Fairway is built for Gateway API {}", fairway_gateway_api::BUNDLE_VERSION);
    let supported =
        Condition::holds(reason::SUPPORTED_VERSION, reason::SUPPORTED_VERSION, version, generation);
    let supported_features = features::of(kind);
    let status = ClassStatus { conditions: vec![accepted, supported], supported_features };
    made.statuses.push((object, ObjectStatus::GatewayClass(status)));
    made
}
