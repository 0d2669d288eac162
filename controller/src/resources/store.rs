//! The set of objects that is compiled.

use super::{BackendTlsPolicy, EndpointSlice, Secret, Service, TcpRoute, TlsRoute, UdpRoute};
use super::{ConfigMap, ListenerSet};
use super::{
    Gateway, GatewayClass, GatewayParameters, GrpcRoute, HttpRoute, Kind, Mesh, Namespace, Object, ObjectRef,
    Pod, ReferenceGrant,
};
use std::collections::HashMap;
use std::sync::Arc;

/// A change to the set of objects.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    /// A new or changed object.
    Upsert(Object),
    /// An object that is gone.
    Remove(ObjectRef),
}

/// The objects by their reference.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    objects: HashMap<ObjectRef, Object, ahash::RandomState>,
}

// === impl Edit ===

impl Edit {
    /// The object that changes.
    pub fn object(&self) -> ObjectRef {
        match self {
            Self::Upsert(object) => object.reference(),
            Self::Remove(reference) => reference.clone(),
        }
    }
}

// === impl Resources ===

impl Resources {
    /// An object.
    pub fn get(&self, reference: &ObjectRef) -> Option<&Object> {
        self.objects.get(reference)
    }

    /// Puts an object in; gives back what was there.
    pub fn insert(&mut self, object: Object) -> Option<Object> {
        self.objects.insert(object.reference(), object)
    }

    /// Takes an object out.
    pub fn remove(&mut self, reference: &ObjectRef) -> Option<Object> {
        self.objects.remove(reference)
    }

    /// Every object, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Object> {
        self.objects.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }
}

macro_rules! getters {
    ($($(#[$doc:meta])* $method:ident: $variant:ident -> $type:ty),+ $(,)?) => {
        impl Resources {$(
            $(#[$doc])*
            pub fn $method(&self, reference: &ObjectRef) -> Option<&Arc<$type>> {
                debug_assert_eq!(reference.kind, Kind::$variant);
                match self.objects.get(reference) {
                    Some(Object::$variant(it)) => Some(it),
                    _ => None,
                }
            }
        )+}
    };
}

getters! {
    /// A Namespace.
    namespace: Namespace -> Namespace,
    /// A Service.
    service: Service -> Service,
    /// An EndpointSlice.
    endpoint_slice: EndpointSlice -> EndpointSlice,
    /// A Pod.
    pod: Pod -> Pod,
    /// A Secret.
    secret: Secret -> Secret,
    /// A ConfigMap.
    config_map: ConfigMap -> ConfigMap,
    /// A GatewayClass.
    gateway_class: GatewayClass -> GatewayClass,
    /// A Gateway.
    gateway: Gateway -> Gateway,
    /// A ListenerSet.
    listener_set: ListenerSet -> ListenerSet,
    /// An HTTPRoute.
    http_route: HttpRoute -> HttpRoute,
    /// A GRPCRoute.
    grpc_route: GrpcRoute -> GrpcRoute,
    /// A TLSRoute.
    tls_route: TlsRoute -> TlsRoute,
    /// A TCPRoute.
    tcp_route: TcpRoute -> TcpRoute,
    /// A UDPRoute.
    udp_route: UdpRoute -> UdpRoute,
    /// A BackendTLSPolicy.
    backend_tls_policy: BackendTlsPolicy -> BackendTlsPolicy,
    /// A ReferenceGrant.
    reference_grant: ReferenceGrant -> ReferenceGrant,
    /// A GatewayParameters.
    gateway_parameters: GatewayParameters -> GatewayParameters,
    /// An XMesh.
    mesh: Mesh -> Mesh,
}
