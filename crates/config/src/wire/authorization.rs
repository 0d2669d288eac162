//! Authorizations on the wire. The one place where what is not understood is taken in, because its meaning is fixed:
//! nothing in an ALLOW, everything in a DENY.

use super::invalid::{Invalid, each, required};
use super::{matching, value};
use crate::proto::{self, condition::Kind};
use bytes::Bytes;
use fairway_policy::{Action, Authorization, Cidr, CidrSet, Condition, Mode, Rule, SpiffeId, TrustDomain};
use prost::Message;

pub(super) fn encode(authorization: &Authorization) -> proto::Authorization {
    let action = match authorization.action {
        Action::Allow => proto::Action::Allow,
        Action::Deny => proto::Action::Deny,
    };
    let rule = |rule: &Rule| proto::AuthorizationRule {
        conditions: encode_conditions(&rule.conditions),
        name: rule.name.as_ref().map(ToString::to_string),
    };
    proto::Authorization {
        name: authorization.name.to_string(),
        action: action.into(),
        rules: authorization.rules.iter().map(rule).collect(),
        mode: encode_mode(authorization.mode).into(),
    }
}

pub(super) fn decode(message: proto::Authorization) -> Result<Authorization, Invalid> {
    Ok(Authorization {
        name: value::name(message.name).map_err(|it| it.within("name"))?,
        action: match proto::Action::try_from(message.action) {
            Ok(proto::Action::Allow) => Action::Allow,
            Ok(proto::Action::Deny) => Action::Deny,
            Ok(proto::Action::Unspecified) | Err(_) => {
                return Err(Invalid::unknown_value("action", message.action));
            }
        },
        mode: decode_mode(message.mode)?,
        rules: each(message.rules, "rules", |rule| {
            Ok(Rule {
                name: rule.name.map(Into::into),
                conditions: each(rule.conditions, "conditions", |it| decode_condition(&it, 0))?,
            })
        })?,
    })
}

pub(super) fn encode_mode(mode: Mode) -> proto::Mode {
    match mode {
        Mode::Enforce => proto::Mode::Enforce,
        Mode::Observe => proto::Mode::Observe,
    }
}

pub(super) fn decode_mode(number: i32) -> Result<Mode, Invalid> {
    match proto::Mode::try_from(number) {
        Ok(proto::Mode::Enforce) => Ok(Mode::Enforce),
        Ok(proto::Mode::Observe) => Ok(Mode::Observe),
        Err(_) => Err(Invalid::unknown_value("mode", number)),
    }
}

/// Lists of conditions, one of which has to hold.
pub(super) fn encode_alternatives(lists: &[Vec<Condition>]) -> proto::Alternatives {
    let list = |it: &Vec<Condition>| proto::Conditions { conditions: encode_conditions(it) };
    proto::Alternatives { alternatives: lists.iter().map(list).collect() }
}

/// Lists that do not stand within a condition.
pub(super) fn decode_alternatives(message: proto::Alternatives) -> Result<Vec<Vec<Condition>>, Invalid> {
    decode_lists(message, "alternatives", 0)
}

fn decode_lists(
    message: proto::Alternatives,
    field: &str,
    depth: u8,
) -> Result<Vec<Vec<Condition>>, Invalid> {
    each(message.alternatives, field, |list| {
        each(list.conditions, "conditions", |it| decode_condition(&it, depth))
    })
}

fn encode_conditions(conditions: &[Condition]) -> Vec<Bytes> {
    conditions.iter().map(|it| encode_condition(it).encode_to_vec().into()).collect()
}

fn encode_condition(condition: &Condition) -> proto::Condition {
    let ids = |ids: &[SpiffeId]| proto::Identities { ids: ids.iter().map(ToString::to_string).collect() };
    let kind = match condition {
        Condition::PeerIs(it) => Kind::PeerIs(ids(it)),
        Condition::PeerIsNot(it) => Kind::PeerIsNot(ids(it)),
        Condition::PeerNamespaceIs { trust_domain, namespaces } => Kind::PeerNamespaceIs(proto::Namespaces {
            trust_domain: trust_domain.to_string(),
            names: namespaces.iter().map(ToString::to_string).collect(),
        }),
        Condition::ClientIn(it) => Kind::ClientIn(encode_cidrs(it)),
        Condition::ClientNotIn(it) => Kind::ClientNotIn(encode_cidrs(it)),
        Condition::PortIs(ports) => {
            Kind::PortIs(proto::Ports { ports: ports.iter().copied().map(u32::from).collect() })
        }
        Condition::HostIs(it) => {
            Kind::HostIs(proto::Hosts { hostnames: it.iter().map(ToString::to_string).collect() })
        }
        Condition::MethodIs(it) => {
            Kind::MethodIs(proto::Methods { methods: it.iter().map(ToString::to_string).collect() })
        }
        Condition::PathIs(it) => Kind::PathIs(proto::Paths {
            paths: it.iter().map(|path| matching::encode_path(path.as_written())).collect(),
        }),
        Condition::HeaderIs(it) => Kind::HeaderIs(matching::encode_header(it)),
        Condition::AnyOf(lists) => Kind::AnyOf(encode_alternatives(lists)),
        Condition::NotUnderstood(what) => Kind::NotUnderstood(what.to_string()),
    };
    proto::Condition { kind: Some(kind) }
}

pub(super) fn encode_cidrs(cidrs: &CidrSet) -> proto::Cidrs {
    let encode =
        |it: &Cidr| proto::Cidr { first: value::encode_ip(&it.first()), length: it.prefix_length().into() };
    proto::Cidrs { cidrs: cidrs.cidrs().iter().map(encode).collect() }
}

/// How deep conditions stand within conditions. The controller sends two levels.
const DEEPEST: u8 = 4;

fn decode_condition(octets: &[u8], depth: u8) -> Result<Condition, Invalid> {
    let message = proto::Condition::decode(octets).map_err(|error| Invalid::new("", error))?;
    // A field that this program does not know is lost in decoding; then the condition says less than it was meant to.
    let complete = message.encode_to_vec() == *octets;
    Ok(match message.kind {
        Some(kind) if complete => decode_kind(kind, depth)?,
        _ => Condition::NotUnderstood("a condition of a newer controller".into()),
    })
}

fn decode_kind(kind: Kind, depth: u8) -> Result<Condition, Invalid> {
    Ok(match kind {
        Kind::PeerIs(it) => Condition::PeerIs(each(it.ids, "peer_is.ids", value::identity)?),
        Kind::PeerIsNot(it) => Condition::PeerIsNot(each(it.ids, "peer_is_not.ids", value::identity)?),
        Kind::PeerNamespaceIs(it) => Condition::PeerNamespaceIs {
            trust_domain: TrustDomain::new(&it.trust_domain)
                .map_err(|error| Invalid::new("peer_namespace_is.trust_domain", error))?,
            namespaces: each(it.names, "peer_namespace_is.names", value::name)?,
        },
        Kind::ClientIn(it) => Condition::ClientIn(decode_cidrs(it, "client_in.cidrs")?),
        Kind::ClientNotIn(it) => Condition::ClientNotIn(decode_cidrs(it, "client_not_in.cidrs")?),
        Kind::PortIs(it) => Condition::PortIs(each(it.ports, "port_is.ports", value::port)?),
        Kind::HostIs(it) => Condition::HostIs(each(it.hostnames, "host_is.hostnames", value::hostname)?),
        Kind::MethodIs(it) => Condition::MethodIs(each(it.methods, "method_is.methods", value::method)?),
        Kind::PathIs(it) => Condition::PathIs(each(it.paths, "path_is.paths", |path| {
            required(path.kind, "", matching::decode_path).map(Into::into)
        })?),
        Kind::HeaderIs(it) => {
            Condition::HeaderIs(matching::decode_header(it).map_err(|it| it.within("header_is"))?)
        }
        Kind::AnyOf(_) if depth == DEEPEST => {
            return Err(Invalid::new("any_of", format!("stands more than {DEEPEST} levels deep")));
        }
        Kind::AnyOf(it) => Condition::AnyOf(decode_lists(it, "any_of.alternatives", depth + 1)?),
        Kind::NotUnderstood(what) => Condition::NotUnderstood(what.into()),
    })
}

pub(super) fn decode_cidrs(message: proto::Cidrs, field: &str) -> Result<CidrSet, Invalid> {
    let cidrs = each(message.cidrs, field, |it| {
        let first = value::ip(it.first).map_err(|it| it.within("first"))?;
        let length = u8::try_from(it.length).map_err(|error| Invalid::new("length", error))?;
        let cidr = Cidr::new(first, length).map_err(|error| Invalid::new("", error))?;
        // One range has one spelling, thus one hash.
        if cidr.first() != first {
            return Err(Invalid::new("first", format!("the range {cidr} is written as IPv4")));
        }
        Ok(cidr)
    })?;
    Ok(cidrs.into_iter().collect())
}
