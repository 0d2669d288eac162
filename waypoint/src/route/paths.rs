//! The alternatives of HTTPRoutes under one hostname, indexed by path.

use super::compiled::{Candidate, CompiledRoute};
use super::group::{self, Groups};
use super::head::RequestHead;
use super::predicate::holds;
use super::trie::PrefixTrie;
use fairway_config::model::PathMatch;
use smallvec::SmallVec;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Alternatives by path. A clone shares what is not edited.
#[derive(Clone, Debug, Default)]
pub(super) struct PathTable {
    exact: Groups,
    expressions: Vec<Candidate>,
    prefixes: PrefixTrie<Candidate>,
}

// === impl PathTable ===

impl PathTable {
    /// Adds a route's alternatives.
    pub fn insert(&mut self, route: &Arc<CompiledRoute>) {
        for candidate in route.candidates() {
            match candidate.matched().map(|it| &it.path) {
                Some(PathMatch::Exact(path)) => group::insert_at(&mut self.exact, path, candidate.clone()),
                Some(PathMatch::Prefix(prefix)) => {
                    self.prefixes.edit(whole(prefix), |it| group::insert(it, candidate.clone()));
                }
                Some(PathMatch::Regex(_)) => group::insert(&mut self.expressions, candidate),
                // A gRPC method in an HTTPRoute: the controller makes none; it matches nothing.
                Some(PathMatch::Grpc(_)) | None => {}
            }
        }
    }

    /// Takes a route's alternatives away.
    pub fn remove(&mut self, route: &Arc<CompiledRoute>) {
        for candidate in route.candidates() {
            match candidate.matched().map(|it| &it.path) {
                Some(PathMatch::Exact(path)) => group::remove_at(&mut self.exact, path, route),
                Some(PathMatch::Prefix(prefix)) => {
                    self.prefixes.edit(whole(prefix), |it| group::remove(it, route));
                }
                Some(PathMatch::Regex(_)) => group::remove(&mut self.expressions, route),
                Some(PathMatch::Grpc(_)) | None => {}
            }
        }
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.expressions.is_empty() && self.prefixes.is_empty()
    }

    /// The first alternative that a request fits.
    pub fn find(&self, head: &RequestHead<'_>) -> Option<&Candidate> {
        let fits = |it: &&Candidate| it.matched().is_some_and(|it| holds(it, head));
        if let Some(found) = self.exact.get(&*head.path).and_then(|it| it.iter().find(fits)) {
            return Some(found);
        }
        let expression_fits = |it: &&Candidate| match it.matched().map(|it| &it.path) {
            Some(PathMatch::Regex(pattern)) => head.path_matches(pattern),
            _ => false,
        };
        let mut expressions = self.expressions.iter();
        if let Some(found) = expressions.find(|it| expression_fits(it) && fits(it)) {
            return Some(found);
        }
        let mut groups = SmallVec::<[&[Candidate]; 16]>::new();
        self.prefixes.prefixes_of(&head.path, |group| groups.push(group));
        groups.into_iter().rev().find_map(|it| it.iter().find(fits))
    }
}

impl PathTable {
    /// Visits the alternatives whose path fits, in the order of precedence.
    pub fn walk<'t, B>(
        &'t self,
        head: &RequestHead<'_>,
        mut visit: impl FnMut(&'t Candidate) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        for candidate in self.exact.get(&*head.path).into_iter().flat_map(|it| it.iter()) {
            visit(candidate)?;
        }
        for candidate in &self.expressions {
            match candidate.matched().map(|it| &it.path) {
                Some(PathMatch::Regex(pattern)) if head.path_matches(pattern) => visit(candidate)?,
                _ => {}
            }
        }
        let mut groups = SmallVec::<[&[Candidate]; 16]>::new();
        self.prefixes.prefixes_of(&head.path, |group| groups.push(group));
        groups.into_iter().rev().flatten().try_for_each(visit)
    }
}

impl PathTable {
    /// Every alternative, in no order.
    pub fn candidates(&self) -> Vec<&Candidate> {
        let mut all: Vec<_> = self.exact.values().flat_map(|group| group.iter()).collect();
        all.extend(&self.expressions);
        self.prefixes.visit_all(|candidate| all.push(candidate));
        all
    }
}

/// The prefix without a `/` at its end, which does not count.
fn whole(prefix: &str) -> &str {
    prefix.trim_end_matches('/')
}
