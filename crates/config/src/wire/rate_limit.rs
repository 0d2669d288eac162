//! Limits on the wire.

use super::authorization::{decode_alternatives, decode_mode, encode_alternatives, encode_mode};
use super::invalid::{Invalid, each, optional, required};
use super::value;
use crate::model::{Limit, LimitKeyPart, Limits, RateLimit};
use crate::proto::{self, limit_key_part::Kind};
use std::num::NonZeroU32;
use std::time::Duration;

pub(super) fn encode(rate_limit: &RateLimit) -> proto::RateLimit {
    let (limits, closed) = match &rate_limit.limits {
        Limits::Closed => (Vec::new(), true),
        Limits::Each(limits) => (limits.iter().map(encode_limit).collect(), false),
    };
    proto::RateLimit {
        name: rate_limit.name.to_string(),
        mode: encode_mode(rate_limit.mode).into(),
        limits,
        closed,
    }
}

pub(super) fn decode(message: proto::RateLimit) -> Result<RateLimit, Invalid> {
    let limits = each(message.limits, "limits", decode_limit)?;
    Ok(RateLimit {
        name: value::name(message.name).map_err(|it| it.within("name"))?,
        mode: decode_mode(message.mode)?,
        limits: match message.closed {
            false => Limits::Each(limits),
            true if limits.is_empty() => Limits::Closed,
            true => return Err(Invalid::new("closed", "there are limits beside it")),
        },
    })
}

fn encode_limit(limit: &Limit) -> proto::Limit {
    proto::Limit {
        name: limit.name.as_ref().map(ToString::to_string),
        requests: limit.requests.get(),
        per: Some(value::encode_duration(&limit.per)),
        burst: limit.burst.get(),
        key: limit.key.iter().map(encode_part).collect(),
        matches: limit.matches.as_ref().map(|it| encode_alternatives(it)),
    }
}

fn decode_limit(message: proto::Limit) -> Result<Limit, Invalid> {
    Ok(Limit {
        name: message.name.map(Into::into),
        requests: count(message.requests, "requests")?,
        per: required(message.per, "per", duration)?,
        burst: count(message.burst, "burst")?,
        key: each(message.key, "key", decode_part)?,
        matches: optional(message.matches, "matches", decode_alternatives)?,
    })
}

fn encode_part(part: &LimitKeyPart) -> proto::LimitKeyPart {
    let kind = match part {
        LimitKeyPart::ClientAddress => Kind::ClientAddress(proto::ClientAddressKey {}),
        LimitKeyPart::Identity => Kind::Identity(proto::IdentityKey {}),
        LimitKeyPart::Header(name) => Kind::Header(name.to_string()),
    };
    proto::LimitKeyPart { kind: Some(kind) }
}

fn decode_part(message: proto::LimitKeyPart) -> Result<LimitKeyPart, Invalid> {
    required(message.kind, "", |kind| {
        Ok(match kind {
            Kind::ClientAddress(_) => LimitKeyPart::ClientAddress,
            Kind::Identity(_) => LimitKeyPart::Identity,
            Kind::Header(name) => {
                LimitKeyPart::Header(value::header_name(name).map_err(|it| it.within("header"))?)
            }
        })
    })
}

fn count(number: u32, field: &str) -> Result<NonZeroU32, Invalid> {
    NonZeroU32::new(number).ok_or_else(|| Invalid::new(field, "is 0"))
}

fn duration(message: proto::Duration) -> Result<Duration, Invalid> {
    match value::duration(message)? {
        Duration::ZERO => Err(Invalid::new("", "is 0")),
        per => Ok(per),
    }
}
