//! ReferenceGrants: whether an object of one namespace may name an object of another.

use super::absent::UnreadGrants;
use crate::compile::program::{Cluster, Reader};
use crate::resources::{Kind, Object, ObjectRef, ReferenceGrant};
use fairway_incremental::Set;
use std::sync::Arc;

/// ReferenceGrants of a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) struct Grants(pub Arc<str>);

impl Set<Cluster> for Grants {
    type Member = ObjectRef;

    fn of_input(name: &ObjectRef, object: &Object) -> Vec<(Self, ObjectRef)> {
        match object {
            Object::ReferenceGrant(it) => vec![(Self(it.meta.namespace.clone()), name.clone())],
            _ => Vec::new(),
        }
    }
}

/// Whether `kind` of namespace `from` may name `target` called `name` of namespace `to`.
pub(in crate::compile) fn permits(
    reader: &mut Reader<'_>,
    (kind, from): (Kind, &Arc<str>),
    (target, to, name): (Kind, &Arc<str>, &str),
) -> bool {
    if from == to {
        return true;
    }
    let grants = reader.members(&Grants(to.clone()));
    grants.iter().any(|it| {
        let Some(grant) = reader.input::<ReferenceGrant>(&it.object_name()) else { return false };
        let from_matches = grant
            .spec
            .from
            .iter()
            .any(|it| it.group == kind.group() && it.kind == kind.as_str() && it.namespace == **from);
        // An empty name is as none: it grants every object of the kind.
        let to_matches = grant.spec.to.iter().any(|it| {
            it.group == target.group()
                && it.kind == target.as_str()
                && it.name.as_deref().is_none_or(|it| it.is_empty() || it == name)
        });
        from_matches && to_matches
    })
}

/// That a namespace does not grant the use of its object. A grant of it that cannot be read may be the one that is missing. What is wrong
/// with that one is not told here: whoever refers may be of another tenant.
pub(in crate::compile) fn refusal(reader: &mut Reader<'_>, target: &ObjectRef) -> String {
    let unread = reader.members(&UnreadGrants(target.namespace.clone()));
    let unread = unread.first().map(|it| format!("; {it} cannot be read, so it grants nothing"));
    let unread = unread.unwrap_or_default();
    format!("{target} is in another namespace, which does not grant its use{unread}")
}

/// The remedy for a reference that no grant allows.
pub(in crate::compile) fn remedy(
    (kind, from): (Kind, &str),
    (target, to, name): (Kind, &str, &str),
) -> String {
    format!(
        "create a ReferenceGrant in namespace {to} with from {{group: {}, kind: {kind}, namespace: {from}}} and to \
         {{group: \"{}\", kind: {target}, name: {name}}}",
        kind.group(),
        target.group(),
    )
}
