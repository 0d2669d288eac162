//! The objects that queries read, by type.

use crate::compile::program::{Cluster, Reader};
use crate::resources::{
    BackendTlsPolicy, ConfigMap, EndpointSlice, Gateway, GatewayClass, GatewayParameters, GrpcRoute,
    HttpRoute, Kind, ListenerSet, Mesh, Meta, Namespace, Object, ObjectRef, Pod, ReferenceGrant, Secret,
    Service, TcpRoute, TlsRoute, UdpRoute, Unhandled,
};
use fairway_config::model::ObjectName;
use fairway_incremental::Input;
use std::sync::Arc;

/// The metadata of an object of any kind.
pub(super) fn meta(reader: &mut Reader<'_>, object: &ObjectRef) -> Option<Meta> {
    reader.object(object).map(|it| it.meta().clone())
}

macro_rules! inputs {
    ($key:ty, $name:expr; $($kind:ident),+ $(,)?) => {$(
        impl Input<Cluster> for $kind {
            type Key = $key;

            fn name(key: &$key) -> ObjectRef {
                $name(Kind::$kind, key)
            }

            fn of(object: &Object) -> Option<&Arc<Self>> {
                match object {
                    Object::$kind(it) => Some(it),
                    _ => None,
                }
            }
        }
    )+};
}

inputs! {
    ObjectName, ObjectRef::of;
    Service, EndpointSlice, Pod, Secret, ConfigMap, Gateway, ListenerSet, HttpRoute, GrpcRoute, TlsRoute, TcpRoute,
    UdpRoute, BackendTlsPolicy, ReferenceGrant, GatewayParameters,
}

// Those without a namespace.
inputs! {
    str, |kind, name: &str| ObjectRef::new(kind, "", name);
    Namespace, GatewayClass, Mesh,
}

/// Objects of several kinds.
impl Input<Cluster> for Unhandled {
    type Key = ObjectRef;

    fn name(key: &ObjectRef) -> ObjectRef {
        key.clone()
    }

    fn of(object: &Object) -> Option<&Arc<Self>> {
        match object {
            Object::Unhandled(it) => Some(it),
            _ => None,
        }
    }
}
