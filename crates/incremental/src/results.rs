//! What the queries of a program have made: outputs, each with one owner, and notes, of which an input can have many.

use crate::table::QueryId;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;

/// Outputs by key, and what was there before the changes that are not settled yet.
#[derive(Debug)]
pub(crate) struct Outputs<K, V> {
    held: HashMap<K, (QueryId, V), ahash::RandomState>,
    before: HashMap<K, Option<V>, ahash::RandomState>,
}

/// Notes by the input that they are about.
#[derive(Debug)]
pub(crate) struct Notes<N, T> {
    held: BTreeMap<N, Vec<(T, QueryId)>>,
    /// What was said of inputs before the changes that are not settled yet.
    before: BTreeMap<N, Vec<T>>,
}

// === impl Outputs ===

impl<K: Clone + Eq + Hash + Ord, V: Clone + PartialEq> Outputs<K, V> {
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.held.get(key).map(|(_, it)| it)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.held.iter().map(|(key, (_, it))| (key, it))
    }

    /// Takes over what an instance made in place of what it had made before.
    pub(crate) fn replace(
        &mut self,
        owner: QueryId,
        old: &[K],
        new: impl IntoIterator<Item = (K, V)>,
    ) -> Box<[K]> {
        let mut keys = Vec::new();
        for (key, value) in new {
            let was = self.held.get(&key);
            if was.is_none_or(|(_, it)| *it != value) {
                self.before.entry(key.clone()).or_insert_with(|| was.map(|(_, it)| it.clone()));
            }
            self.held.insert(key.clone(), (owner, value));
            keys.push(key);
        }
        keys.sort_unstable();
        keys.dedup();
        for key in old.iter().filter(|it| keys.binary_search(it).is_err()) {
            // It may have moved to another instance in the meantime.
            if self.held.get(key).is_some_and(|(it, _)| *it == owner) {
                let was = self.held.remove(key).map(|(_, it)| it);
                self.before.entry(key.clone()).or_insert(was);
            }
        }
        keys.into_boxed_slice()
    }

    /// What differs from before, and what it is now; in order.
    pub(crate) fn settle(&mut self) -> Vec<(K, Option<V>)> {
        let mut changes = Vec::new();
        for (key, was) in std::mem::take(&mut self.before) {
            let now = self.held.get(&key).map(|(_, it)| it.clone());
            if was != now {
                changes.push((key, now));
            }
        }
        changes.sort_by(|(a, _), (b, _)| a.cmp(b));
        changes
    }
}

impl<K, V> Default for Outputs<K, V> {
    fn default() -> Self {
        Self { held: HashMap::default(), before: HashMap::default() }
    }
}

// === impl Notes ===

impl<N: Clone + Ord, T: Clone + Ord> Notes<N, T> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&N, &T)> {
        self.held.iter().flat_map(|(about, notes)| notes.iter().map(move |(it, _)| (about, it)))
    }

    /// Takes over what an instance says in place of what it had said before; each note once.
    pub(crate) fn replace(&mut self, owner: QueryId, old: &[N], new: Vec<(N, T)>) -> Box<[N]> {
        if old.is_empty() && new.is_empty() {
            return Box::default();
        }
        let about: BTreeSet<N> = new.iter().map(|(about, _)| about.clone()).collect();
        let mut by_input: BTreeMap<&N, BTreeSet<&T>> = old.iter().map(|it| (it, BTreeSet::new())).collect();
        for (about, note) in &new {
            by_input.entry(about).or_default().insert(note);
        }
        for (about, now) in by_input {
            let held = self.held.entry(about.clone()).or_default();
            let before = held.iter().filter(|(_, of)| *of == owner).map(|(it, _)| it);
            if !before.eq(now.iter().copied()) {
                let notes = || held.iter().map(|(it, _)| it.clone()).collect();
                self.before.entry(about.clone()).or_insert_with(notes);
                held.retain(|(_, of)| *of != owner);
                held.extend(now.into_iter().map(|it| (it.clone(), owner)));
                held.sort();
            }
            if self.held.get(about).is_some_and(Vec::is_empty) {
                self.held.remove(about);
            }
        }
        about.into_iter().collect()
    }

    /// The inputs whose notes changed, and their notes; in order.
    pub(crate) fn settle(&mut self) -> Vec<(N, Vec<T>)> {
        let mut changes = Vec::new();
        for (about, was) in std::mem::take(&mut self.before) {
            let now: Vec<T> = self.held.get(&about).into_iter().flatten().map(|(it, _)| it.clone()).collect();
            if was != now {
                changes.push((about, now));
            }
        }
        changes
    }
}

impl<N, T> Default for Notes<N, T> {
    fn default() -> Self {
        Self { held: BTreeMap::new(), before: BTreeMap::new() }
    }
}
