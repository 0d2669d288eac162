//! Names of resources on the wire.

use super::invalid::Invalid;
use super::value;
use crate::kinds::for_each_kind;
use crate::model::{ResourceKey, ResourceKind};
use crate::proto;

macro_rules! kind {
    ($($(#[$doc:meta])* $kind:ident { $($column:tt)* })+) => {
        fn encode_kind(kind: ResourceKind) -> proto::ResourceKind {
            match kind {
                $(ResourceKind::$kind => proto::ResourceKind::$kind,)+
            }
        }

        fn decode_kind(number: i32) -> Result<ResourceKind, Invalid> {
            match proto::ResourceKind::try_from(number) {
                $(Ok(proto::ResourceKind::$kind) => Ok(ResourceKind::$kind),)+
                Ok(proto::ResourceKind::Unspecified) | Err(_) => Err(Invalid::unknown_value("kind", number)),
            }
        }
    };
}

for_each_kind!(kind);

/// A key as it is sent.
pub fn encode_key(key: &ResourceKey) -> proto::ResourceKey {
    proto::ResourceKey { kind: encode_kind(key.kind).into(), name: key.name.to_string() }
}

/// A key that was received.
pub fn decode_key(message: &proto::ResourceKey) -> Result<ResourceKey, Invalid> {
    let kind = decode_kind(message.kind)?;
    let name = value::name(message.name.clone()).map_err(|it| it.within("name"))?;
    Ok(ResourceKey { kind, name })
}
