//! Objects that are referred to and that nobody has: they are not there, or they cannot be read.

use crate::compile::inputs;
use crate::compile::program::{Cluster, Reader};
use crate::resources::{Kind, Object, ObjectRef};
use fairway_incremental::Set;
use std::sync::Arc;

/// Why there is no such object, in words for whoever refers to it.
#[derive(Debug)]
pub(in crate::compile) struct Absent {
    /// The object, and that it does not exist or cannot be read.
    pub message: String,
    pub remedy: &'static str,
}

/// Why an object is not found; `remedy` is for one that is not there.
pub(in crate::compile) fn absent(
    reader: &mut Reader<'_>,
    object: &ObjectRef,
    remedy: &'static str,
) -> Absent {
    match inputs::meta(reader, object).and_then(|it| it.unreadable) {
        Some(why) => Absent {
            message: format!("{object} cannot be read: {why}"),
            remedy: "correct it, or upgrade Fairway if it is from a newer version of the API",
        },
        None => Absent { message: format!("{object} does not exist"), remedy },
    }
}

/// What to do about a name that leads nowhere.
pub(in crate::compile) const CORRECT_NAME: &str = "create it, or correct the name";
/// The same of a reference with more parts than a name.
pub(in crate::compile) const CORRECT_REFERENCE: &str = "create it, or correct the reference";

/// ReferenceGrants of a namespace that cannot be read. What they grant is not granted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) struct UnreadGrants(pub Arc<str>);

impl Set<Cluster> for UnreadGrants {
    type Member = ObjectRef;

    fn of_input(name: &ObjectRef, object: &Object) -> Vec<(Self, ObjectRef)> {
        match object {
            Object::Unread(it) if it.kind == Kind::ReferenceGrant => {
                vec![(Self(it.meta.namespace.clone()), name.clone())]
            }
            _ => Vec::new(),
        }
    }
}
