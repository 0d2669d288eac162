//! Values that several resources hold. The decoders' errors have no path yet: who knows the field adds it.

use super::invalid::{Invalid, required};
use super::share::shared;
use crate::model::{HostnamePattern, ObjectName, Pattern, SpiffeId, ValueMatch};
use crate::proto;
use bytes::Bytes;
use http::{HeaderName, Method, StatusCode};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// A text that may not be empty: keys and names.
pub(super) fn name(text: String) -> Result<Arc<str>, Invalid> {
    if text.is_empty() { Err(Invalid::new("", "must not be empty")) } else { Ok(shared(&text)) }
}

/// A text that may be empty.
pub(super) fn text(text: String) -> Result<Arc<str>, Invalid> {
    Ok(shared(&text))
}

/// A key of any kind.
pub(super) fn key<K: From<Arc<str>>>(text: String) -> Result<K, Invalid> {
    name(text).map(K::from)
}

pub(super) fn port(number: u32) -> Result<u16, Invalid> {
    u16::try_from(number)
        .ok()
        .filter(|port| *port != 0)
        .ok_or_else(|| Invalid::new("", format!("{number} is not a port: it takes 1 to 65535")))
}

pub(super) fn encode_ip(ip: &IpAddr) -> Bytes {
    match ip {
        IpAddr::V4(ip) => Bytes::copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => Bytes::copy_from_slice(&ip.octets()),
    }
}

pub(super) fn ip(octets: Bytes) -> Result<IpAddr, Invalid> {
    if let Ok(octets) = <[u8; 4]>::try_from(&*octets) {
        return Ok(octets.into());
    }
    <[u8; 16]>::try_from(&*octets)
        .map(IpAddr::from)
        .map_err(|_| Invalid::new("", format!("an address has 4 or 16 bytes, this one has {}", octets.len())))
}

/// An IPv6 address's flow and scope do not travel: they mean nothing on another machine.
pub(super) fn encode_socket_address(address: &SocketAddr) -> proto::SocketAddress {
    proto::SocketAddress { ip: encode_ip(&address.ip()), port: address.port().into() }
}

pub(super) fn socket_address(message: proto::SocketAddress) -> Result<SocketAddr, Invalid> {
    let ip = ip(message.ip).map_err(|it| it.within("ip"))?;
    let port = port(message.port).map_err(|it| it.within("port"))?;
    Ok(SocketAddr::new(ip, port))
}

pub(super) fn encode_duration(duration: &Duration) -> proto::Duration {
    proto::Duration { seconds: duration.as_secs(), nanos: duration.subsec_nanos() }
}

pub(super) fn duration(message: proto::Duration) -> Result<Duration, Invalid> {
    if message.nanos >= 1_000_000_000 {
        return Err(Invalid::new("nanos", format!("{} is a second or more", message.nanos)));
    }
    Ok(Duration::new(message.seconds, message.nanos))
}

pub(super) fn encode_object(object: &ObjectName) -> proto::ObjectName {
    proto::ObjectName { namespace: object.namespace.to_string(), name: object.name.to_string() }
}

pub(crate) fn object(message: proto::ObjectName) -> Result<ObjectName, Invalid> {
    let namespace = name(message.namespace).map_err(|it| it.within("namespace"))?;
    let name = name(message.name).map_err(|it| it.within("name"))?;
    Ok(ObjectName { namespace, name })
}

pub(super) fn hostname(text: String) -> Result<HostnamePattern, Invalid> {
    text.parse().map_err(|error| Invalid::new("", error))
}

pub(super) fn identity(text: String) -> Result<SpiffeId, Invalid> {
    text.parse().map_err(|error| Invalid::new("", error))
}

pub(super) fn pattern(source: String) -> Result<Pattern, Invalid> {
    Pattern::new(&source).map_err(|error| Invalid::new("", error))
}

pub(super) fn method(text: String) -> Result<Method, Invalid> {
    Method::from_bytes(text.as_bytes()).map_err(|_| Invalid::new("", format!("`{text}` is not a method")))
}

pub(super) fn header_name(text: String) -> Result<HeaderName, Invalid> {
    // From lower case only: the model holds nothing else, and one spelling has one hash.
    HeaderName::from_lowercase(text.as_bytes())
        .map_err(|_| Invalid::new("", format!("`{text}` is not a header name in lower case")))
}

pub(super) fn status(code: u32) -> Result<StatusCode, Invalid> {
    let invalid = || Invalid::new("", format!("{code} is not a status code"));
    u16::try_from(code).ok().and_then(|code| StatusCode::from_u16(code).ok()).ok_or_else(invalid)
}

pub(super) fn encode_value_match(value: &ValueMatch) -> proto::ValueMatch {
    use proto::value_match::Kind;
    let kind = match value {
        ValueMatch::Exact(text) => Kind::Exact(text.to_string()),
        ValueMatch::Regex(pattern) => Kind::Regex(pattern.as_str().to_owned()),
    };
    proto::ValueMatch { kind: Some(kind) }
}

pub(super) fn value_match(message: proto::ValueMatch) -> Result<ValueMatch, Invalid> {
    use proto::value_match::Kind;
    required(message.kind, "", |kind| match kind {
        Kind::Exact(text) => Ok(ValueMatch::Exact(text.into())),
        Kind::Regex(source) => pattern(source).map(ValueMatch::Regex).map_err(|it| it.within("regex")),
    })
}
