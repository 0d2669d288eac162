//! A route on its way from what was written to what is carried out.

use crate::compile::evaluation::Evaluation;
use crate::compile::reader::Reader;
use crate::resources::{ObjectRef, RouteKind};
use fairway_config::model::{ObjectName, Rule, WeightedTarget};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// Whose route it is: what it may name differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// A Gateway's: other namespaces must grant what it names (ReferenceGrant).
    Gateway,
    /// A Service's: no grant is needed (GEP-1294).
    Mesh,
}

/// A route on its way.
pub(super) struct Draft<'r, 'e> {
    pub reader: &'r mut Reader<'e>,
    pub route: &'r ObjectRef,
    pub kind: RouteKind,
    pub scope: Scope,
    resolved: Resolved,
}

/// What became of a route's rules.
#[derive(Debug)]
pub(super) struct Resolved {
    /// What holds of them.
    pub body: Body,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// The Services it uses.
    pub services: BTreeSet<ObjectName>,
}

/// What a route does.
#[derive(Debug, PartialEq)]
pub(super) enum Body {
    /// With requests, by rules.
    Requests(Vec<Rule>),
    /// With connections; none if its one rule does not hold.
    Connections(Option<Forward>),
}

/// Where connections go.
#[derive(Debug, PartialEq)]
pub(super) struct Forward {
    /// The rule's name.
    pub name: Option<Arc<str>>,
    pub backends: Vec<WeightedTarget>,
}

/// Something that is wrong with a route.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Finding {
    pub effect: Effect,
    pub field: String,
    pub message: String,
    pub remedy: String,
}

/// What follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// The rule does not hold; the API's word for why.
    Dropped(&'static str),
    /// A reference leads nowhere; the API's word for why.
    Unresolved(&'static str),
    /// Nothing, but the user should know.
    Noted,
}

// === impl Draft ===

impl<'r, 'e> Draft<'r, 'e> {
    pub(super) fn new(
        reader: &'r mut Reader<'e>,
        route: &'r ObjectRef,
        kind: RouteKind,
        scope: Scope,
    ) -> Self {
        let body = match kind {
            RouteKind::Http | RouteKind::Grpc => Body::Requests(Vec::new()),
            RouteKind::Tls | RouteKind::Tcp | RouteKind::Udp => Body::Connections(None),
        };
        Self {
            reader,
            route,
            kind,
            scope,
            resolved: Resolved { body, findings: Vec::new(), services: BTreeSet::new() },
        }
    }

    /// Takes a rule in, or notes why it does not hold.
    pub(super) fn push(&mut self, rule: Result<Rule, Finding>) {
        match (rule, &mut self.resolved.body) {
            (Ok(rule), Body::Requests(rules)) => rules.push(rule),
            (Ok(_), Body::Connections(_)) => {}
            (Err(finding), _) => self.resolved.findings.push(finding),
        }
    }

    /// Takes in where connections go, or notes why they go nowhere.
    pub(super) fn forward(&mut self, to: Result<Forward, Finding>) {
        match to {
            Ok(forward) => self.resolved.body = Body::Connections(Some(forward)),
            Err(finding) => self.resolved.findings.push(finding),
        }
    }

    /// Notes that a Service is used.
    pub(super) fn uses(&mut self, service: &ObjectName) {
        self.resolved.services.insert(service.clone());
    }

    /// Notes a reference that leads nowhere.
    pub(super) fn unresolved(
        &mut self,
        reason: &'static str,
        field: impl Into<String>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let (field, message, remedy) = (field.into(), message.into(), remedy.into());
        self.resolved.findings.push(Finding { effect: Effect::Unresolved(reason), field, message, remedy });
    }

    /// Notes something a user should know.
    pub(super) fn note(
        &mut self,
        field: impl Into<String>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let (field, message, remedy) = (field.into(), message.into(), remedy.into());
        self.resolved.findings.push(Finding { effect: Effect::Noted, field, message, remedy });
    }

    pub(super) fn finish(self) -> Resolved {
        self.resolved
    }
}

// === impl Resolved ===

impl Resolved {
    /// The rules that do not hold.
    pub(super) fn dropped(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|it| matches!(it.effect, Effect::Dropped(_)))
    }

    /// Why the whole route is refused: rules were written, and none holds.
    pub(super) fn refusal(&self) -> Option<(&'static str, String)> {
        let first = self.dropped().next().filter(|_| self.body.is_empty())?;
        let Effect::Dropped(reason) = first.effect else { return None };
        let all: Vec<String> = self.dropped().map(ToString::to_string).collect();
        Some((reason, all.join(". ")))
    }
}

// === impl Body ===

impl Body {
    /// Whether nothing of what was written holds.
    fn is_empty(&self) -> bool {
        match self {
            Self::Requests(rules) => rules.is_empty(),
            Self::Connections(forward) => forward.is_none(),
        }
    }
}

// === impl Finding ===

impl Finding {
    /// A rule that does not hold.
    pub(super) fn dropped(
        reason: &'static str,
        field: impl Into<String>,
        message: impl fmt::Display,
        remedy: impl Into<String>,
    ) -> Self {
        let (field, message, remedy) = (field.into(), message.to_string(), remedy.into());
        Self { effect: Effect::Dropped(reason), field, message, remedy }
    }

    /// Puts it among the problems.
    pub(super) fn report(&self, route: &ObjectRef, made: &mut Evaluation) {
        let (field, message, remedy) = (self.field.clone(), self.message.clone(), self.remedy.clone());
        match self.effect {
            Effect::Noted => made.warn(route, field, message, remedy),
            Effect::Dropped(_) | Effect::Unresolved(_) => made.error(route, field, message, remedy),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.field, self.message, self.remedy)
    }
}

// === impl Effect ===

impl Effect {
    pub(super) fn is_unresolved(&self) -> bool {
        matches!(self, Self::Unresolved(_))
    }
}
