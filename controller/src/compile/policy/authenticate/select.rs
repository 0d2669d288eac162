//! Where the Gateways and ListenerSets that a policy names find it.

use super::room::OfObject;
use crate::compile::gateway::AuthenticatedBy;
use crate::compile::names::authentication::AuthenticationForm;
use crate::compile::policy::access::select::{has_no_listener, is_waypoint};
use crate::compile::policy::attach;
use crate::compile::policy::limit::set_has_no_listener;
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::stage;
use crate::resources::{AuthenticationPolicy, Kind, ObjectRef};
use fairway_config::model::ObjectName;
use fairway_incremental::{OfInput, Query};

/// Puts a policy where the Gateways and ListenerSets that it names find it. Routes and Services look for it themselves.
pub(in crate::compile) struct Select;

impl Query<Cluster> for Select {
    type Key = ObjectName;
    type Value = ();
    const STAGE: u8 = stage::OBJECTS;

    fn run(name: &ObjectName, reader: &mut Reader<'_>, made: &mut Made) {
        let Some(policy) = reader.input::<AuthenticationPolicy>(name) else { return };
        let object = ObjectRef::from_name(Kind::AuthenticationPolicy, name);
        for target in attach::targets(&*policy) {
            let (named, section) = (target.object.object_name(), target.section);
            let (listener, form) = match target.object.kind {
                Kind::Gateway if is_waypoint(reader, &named) => (None, AuthenticationForm::Closed),
                // It may mean any listener, and asks at all of them.
                Kind::Gateway if section.as_ref().is_some_and(|it| has_no_listener(reader, &named, it)) => {
                    (None, AuthenticationForm::Asking)
                }
                Kind::ListenerSet
                    if section.as_ref().is_some_and(|it| set_has_no_listener(reader, &named, it)) =>
                {
                    (None, AuthenticationForm::Asking)
                }
                Kind::Gateway | Kind::ListenerSet => (section, AuthenticationForm::Asking),
                _ => continue,
            };
            let has = reader.get::<OfObject>(&target.object).place(&object, form, AuthenticationForm::Closed);
            let Some(has) = has else { continue };
            // What there is no room for closes the whole object.
            let listener = listener.filter(|_| has == form);
            made.put(AuthenticatedBy { object: target.object, listener, form: has }, object.clone());
        }
    }
}

impl OfInput<Cluster> for Select {
    fn of_input(name: &ObjectRef) -> Option<Self::Key> {
        (name.kind == Kind::AuthenticationPolicy).then(|| name.object_name())
    }
}
