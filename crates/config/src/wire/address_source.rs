//! How listeners learn where clients are, on the wire.

use super::authorization::{decode_cidrs, encode_cidrs};
use super::invalid::{Invalid, required};
use super::value;
use crate::model::AddressSource;
use crate::proto::{self, address_source::Source};

/// None for what needs no message.
pub(super) fn encode(source: &AddressSource) -> Option<proto::AddressSource> {
    let source = match source {
        AddressSource::Connection => return None,
        AddressSource::ProxyProtocol(trusted) => Source::ProxyProtocol(encode_cidrs(trusted)),
        AddressSource::ForwardedFor(trusted) => Source::ForwardedFor(encode_cidrs(trusted)),
        AddressSource::Header { name, trusted } => Source::Header(proto::AddressHeader {
            name: name.to_string(),
            trusted: Some(encode_cidrs(trusted)),
        }),
    };
    Some(proto::AddressSource { source: Some(source) })
}

/// None for a source of a newer controller.
pub(super) fn decode(message: Option<proto::AddressSource>) -> Result<Option<AddressSource>, Invalid> {
    let Some(message) = message else { return Ok(Some(AddressSource::Connection)) };
    Ok(Some(match message.source {
        None => return Ok(None),
        Some(Source::ProxyProtocol(it)) => AddressSource::ProxyProtocol(decode_cidrs(it, "proxy_protocol")?),
        Some(Source::ForwardedFor(it)) => AddressSource::ForwardedFor(decode_cidrs(it, "forwarded_for")?),
        Some(Source::Header(it)) => AddressSource::Header {
            name: value::header_name(it.name).map_err(|it| it.within("header.name"))?,
            trusted: required(it.trusted, "header.trusted", |it| decode_cidrs(it, "cidrs"))?,
        },
    }))
}
