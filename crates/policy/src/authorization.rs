//! An authorization: whom it allows or denies, and by which rules.

use crate::attributes::Attributes;
use crate::condition::Condition;
use std::sync::Arc;

/// Allows or denies connections and requests that match one of its rules.
#[derive(Clone, Debug, PartialEq)]
pub struct Authorization {
    /// Unique among the authorizations of a mesh; `<namespace>/<name>` of the object that it comes from, for logs.
    pub name: Arc<str>,
    /// What a match means.
    pub action: Action,
    /// Whether its decision counts.
    pub mode: Mode,
    /// It matches when one of these does; with no rule it matches nothing.
    pub rules: Vec<Rule>,
}

/// What a matching authorization means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Let in; where there is one Allow at a level, whatever none of them matches is refused.
    Allow,
    /// Refuse, whatever an Allow says.
    Deny,
}

/// Whether the decision of an authorization counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Its decision is carried out.
    #[default]
    Enforce,
    /// It is made, so that it can be counted and logged, and does not count.
    Observe,
}

/// A rule matches when every condition holds; one without conditions always matches.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Rule {
    /// The name that a user gave it.
    pub name: Option<Arc<str>>,
    /// Every one has to hold.
    pub conditions: Vec<Condition>,
}

// === impl Authorization ===

impl Authorization {
    /// One that counts, with these rules.
    pub fn new(name: impl Into<Arc<str>>, action: Action, rules: Vec<Rule>) -> Self {
        Self { name: name.into(), action, mode: Mode::Enforce, rules }
    }

    /// The first rule that matches, with its place in `rules`.
    pub fn matching_rule(&self, attributes: &Attributes<'_>) -> Option<(usize, &Rule)> {
        self.rules.iter().enumerate().find(|(_, rule)| rule.matches(attributes, self.action))
    }

    /// Whether a proxy that sees connections, and no requests, can judge all of it.
    pub fn is_of_connection(&self) -> bool {
        self.rules.iter().flat_map(|it| &it.conditions).all(Condition::is_of_connection)
    }
}

// === impl Rule ===

impl Rule {
    /// A rule without a name that matches when all these conditions hold.
    pub fn when(conditions: Vec<Condition>) -> Self {
        Self { name: None, conditions }
    }

    /// Whether every condition holds. What cannot be judged holds in a Deny, and not in an Allow.
    pub fn matches(&self, attributes: &Attributes<'_>, action: Action) -> bool {
        self.conditions.iter().all(|it| it.holds(attributes, action))
    }
}
