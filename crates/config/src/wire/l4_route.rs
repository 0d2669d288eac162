//! Routes for bytes and datagrams on the wire.

use super::invalid::{Invalid, each, optional, required};
use super::{route, target, value};
use crate::model::{L4Kind, L4Route, WeightedTarget};
use crate::proto;

pub(super) fn encode(it: &L4Route) -> proto::L4Route {
    let kind = match it.kind {
        L4Kind::Tls => proto::L4Kind::Tls,
        L4Kind::Tcp => proto::L4Kind::Tcp,
        L4Kind::Udp => proto::L4Kind::Udp,
    };
    proto::L4Route {
        key: it.key.to_string(),
        kind: kind.into(),
        object: Some(value::encode_object(&it.object)),
        created: it.created,
        attachments: it.attachments.iter().map(route::encode_attachment).collect(),
        rule: it.rule.as_ref().map(ToString::to_string),
        backends: it.backends.iter().map(encode_backend).collect(),
    }
}

pub(super) fn decode(message: proto::L4Route) -> Result<L4Route, Invalid> {
    if message.attachments.is_empty() {
        return Err(Invalid::new("attachments", "there has to be one"));
    }
    Ok(L4Route {
        key: value::key(message.key).map_err(|it| it.within("key"))?,
        kind: match proto::L4Kind::try_from(message.kind) {
            Ok(proto::L4Kind::Tls) => L4Kind::Tls,
            Ok(proto::L4Kind::Tcp) => L4Kind::Tcp,
            Ok(proto::L4Kind::Udp) => L4Kind::Udp,
            Ok(proto::L4Kind::Unspecified) | Err(_) => {
                return Err(Invalid::unknown_value("kind", message.kind));
            }
        },
        object: required(message.object, "object", value::object)?,
        created: message.created,
        attachments: each(message.attachments, "attachments", |it| {
            required(it.parent, "", route::decode_parent)
        })?,
        rule: optional(message.rule, "rule", value::text)?,
        backends: each(message.backends, "backends", decode_backend)?,
    })
}

fn encode_backend(backend: &WeightedTarget) -> proto::WeightedTarget {
    proto::WeightedTarget { weight: backend.weight, target: Some(target::encode(&backend.target)) }
}

fn decode_backend(message: proto::WeightedTarget) -> Result<WeightedTarget, Invalid> {
    Ok(WeightedTarget { weight: message.weight, target: required(message.target, "target", target::decode)? })
}
