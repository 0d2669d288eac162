//! The merge of all authorizations that apply to a connection or request, and the verdict.

use crate::attributes::Attributes;
use crate::authorization::{Action, Authorization, Mode, Rule};
use std::fmt;
use std::sync::Arc;

/// Where an authorization is attached. Each level has to let a request pass, so that the owner of a route cannot allow what
/// the owner of the Gateway does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// A Gateway or one of its listeners.
    Gateway,
    /// A route or one of its rules.
    Route,
    /// A Service, at its waypoint.
    Service,
    /// A pod, at the tunnel of its node.
    Pod,
}

/// An authorization that applies, at its level.
#[derive(Clone, Copy, Debug)]
pub struct Attached<'a> {
    /// Where it is attached.
    pub level: Level,
    /// The name under which the target refers to it.
    pub name: &'a Arc<str>,
    /// What is known under the name; `None` refuses.
    pub authorization: Option<&'a Authorization>,
}

/// The outcome of all authorizations that apply.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision<'a> {
    /// What is carried out.
    pub verdict: Verdict<'a>,
    /// Why it would be refused if the authorizations in [`Mode::Observe`] counted; none if it is refused anyway.
    pub observed: Option<PolicyRefusal>,
}

/// Whether a connection or request is let in.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict<'a> {
    /// It is. `by` is the rule of the innermost level that allows it; none where no level has an Allow.
    Allowed {
        /// The authorization and the rule.
        by: Option<Decider<'a>>,
    },
    /// It is refused, for this reason.
    Refused(PolicyRefusal),
}

/// The authorization and the rule that let a request in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decider<'a> {
    /// The name of the authorization.
    pub policy: &'a Arc<str>,
    /// The place of the rule in the authorization, from 0.
    pub number: usize,
    /// The first rule of the authorization that matched.
    pub rule: &'a Rule,
}

/// Why a connection or request is refused. For the log of the proxy; the client is not told which policy it met.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyRefusal {
    /// A rule of a Deny matched.
    #[error("denied by {policy}{}", .rule.in_words())]
    Denied {
        /// The name of the authorization.
        policy: Arc<str>,
        /// The rule that matched.
        rule: RuleName,
    },
    /// A level has authorizations that allow something, and none of them matched.
    #[error("nothing allows it at the level of the {level}, where {policy} asks for it")]
    NotAllowed {
        /// The level that does not let it pass.
        level: Level,
        /// The first Allow of that level.
        policy: Arc<str>,
    },
    /// The target names an authorization that is not known (yet). It could be a Deny.
    #[error("{policy} is not known here")]
    Unknown {
        /// The name that is not known.
        policy: Arc<str>,
    },
}

/// How a rule is named in a log: as the user named it, else by its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleName {
    /// The name that a user gave it.
    Given(Arc<str>),
    /// The place of the rule in the authorization, from 0.
    Number(usize),
}

/// Decides over all authorizations that apply, in any order.
///
/// A name that is not known refuses. A Deny that matches refuses, whatever an Allow says. At each level that has an Allow one
/// of them has to match. What no authorization speaks of is let in.
///
/// What cannot be judged counts against the client, and no level opens what another one closes:
///
/// ```
/// use fairway_policy::{Action, Attached, Attributes, Authorization, Condition, Level, PolicyRefusal, Rule, evaluate};
/// use std::sync::Arc;
///
/// fn at(level: Level, it: &Authorization) -> Attached<'_> {
///     Attached { level, name: &it.name, authorization: Some(it) }
/// }
/// let deletes = vec![Rule::when(vec![Condition::MethodIs(vec![http::Method::DELETE])])];
/// let no_deletes = Authorization::new("shop/no-deletes", Action::Deny, deletes);
/// let anybody = Authorization::new("shop/anybody", Action::Allow, vec![Rule::default()]);
/// let nobody = Authorization::new("shop/nobody", Action::Allow, vec![]);
///
/// // A tunnel of bytes knows no method. So a Deny that asks for one holds, whatever an Allow says.
/// let bytes = Attributes { peer: None, client: None, port: 8080, request: None };
/// let decision = evaluate([at(Level::Pod, &anybody), at(Level::Pod, &no_deletes)], &bytes);
/// assert!(matches!(decision.verdict.into_result(), Err(PolicyRefusal::Denied { .. })));
///
/// // The Allow of the Gateway does not help at the Service, whose own Allow has no rule and matches nothing.
/// let decision = evaluate([at(Level::Gateway, &anybody), at(Level::Service, &nobody)], &bytes);
/// assert!(matches!(decision.verdict.into_result(), Err(PolicyRefusal::NotAllowed { level: Level::Service, .. })));
///
/// // Nothing is attached: let in. A name is attached and not known: refused, for it could be a Deny.
/// assert!(evaluate([], &bytes).verdict.is_allowed());
/// let name: Arc<str> = "shop/gone".into();
/// let unknown = Attached { level: Level::Pod, name: &name, authorization: None };
/// assert!(!evaluate([unknown], &bytes).verdict.is_allowed());
/// ```
pub fn evaluate<'a>(
    attached: impl IntoIterator<Item = Attached<'a>>,
    attributes: &Attributes<'_>,
) -> Decision<'a> {
    let (mut enforced, mut observed) = (Levels::default(), Levels::default());
    let mut observed_denial = None;
    for Attached { level, name, authorization } in attached {
        let Some(authorization) = authorization else {
            return Decision::refused(PolicyRefusal::Unknown { policy: name.clone() });
        };
        let matching = authorization.matching_rule(attributes);
        let decider = matching.map(|(number, rule)| Decider { policy: name, number, rule });
        match (authorization.action, authorization.mode) {
            (Action::Deny, Mode::Enforce) => {
                if let Some(denied) = decider {
                    return Decision::refused(denied.denial());
                }
            }
            (Action::Deny, Mode::Observe) => {
                observed_denial = observed_denial.or(decider.map(|it| it.denial()));
            }
            (Action::Allow, mode) => {
                if mode == Mode::Enforce {
                    enforced.note(level, name, decider);
                }
                observed.note(level, name, decider);
            }
        }
    }
    match enforced.closed() {
        Some(refusal) => Decision::refused(refusal),
        None => Decision {
            verdict: Verdict::Allowed { by: enforced.innermost() },
            observed: observed_denial.or_else(|| observed.closed()),
        },
    }
}

/// The Allow authorizations met so far, by level.
#[derive(Default)]
struct Levels<'a>([Allows<'a>; 4]);

#[derive(Default)]
struct Allows<'a> {
    first: Option<&'a Arc<str>>,
    by: Option<Decider<'a>>,
}

// === impl Levels ===

impl<'a> Levels<'a> {
    fn note(&mut self, level: Level, policy: &'a Arc<str>, decider: Option<Decider<'a>>) {
        let Self([gateway, route, service, pod]) = self;
        let allows = match level {
            Level::Gateway => gateway,
            Level::Route => route,
            Level::Service => service,
            Level::Pod => pod,
        };
        allows.first = allows.first.or(Some(policy));
        allows.by = allows.by.or(decider);
    }

    /// The outermost level that lets nothing pass.
    fn closed(&self) -> Option<PolicyRefusal> {
        let levels = [Level::Gateway, Level::Route, Level::Service, Level::Pod];
        self.0.iter().zip(levels).find_map(|(allows, level)| match allows {
            Allows { first: Some(first), by: None } => {
                Some(PolicyRefusal::NotAllowed { level, policy: (*first).clone() })
            }
            _ => None,
        })
    }

    fn innermost(&self) -> Option<Decider<'a>> {
        self.0.iter().rev().find_map(|it| it.by)
    }
}

// === impl Decision ===

impl Decision<'_> {
    fn refused(refusal: PolicyRefusal) -> Self {
        Self { verdict: Verdict::Refused(refusal), observed: None }
    }
}

// === impl Verdict ===

impl Verdict<'_> {
    /// Whether the connection or request is let in.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed { .. })
    }

    /// Lets in, or says why not.
    pub fn into_result(self) -> Result<(), PolicyRefusal> {
        match self {
            Self::Allowed { .. } => Ok(()),
            Self::Refused(refusal) => Err(refusal),
        }
    }
}

// === impl Decider ===

impl Decider<'_> {
    /// How the rule is named in a log.
    pub fn rule_name(&self) -> RuleName {
        self.rule.name.clone().map_or(RuleName::Number(self.number), RuleName::Given)
    }

    fn denial(&self) -> PolicyRefusal {
        PolicyRefusal::Denied { policy: self.policy.clone(), rule: self.rule_name() }
    }
}

// === impl PolicyRefusal ===

impl PolicyRefusal {
    /// The name of the authorization that decided, for the log.
    pub fn policy(&self) -> &Arc<str> {
        match self {
            Self::Denied { policy, .. } | Self::NotAllowed { policy, .. } | Self::Unknown { policy } => {
                policy
            }
        }
    }

    /// The rule that decided, for the log; none where no rule matched.
    pub fn rule(&self) -> Option<&RuleName> {
        match self {
            Self::Denied { rule, .. } => Some(rule),
            Self::NotAllowed { .. } | Self::Unknown { .. } => None,
        }
    }
}

// === impl RuleName ===

impl RuleName {
    /// The only rule of most authorizations has no name, and its number says nothing.
    fn in_words(&self) -> String {
        match self {
            Self::Given(name) => format!(" (rule {name})"),
            Self::Number(0) => String::new(),
            Self::Number(number) => format!(" (rules[{number}])"),
        }
    }
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(name) => f.write_str(name),
            Self::Number(number) => number.fmt(f),
        }
    }
}

// === impl Level ===

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gateway => "Gateway",
            Self::Route => "route",
            Self::Service => "Service",
            Self::Pod => "pod",
        })
    }
}
