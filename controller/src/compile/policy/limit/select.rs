//! Where the Gateways that a policy names find it.

use crate::compile::gateway::CountedBy;
use crate::compile::names::limit::LimitForm;
use crate::compile::policy::access::select::{has_no_listener, is_waypoint};
use crate::compile::policy::attach;
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::stage;
use crate::resources::{Kind, ObjectRef, RateLimitPolicy};
use fairway_config::model::ObjectName;
use fairway_incremental::{OfInput, Query};

/// Puts a policy where the Gateways that it names find it. Routes and Services look for it themselves.
pub(in crate::compile) struct Select;

impl Query<Cluster> for Select {
    type Key = ObjectName;
    type Value = ();
    const STAGE: u8 = stage::OBJECTS;

    fn run(name: &ObjectName, reader: &mut Reader<'_>, made: &mut Made) {
        let Some(policy) = reader.input::<RateLimitPolicy>(name) else { return };
        for target in attach::targets(&*policy) {
            let (gateway, section) = (target.object.object_name(), target.section);
            let (listener, form) = match target.object.kind {
                Kind::Gateway if is_waypoint(reader, &gateway) => (None, LimitForm::Closed),
                // It may mean any listener, and counts what comes by all of them.
                Kind::Gateway if section.as_ref().is_some_and(|it| has_no_listener(reader, &gateway, it)) => {
                    (None, LimitForm::Counting)
                }
                Kind::Gateway => (section, LimitForm::Counting),
                Kind::ListenerSet => (None, LimitForm::Closed),
                _ => continue,
            };
            let object = ObjectRef::of(Kind::RateLimitPolicy, name);
            made.put(CountedBy { object: target.object, listener, form }, object);
        }
    }
}

impl OfInput<Cluster> for Select {
    fn of_input(name: &ObjectRef) -> Option<Self::Key> {
        (name.kind == Kind::RateLimitPolicy).then(|| name.object_name())
    }
}
