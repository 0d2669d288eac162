//! Which GatewayClasses are ours.

use crate::compile::program::Reader;
use crate::compile::settings::{CompileSettings, Mode};
use crate::provision::ProxyClass;
use crate::resources::GatewayClass;
use std::sync::Arc;

/// What kind of proxy a class stands for; none when it is another controller's.
pub(in crate::compile) fn classify(class: &GatewayClass, settings: &CompileSettings) -> Option<ProxyClass> {
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
pub(in crate::compile) struct Named {
    /// What kind of proxy it stands for.
    pub class: ProxyClass,
    /// The object; none when it was deleted, or cannot be read. An uninstall deletes it, and Gateways must not go with it.
    pub object: Option<Arc<GatewayClass>>,
    /// Why the object cannot be read, if that is why there is none.
    pub unreadable: Option<Arc<str>>,
}

/// Finds the class that a Gateway names; none when it is not ours.
pub(in crate::compile) fn named(reader: &mut Reader<'_>, name: &str) -> Option<Named> {
    let settings = reader.settings();
    if let Some(object) = reader.input::<GatewayClass>(name) {
        let (class, unreadable) = (classify(&object, &settings)?, object.meta.unreadable.clone());
        return Some(Named { class, object: Some(object).filter(|_| unreadable.is_none()), unreadable });
    }
    let class = match name {
        _ if settings.mode == Mode::Standalone => return None,
        it if it == &*settings.gateway_class => ProxyClass::Gateway,
        it if it == &*settings.waypoint_class => ProxyClass::Waypoint,
        _ => return None,
    };
    Some(Named { class, object: None, unreadable: None })
}
