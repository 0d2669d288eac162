//! An object of any kind, and how it is made from a manifest.

use super::{
    BackendTlsPolicy, EndpointSlice, Gateway, GatewayClass, GatewayParameters, GrpcRoute, HttpRoute, Kind,
    Mesh, Meta, Namespace,
};
use super::{ConfigMap, ListenerSet, Unhandled};
use super::{ObjectRef, Pod, ReferenceGrant, Secret, Service, TcpRoute, TlsRoute, UdpRoute};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::Arc;

/// An object of the Gateway API: its metadata and its generated spec. Its status is not kept: what others wrote there
/// concerns only the status writer. (Of a [`Gateway`] and of routes one word of it is.)
#[derive(Clone, Debug, PartialEq)]
pub struct Typed<S> {
    /// Name, namespace, labels, generation.
    pub meta: Meta,
    /// What it asks for.
    pub spec: S,
}

/// An object of any kind that is read.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Object {
    Namespace(Arc<Namespace>),
    Service(Arc<Service>),
    EndpointSlice(Arc<EndpointSlice>),
    Pod(Arc<Pod>),
    Secret(Arc<Secret>),
    ConfigMap(Arc<ConfigMap>),
    GatewayClass(Arc<GatewayClass>),
    Gateway(Arc<Gateway>),
    ListenerSet(Arc<ListenerSet>),
    HttpRoute(Arc<HttpRoute>),
    GrpcRoute(Arc<GrpcRoute>),
    TlsRoute(Arc<TlsRoute>),
    TcpRoute(Arc<TcpRoute>),
    UdpRoute(Arc<UdpRoute>),
    BackendTlsPolicy(Arc<BackendTlsPolicy>),
    ReferenceGrant(Arc<ReferenceGrant>),
    GatewayParameters(Arc<GatewayParameters>),
    Mesh(Arc<Mesh>),
    Unhandled(Arc<Unhandled>),
}

/// A manifest that does not have the form of its kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct InvalidObject {
    /// The path of the field, `.` for the whole object.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
}

// === impl Object ===

impl Object {
    /// Parses a manifest of a kind. The API's own schema is checked before (see `source::schema`): what fails here has
    /// the wrong types.
    pub fn parse(kind: Kind, manifest: Value) -> Result<Self, InvalidObject> {
        Ok(match kind {
            Kind::Namespace => Self::Namespace(Arc::new(Namespace::new(typed(manifest)?))),
            Kind::Service => Self::Service(Arc::new(Service::new(typed(manifest)?)?)),
            Kind::EndpointSlice => Self::EndpointSlice(Arc::new(EndpointSlice::new(typed(manifest)?)?)),
            Kind::Pod => Self::Pod(Arc::new(Pod::new(typed(manifest)?)?)),
            Kind::Secret => Self::Secret(Arc::new(Secret::new(typed(manifest)?))),
            Kind::ConfigMap => Self::ConfigMap(Arc::new(ConfigMap::new(typed(manifest)?))),
            Kind::GatewayClass => Self::GatewayClass(with_spec(manifest, kind)?),
            Kind::Gateway => Self::Gateway(Arc::new(gateway(manifest)?)),
            Kind::ListenerSet => Self::ListenerSet(with_spec(manifest, kind)?),
            Kind::HttpRoute => Self::HttpRoute(with_spec(manifest, kind)?),
            Kind::GrpcRoute => Self::GrpcRoute(with_spec(manifest, kind)?),
            Kind::TlsRoute => Self::TlsRoute(with_spec(manifest, kind)?),
            Kind::TcpRoute => Self::TcpRoute(with_spec(manifest, kind)?),
            Kind::UdpRoute => Self::UdpRoute(with_spec(manifest, kind)?),
            Kind::BackendTlsPolicy => Self::BackendTlsPolicy(with_spec(manifest, kind)?),
            Kind::ReferenceGrant => Self::ReferenceGrant(with_spec(manifest, kind)?),
            Kind::GatewayParameters => Self::GatewayParameters(with_spec(manifest, kind)?),
            Kind::Mesh => Self::Mesh(with_spec(manifest, kind)?),
            Kind::BackendTrafficPolicy | Kind::TelemetryPolicy | Kind::ExternalBackend => {
                Self::Unhandled(Arc::new(Unhandled::new(kind, manifest)?))
            }
        })
    }

    /// The kind that the object was parsed as.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Namespace(_) => Kind::Namespace,
            Self::Service(_) => Kind::Service,
            Self::EndpointSlice(_) => Kind::EndpointSlice,
            Self::Pod(_) => Kind::Pod,
            Self::Secret(_) => Kind::Secret,
            Self::ConfigMap(_) => Kind::ConfigMap,
            Self::GatewayClass(_) => Kind::GatewayClass,
            Self::Gateway(_) => Kind::Gateway,
            Self::ListenerSet(_) => Kind::ListenerSet,
            Self::HttpRoute(_) => Kind::HttpRoute,
            Self::GrpcRoute(_) => Kind::GrpcRoute,
            Self::TlsRoute(_) => Kind::TlsRoute,
            Self::TcpRoute(_) => Kind::TcpRoute,
            Self::UdpRoute(_) => Kind::UdpRoute,
            Self::BackendTlsPolicy(_) => Kind::BackendTlsPolicy,
            Self::ReferenceGrant(_) => Kind::ReferenceGrant,
            Self::GatewayParameters(_) => Kind::GatewayParameters,
            Self::Mesh(_) => Kind::Mesh,
            Self::Unhandled(it) => it.kind,
        }
    }

    /// The metadata, which every kind has.
    pub fn meta(&self) -> &Meta {
        match self {
            Self::Namespace(it) => &it.meta,
            Self::Service(it) => &it.meta,
            Self::EndpointSlice(it) => &it.meta,
            Self::Pod(it) => &it.meta,
            Self::Secret(it) => &it.meta,
            Self::ConfigMap(it) => &it.meta,
            Self::GatewayClass(it) => &it.meta,
            Self::Gateway(it) => &it.meta,
            Self::ListenerSet(it) => &it.meta,
            Self::HttpRoute(it) => &it.meta,
            Self::GrpcRoute(it) => &it.meta,
            Self::TlsRoute(it) => &it.meta,
            Self::TcpRoute(it) => &it.meta,
            Self::UdpRoute(it) => &it.meta,
            Self::BackendTlsPolicy(it) => &it.meta,
            Self::ReferenceGrant(it) => &it.meta,
            Self::GatewayParameters(it) => &it.meta,
            Self::Mesh(it) => &it.meta,
            Self::Unhandled(it) => &it.meta,
        }
    }

    /// Its name among all objects.
    pub fn reference(&self) -> ObjectRef {
        let meta = self.meta();
        ObjectRef { kind: self.kind(), namespace: meta.namespace.clone(), name: meta.name.clone() }
    }
}

/// What its status says is added by whoever has seen it in a cluster.
fn gateway(manifest: Value) -> Result<Gateway, InvalidObject> {
    let Typed { meta, spec } = Arc::unwrap_or_clone(with_spec(manifest, Kind::Gateway)?);
    Ok(Gateway { meta, spec, bound: false })
}

/// Parses and says where parsing failed.
fn typed<T: DeserializeOwned>(manifest: Value) -> Result<T, InvalidObject> {
    serde_path_to_error::deserialize(manifest)
        .map_err(|error| InvalidObject { field: error.path().to_string(), reason: error.inner().to_string() })
}

fn with_spec<S: DeserializeOwned>(manifest: Value, kind: Kind) -> Result<Arc<Typed<S>>, InvalidObject> {
    #[derive(Deserialize)]
    struct Parts<S> {
        #[serde(default)]
        metadata: ObjectMeta,
        spec: S,
    }
    let parts: Parts<S> = typed(manifest)?;
    Ok(Arc::new(Typed { meta: Meta::without_labels(parts.metadata, kind.is_namespaced()), spec: parts.spec }))
}
