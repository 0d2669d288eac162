//! A route as it is served: the user's rules, and what could be worked out of them at commit.

use super::clean::cleaned;
use super::hop::Hop;
use super::weights::Weights;
use crate::stage::StageList;
use fairway_config::model::{BackendTarget, Filter, InvalidFilter, Match, Route, Rule, WeightedBackend};
use fairway_telemetry::{RequestLabels, RuleName, Series, SeriesTable};
use rand::Rng;
use std::sync::Arc;

/// A route, compiled. Shared by every table in which it stands.
#[derive(Debug)]
pub struct CompiledRoute {
    route: Arc<Route>,
    rules: Box<[CompiledRule]>,
}

/// What was worked out of a rule.
#[derive(Debug)]
struct CompiledRule {
    weights: Weights,
    hop: Hop,
    stages: StageList,
    /// Of each backend; empty if no backend has any.
    backend_stages: Box<[StageList]>,
    /// Where requests count that have no backend yet.
    series: Series<RequestLabels>,
    /// Where those of each backend count.
    backend_series: Box<[Series<RequestLabels>]>,
    /// Whether the rule, or one of its backends, answers preflights.
    has_cors: bool,
}

/// One alternative of one rule of a route: what a request is matched against. In a table, these stand in the order of
/// precedence.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub route: Arc<CompiledRoute>,
    pub rule: u16,
    pub alternative: u16,
}

/// The rule that a request is served by.
#[derive(Clone, Copy, Debug)]
pub struct RuleEntry<'t> {
    route: &'t Arc<CompiledRoute>,
    rule: &'t Rule,
    compiled: &'t CompiledRule,
    index: usize,
    matched: &'t Match,
}

/// Where a request goes, and what is done to it on the way there.
#[derive(Clone, Copy, Debug)]
pub struct ChosenBackend<'t> {
    /// Where to. A reference that leads nowhere keeps its share, and is answered with 500.
    pub target: &'t BackendTarget,
    /// Run after the rule's; none if there are none.
    pub stages: Option<&'t StageList>,
    /// Where the request counts.
    pub series: &'t Series<RequestLabels>,
}

// === impl CompiledRoute ===

impl CompiledRoute {
    /// Compiles a route. Its requests will count in `series`.
    pub fn new(route: Arc<Route>, series: &SeriesTable<RequestLabels>) -> Result<Self, InvalidFilter> {
        let rules = route.rules.iter().enumerate();
        let rules = rules
            .map(|(index, rule)| CompiledRule::new(&route, index, rule, series))
            .collect::<Result<_, _>>()?;
        Ok(Self { route: cleaned(route), rules })
    }

    /// The route, without what is ignored in it.
    pub fn route(&self) -> &Arc<Route> {
        &self.route
    }

    /// Every alternative of every rule, in the user's order.
    pub(super) fn candidates(self: &Arc<Self>) -> impl Iterator<Item = Candidate> {
        // The API allows 16 rules and 128 matches; whatever is beyond 65,535 is not reachable.
        self.route.rules.iter().zip(0..u16::MAX).flat_map(move |(rule, index)| {
            let alternatives = rule.matches.iter().zip(0..u16::MAX);
            alternatives.map(move |(_, alternative)| Candidate {
                route: self.clone(),
                rule: index,
                alternative,
            })
        })
    }
}

// === impl CompiledRule ===

impl CompiledRule {
    fn new(
        route: &Route,
        index: usize,
        rule: &Rule,
        series: &SeriesTable<RequestLabels>,
    ) -> Result<Self, InvalidFilter> {
        let counted = |target: Option<&BackendTarget>| {
            let backend = match target {
                Some(BackendTarget::Backend(key)) => Some(key.clone()),
                Some(BackendTarget::Unresolved(_)) | None => None,
            };
            let name = RuleName::new(rule.name.as_ref(), index);
            series.series(RequestLabels { rule: Some((route.key.clone(), name)), backend })
        };
        let backend_stages: Box<[_]> =
            rule.backends.iter().map(|it| StageList::new(&it.filters)).collect::<Result<_, _>>()?;
        let has_any = backend_stages.iter().any(|it| !it.is_empty());
        let mut filters = rule.filters.iter().chain(rule.backends.iter().flat_map(|it| &it.filters));
        Ok(Self {
            weights: Weights::new(&rule.backends),
            hop: Hop::for_rule(route, index),
            stages: StageList::new(&rule.filters)?,
            backend_stages: if has_any { backend_stages } else { Box::default() },
            series: counted(None),
            backend_series: rule.backends.iter().map(|it| counted(Some(&it.target))).collect(),
            has_cors: filters.any(|it| matches!(it, Filter::Cors(_))),
        })
    }
}

// === impl Candidate ===

impl Candidate {
    pub fn matched(&self) -> Option<&Match> {
        self.route.route.rules.get(usize::from(self.rule))?.matches.get(usize::from(self.alternative))
    }

    /// Whether its rule, or one of its backends, has a CORS filter.
    pub fn has_cors(&self) -> bool {
        let rule = self.route.rules.get(usize::from(self.rule));
        rule.is_some_and(|it| it.has_cors)
    }

    pub fn entry(&self) -> Option<RuleEntry<'_>> {
        let index = usize::from(self.rule);
        Some(RuleEntry {
            route: &self.route,
            rule: self.route.route.rules.get(index)?,
            compiled: self.route.rules.get(index)?,
            index,
            matched: self.matched()?,
        })
    }
}

// === impl RuleEntry ===

impl<'t> RuleEntry<'t> {
    /// The route it is of.
    pub fn route(&self) -> &'t Arc<Route> {
        &self.route.route
    }

    /// The rule as the user wrote it: timeouts, retries, name.
    pub fn rule(&self) -> &'t Rule {
        self.rule
    }

    /// The mark of requests that have passed it.
    pub(crate) fn hop(&self) -> &'t Hop {
        &self.compiled.hop
    }

    /// Where its requests count while they have no backend.
    pub fn series(&self) -> &'t Series<RequestLabels> {
        &self.compiled.series
    }

    /// Its place in the route.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The alternative that matched.
    pub fn matched(&self) -> &'t Match {
        self.matched
    }

    /// What is done to every request of the rule.
    pub fn stages(&self) -> &'t StageList {
        &self.compiled.stages
    }

    /// Draws a backend by weight; none if there is nothing to draw from, which is answered with 500.
    pub fn choose(&self, rng: &mut impl Rng) -> Option<ChosenBackend<'t>> {
        self.backend(self.compiled.weights.draw(rng)?)
    }

    /// The backends that can be drawn, with their places: those that weigh something.
    pub(crate) fn drawable(&self) -> impl Iterator<Item = (usize, &'t WeightedBackend)> + use<'t> {
        self.rule.backends.iter().enumerate().filter(|(_, it)| it.weight > 0)
    }

    /// The backend at this place of the rule, with its stages; none if the rule has fewer.
    pub(crate) fn backend(&self, index: usize) -> Option<ChosenBackend<'t>> {
        let backend = self.rule.backends.get(index)?;
        let stages = self.compiled.backend_stages.get(index).filter(|it| !it.is_empty());
        let series = self.compiled.backend_series.get(index)?;
        Some(ChosenBackend { target: &backend.target, stages, series })
    }
}
