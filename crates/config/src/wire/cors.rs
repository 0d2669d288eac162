//! CORS policies on the wire.

use super::invalid::{Invalid, each, required};
use super::value;
use crate::model::{CorsPolicy, OriginPattern};
use crate::proto;

pub(super) fn encode(cors: &CorsPolicy) -> proto::CorsPolicy {
    proto::CorsPolicy {
        allow_origins: cors.allow_origins.iter().map(encode_origin).collect(),
        allow_credentials: cors.allow_credentials,
        allow_methods: Some(encode_names(cors.allow_methods.as_deref())),
        allow_headers: Some(encode_names(cors.allow_headers.as_deref())),
        expose_headers: Some(encode_names(cors.expose_headers.as_deref())),
        max_age: Some(value::encode_duration(&cors.max_age)),
    }
}

pub(super) fn decode(message: proto::CorsPolicy) -> Result<CorsPolicy, Invalid> {
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

fn encode_origin(origin: &OriginPattern) -> proto::OriginPattern {
    use proto::origin_pattern::Kind;
    let kind = match origin {
        OriginPattern::Any => Kind::Any(proto::Everything {}),
        OriginPattern::Exact(origin) => Kind::Exact(origin.to_string()),
        OriginPattern::Pattern(pattern) => Kind::Regex(pattern.as_str().to_owned()),
    };
    proto::OriginPattern { kind: Some(kind) }
}

fn decode_origin(message: proto::OriginPattern) -> Result<OriginPattern, Invalid> {
    use proto::origin_pattern::Kind;
    required(message.kind, "", |kind| match kind {
        Kind::Any(proto::Everything {}) => Ok(OriginPattern::Any),
        Kind::Exact(origin) => value::name(origin).map(OriginPattern::Exact).map_err(|it| it.within("exact")),
        Kind::Regex(source) => {
            value::pattern(source).map(OriginPattern::Pattern).map_err(|it| it.within("regex"))
        }
    })
}

fn encode_names<T: ToString>(names: Option<&[T]>) -> proto::NameSet {
    use proto::name_set::Kind;
    let kind = match names {
        None => Kind::Any(proto::Everything {}),
        Some(names) => Kind::Only(proto::Names { names: names.iter().map(ToString::to_string).collect() }),
    };
    proto::NameSet { kind: Some(kind) }
}

fn decode_names<T>(
    message: proto::NameSet,
    decode: impl Fn(String) -> Result<T, Invalid>,
) -> Result<Option<Vec<T>>, Invalid> {
    use proto::name_set::Kind;
    required(message.kind, "", |kind| match kind {
        Kind::Any(proto::Everything {}) => Ok(None),
        Kind::Only(it) => each(it.names, "only.names", decode).map(Some),
    })
}
