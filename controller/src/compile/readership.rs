//! Which units have read what.

use super::engine::Fact;
use super::unit::Unit;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

type Set<T> = HashSet<T, ahash::RandomState>;
type Map<K, V> = HashMap<K, V, ahash::RandomState>;

/// Which units have read what. A fact is held once and shared with those that read it: some are read by thousands.
#[derive(Debug, Default)]
pub(super) struct Readership {
    of: Map<Arc<Fact>, Readers>,
}

/// The readers of one fact. Most have one or two; a set of its own for each of those would be most of what a route
/// weighs.
#[derive(Debug)]
enum Readers {
    Few(Vec<Unit>),
    Many(Box<Set<Unit>>),
}

/// From how many on a set pays.
const MANY: usize = 9;

// === impl Readership ===

impl Readership {
    /// Notes that a unit has read a fact.
    pub(super) fn add(&mut self, fact: Fact, unit: &Unit) -> Arc<Fact> {
        let fact = self.of.get_key_value(&fact).map_or_else(|| Arc::new(fact), |(held, _)| held.clone());
        match self.of.get_mut(&fact) {
            None => drop(self.of.insert(fact.clone(), Readers::Few(vec![unit.clone()]))),
            Some(readers) => readers.add(unit),
        }
        fact
    }

    /// Forgets that a unit has read a fact; says whether it was the last one.
    pub(super) fn remove(&mut self, fact: &Fact, unit: &Unit) -> bool {
        let is_last = self.of.get_mut(fact).is_some_and(|it| it.remove(unit));
        if is_last {
            self.of.remove(fact);
        }
        is_last
    }

    /// Whether anybody has read a fact.
    pub(super) fn has(&self, fact: &Fact) -> bool {
        self.of.contains_key(fact)
    }

    /// The units that have read a fact.
    pub(super) fn of(&self, fact: &Fact) -> impl Iterator<Item = &Unit> {
        let (few, many) = match self.of.get(fact) {
            None => (None, None),
            Some(Readers::Few(few)) => (Some(few), None),
            Some(Readers::Many(set)) => (None, Some(set)),
        };
        few.into_iter().flatten().chain(many.into_iter().flat_map(|it| it.iter()))
    }
}

// === impl Readers ===

impl Readers {
    fn add(&mut self, unit: &Unit) {
        match self {
            Self::Many(set) => drop(set.insert(unit.clone())),
            Self::Few(few) if few.contains(unit) => {}
            Self::Few(few) if few.len() + 1 < MANY => {
                few.reserve_exact(1);
                few.push(unit.clone());
            }
            Self::Few(few) => {
                let all = few.drain(..).chain([unit.clone()]).collect();
                *self = Self::Many(Box::new(all));
            }
        }
    }

    /// Says whether none is left.
    fn remove(&mut self, unit: &Unit) -> bool {
        match self {
            Self::Few(few) => {
                few.retain(|it| it != unit);
                few.is_empty()
            }
            Self::Many(set) => {
                set.remove(unit);
                set.is_empty()
            }
        }
    }
}
