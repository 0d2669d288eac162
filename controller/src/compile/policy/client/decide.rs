//! Which ClientPolicy holds where.

use crate::compile::gateway::client_policies::{ClientsAt, ClientsOf};
use crate::compile::policy::attach;
use crate::compile::policy::merge::{Direct, oldest_wins};
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::stage;
use crate::resources::client_policy::ClientField;
use crate::resources::{ClientPolicy, Gateway, Kind, ListenerSet, ObjectRef};
use fairway_incremental::{OfInput, Query};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The policies that hold for an object and for its listeners, of each field.
pub(in crate::compile) type ByField = BTreeMap<ClientField, Direct>;

/// Decides which policy holds for a Gateway or a ListenerSet, and for its listeners: of each field the oldest that has it.
pub(in crate::compile) struct Decide;

impl Query<Cluster> for Decide {
    type Key = ObjectRef;
    type Value = Option<Arc<ByField>>;
    const STAGE: u8 = stage::OBJECTS;

    fn run(object: &ObjectRef, reader: &mut Reader<'_>, made: &mut Made) -> Option<Arc<ByField>> {
        if !attach::is_attached::<ClientPolicy>(reader, object) {
            return None;
        }
        let names = listeners(reader, object)?;
        let attached = attach::attached::<ClientPolicy>(reader, object);
        let mut by_field = ByField::new();
        for field in ClientField::ALL {
            let mut those = attached.clone();
            those.retain(|it| {
                let policy = reader.input::<ClientPolicy>(&it.policy.object_name());
                policy.is_some_and(|it| it.spec.has(field))
            });
            let policies = oldest_wins(&those, |it| names.contains(it));
            let sections: BTreeSet<Option<Arc<str>>> = those.into_iter().map(|it| it.section).collect();
            for listener in sections {
                let is_there = listener.as_ref().is_none_or(|it| names.contains(it));
                if let Some(policy) = policies.holder(listener.as_ref()).filter(|_| is_there) {
                    made.put(ClientsOf { object: object.clone(), listener, field }, policy.clone());
                    made.put(ClientsAt(object.clone()), policy.clone());
                }
            }
            by_field.insert(field, policies);
        }
        Some(Arc::new(by_field))
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
