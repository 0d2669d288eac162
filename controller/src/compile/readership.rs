//! Which units have read what.

use super::engine::Fact;
use super::unit::Unit;
use std::collections::{HashMap, HashSet};

type Set<T> = HashSet<T, ahash::RandomState>;
type Map<K, V> = HashMap<K, V, ahash::RandomState>;

/// Which units have read what.
#[derive(Debug, Default)]
pub(super) struct Readership {
    of: Map<Fact, Readers>,
}

/// The readers of one fact. Most have one; a set of its own for each of those would be most of the memory of a route.
#[derive(Debug)]
enum Readers {
    One(Unit),
    Many(Box<Set<Unit>>),
}

// === impl Readership ===

impl Readership {
    /// Notes that a unit has read a fact.
    pub(super) fn add(&mut self, fact: &Fact, unit: &Unit) {
        match self.of.get_mut(fact) {
            None => drop(self.of.insert(fact.clone(), Readers::One(unit.clone()))),
            Some(Readers::Many(set)) => drop(set.insert(unit.clone())),
            Some(Readers::One(held)) if held == unit => {}
            Some(one @ Readers::One(_)) => {
                let before = std::mem::replace(one, Readers::Many(Box::default()));
                if let (Readers::Many(set), Readers::One(held)) = (one, before) {
                    set.extend([held, unit.clone()]);
                }
            }
        }
    }

    /// Forgets that a unit has read a fact; says whether it was the last one.
    pub(super) fn remove(&mut self, fact: &Fact, unit: &Unit) -> bool {
        let is_last = match self.of.get_mut(fact) {
            None => false,
            Some(Readers::One(held)) => held == unit,
            Some(Readers::Many(set)) => set.remove(unit) && set.is_empty(),
        };
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
        let (one, many) = match self.of.get(fact) {
            None => (None, None),
            Some(Readers::One(unit)) => (Some(unit), None),
            Some(Readers::Many(set)) => (None, Some(set)),
        };
        one.into_iter().chain(many.into_iter().flat_map(|it| it.iter()))
    }
}
