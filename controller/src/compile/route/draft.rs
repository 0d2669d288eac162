//! A route on its way from what was written to what is carried out.

use super::budget::Spent;
use crate::compile::policy::access::RoutePolicies;
use crate::compile::policy::authenticate::RouteAuthentications;
use crate::compile::policy::limit::RouteLimits;
use crate::compile::program::Reader;
use crate::diagnostic::{Diagnostic, Reason};
use crate::resources::{ObjectRef, RouteKind};
use fairway_config::model::{Filter, ObjectName, Rule, Timeouts, WeightedTarget};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Whose route it is: what it may name differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// A Gateway's: other namespaces must grant what it names (ReferenceGrant).
    Gateway,
    /// A Service's: no grant is needed (GEP-1294).
    Mesh,
    /// Nobody's: references are not followed, only the rules themselves are looked at.
    Unread,
}

/// A route on its way.
pub(super) struct Draft<'r, 'e> {
    pub reader: &'r mut Reader<'e>,
    pub route: &'r ObjectRef,
    pub kind: RouteKind,
    pub scope: Scope,
    /// What its regular expressions took so far.
    pub spent: Spent,
    /// That it stands in for a route that cannot be read: none of its rules holds.
    unreadable: Option<Diagnostic>,
    resolved: Resolved,
}

/// What became of a route's rules.
#[derive(Debug)]
pub(super) struct Resolved {
    /// What is carried out.
    pub body: Body,
    /// Whether one of them holds, or none was written.
    holds: bool,
    written: usize,
    /// Why rules do not hold: what they match is answered with 500 (gRPC: UNAVAILABLE).
    pub dropped: Vec<Diagnostic>,
    /// References that are not resolved.
    pub unresolved: Vec<Diagnostic>,
    /// Fields that have no effect.
    pub noted: Vec<Diagnostic>,
    /// The Services it uses.
    pub services: BTreeSet<ObjectName>,
}

/// What a route does.
#[derive(Debug, PartialEq)]
pub(super) enum Body {
    /// With requests, by rules. One that does not hold stands in its place and answers.
    Requests(Vec<Rule>),
    /// With connections; none if its one rule does not hold.
    Connections(Option<Forward>),
}

/// What a route for connections does. Such a route has one rule, without matches and filters.
#[derive(Debug, PartialEq)]
pub(super) struct Forward {
    pub name: Option<Arc<str>>,
    pub backends: Vec<WeightedTarget>,
}

/// What is wrong with one rule. All of it is told at once, up to what somebody reads.
#[derive(Debug, Default)]
pub(super) struct Faults {
    told: Vec<Diagnostic>,
    more: usize,
}

/// As many faults of a rule, and as many rules, are told of.
const TOLD: usize = 8;

// === impl Draft ===

impl<'r, 'e> Draft<'r, 'e> {
    pub(super) fn new(
        reader: &'r mut Reader<'e>,
        route: &'r ObjectRef,
        kind: RouteKind,
        scope: Scope,
        spent: Spent,
    ) -> Self {
        let body = match kind {
            RouteKind::Http | RouteKind::Grpc => Body::Requests(Vec::new()),
            RouteKind::Tls | RouteKind::Tcp | RouteKind::Udp => Body::Connections(None),
        };
        let (dropped, unresolved, noted) = (Vec::new(), Vec::new(), Vec::new());
        let services = BTreeSet::new();
        let resolved = Resolved { body, holds: false, written: 0, dropped, unresolved, noted, services };
        Self { reader, route, kind, scope, spent, unreadable: None, resolved }
    }

    /// The same for a route that stands in for one that cannot be read, and why that cannot be read.
    pub(super) fn standing_in(self, why: Option<&str>) -> Self {
        let unreadable = why.map(|why| {
            let message = format!("the route cannot be read: {why}");
            let remedy = "correct it, or upgrade Fairway if it is from a newer version of the API";
            Diagnostic::error(Reason::RouteUnreadable, "", message, remedy)
        });
        Self { unreadable, ..self }
    }

    /// Takes a rule in. One with faults does not hold: it answers in its place what it matches, so that its requests do not
    /// fall to a rule that is wider, and perhaps less guarded.
    pub(super) fn push(&mut self, rule: Rule, faults: Faults) {
        self.resolved.written += 1;
        let holds = faults.told.is_empty() && self.unreadable.is_none();
        self.resolved.holds |= holds;
        if let Body::Requests(rules) = &mut self.resolved.body {
            rules.push(if holds { rule } else { refusing(rule) });
        }
        let dropped = &mut self.resolved.dropped;
        for fault in faults.told {
            if !(fault.reason.is_of_whole_route() && dropped.iter().any(|it| it.reason == fault.reason)) {
                dropped.push(fault);
            }
        }
        if let (Some(last), true) = (self.resolved.dropped.last_mut(), faults.more > 0) {
            last.message.push_str(&format!(" (and {} more faults of this rule)", faults.more));
        }
    }

    /// Takes in where connections go, or notes why they go nowhere.
    pub(super) fn forward(&mut self, to: Result<Forward, Diagnostic>) {
        self.resolved.written += 1;
        match self.unreadable.take().map_or(to, Err) {
            Ok(forward) => {
                self.resolved.body = Body::Connections(Some(forward));
                self.resolved.holds = true;
            }
            Err(error) => {
                // To nowhere: its connections must not fall to a route for more hostnames.
                let forward = Forward { name: None, backends: Vec::new() };
                self.resolved.body = Body::Connections(Some(forward));
                self.resolved.dropped.push(error);
            }
        }
    }

    /// Notes that a Service is used.
    pub(super) fn uses(&mut self, service: &ObjectName) {
        self.resolved.services.insert(service.clone());
    }

    /// Notes a reference that is not resolved.
    pub(super) fn unresolved(&mut self, error: Diagnostic) {
        self.resolved.unresolved.push(error);
    }

    /// Notes a field that has no effect.
    pub(super) fn note(&mut self, warning: Diagnostic) {
        self.resolved.noted.push(warning);
    }

    pub(super) fn finish(mut self) -> Resolved {
        if let Some(unreadable) = self.unreadable {
            self.resolved.dropped.insert(0, unreadable);
        }
        self.resolved
    }
}

// === impl Body ===

impl Body {
    /// Has policies ask, judge and count whoever the route takes. Where they cannot, it takes nothing on.
    pub(super) fn judge(
        &mut self,
        authentications: &RouteAuthentications,
        policies: &RoutePolicies,
        limits: &RouteLimits,
        scope: Scope,
    ) {
        if authentications.is_empty() && policies.is_empty() && limits.is_empty() {
            return;
        }
        match self {
            Self::Requests(rules) => {
                let names: BTreeSet<Arc<str>> = rules.iter().filter_map(|it| it.name.clone()).collect();
                for rule in rules {
                    rule.authorizations = match scope {
                        Scope::Mesh => policies.in_mesh(),
                        Scope::Gateway | Scope::Unread => {
                            policies.at_gateway(rule.name.as_ref(), |it| names.contains(it))
                        }
                    };
                    rule.authentications = match scope {
                        Scope::Mesh => authentications.in_mesh(),
                        Scope::Gateway | Scope::Unread => {
                            authentications.at_gateway(rule.name.as_ref(), |it| names.contains(it))
                        }
                    };
                    rule.limits = match scope {
                        Scope::Mesh => limits.in_mesh(),
                        Scope::Gateway | Scope::Unread => {
                            limits.at_gateway(rule.name.as_ref(), |it| names.contains(it))
                        }
                    };
                }
            }
            Self::Connections(Some(forward))
                if authentications.are_enforced() || policies.are_enforced() || limits.are_enforced() =>
            {
                forward.backends.clear()
            }
            Self::Connections(_) => {}
        }
    }
}

// === impl Resolved ===

impl Resolved {
    /// Everything that is wrong, for the report.
    pub(super) fn diagnostics(&self) -> impl Iterator<Item = &Diagnostic> {
        let all = self.dropped.iter().chain(&self.unresolved).chain(&self.noted);
        // Whoever could not read a route has reported it.
        all.filter(|it| it.reason != Reason::RouteUnreadable)
    }

    /// Whether one of the rules holds, or none was written.
    pub(super) fn holds(&self) -> bool {
        self.holds || self.written == 0
    }

    /// Why the whole route is refused: rules were written, and none holds.
    pub(super) fn refusal(&self) -> Option<(&'static str, String)> {
        let first = self.dropped.first().filter(|_| !self.holds())?;
        Some((first.reason.condition(), self.dropped_in_words()))
    }

    /// The rules that do not hold, and what follows.
    pub(super) fn dropped_in_words(&self) -> String {
        let mut all: Vec<String> = self.dropped.iter().take(TOLD).map(Diagnostic::text).collect();
        if let more @ 1.. = self.dropped.len().saturating_sub(TOLD) {
            all.push(format!("And {more} more faults"));
        }
        let follows = match self.body {
            Body::Requests(_) => {
                "requests that such a rule matches are answered with 500 (gRPC: UNAVAILABLE)"
            }
            Body::Connections(_) => "its connections are closed",
        };
        format!("{}. Until this is corrected, {follows}", all.join(". "))
    }
}

// === impl Faults ===

impl Faults {
    /// Takes an error in.
    pub(super) fn add(&mut self, error: Diagnostic) {
        if error.reason.is_of_whole_route() && self.told.iter().any(|it| it.reason == error.reason) {
            return;
        }
        match self.told.len() < TOLD {
            true => self.told.push(error),
            false => self.more += 1,
        }
    }

    /// What came out well; what did not is taken in.
    pub(super) fn take<T>(&mut self, result: Result<T, Diagnostic>) -> Option<T> {
        result.map_err(|error| self.add(error)).ok()
    }
}

/// The rule that stands where one does not hold. It has the same matches, so it takes the same requests, and answers them.
/// What the rule does to responses it does to this answer: a browser is not told of a CORS failure in place of the error.
fn refusing(rule: Rule) -> Rule {
    let mut filters = rule.filters;
    filters.retain(Filter::acts_on_responses);
    filters.push(Filter::Unresolved("a rule that does not hold".into()));
    let (backends, timeouts) = (Vec::new(), Timeouts::default());
    Rule {
        name: rule.name,
        matches: rule.matches,
        filters,
        backends,
        timeouts,
        retry: None,
        authorizations: Vec::new(),
        limits: Vec::new(),
        authentications: Vec::new(),
    }
}
