//! Where a request goes, on the wire.

use super::invalid::{Invalid, required};
use super::value;
use crate::model::{BackendTarget, Unresolved};
use crate::proto::{self, backend_target::Kind};

pub(super) fn encode(target: &BackendTarget) -> proto::BackendTarget {
    let kind = match target {
        BackendTarget::Backend(key) => Kind::Backend(key.to_string()),
        BackendTarget::Unresolved(why) => Kind::Unresolved(encode_unresolved(*why).into()),
    };
    proto::BackendTarget { kind: Some(kind) }
}

pub(super) fn decode(message: proto::BackendTarget) -> Result<BackendTarget, Invalid> {
    required(message.kind, "", |kind| match kind {
        Kind::Backend(key) => value::key(key).map(BackendTarget::Backend).map_err(|it| it.within("backend")),
        Kind::Unresolved(number) => decode_unresolved(number).map(BackendTarget::Unresolved),
    })
}

fn encode_unresolved(why: Unresolved) -> proto::Unresolved {
    match why {
        Unresolved::NotFound => proto::Unresolved::NotFound,
        Unresolved::NotPermitted => proto::Unresolved::NotPermitted,
        Unresolved::InvalidKind => proto::Unresolved::InvalidKind,
        Unresolved::UnsupportedProtocol => proto::Unresolved::UnsupportedProtocol,
    }
}

fn decode_unresolved(number: i32) -> Result<Unresolved, Invalid> {
    match proto::Unresolved::try_from(number) {
        Ok(proto::Unresolved::NotFound) => Ok(Unresolved::NotFound),
        Ok(proto::Unresolved::NotPermitted) => Ok(Unresolved::NotPermitted),
        Ok(proto::Unresolved::InvalidKind) => Ok(Unresolved::InvalidKind),
        Ok(proto::Unresolved::UnsupportedProtocol) => Ok(Unresolved::UnsupportedProtocol),
        Ok(proto::Unresolved::Unspecified) | Err(_) => Err(Invalid::unknown_value("unresolved", number)),
    }
}
