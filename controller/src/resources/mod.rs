//! The Kubernetes objects that matter, parsed and cut down to what compiling needs.
//!
//! Objects of the Gateway API keep their generated spec; of core objects only the fields that are read are kept, so
//! that a cluster's Pods cost hundreds of bytes each and not kilobytes.

mod address;
mod config_map;
mod core;
mod endpoint_slice;
mod gateway;
pub mod gateway_parameters;
mod kind;
mod listener_set;
mod mesh;
mod meta;
mod object;
pub(crate) mod probe;
mod provenance;
mod secret;
mod selector;
mod store;
mod unhandled;

pub use self::core::{
    ContainerPort, Distribution, Namespace, Pod, Service, ServiceKind, ServicePort, TargetPort, Transport,
};
pub use address::{Address, AssignedAddress, Routability};
pub use config_map::ConfigMap;
pub use endpoint_slice::{AddressSlice, EndpointSlice, SliceEndpoint, SlicePort};
pub use gateway::{Gateway, IMPLIED};
pub use kind::{Kind, ObjectRef, RouteKind};
pub use listener_set::ListenerSetSpec;
pub use mesh::MeshSpec;
pub use meta::Meta;
pub use object::{InvalidObject, Object, Typed};
pub use provenance::{Controller, Provenance};
pub use secret::{LastGoodPair, Secret};
pub use selector::{InvalidSelector, Requirement, Selector};
pub use store::{Edit, Resources};
pub use unhandled::Unhandled;

use fairway_gateway_api as api;

/// A GatewayClass: which controller serves its Gateways, and with which parameters.
pub type GatewayClass = Typed<api::gatewayclasses::GatewayClassSpec>;
/// A ListenerSet: listeners that another namespace may add to a Gateway (GEP-1713).
pub type ListenerSet = Typed<ListenerSetSpec>;
/// An XMesh: the object that the mesh reports on (GEP-3949).
pub type Mesh = Typed<MeshSpec>;
/// An HTTPRoute with the spec that the CRD's schema allows.
pub type HttpRoute = Typed<api::httproutes::HttpRouteSpec>;
/// A GRPCRoute with the spec that the CRD's schema allows.
pub type GrpcRoute = Typed<api::grpcroutes::GrpcRouteSpec>;
/// A GatewayParameters: how the proxies of a class or of one Gateway are run.
pub type GatewayParameters = Typed<gateway_parameters::GatewayParametersSpec>;
/// A TLSRoute with the spec that the CRD's schema allows.
pub type TlsRoute = Typed<api::tlsroutes::TlsRouteSpec>;
/// A TCPRoute with the spec that the CRD's schema allows.
pub type TcpRoute = Typed<api::tcproutes::TcpRouteSpec>;
/// A UDPRoute with the spec that the CRD's schema allows.
pub type UdpRoute = Typed<api::udproutes::UdpRouteSpec>;
/// A BackendTLSPolicy: how Gateways speak TLS to the ports of a Service (GEP-1897).
pub type BackendTlsPolicy = Typed<api::backendtlspolicies::BackendTlsPolicySpec>;
/// A ReferenceGrant: which objects of other namespaces may refer to objects of this one.
pub type ReferenceGrant = Typed<api::referencegrants::ReferenceGrantSpec>;
