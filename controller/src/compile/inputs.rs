//! The objects that queries read, by type.

use crate::compile::program::{Cluster, Reader};
use crate::resources::{self, Kind, Meta, Object, ObjectKey, ObjectRef, Unhandled, for_each_kind};
use fairway_config::model::ObjectName;
use fairway_incremental::Input;
use std::sync::Arc;

/// The metadata of an object of any kind.
pub(super) fn meta(reader: &mut Reader<'_>, object: &ObjectRef) -> Option<Meta> {
    reader.object(object).map(|it| it.meta().clone())
}

macro_rules! inputs {
    (objects { $($object:tt)+ } policies { $($policy:tt)+ } unhandled $unhandled:tt) => {
        inputs! { $($object)+ $($policy)+ }
    };
    ($($(#[$doc:meta])* $name:ident {
        kind: $kind:literal, group: $group:expr, versions: $versions:expr, key: $key:ident, $($column:tt)*
    })+) => {$(
        impl Input<Cluster> for resources::$name {
            type Key = $key;

            fn name(key: &$key) -> ObjectRef {
                key.object_ref(Kind::$name)
            }

            fn downcast(object: &Object) -> Option<&Arc<Self>> {
                match object {
                    Object::$name(it) => Some(it),
                    _ => None,
                }
            }
        }
    )+};
}

for_each_kind!(inputs);

/// Objects of several kinds.
impl Input<Cluster> for Unhandled {
    type Key = ObjectRef;

    fn name(key: &ObjectRef) -> ObjectRef {
        key.clone()
    }

    fn downcast(object: &Object) -> Option<&Arc<Self>> {
        match object {
            Object::Unhandled(it) => Some(it),
            _ => None,
        }
    }
}
