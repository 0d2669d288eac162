//! Authorization: one form, evaluated at L4 by ztunnel and (later) at L7 by the waypoint.
//!
//! Fails closed: an ALLOW with a condition that is not understood matches nothing, a DENY with one matches everything.
#![forbid(unsafe_code)]

use fairway_identity::SpiffeId;
use std::sync::Arc;

/// Who may connect to the workloads that name this authorization.
#[derive(Clone, Debug, PartialEq)]
pub struct Authorization {
    /// Unique name, for logs and references.
    pub name: Arc<str>,
    /// What a match means.
    pub action: Action,
    /// It matches when one of these does.
    pub rules: Vec<Rule>,
}

/// What a matching authorization means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Let in; once a workload has one ALLOW, whatever none of them matches is refused.
    Allow,
    /// Refuse, whatever ALLOWs say.
    Deny,
}

/// Matches when every condition does.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Rule {
    /// All must hold.
    pub conditions: Vec<Condition>,
}

/// A condition on a connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// The peer proved one of these identities.
    PeerIs(Vec<SpiffeId>),
    /// The peer proved none of these identities (a peer without identity included).
    PeerIsNot(Vec<SpiffeId>),
    /// The destination port is one of these.
    PortIs(Vec<u16>),
    /// A condition of a newer controller.
    NotUnderstood(Arc<str>),
}

/// What an authorization can see of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Connection<'a> {
    /// The identity the peer proved; none for plaintext.
    pub peer: Option<&'a SpiffeId>,
    /// The port it wants.
    pub port: u16,
}

/// Whether a connection is let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Let in.
    Allowed,
    /// Refused by a DENY that matched.
    Denied {
        /// Its name.
        by: Arc<str>,
    },
    /// Refused because no ALLOW matched.
    NotAllowed,
    /// Refused because an authorization the workload names is not known (yet).
    Missing {
        /// Its name.
        name: Arc<str>,
    },
}

/// Decides; `authorizations` gives each name with what is known under it.
pub fn evaluate<'a>(
    authorizations: impl IntoIterator<Item = (&'a Arc<str>, Option<&'a Authorization>)>,
    connection: Connection<'_>,
) -> Verdict {
    let (mut has_allow, mut allowed) = (false, false);
    for (name, authorization) in authorizations {
        let Some(authorization) = authorization else {
            return Verdict::Missing { name: name.clone() };
        };
        let matched = authorization.matches(connection);
        match authorization.action {
            Action::Deny if matched => return Verdict::Denied { by: name.clone() },
            Action::Deny => {}
            Action::Allow => {
                has_allow = true;
                allowed |= matched;
            }
        }
    }
    if has_allow && !allowed { Verdict::NotAllowed } else { Verdict::Allowed }
}

// === impl Authorization ===

impl Authorization {
    /// Whether one of the rules matches.
    pub fn matches(&self, connection: Connection<'_>) -> bool {
        self.rules.iter().any(|rule| rule.conditions.iter().all(|it| it.holds(connection, self.action)))
    }
}

// === impl Condition ===

impl Condition {
    fn holds(&self, connection: Connection<'_>, action: Action) -> bool {
        match self {
            Self::PeerIs(ids) => connection.peer.is_some_and(|peer| ids.contains(peer)),
            Self::PeerIsNot(ids) => connection.peer.is_none_or(|peer| !ids.contains(peer)),
            Self::PortIs(ports) => ports.contains(&connection.port),
            Self::NotUnderstood(_) => action == Action::Deny,
        }
    }
}

// === impl Verdict ===

impl Verdict {
    /// Whether the connection is let in.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> SpiffeId {
        format!("spiffe://cluster.local/ns/shop/sa/{text}").parse().unwrap()
    }

    fn authorization(action: Action, conditions: Vec<Condition>) -> Authorization {
        Authorization { name: "it".into(), action, rules: vec![Rule { conditions }] }
    }

    fn verdict(authorizations: &[Authorization], peer: Option<&SpiffeId>, port: u16) -> Verdict {
        evaluate(authorizations.iter().map(|it| (&it.name, Some(it))), Connection { peer, port })
    }

    #[test]
    fn with_no_authorization_everything_is_let_in() {
        assert_eq!(verdict(&[], None, 80), Verdict::Allowed);
    }

    #[test]
    fn a_required_waypoint_refuses_all_other_peers_on_its_ports_only() {
        let only_waypoint = [authorization(
            Action::Deny,
            vec![Condition::PeerIsNot(vec![id("waypoint")]), Condition::PortIs(vec![80])],
        )];
        assert!(verdict(&only_waypoint, Some(&id("waypoint")), 80).is_allowed());
        assert!(!verdict(&only_waypoint, Some(&id("client")), 80).is_allowed());
        assert!(!verdict(&only_waypoint, None, 80).is_allowed());
        assert!(verdict(&only_waypoint, Some(&id("client")), 81).is_allowed());
    }

    #[test]
    fn one_allow_makes_everything_else_refused() {
        let allow = [authorization(Action::Allow, vec![Condition::PeerIs(vec![id("a")])])];
        assert!(verdict(&allow, Some(&id("a")), 80).is_allowed());
        assert_eq!(verdict(&allow, Some(&id("b")), 80), Verdict::NotAllowed);
    }

    #[test]
    fn what_is_not_understood_fails_closed() {
        let unknown = || Condition::NotUnderstood("moon phase".into());
        assert_eq!(verdict(&[authorization(Action::Allow, vec![unknown()])], None, 80), Verdict::NotAllowed);
        assert_eq!(
            verdict(&[authorization(Action::Deny, vec![unknown()])], None, 80),
            Verdict::Denied { by: "it".into() }
        );
    }

    #[test]
    fn an_authorization_that_is_not_known_refuses() {
        let name: Arc<str> = "missing".into();
        assert_eq!(
            evaluate([(&name, None)], Connection { peer: None, port: 80 }),
            Verdict::Missing { name: name.clone() }
        );
    }
}
