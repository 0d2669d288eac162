//! Which ClientPolicy holds where.

use crate::compile::gateway::client_address::{ClientsAt, ClientsOf};
use crate::compile::policy::attach;
use crate::compile::policy::merge::{Direct, oldest_wins};
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::stage;
use crate::resources::{ClientPolicy, Gateway, Kind, ListenerSet, ObjectRef};
use fairway_incremental::{OfInput, Query};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Decides which policy holds for a Gateway or a ListenerSet, and for its listeners.
pub(in crate::compile) struct Decide;

impl Query<Cluster> for Decide {
    type Key = ObjectRef;
    type Value = Option<Arc<Direct>>;
    const STAGE: u8 = stage::OBJECTS;

    fn run(object: &ObjectRef, reader: &mut Reader<'_>, made: &mut Made) -> Option<Arc<Direct>> {
        if !attach::is_attached::<ClientPolicy>(reader, object) {
            return None;
        }
        let names = listeners(reader, object)?;
        let attached = attach::attached::<ClientPolicy>(reader, object);
        let policies = oldest_wins(&attached, |it| names.contains(it));
        let sections: BTreeSet<Option<Arc<str>>> = attached.into_iter().map(|it| it.section).collect();
        for listener in sections {
            let is_there = listener.as_ref().is_none_or(|it| names.contains(it));
            if let Some(policy) = policies.holder(listener.as_ref()).filter(|_| is_there) {
                made.put(ClientsOf { object: object.clone(), listener }, policy.clone());
                made.put(ClientsAt(object.clone()), policy.clone());
            }
        }
        Some(Arc::new(policies))
    }
}

impl OfInput<Cluster> for Decide {
    fn of_input(name: &ObjectRef) -> Option<Self::Key> {
        matches!(name.kind, Kind::Gateway | Kind::ListenerSet).then(|| name.clone())
    }
}

/// The names of an object's listeners; none if the object does not exist.
fn listeners(reader: &mut Reader<'_>, object: &ObjectRef) -> Option<BTreeSet<Arc<str>>> {
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
