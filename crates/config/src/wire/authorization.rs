//! Authorizations on the wire. The one place where what is not understood is taken in, because its meaning is fixed:
//! nothing in an ALLOW, everything in a DENY.

use super::invalid::{Invalid, each};
use super::value;
use crate::proto::{self, condition::Kind};
use bytes::Bytes;
use fairway_policy::{Action, Authorization, Condition, Rule};
use prost::Message;

pub(super) fn encode(authorization: &Authorization) -> proto::Authorization {
    let action = match authorization.action {
        Action::Allow => proto::Action::Allow,
        Action::Deny => proto::Action::Deny,
    };
    let rule = |rule: &Rule| proto::AuthorizationRule {
        conditions: rule.conditions.iter().map(|it| encode_condition(it).encode_to_vec().into()).collect(),
    };
    proto::Authorization {
        name: authorization.name.to_string(),
        action: action.into(),
        rules: authorization.rules.iter().map(rule).collect(),
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
        rules: each(message.rules, "rules", |rule| {
            Ok(Rule { conditions: each(rule.conditions, "conditions", decode_condition)? })
        })?,
    })
}

fn encode_condition(condition: &Condition) -> proto::Condition {
    let ids = |ids: &[fairway_identity::SpiffeId]| proto::Identities {
        ids: ids.iter().map(ToString::to_string).collect(),
    };
    let kind = match condition {
        Condition::PeerIs(it) => Kind::PeerIs(ids(it)),
        Condition::PeerIsNot(it) => Kind::PeerIsNot(ids(it)),
        Condition::PortIs(ports) => {
            Kind::PortIs(proto::Ports { ports: ports.iter().copied().map(u32::from).collect() })
        }
        Condition::NotUnderstood(what) => Kind::NotUnderstood(what.to_string()),
    };
    proto::Condition { kind: Some(kind) }
}

fn decode_condition(octets: Bytes) -> Result<Condition, Invalid> {
    let message = proto::Condition::decode(&*octets).map_err(|error| Invalid::new("", error))?;
    // A field that this program does not know is lost in decoding; then the condition says less than it was meant to.
    let complete = message.encode_to_vec() == *octets;
    Ok(match message.kind {
        Some(kind) if complete => decode_kind(kind)?,
        _ => Condition::NotUnderstood("a condition of a newer controller".into()),
    })
}

fn decode_kind(kind: Kind) -> Result<Condition, Invalid> {
    Ok(match kind {
        Kind::PeerIs(it) => Condition::PeerIs(each(it.ids, "peer_is.ids", value::identity)?),
        Kind::PeerIsNot(it) => Condition::PeerIsNot(each(it.ids, "peer_is_not.ids", value::identity)?),
        Kind::PortIs(it) => Condition::PortIs(each(it.ports, "port_is.ports", value::port)?),
        Kind::NotUnderstood(what) => Condition::NotUnderstood(what.into()),
    })
}
