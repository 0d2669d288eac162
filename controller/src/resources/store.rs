//! The set of objects that is compiled.

use super::{BackendTlsPolicy, EndpointSlice, Secret, Service, TcpRoute, TlsRoute, UdpRoute};
use super::{ConfigMap, ListenerSet, Unhandled};
use super::{
    Gateway, GatewayClass, GatewayParameters, GrpcRoute, HttpRoute, Kind, Mesh, Namespace, Object, ObjectRef,
    Pod, ReferenceGrant,
};
use std::collections::{BTreeMap, HashMap};
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
    by_kind: BTreeMap<Kind, usize>,
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
        let reference = object.reference();
        let kind = reference.kind;
        let before = self.objects.insert(reference, object);
        if before.is_none() {
            *self.by_kind.entry(kind).or_default() += 1;
        }
        before
    }

    /// Takes an object out.
    pub fn remove(&mut self, reference: &ObjectRef) -> Option<Object> {
        let removed = self.objects.remove(reference);
        if removed.is_some() {
            self.by_kind.entry(reference.kind).and_modify(|it| *it -= 1);
        }
        removed
    }

    /// Every object, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Object> {
        self.objects.values()
    }

    /// How many there are of a kind.
    pub fn count(&self, kind: Kind) -> usize {
        self.by_kind.get(&kind).copied().unwrap_or_default()
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

impl Resources {
    /// An object of a kind that is not carried out.
    pub fn unhandled(&self, reference: &ObjectRef) -> Option<&Arc<Unhandled>> {
        match self.objects.get(reference) {
            Some(Object::Unhandled(it)) => Some(it),
            _ => None,
        }
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
