//! Predicates of a rule on the wire.

use super::invalid::{Invalid, each, optional, required};
use super::value;
use crate::model::{GrpcMethodMatch, HeaderMatch, Match, PathMatch, QueryMatch};
use crate::proto::{self, path_match::Kind};

pub(super) fn encode(it: &Match) -> proto::Match {
    proto::Match {
        path: Some(encode_path(&it.path)),
        headers: it.headers.iter().map(encode_header).collect(),
        query: it.query.iter().map(encode_query).collect(),
        method: it.method.as_ref().map(ToString::to_string),
    }
}

pub(super) fn decode(message: proto::Match) -> Result<Match, Invalid> {
    Ok(Match {
        path: required(message.path, "path", |path| required(path.kind, "", decode_path))?,
        headers: each(message.headers, "headers", decode_header)?,
        query: each(message.query, "query", decode_query)?,
        method: optional(message.method, "method", value::method)?,
    })
}

pub(super) fn encode_path(path: &PathMatch) -> proto::PathMatch {
    let kind = match path {
        PathMatch::Exact(path) => Kind::Exact(path.to_string()),
        PathMatch::Prefix(path) => Kind::Prefix(path.to_string()),
        PathMatch::Regex(pattern) => Kind::Regex(pattern.as_str().to_owned()),
        PathMatch::Grpc(it) => Kind::Grpc(proto::GrpcMethodMatch {
            service: it.service.as_ref().map(value::encode_value_match),
            method: it.method.as_ref().map(value::encode_value_match),
        }),
    };
    proto::PathMatch { kind: Some(kind) }
}

pub(super) fn decode_path(kind: Kind) -> Result<PathMatch, Invalid> {
    Ok(match kind {
        Kind::Exact(path) => PathMatch::Exact(path.into()),
        Kind::Prefix(path) if path.ends_with('/') => {
            return Err(Invalid::new("prefix", "is kept without a `/` at its end"));
        }
        Kind::Prefix(path) => PathMatch::Prefix(path.into()),
        Kind::Regex(source) => PathMatch::Regex(value::pattern(source).map_err(|it| it.within("regex"))?),
        Kind::Grpc(it) => PathMatch::Grpc(GrpcMethodMatch {
            service: optional(it.service, "grpc.service", value::value_match)?,
            method: optional(it.method, "grpc.method", value::value_match)?,
        }),
    })
}

pub(super) fn encode_header(it: &HeaderMatch) -> proto::HeaderMatch {
    proto::HeaderMatch { name: it.name.to_string(), value: Some(value::encode_value_match(&it.value)) }
}

pub(super) fn decode_header(message: proto::HeaderMatch) -> Result<HeaderMatch, Invalid> {
    Ok(HeaderMatch {
        name: value::header_name(message.name).map_err(|it| it.within("name"))?,
        value: required(message.value, "value", value::value_match)?,
    })
}

fn encode_query(it: &QueryMatch) -> proto::QueryMatch {
    proto::QueryMatch { name: it.name.to_string(), value: Some(value::encode_value_match(&it.value)) }
}

fn decode_query(message: proto::QueryMatch) -> Result<QueryMatch, Invalid> {
    Ok(QueryMatch {
        name: value::name(message.name).map_err(|it| it.within("name"))?,
        value: required(message.value, "value", value::value_match)?,
    })
}
