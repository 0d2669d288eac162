//! The authentications of policies at the listeners of Gateways and ListenerSets.

use crate::compile::names::authentication::AuthenticationForm;
use crate::compile::program::{Cluster, Reader};
use crate::resources::{Kind, ObjectRef};
use fairway_config::model::{AuthenticationKey, ObjectName};
use fairway_incremental::Set;
use std::sync::Arc;

/// Policies that ask whoever comes by the listeners of a Gateway or a ListenerSet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) struct AuthenticatedBy {
    /// The Gateway or ListenerSet.
    pub object: ObjectRef,
    /// None is all of its listeners.
    pub listener: Option<Arc<str>>,
    /// The form that the policies have there.
    pub form: AuthenticationForm,
}

impl Set<Cluster> for AuthenticatedBy {
    type Member = ObjectRef;
}

/// The authentications of a listener of an object, which a Gateway serves: first those of the Gateway, which hold for the listeners that
/// ListenerSets add to it as well, then those of the object, then the listener's own. They hold for bytes, too, and then nothing passes:
/// bytes have no credentials.
pub(in crate::compile) fn authentications(
    reader: &mut Reader<'_>,
    gateway: &ObjectName,
    object: &ObjectRef,
    listener: &Arc<str>,
) -> Vec<AuthenticationKey> {
    let gateway = ObjectRef::from_name(Kind::Gateway, gateway);
    let mut places = vec![(gateway.clone(), None)];
    places.extend((*object != gateway).then(|| (object.clone(), None)));
    places.push((object.clone(), Some(listener.clone())));
    let mut keys = Vec::new();
    for (object, listener) in places {
        for form in [AuthenticationForm::Asking, AuthenticationForm::Closed] {
            let set = AuthenticatedBy { object: object.clone(), listener: listener.clone(), form };
            for policy in reader.members(&set).iter() {
                let key = form.key(&policy.object_name());
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
        }
    }
    keys
}
