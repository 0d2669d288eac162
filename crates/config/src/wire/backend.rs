//! Backends on the wire.

use super::invalid::{Invalid, each, optional, required};
use super::{trust, value};
use crate::model::{AppProtocol, Backend, BackendKey};
use crate::proto;
use std::net::SocketAddr;

pub(super) fn encode(backend: &Backend) -> proto::Backend {
    proto::Backend {
        key: backend.key.to_string(),
        service: backend.service.to_string(),
        port: backend.port.into(),
        protocol: encode_protocol(backend.protocol).into(),
        security: Some(trust::encode_security(&backend.security)),
        via: backend.via.as_ref().map(|(waypoint, address)| proto::Via {
            waypoint: waypoint.to_string(),
            address: Some(value::encode_socket_address(address)),
        }),
        authorizations: backend.authorizations.iter().map(ToString::to_string).collect(),
        limits: backend.limits.iter().map(ToString::to_string).collect(),
        authentications: backend.authentications.iter().map(ToString::to_string).collect(),
    }
}

pub(super) fn decode(message: proto::Backend) -> Result<Backend, Invalid> {
    Ok(Backend {
        key: value::key(message.key).map_err(|it| it.within("key"))?,
        service: value::key(message.service).map_err(|it| it.within("service"))?,
        port: value::port(message.port).map_err(|it| it.within("port"))?,
        protocol: decode_protocol(message.protocol)?,
        security: required(message.security, "security", trust::decode_security)?,
        via: optional(message.via, "via", decode_via)?,
        authorizations: each(message.authorizations, "authorizations", value::key)?,
        limits: each(message.limits, "limits", value::key)?,
        authentications: each(message.authentications, "authentications", value::key)?,
    })
}

fn decode_via(message: proto::Via) -> Result<(BackendKey, SocketAddr), Invalid> {
    let waypoint = value::key(message.waypoint).map_err(|it| it.within("waypoint"))?;
    Ok((waypoint, required(message.address, "address", value::socket_address)?))
}

pub(super) fn encode_protocol(protocol: AppProtocol) -> proto::AppProtocol {
    match protocol {
        AppProtocol::Unspecified => proto::AppProtocol::NotSaid,
        AppProtocol::Http1 => proto::AppProtocol::Http1,
        AppProtocol::Http2 => proto::AppProtocol::Http2,
        AppProtocol::Tcp => proto::AppProtocol::Tcp,
    }
}

pub(super) fn decode_protocol(number: i32) -> Result<AppProtocol, Invalid> {
    match proto::AppProtocol::try_from(number) {
        Ok(proto::AppProtocol::NotSaid) => Ok(AppProtocol::Unspecified),
        Ok(proto::AppProtocol::Http1) => Ok(AppProtocol::Http1),
        Ok(proto::AppProtocol::Http2) => Ok(AppProtocol::Http2),
        Ok(proto::AppProtocol::Tcp) => Ok(AppProtocol::Tcp),
        Ok(proto::AppProtocol::Unspecified) | Err(_) => Err(Invalid::unknown_value("protocol", number)),
    }
}
