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
        AddressSource::Closed(why) => Source::Closed(why.to_string()),
    };
    Some(proto::AddressSource { source: Some(source) })
}

pub(super) fn decode(message: Option<proto::AddressSource>) -> Result<AddressSource, Invalid> {
    let Some(message) = message else { return Ok(AddressSource::Connection) };
    Ok(match message.source {
        None => AddressSource::Closed("a source of a newer controller".into()),
        Some(Source::ProxyProtocol(it)) => AddressSource::ProxyProtocol(decode_cidrs(it, "proxy_protocol")?),
        Some(Source::ForwardedFor(it)) => AddressSource::ForwardedFor(decode_cidrs(it, "forwarded_for")?),
        Some(Source::Header(it)) => AddressSource::Header {
            name: value::header_name(it.name).map_err(|it| it.within("header.name"))?,
            trusted: required(it.trusted, "header.trusted", |it| decode_cidrs(it, "cidrs"))?,
        },
        Some(Source::Closed(why)) => AddressSource::Closed(why.into()),
    })
}
