//! Filters on the wire: an encoded message each. The messages are written here and not in a `.proto` file, so that a filter
//! has one place on the wire. Numbers of fields are never used again.

use super::invalid::{Invalid, each, optional, required};
use super::{cors, external_auth, target, value};
use crate::model::{Filter, Fraction, HeaderModifier, Mirror, PathModifier, Redirect, Scheme, UrlRewrite};
use crate::proto;
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use prost::{Enumeration, Message, Oneof};

/// What a rule does to a request and its response.
#[derive(Clone, PartialEq, Message)]
pub(super) struct FilterMessage {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6, 7, 8")]
    pub kind: Option<Kind>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Kind {
    #[prost(message, tag = "1")]
    RequestHeaders(HeaderModifierMessage),
    #[prost(message, tag = "2")]
    ResponseHeaders(HeaderModifierMessage),
    #[prost(message, tag = "3")]
    Redirect(RedirectMessage),
    #[prost(message, tag = "4")]
    Rewrite(RewriteMessage),
    #[prost(message, tag = "5")]
    Mirror(MirrorMessage),
    #[prost(message, tag = "6")]
    Cors(cors::CorsMessage),
    /// The controller could not resolve it. The text says why.
    #[prost(string, tag = "7")]
    Unresolved(String),
    #[prost(message, tag = "8")]
    ExternalAuth(external_auth::ExternalAuthMessage),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct HeaderModifierMessage {
    #[prost(message, repeated, tag = "1")]
    set: Vec<proto::Header>,
    #[prost(message, repeated, tag = "2")]
    add: Vec<proto::Header>,
    #[prost(string, repeated, tag = "3")]
    remove: Vec<String>,
}

/// Absent parts stay as the request has them.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RedirectMessage {
    #[prost(enumeration = "SchemeMessage", optional, tag = "1")]
    scheme: Option<i32>,
    #[prost(string, optional, tag = "2")]
    hostname: Option<String>,
    #[prost(message, optional, tag = "3")]
    path: Option<PathModifierMessage>,
    #[prost(uint32, optional, tag = "4")]
    port: Option<u32>,
    #[prost(uint32, tag = "5")]
    status: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub(super) enum SchemeMessage {
    Unspecified = 0,
    Http = 1,
    Https = 2,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PathModifierMessage {
    #[prost(oneof = "PathKind", tags = "1, 2")]
    kind: Option<PathKind>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum PathKind {
    #[prost(string, tag = "1")]
    ReplaceFull(String),
    #[prost(string, tag = "2")]
    ReplacePrefix(String),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct RewriteMessage {
    /// The Host header sent on.
    #[prost(bytes = "bytes", optional, tag = "1")]
    hostname: Option<Bytes>,
    #[prost(message, optional, tag = "2")]
    path: Option<PathModifierMessage>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct MirrorMessage {
    #[prost(message, optional, tag = "1")]
    target: Option<proto::BackendTarget>,
    #[prost(message, optional, tag = "2")]
    fraction: Option<FractionMessage>,
}

/// At most 1; the denominator is never 0.
#[derive(Clone, PartialEq, Message)]
pub(super) struct FractionMessage {
    #[prost(uint32, tag = "1")]
    numerator: u32,
    #[prost(uint32, tag = "2")]
    denominator: u32,
}

/// A filter is an encoded message of its own. In any other message a field that is not known refuses the whole resource; for a
/// filter its meaning is fixed: the request goes no further.
pub(super) fn encode(filter: &Filter) -> Bytes {
    let kind = match filter {
        Filter::RequestHeaders(it) => Kind::RequestHeaders(encode_headers(it)),
        Filter::ResponseHeaders(it) => Kind::ResponseHeaders(encode_headers(it)),
        Filter::Redirect(it) => Kind::Redirect(encode_redirect(it)),
        Filter::Rewrite(it) => Kind::Rewrite(RewriteMessage {
            hostname: it.hostname.as_ref().map(encode_header_value),
            path: it.path.as_ref().map(encode_path),
        }),
        Filter::Mirror(it) => Kind::Mirror(MirrorMessage {
            target: Some(target::encode(&it.target)),
            fraction: Some(FractionMessage {
                numerator: it.fraction.numerator(),
                denominator: it.fraction.denominator(),
            }),
        }),
        Filter::Cors(it) => Kind::Cors(cors::encode(it)),
        Filter::ExternalAuth(it) => Kind::ExternalAuth(external_auth::encode(it)),
        Filter::Unresolved(why) => Kind::Unresolved(why.to_string()),
        Filter::Unknown(octets) => return octets.clone(),
    };
    FilterMessage { kind: Some(kind) }.encode_to_vec().into()
}

pub(super) fn decode(octets: Bytes) -> Result<Filter, Invalid> {
    let message = FilterMessage::decode(&*octets).map_err(|error| Invalid::new("", error))?;
    // A field that this program does not know is lost in decoding.
    let is_complete = message.encode_to_vec() == *octets;
    match message.kind {
        Some(kind) if is_complete => decode_kind(kind),
        // Copied: a slice would hold the whole message it came in.
        _ => Ok(Filter::Unknown(Bytes::copy_from_slice(&octets))),
    }
}

fn decode_kind(kind: Kind) -> Result<Filter, Invalid> {
    match kind {
        Kind::RequestHeaders(it) => {
            decode_headers(it).map(Filter::RequestHeaders).map_err(|it| it.within("request_headers"))
        }
        Kind::ResponseHeaders(it) => {
            decode_headers(it).map(Filter::ResponseHeaders).map_err(|it| it.within("response_headers"))
        }
        Kind::Redirect(it) => decode_redirect(it).map(Filter::Redirect).map_err(|it| it.within("redirect")),
        Kind::Rewrite(it) => Ok(Filter::Rewrite(UrlRewrite {
            hostname: optional(it.hostname, "rewrite.hostname", decode_header_value)?,
            path: optional(it.path, "rewrite.path", decode_path)?,
        })),
        Kind::Mirror(it) => Ok(Filter::Mirror(Mirror {
            target: required(it.target, "mirror.target", target::decode)?,
            fraction: required(it.fraction, "mirror.fraction", decode_fraction)?,
        })),
        Kind::Cors(it) => cors::decode(it).map(Filter::Cors).map_err(|it| it.within("cors")),
        Kind::ExternalAuth(it) => {
            external_auth::decode(it).map(Filter::ExternalAuth).map_err(|it| it.within("external_auth"))
        }
        Kind::Unresolved(why) => Ok(Filter::Unresolved(why.into())),
    }
}

fn encode_headers(it: &HeaderModifier) -> HeaderModifierMessage {
    HeaderModifierMessage {
        set: it.set.iter().map(encode_header).collect(),
        add: it.add.iter().map(encode_header).collect(),
        remove: it.remove.iter().map(ToString::to_string).collect(),
    }
}

fn decode_headers(message: HeaderModifierMessage) -> Result<HeaderModifier, Invalid> {
    Ok(HeaderModifier {
        set: each(message.set, "set", decode_header)?,
        add: each(message.add, "add", decode_header)?,
        remove: each(message.remove, "remove", value::header_name)?,
    })
}

pub(super) fn encode_header((name, value): &(HeaderName, HeaderValue)) -> proto::Header {
    proto::Header { name: name.to_string(), value: encode_header_value(value) }
}

pub(super) fn decode_header(header: proto::Header) -> Result<(HeaderName, HeaderValue), Invalid> {
    let name = value::header_name(header.name).map_err(|it| it.within("name"))?;
    let value = decode_header_value(header.value).map_err(|it| it.within("value"))?;
    Ok((name, value))
}

pub(super) fn encode_header_value(value: &HeaderValue) -> Bytes {
    Bytes::copy_from_slice(value.as_bytes())
}

pub(super) fn decode_header_value(octets: Bytes) -> Result<HeaderValue, Invalid> {
    // Copied: a slice would hold the whole message it came in.
    HeaderValue::from_bytes(&octets).map_err(|_| Invalid::new("", "is not a header's value"))
}

fn encode_redirect(it: &Redirect) -> RedirectMessage {
    let scheme = it.scheme.map(|scheme| match scheme {
        Scheme::Http => SchemeMessage::Http.into(),
        Scheme::Https => SchemeMessage::Https.into(),
    });
    RedirectMessage {
        scheme,
        hostname: it.hostname.as_ref().map(ToString::to_string),
        path: it.path.as_ref().map(encode_path),
        port: it.port.map(u32::from),
        status: it.status.as_u16().into(),
    }
}

fn decode_redirect(message: RedirectMessage) -> Result<Redirect, Invalid> {
    let status = value::status(message.status).map_err(|it| it.within("status"))?;
    if !status.is_redirection() {
        return Err(Invalid::new("status", format!("{status} is not a redirection")));
    }
    Ok(Redirect {
        scheme: optional(message.scheme, "scheme", decode_scheme)?,
        hostname: optional(message.hostname, "hostname", value::name)?,
        path: optional(message.path, "path", decode_path)?,
        port: optional(message.port, "port", value::port)?,
        status,
    })
}

fn decode_scheme(number: i32) -> Result<Scheme, Invalid> {
    match SchemeMessage::try_from(number) {
        Ok(SchemeMessage::Http) => Ok(Scheme::Http),
        Ok(SchemeMessage::Https) => Ok(Scheme::Https),
        Ok(SchemeMessage::Unspecified) | Err(_) => Err(Invalid::unknown_value("", number)),
    }
}

fn encode_path(path: &PathModifier) -> PathModifierMessage {
    let kind = match path {
        PathModifier::ReplaceFull(path) => PathKind::ReplaceFull(path.to_string()),
        PathModifier::ReplacePrefix(path) => PathKind::ReplacePrefix(path.to_string()),
    };
    PathModifierMessage { kind: Some(kind) }
}

fn decode_path(message: PathModifierMessage) -> Result<PathModifier, Invalid> {
    required(message.kind, "", |kind| match kind {
        PathKind::ReplaceFull(path) => Ok(PathModifier::ReplaceFull(path.into())),
        PathKind::ReplacePrefix(path) => Ok(PathModifier::ReplacePrefix(path.into())),
    })
}

fn decode_fraction(message: FractionMessage) -> Result<Fraction, Invalid> {
    let FractionMessage { numerator, denominator } = message;
    Fraction::new(numerator, denominator)
        .ok_or_else(|| Invalid::new("", format!("{numerator}/{denominator} is not a share")))
}
