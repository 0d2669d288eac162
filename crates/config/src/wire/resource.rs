//! Any resource on the wire.

use super::invalid::{Invalid, required};
use super::{ContentHash, authorization, backend, certificate, l4route, listener, route, service, workload};
use crate::model::{Resource, ResourceKey};
use crate::proto::{self, resource::Kind};
use bytes::Bytes;
use prost::Message;
use std::sync::Arc;

/// A resource's one encoding, shared by all who send it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Its key.
    pub key: ResourceKey,
    /// Of the bytes.
    pub hash: ContentHash,
    /// An encoded `fairway.config.v1.Resource`.
    pub bytes: Bytes,
}

/// Encodes a resource. Equal resources have equal bytes (the messages have no maps), thus equal hashes.
pub fn encode(resource: &Resource) -> Encoded {
    let kind = match resource {
        Resource::Listener(it) => Kind::Listener(listener::encode(it)),
        Resource::Route(it) => Kind::Route(route::encode(it)),
        Resource::Backend(it) => Kind::Backend(backend::encode(it)),
        Resource::Endpoints(it) => Kind::Endpoints(backend::encode_endpoints(it)),
        Resource::Certificate(it) => Kind::Certificate(certificate::encode(it)),
        Resource::Service(it) => Kind::Service(service::encode(it)),
        Resource::Workload(it) => Kind::Workload(workload::encode(it)),
        Resource::Authorization(it) => Kind::Authorization(authorization::encode(it)),
        Resource::L4Route(it) => Kind::L4Route(l4route::encode(it)),
    };
    let bytes: Bytes = proto::Resource { kind: Some(kind) }.encode_to_vec().into();
    Encoded { key: resource.key(), hash: ContentHash::of(&bytes), bytes }
}

/// Decodes a resource and checks all of it.
pub fn decode(bytes: Bytes) -> Result<Resource, Invalid> {
    let message = proto::Resource::decode(bytes.clone()).map_err(|error| Invalid::new("", error))?;
    if !is_complete(&message, &bytes) {
        return Err(Invalid::new(
            "",
            "holds a field that this program does not know; is it older than the controller?",
        ));
    }
    required(message.kind, "", |kind| {
        Ok(match kind {
            Kind::Listener(it) => Resource::Listener(Arc::new(listener::decode(it)?)),
            Kind::Route(it) => Resource::Route(Arc::new(route::decode(it)?)),
            Kind::Backend(it) => Resource::Backend(Arc::new(backend::decode(it)?)),
            Kind::Endpoints(it) => Resource::Endpoints(Arc::new(backend::decode_endpoints(it)?)),
            Kind::Certificate(it) => Resource::Certificate(Arc::new(certificate::decode(it)?)),
            Kind::Service(it) => Resource::Service(Arc::new(service::decode(it)?)),
            Kind::Workload(it) => Resource::Workload(Arc::new(workload::decode(it)?)),
            Kind::Authorization(it) => Resource::Authorization(Arc::new(authorization::decode(it)?)),
            Kind::L4Route(it) => Resource::L4Route(Arc::new(l4route::decode(it)?)),
        })
    })
}

/// Protobuf drops fields it does not know, and a predicate that was dropped makes a rule wider. A field is sent only when
/// it means something, so what decodes and does not encode to the same bytes says more than this program understands.
fn is_complete(message: &proto::Resource, bytes: &[u8]) -> bool {
    message.encoded_len() == bytes.len() && message.encode_to_vec() == bytes
}
