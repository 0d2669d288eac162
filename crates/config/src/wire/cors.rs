//! CORS policies on the wire.

use super::invalid::{Invalid, each, required};
use super::value;
use crate::model::{CorsPolicy, OriginPattern};
use crate::proto;
use prost::{Message, Oneof};

#[derive(Clone, PartialEq, Message)]
pub(super) struct CorsMessage {
    #[prost(message, repeated, tag = "1")]
    allow_origins: Vec<OriginMessage>,
    #[prost(bool, tag = "2")]
    allow_credentials: bool,
    #[prost(message, optional, tag = "3")]
    allow_methods: Option<NamesMessage>,
    #[prost(message, optional, tag = "4")]
    allow_headers: Option<NamesMessage>,
    #[prost(message, optional, tag = "5")]
    expose_headers: Option<NamesMessage>,
    #[prost(message, optional, tag = "6")]
    max_age: Option<proto::Duration>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct OriginMessage {
    #[prost(oneof = "OriginKind", tags = "1, 2, 3")]
    kind: Option<OriginKind>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum OriginKind {
    #[prost(message, tag = "1")]
    Any(Everything),
    #[prost(string, tag = "2")]
    Exact(String),
    #[prost(string, tag = "3")]
    Regex(String),
}

/// Which names are meant. "Everything" is said, never implied by something absent.
#[derive(Clone, PartialEq, Message)]
pub(super) struct NamesMessage {
    #[prost(oneof = "NamesKind", tags = "1, 2")]
    kind: Option<NamesKind>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum NamesKind {
    #[prost(message, tag = "1")]
    Any(Everything),
    #[prost(message, tag = "2")]
    Only(NameList),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Everything {}

#[derive(Clone, PartialEq, Message)]
pub(super) struct NameList {
    #[prost(string, repeated, tag = "1")]
    names: Vec<String>,
}

pub(super) fn encode(cors: &CorsPolicy) -> CorsMessage {
    CorsMessage {
        allow_origins: cors.allow_origins.iter().map(encode_origin).collect(),
        allow_credentials: cors.allow_credentials,
        allow_methods: Some(encode_names(cors.allow_methods.as_deref())),
        allow_headers: Some(encode_names(cors.allow_headers.as_deref())),
        expose_headers: Some(encode_names(cors.expose_headers.as_deref())),
        max_age: Some(value::encode_duration(&cors.max_age)),
    }
}

pub(super) fn decode(message: CorsMessage) -> Result<CorsPolicy, Invalid> {
    Ok(CorsPolicy {
        allow_origins: each(message.allow_origins, "allow_origins", decode_origin)?,
        allow_credentials: message.allow_credentials,
        allow_methods: required(message.allow_methods, "allow_methods", |it| {
            decode_names(it, value::method)
        })?,
        allow_headers: required(message.allow_headers, "allow_headers", |it| {
            decode_names(it, value::header_name)
        })?,
        expose_headers: required(message.expose_headers, "expose_headers", |it| {
            decode_names(it, value::header_name)
        })?,
        max_age: required(message.max_age, "max_age", value::duration)?,
    })
}

fn encode_origin(origin: &OriginPattern) -> OriginMessage {
    let kind = match origin {
        OriginPattern::Any => OriginKind::Any(Everything {}),
        OriginPattern::Exact(origin) => OriginKind::Exact(origin.to_string()),
        OriginPattern::Pattern(pattern) => OriginKind::Regex(pattern.as_str().to_owned()),
    };
    OriginMessage { kind: Some(kind) }
}

fn decode_origin(message: OriginMessage) -> Result<OriginPattern, Invalid> {
    required(message.kind, "", |kind| match kind {
        OriginKind::Any(Everything {}) => Ok(OriginPattern::Any),
        OriginKind::Exact(origin) => {
            value::name(origin).map(OriginPattern::Exact).map_err(|it| it.within("exact"))
        }
        OriginKind::Regex(source) => {
            value::pattern(source).map(OriginPattern::Pattern).map_err(|it| it.within("regex"))
        }
    })
}

fn encode_names<T: ToString>(names: Option<&[T]>) -> NamesMessage {
    let kind = match names {
        None => NamesKind::Any(Everything {}),
        Some(names) => NamesKind::Only(NameList { names: names.iter().map(ToString::to_string).collect() }),
    };
    NamesMessage { kind: Some(kind) }
}

fn decode_names<T>(
    message: NamesMessage,
    decode: impl Fn(String) -> Result<T, Invalid>,
) -> Result<Option<Vec<T>>, Invalid> {
    required(message.kind, "", |kind| match kind {
        NamesKind::Any(Everything {}) => Ok(None),
        NamesKind::Only(it) => each(it.names, "only.names", decode).map(Some),
    })
}
