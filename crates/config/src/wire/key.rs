//! Names of resources on the wire.

use super::invalid::Invalid;
use super::value;
use crate::model::{ResourceKey, ResourceKind};
use crate::proto;

/// A key as it is sent.
pub fn encode_key(key: &ResourceKey) -> proto::ResourceKey {
    let kind = match key.kind {
        ResourceKind::Listener => proto::ResourceKind::Listener,
        ResourceKind::Route => proto::ResourceKind::Route,
        ResourceKind::Backend => proto::ResourceKind::Backend,
        ResourceKind::Endpoints => proto::ResourceKind::Endpoints,
        ResourceKind::Certificate => proto::ResourceKind::Certificate,
        ResourceKind::Service => proto::ResourceKind::Service,
        ResourceKind::Workload => proto::ResourceKind::Workload,
        ResourceKind::Authorization => proto::ResourceKind::Authorization,
        ResourceKind::L4Route => proto::ResourceKind::L4Route,
    };
    proto::ResourceKey { kind: kind.into(), name: key.name.to_string() }
}

/// A key that was received.
pub fn decode_key(message: &proto::ResourceKey) -> Result<ResourceKey, Invalid> {
    let kind = match proto::ResourceKind::try_from(message.kind) {
        Ok(proto::ResourceKind::Listener) => ResourceKind::Listener,
        Ok(proto::ResourceKind::Route) => ResourceKind::Route,
        Ok(proto::ResourceKind::Backend) => ResourceKind::Backend,
        Ok(proto::ResourceKind::Endpoints) => ResourceKind::Endpoints,
        Ok(proto::ResourceKind::Certificate) => ResourceKind::Certificate,
        Ok(proto::ResourceKind::Service) => ResourceKind::Service,
        Ok(proto::ResourceKind::Workload) => ResourceKind::Workload,
        Ok(proto::ResourceKind::Authorization) => ResourceKind::Authorization,
        Ok(proto::ResourceKind::L4Route) => ResourceKind::L4Route,
        Ok(proto::ResourceKind::Unspecified) | Err(_) => {
            return Err(Invalid::unknown_value("kind", message.kind));
        }
    };
    let name = value::name(message.name.clone()).map_err(|it| it.within("name"))?;
    Ok(ResourceKey { kind, name })
}
