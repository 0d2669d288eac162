//! Which ClientPolicy holds where.

use super::defect::is_understood;
use crate::compile::gateway::client_policies::{ClientsAt, ClientsClosed, ClientsOf};
use crate::compile::policy::attach::{self, Attachment};
use crate::compile::policy::merge::oldest_wins;
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::stage;
use crate::resources::client_policy::ClientField;
use crate::resources::{ClientPolicy, Gateway, Kind, ListenerSet, ObjectRef};
use fairway_incremental::{OfInput, Query};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Decides which policy holds for a Gateway or a ListenerSet, and for its listeners: of each field the oldest that has it. One of which
/// nobody can say what it asks for closes them, and has the fields that are known. What is decided is in sets, so that a policy is
/// looked at again only where another holds than before.
pub(in crate::compile) struct Decide;

impl Query<Cluster> for Decide {
    type Key = ObjectRef;
    type Value = ();
    const STAGE: u8 = stage::OBJECTS;

    fn run(object: &ObjectRef, reader: &mut Reader<'_>, made: &mut Made) {
        if !attach::is_attached::<ClientPolicy>(reader, object) {
            return;
        }
        let Some(names) = listeners(reader, object) else { return };
        let is_there = |listener: &Option<Arc<str>>| listener.as_ref().is_none_or(|it| names.contains(it));
        let attached = attach::attached::<ClientPolicy>(reader, object);
        for Attachment { policy, section: listener, .. } in attached.iter().filter(|it| is_there(&it.section))
        {
            let written = reader.input::<ClientPolicy>(&policy.object_name());
            if written.is_some_and(|it| !is_understood(&it)) {
                made.put(
                    ClientsClosed { object: object.clone(), listener: listener.clone() },
                    policy.clone(),
                );
                made.put(ClientsAt(object.clone()), policy.clone());
            }
        }
        for field in ClientField::ALL {
            let mut those = attached.clone();
            those.retain(|it| {
                let policy = reader.input::<ClientPolicy>(&it.policy.object_name());
                policy.is_some_and(|it| it.spec.has(field))
            });
            let policies = oldest_wins(&those, |it| names.contains(it));
            let sections: BTreeSet<Option<Arc<str>>> = those.into_iter().map(|it| it.section).collect();
            for listener in sections {
                let is_there = is_there(&listener);
                if let Some(policy) = policies.holder(listener.as_ref()).filter(|_| is_there) {
                    made.put(ClientsOf { object: object.clone(), listener, field }, policy.clone());
                    made.put(ClientsAt(object.clone()), policy.clone());
                }
            }
        }
    }
}

impl OfInput<Cluster> for Decide {
    fn of_input(name: &ObjectRef) -> Option<Self::Key> {
        matches!(name.kind, Kind::Gateway | Kind::ListenerSet).then(|| name.clone())
    }
}

/// The names of an object's listeners; none if the object does not exist.
pub(super) fn listeners(reader: &mut Reader<'_>, object: &ObjectRef) -> Option<BTreeSet<Arc<str>>> {
    let name = object.object_name();
    let names = match object.kind {
        Kind::Gateway => {
            let it = reader.input::<Gateway>(&name)?;
            it.spec.listeners.iter().map(|it| it.name.as_str().into()).collect()
        }
        Kind::ListenerSet => {
            let it = reader.input::<ListenerSet>(&name)?;
            it.spec.listeners.iter().map(|it| it.name.as_str().into()).collect()
        }
        _ => return None,
    };
    Some(names)
}
