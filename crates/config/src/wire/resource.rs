//! Any resource on the wire.

use super::ContentHash;
use super::invalid::{Invalid, required};
use crate::kinds::for_each_kind;
use crate::model::{Resource, ResourceKey};
use crate::proto::{self, resource::Kind};
use bytes::Bytes;
use prost::Message;
use std::sync::Arc;

/// A resource's one encoding, shared by all who send it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The kind and name of the resource.
    pub key: ResourceKey,
    /// The hash of `bytes`, by which proxies say what they hold.
    pub hash: ContentHash,
    /// The encoded message `fairway.config.v1.Resource`.
    pub bytes: Bytes,
}

/// Encodes a resource. Equal resources have equal bytes (the messages have no maps), thus equal hashes.
pub fn encode(resource: &Resource) -> Encoded {
    let kind = encode_kind(resource);
    let bytes: Bytes = proto::Resource { kind: Some(kind) }.encode_to_vec().into();
    Encoded { key: resource.key(), hash: ContentHash::compute(&bytes), bytes }
}

/// Decodes a resource and checks all of it.
///
/// A field that this program does not know refuses the resource, as dropping it could make a rule wider. A condition of an
/// authorization that is not known is taken in, because it has a meaning: it matches nothing in an Allow, everything in a Deny.
///
/// ```
/// use fairway_config::model::Resource;
/// use fairway_config::{proto, wire};
/// use fairway_policy::Condition;
/// use prost::Message;
///
/// // Number 99, as a newer controller could send it: of the resource, and as a kind of condition.
/// let unknown = [0x98, 0x06, 0x01];
/// let rule = proto::AuthorizationRule { conditions: vec![unknown.to_vec().into()], name: None };
/// let message = proto::Authorization {
///     name: "shop/web".to_owned(),
///     action: proto::Action::Deny.into(),
///     rules: vec![rule],
///     ..Default::default()
/// };
/// let mut bytes = proto::Resource { kind: Some(proto::resource::Kind::Authorization(message)) }.encode_to_vec();
///
/// let Resource::Authorization(decoded) = wire::decode(bytes.clone().into())? else { unreachable!() };
/// assert!(matches!(decoded.rules[0].conditions[..], [Condition::NotUnderstood(_)]));
///
/// bytes.extend(unknown);
/// assert!(wire::decode(bytes.into()).unwrap_err().to_string().contains("does not know"));
/// # Ok::<(), wire::Invalid>(())
/// ```
pub fn decode(bytes: Bytes) -> Result<Resource, Invalid> {
    let message = proto::Resource::decode(bytes.clone()).map_err(|error| Invalid::new("", error))?;
    if !is_complete(&message, &bytes) {
        return Err(Invalid::new(
            "",
            "holds a field that this program does not know; is it older than the controller?",
        ));
    }
    required(message.kind, "", decode_kind)
}

macro_rules! kind {
    ($($(#[$doc:meta])* $kind:ident { table: $table:ident, key: $key:ident = $key_of:expr, wire: $wire:ident })+) => {
        fn encode_kind(resource: &Resource) -> Kind {
            match resource {
                $(Resource::$kind(it) => Kind::$kind(super::$wire::encode(it)),)+
            }
        }

        fn decode_kind(kind: Kind) -> Result<Resource, Invalid> {
            Ok(match kind {
                $(Kind::$kind(it) => Resource::$kind(Arc::new(super::$wire::decode(it)?)),)+
            })
        }
    };
}

for_each_kind!(kind);

/// Protobuf drops fields it does not know, and a predicate that was dropped makes a rule wider. A field is sent only when
/// it means something, so what decodes and does not encode to the same bytes says more than this program understands.
fn is_complete(message: &proto::Resource, bytes: &[u8]) -> bool {
    message.encoded_len() == bytes.len() && message.encode_to_vec() == bytes
}
