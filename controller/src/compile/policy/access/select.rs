//! Where the objects that a policy names find it.

use super::room::OfObject;
use super::{misplaced_field, without_section};
use crate::compile::gateway::JudgedBy;
use crate::compile::names::access::Form;
use crate::compile::names::class;
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::stage;
use crate::provision::ProxyClass;
use crate::resources::{AccessPolicy, Gateway, Kind, ObjectRef};
use fairway_config::model::ObjectName;
use fairway_incremental::{OfInput, Query};

/// Puts a policy where the Gateways that it names find it. Routes and Services look for it themselves; pods find it by
/// `select_pod`.
pub(in crate::compile) struct Select;

impl Query<Cluster> for Select {
    type Key = ObjectName;
    type Value = ();
    const STAGE: u8 = stage::OBJECTS;

    fn run(name: &ObjectName, reader: &mut Reader<'_>, made: &mut Made) {
        let Some(policy) = reader.input::<AccessPolicy>(name) else { return };
        let object = ObjectRef::from_name(Kind::AccessPolicy, name);
        for target in &policy.spec.targets {
            let kind = Kind::named(&target.group, &target.kind);
            let named = ObjectName::new(name.namespace.clone(), target.name.as_deref().unwrap_or_default());
            match kind {
                Some(Kind::Gateway) => {
                    let section = target.section_name.as_deref().filter(|it| !it.is_empty());
                    let (listener, form) = match section {
                        _ if is_waypoint(reader, &named) || misplaced_field(target).is_some() => {
                            (None, Form::Closed)
                        }
                        Some(it) if has_no_listener(reader, &named, it) => (None, without_section(&policy)),
                        section => (section.map(Into::into), Form::Gateway),
                    };
                    let at = ObjectRef::from_name(Kind::Gateway, &named);
                    let Some(has) = reader.get::<OfObject>(&at).form(&object, form) else { continue };
                    // What there is no room for closes the whole Gateway.
                    let listener = listener.filter(|_| has == form);
                    made.put(JudgedBy { object: at, listener, form: has }, object.clone());
                }
                Some(Kind::ListenerSet) => {
                    let at = ObjectRef::from_name(Kind::ListenerSet, &named);
                    made.put(JudgedBy { object: at, listener: None, form: Form::Closed }, object.clone());
                }
                _ => {}
            }
        }
    }
}

impl OfInput<Cluster> for Select {
    fn of_input(name: &ObjectRef) -> Option<Self::Key> {
        (name.kind == Kind::AccessPolicy).then(|| name.object_name())
    }
}

/// Whether a Gateway is a waypoint. Clients can pass it by, so policies cannot be carried out for all that it serves.
pub(in crate::compile::policy) fn is_waypoint(reader: &mut Reader<'_>, gateway: &ObjectName) -> bool {
    let Some(gateway) = reader.input::<Gateway>(gateway) else { return false };
    let class = class::named(reader, &gateway.spec.gateway_class_name);
    class.is_some_and(|it| it.class == ProxyClass::Waypoint)
}

/// Whether a Gateway is there and does not have this listener.
pub(in crate::compile::policy) fn has_no_listener(
    reader: &mut Reader<'_>,
    gateway: &ObjectName,
    listener: &str,
) -> bool {
    reader.input::<Gateway>(gateway).is_some_and(|it| !it.spec.listeners.iter().any(|it| it.name == listener))
}
