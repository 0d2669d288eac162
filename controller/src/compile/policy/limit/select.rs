//! Where the Gateways and ListenerSets that a policy names find it.

use super::room::OfObject;
use crate::compile::gateway::CountedBy;
use crate::compile::names::limit::LimitForm;
use crate::compile::policy::access::select::{has_no_listener, is_waypoint};
use crate::compile::policy::attach;
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::stage;
use crate::resources::{Kind, ListenerSet, ObjectRef, RateLimitPolicy};
use fairway_config::model::ObjectName;
use fairway_incremental::{OfInput, Query};

/// Puts a policy where the Gateways and ListenerSets that it names find it. Routes and Services look for it themselves.
pub(in crate::compile) struct Select;

impl Query<Cluster> for Select {
    type Key = ObjectName;
    type Value = ();
    const STAGE: u8 = stage::OBJECTS;

    fn run(name: &ObjectName, reader: &mut Reader<'_>, made: &mut Made) {
        let Some(policy) = reader.input::<RateLimitPolicy>(name) else { return };
        let object = ObjectRef::from_name(Kind::RateLimitPolicy, name);
        for target in attach::targets(&*policy) {
            let (named, section) = (target.object.object_name(), target.section);
            let (listener, form) = match target.object.kind {
                Kind::Gateway if is_waypoint(reader, &named) => (None, LimitForm::Closed),
                // It may mean any listener, and counts what comes by all of them.
                Kind::Gateway if section.as_ref().is_some_and(|it| has_no_listener(reader, &named, it)) => {
                    (None, LimitForm::Counting)
                }
                Kind::ListenerSet
                    if section.as_ref().is_some_and(|it| set_has_no_listener(reader, &named, it)) =>
                {
                    (None, LimitForm::Counting)
                }
                Kind::Gateway | Kind::ListenerSet => (section, LimitForm::Counting),
                _ => continue,
            };
            let has = reader.get::<OfObject>(&target.object).place(&object, form, LimitForm::Closed);
            let Some(has) = has else { continue };
            // What there is no room for closes the whole object.
            let listener = listener.filter(|_| has == form);
            made.put(CountedBy { object: target.object, listener, form: has }, object.clone());
        }
    }
}

impl OfInput<Cluster> for Select {
    fn of_input(name: &ObjectRef) -> Option<Self::Key> {
        (name.kind == Kind::RateLimitPolicy).then(|| name.object_name())
    }
}

/// Whether a ListenerSet is there and does not have this listener.
pub(in crate::compile::policy) fn set_has_no_listener(
    reader: &mut Reader<'_>,
    set: &ObjectName,
    listener: &str,
) -> bool {
    reader.input::<ListenerSet>(set).is_some_and(|it| !it.spec.listeners.iter().any(|it| it.name == listener))
}
