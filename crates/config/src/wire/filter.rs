//! Filters on the wire.

use super::invalid::{Invalid, each, optional, required};
use super::{cors, target, value};
use crate::model::{Filter, Fraction, HeaderModifier, Mirror, PathModifier, Redirect, Scheme, UrlRewrite};
use crate::proto::{self, filter::Kind};
use bytes::Bytes;
use http::{HeaderName, HeaderValue};

pub(super) fn encode(filter: &Filter) -> proto::Filter {
    let kind = match filter {
        Filter::RequestHeaders(it) => Kind::RequestHeaders(encode_headers(it)),
        Filter::ResponseHeaders(it) => Kind::ResponseHeaders(encode_headers(it)),
        Filter::Redirect(it) => Kind::Redirect(encode_redirect(it)),
        Filter::Rewrite(it) => Kind::Rewrite(proto::UrlRewrite {
            hostname: it.hostname.as_ref().map(encode_header_value),
            path: it.path.as_ref().map(encode_path),
        }),
        Filter::Mirror(it) => Kind::Mirror(proto::Mirror {
            target: Some(target::encode(&it.target)),
            fraction: Some(proto::Fraction {
                numerator: it.fraction.numerator(),
                denominator: it.fraction.denominator(),
            }),
        }),
        Filter::Cors(it) => Kind::Cors(cors::encode(it)),
        Filter::Unresolved(why) => Kind::Unresolved(why.to_string()),
    };
    proto::Filter { kind: Some(kind) }
}

pub(super) fn decode(message: proto::Filter) -> Result<Filter, Invalid> {
    required(message.kind, "", |kind| match kind {
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
        Kind::Unresolved(why) => Ok(Filter::Unresolved(why.into())),
    })
}

fn encode_headers(it: &HeaderModifier) -> proto::HeaderModifier {
    proto::HeaderModifier {
        set: it.set.iter().map(encode_header).collect(),
        add: it.add.iter().map(encode_header).collect(),
        remove: it.remove.iter().map(ToString::to_string).collect(),
    }
}

fn decode_headers(message: proto::HeaderModifier) -> Result<HeaderModifier, Invalid> {
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

fn encode_redirect(it: &Redirect) -> proto::Redirect {
    let scheme = it.scheme.map(|scheme| match scheme {
        Scheme::Http => proto::Scheme::Http.into(),
        Scheme::Https => proto::Scheme::Https.into(),
    });
    proto::Redirect {
        scheme,
        hostname: it.hostname.as_ref().map(ToString::to_string),
        path: it.path.as_ref().map(encode_path),
        port: it.port.map(u32::from),
        status: it.status.as_u16().into(),
    }
}

fn decode_redirect(message: proto::Redirect) -> Result<Redirect, Invalid> {
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
    match proto::Scheme::try_from(number) {
        Ok(proto::Scheme::Http) => Ok(Scheme::Http),
        Ok(proto::Scheme::Https) => Ok(Scheme::Https),
        Ok(proto::Scheme::Unspecified) | Err(_) => Err(Invalid::unknown_value("", number)),
    }
}

fn encode_path(path: &PathModifier) -> proto::PathModifier {
    use proto::path_modifier::Kind;
    let kind = match path {
        PathModifier::ReplaceFull(path) => Kind::ReplaceFull(path.to_string()),
        PathModifier::ReplacePrefix(path) => Kind::ReplacePrefix(path.to_string()),
    };
    proto::PathModifier { kind: Some(kind) }
}

fn decode_path(message: proto::PathModifier) -> Result<PathModifier, Invalid> {
    use proto::path_modifier::Kind;
    required(message.kind, "", |kind| match kind {
        Kind::ReplaceFull(path) => Ok(PathModifier::ReplaceFull(path.into())),
        Kind::ReplacePrefix(path) => Ok(PathModifier::ReplacePrefix(path.into())),
    })
}

fn decode_fraction(message: proto::Fraction) -> Result<Fraction, Invalid> {
    let proto::Fraction { numerator, denominator } = message;
    Fraction::new(numerator, denominator)
        .ok_or_else(|| Invalid::new("", format!("{numerator}/{denominator} is not a share")))
}
