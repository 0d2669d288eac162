//! The alternatives of HTTPRoutes under one hostname, indexed by path.

use super::compiled::Candidate;
use super::head::RequestHead;
use super::order::compare;
use super::predicate::holds;
use super::trie::PrefixTrie;
use ahash::HashMap;
use fairway_config::model::PathMatch;
use smallvec::SmallVec;
use std::ops::Range;

/// Alternatives in the order of precedence, and where in it each path stands.
#[derive(Debug, Default)]
pub(super) struct PathTable {
    candidates: Box<[Candidate]>,
    exact: HashMap<Box<str>, Span>,
    expressions: Span,
    prefixes: PrefixTrie<Span>,
}

/// A part of a table.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

// === impl PathTable ===

impl PathTable {
    /// Sorts and indexes.
    pub fn new(mut candidates: Vec<Candidate>) -> Self {
        candidates.sort_unstable_by(compare);
        let mut table = Self::default();
        for (index, candidate) in candidates.iter().enumerate() {
            match candidate.matched().map(|it| &it.path) {
                Some(PathMatch::Exact(path)) => match table.exact.get_mut(&**path) {
                    Some(span) => span.grow_to(index),
                    None => drop(table.exact.insert((&**path).into(), Span::at(index))),
                },
                Some(PathMatch::Prefix(prefix)) => match table.prefixes.entry(prefix.trim_end_matches('/')) {
                    Some(span) => span.grow_to(index),
                    empty => *empty = Some(Span::at(index)),
                },
                Some(PathMatch::Regex(_)) if table.expressions.is_empty() => {
                    table.expressions = Span::at(index)
                }
                Some(PathMatch::Regex(_)) => table.expressions.grow_to(index),
                // A gRPC method in an HTTPRoute: the controller makes none; it matches nothing.
                Some(PathMatch::Grpc(_)) | None => {}
            }
        }
        table.exact.shrink_to_fit();
        table.candidates = candidates.into();
        table
    }

    /// The first alternative that a request fits.
    pub fn find(&self, head: &RequestHead<'_>) -> Option<&Candidate> {
        let fits = |it: &&Candidate| it.matched().is_some_and(|it| holds(it, head));
        let first_of = |span: &Span| self.part(*span).iter().find(fits);
        if let Some(found) = self.exact.get(&*head.path).and_then(first_of) {
            return Some(found);
        }
        let expression_fits = |it: &&Candidate| match it.matched().map(|it| &it.path) {
            Some(PathMatch::Regex(pattern)) => pattern.is_match(&head.path),
            _ => false,
        };
        let mut expressions = self.part(self.expressions).iter();
        if let Some(found) = expressions.find(|it| expression_fits(it) && fits(it)) {
            return Some(found);
        }
        let mut spans = SmallVec::<[&Span; 16]>::new();
        self.prefixes.prefixes_of(&head.path, |span| spans.push(span));
        spans.into_iter().rev().find_map(first_of)
    }

    fn part(&self, span: Span) -> &[Candidate] {
        self.candidates.get(span.range()).unwrap_or_default()
    }
}

// === impl Span ===

impl Span {
    pub fn at(index: usize) -> Self {
        let start = u32::try_from(index).unwrap_or(u32::MAX - 1);
        Self { start, end: start + 1 }
    }

    pub fn grow_to(&mut self, index: usize) {
        self.end = Self::at(index).end;
    }

    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}
