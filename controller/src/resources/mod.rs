//! The Kubernetes objects that matter, parsed and cut down to what compiling needs.
//!
//! Objects of the Gateway API keep their generated spec; of core objects only the fields that are read are kept, so
//! that a cluster's Pods cost hundreds of bytes each and not kilobytes.

pub mod access_policy;
mod address;
mod api_resource;
pub mod authentication_policy;
mod authorities;
pub mod client_policy;
mod config_map;
mod core;
mod definition;
mod duration;
mod endpoint_slice;
mod gateway;
pub mod gateway_parameters;
mod kind;
mod listener_set;
mod mesh;
mod meta;
mod node;
mod object;
pub mod policy_status;
pub(crate) mod probe;
pub(crate) mod provenance;
pub(crate) mod proxy_pod;
pub mod rate_limit_policy;
mod secret;
mod selector;
mod static_pod;
mod store;
mod table;
mod trust_bundle;
mod unhandled;
mod unread;
mod unreadable;

pub use self::core::{
    ContainerPort, Distribution, Namespace, Pod, Service, ServiceKind, ServicePort, TargetPort, Transport,
};
pub use address::{Address, AssignedAddress, Routability};
pub use api_resource::ApiResource;
pub(crate) use api_resource::group_path;
pub use authorities::{Authorities, BundlePeriods, OutOfPeriod};
pub use config_map::ConfigMap;
pub use definition::Definition;
pub(crate) use duration::{InvalidDuration, parse_duration};
pub use endpoint_slice::{AddressSlice, EndpointSlice, SliceEndpoint, SlicePort};
pub use gateway::{Gateway, IMPLIED};
pub(crate) use kind::ObjectKey;
pub use kind::{Kind, ObjectRef, RouteKind};
pub use listener_set::ListenerSetSpec;
pub use mesh::MeshSpec;
pub use meta::Meta;
pub use node::Node;
pub use object::{InvalidObject, Object, Typed};
pub use provenance::{Controller, Provenance};
pub use secret::{CREDENTIALS, Credentials, LastGoodPair, Secret};
pub use selector::{InvalidSelector, Requirement, Selector};
pub use store::{Edit, Resources};
pub(crate) use table::for_each_kind;
pub use trust_bundle::ClusterTrustBundle;
pub use unhandled::Unhandled;
pub use unread::Unread;
pub use unreadable::Unreadable;

use fairway_gateway_api as api;

macro_rules! types {
    (objects { $($object:tt)+ } policies { $($policy:tt)+ } unhandled $unhandled:tt) => {
        types! { $($object)+ $($policy)+ }
    };
    ($($(#[$doc:meta])* $name:ident { $($column:tt)+ })+) => {
        $(typed! { $(#[$doc])* $name { $($column)+ } })+
    };
}

/// The type of a kind, from its spec. A kind without that column has a type of its own.
macro_rules! typed {
    ($(#[$doc:meta])* $name:ident {
        kind: $kind:literal, group: $group:expr, versions: $versions:expr, key: $key:ident,
        spec: $spec:ty, $($column:tt)*
    }) => {
        $(#[$doc])*
        pub type $name = Typed<$spec>;
    };
    ($($own:tt)+) => {};
}

for_each_kind!(types);
