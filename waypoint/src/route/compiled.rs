//! A route as it is served: the user's rules, and what could be worked out of them at commit.

use super::clean::cleaned;
use super::weights::Weights;
use crate::route::hop::Hop;
use crate::stage::{CorsHeaders, FilterChain, InvalidFilter};
use fairway_config::model::{BackendTarget, Match, Route, Rule};
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
    cors: Option<Box<CorsHeaders>>,
    /// Empty if no backend has a CORS filter.
    backend_cors: Box<[Option<Box<CorsHeaders>>]>,
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
    /// Run after the rule's.
    pub filters: FilterChain<'t>,
}

// === impl CompiledRoute ===

impl CompiledRoute {
    /// Compiles a route.
    pub fn new(route: Arc<Route>) -> Result<Self, InvalidFilter> {
        let rules = route.rules.iter().enumerate();
        let rules =
            rules.map(|(index, rule)| CompiledRule::new(&route, index, rule)).collect::<Result<_, _>>()?;
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
    fn new(route: &Route, index: usize, rule: &Rule) -> Result<Self, InvalidFilter> {
        let hop = Hop::of_rule(route, index);
        let cors = CorsHeaders::of(&rule.filters)?;
        let backend_cors: Box<[_]> =
            rule.backends.iter().map(|it| CorsHeaders::of(&it.filters)).collect::<Result<_, _>>()?;
        let backend_cors =
            if backend_cors.iter().any(Option::is_some) { backend_cors } else { Box::default() };
        Ok(Self { weights: Weights::new(&rule.backends), hop, cors, backend_cors })
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
        rule.is_some_and(|it| it.cors.is_some() || !it.backend_cors.is_empty())
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

    /// Its place in the route.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The alternative that matched.
    pub fn matched(&self) -> &'t Match {
        self.matched
    }

    /// What is done to every request of the rule.
    pub fn filters(&self) -> FilterChain<'t> {
        FilterChain::new(&self.rule.filters, self.compiled.cors.as_deref())
    }

    /// Draws a backend by weight; none if there is nothing to draw from, which is answered with 500.
    pub fn choose(&self, rng: &mut impl Rng) -> Option<ChosenBackend<'t>> {
        let index = self.compiled.weights.draw(rng)?;
        let backend = self.rule.backends.get(index)?;
        let cors = self.compiled.backend_cors.get(index).and_then(Option::as_deref);
        Some(ChosenBackend { target: &backend.target, filters: FilterChain::new(&backend.filters, cors) })
    }
}
