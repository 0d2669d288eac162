//! An object of any kind, and how it is made from a manifest.

use super::table::for_each_kind;
use super::{
    ClusterTrustBundle, ConfigMap, Definition, EndpointSlice, Gateway, Kind, Meta, Namespace, Node,
    ObjectRef, Pod, Provenance, Secret, Service, Unhandled, Unread,
};
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

/// A manifest that does not have the form of its kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct InvalidObject {
    /// The path of the field, `.` for the whole object.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
}

/// What is kept of an object of one kind.
trait FromManifest: Sized {
    /// Takes it from a manifest.
    fn from_manifest(manifest: Value, kind: Kind) -> Result<Self, InvalidObject>;
}

macro_rules! objects {
    (objects { $($object:tt)+ } policies { $($policy:tt)+ } unhandled {
        $($(#[$doc:meta])* $unhandled:ident { $($column:tt)+ })+
    }) => {
        objects! { unhandled { $($unhandled)+ } $($object)+ $($policy)+ }
    };
    (unhandled { $($unhandled:ident)+ } $($(#[$doc:meta])* $name:ident { $($column:tt)+ })+) => {
        /// An object of any kind that is read.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Object {
            $($(#[$doc])* $name(Arc<super::$name>),)+
            /// An object of a kind that is not carried out.
            Unhandled(Arc<Unhandled>),
            /// An object that is there and cannot be read.
            Unread(Arc<Unread>),
        }

        impl Object {
            /// Parses a manifest of a kind. The API's own schema is checked before (see `source::schema`): what fails here
            /// has the wrong types.
            pub fn parse(kind: Kind, manifest: Value) -> Result<Self, InvalidObject> {
                Ok(match kind {
                    $(Kind::$name => Self::$name(Arc::new(super::$name::from_manifest(manifest, kind)?)),)+
                    $(Kind::$unhandled)|+ => Self::Unhandled(Arc::new(Unhandled::new(kind, manifest)?)),
                })
            }

            /// The kind that the object was parsed as.
            pub fn kind(&self) -> Kind {
                match self {
                    $(Self::$name(_) => Kind::$name,)+
                    Self::Unhandled(it) => it.kind,
                    Self::Unread(it) => it.kind,
                }
            }

            /// Notes that what was written cannot be read, and why: the rest of it stands in for that.
            pub(crate) fn set_unreadable(&mut self, why: Arc<str>) {
                match self {
                    $(Self::$name(it) => Arc::make_mut(it).meta.unreadable = Some(why),)+
                    Self::Unhandled(it) => Arc::make_mut(it).meta.unreadable = Some(why),
                    Self::Unread(it) => Arc::make_mut(it).meta.unreadable = Some(why),
                }
            }

            /// The metadata, which every kind has.
            pub fn meta(&self) -> &Meta {
                match self {
                    $(Self::$name(it) => &it.meta,)+
                    Self::Unhandled(it) => &it.meta,
                    Self::Unread(it) => &it.meta,
                }
            }
        }
    };
}

for_each_kind!(objects);

// === impl Object ===

impl Object {
    /// Its name among all objects.
    pub fn reference(&self) -> ObjectRef {
        let meta = self.meta();
        ObjectRef { kind: self.kind(), namespace: meta.namespace.clone(), name: meta.name.clone() }
    }
}

// === impl FromManifest ===

impl<S: DeserializeOwned> FromManifest for Typed<S> {
    fn from_manifest(manifest: Value, kind: Kind) -> Result<Self, InvalidObject> {
        #[derive(Deserialize)]
        struct Parts<S> {
            #[serde(default)]
            metadata: ObjectMeta,
            spec: S,
        }
        let Parts { metadata, spec } = deserialize(manifest)?;
        Ok(Self { meta: Meta::without_labels(metadata, kind.is_namespaced()), spec })
    }
}

impl FromManifest for Gateway {
    fn from_manifest(manifest: Value, kind: Kind) -> Result<Self, InvalidObject> {
        let Typed { meta, spec } = Typed::from_manifest(manifest, kind)?;
        // What its status says is added by whoever has seen it in a cluster.
        Ok(Self { meta, spec, bound: false })
    }
}

impl FromManifest for Namespace {
    fn from_manifest(manifest: Value, _: Kind) -> Result<Self, InvalidObject> {
        Ok(Self::new(deserialize(manifest)?))
    }
}

impl FromManifest for Service {
    fn from_manifest(manifest: Value, _: Kind) -> Result<Self, InvalidObject> {
        Self::new(deserialize(manifest)?)
    }
}

impl FromManifest for EndpointSlice {
    fn from_manifest(manifest: Value, _: Kind) -> Result<Self, InvalidObject> {
        Self::new(deserialize(manifest)?)
    }
}

impl FromManifest for Pod {
    fn from_manifest(manifest: Value, _: Kind) -> Result<Self, InvalidObject> {
        let provenance = Provenance::read(&manifest);
        Self::new(deserialize(manifest)?, provenance)
    }
}

impl FromManifest for Node {
    fn from_manifest(manifest: Value, _: Kind) -> Result<Self, InvalidObject> {
        Self::new(deserialize(manifest)?)
    }
}

impl FromManifest for Secret {
    fn from_manifest(manifest: Value, _: Kind) -> Result<Self, InvalidObject> {
        Ok(Self::new(deserialize(manifest)?))
    }
}

impl FromManifest for ConfigMap {
    fn from_manifest(manifest: Value, _: Kind) -> Result<Self, InvalidObject> {
        Ok(Self::new(deserialize(manifest)?))
    }
}

impl FromManifest for ClusterTrustBundle {
    fn from_manifest(manifest: Value, _: Kind) -> Result<Self, InvalidObject> {
        Ok(Self::new(deserialize(manifest)?))
    }
}

impl FromManifest for Definition {
    fn from_manifest(manifest: Value, _: Kind) -> Result<Self, InvalidObject> {
        Self::new(&manifest)
    }
}

/// Reads a manifest as a type, and says where that failed.
fn deserialize<T: DeserializeOwned>(manifest: Value) -> Result<T, InvalidObject> {
    serde_path_to_error::deserialize(manifest)
        .map_err(|error| InvalidObject { field: error.path().to_string(), reason: error.inner().to_string() })
}
