//! Entries that are found by their key and then addressed by a small number.

use hashbrown::HashTable;
use slab::Slab;
use std::hash::Hash;

/// Entries by key. An entry keeps its number (its slot) until it is removed; then the number may be given to another key.
#[derive(Debug)]
pub(crate) struct Keyed<K, V> {
    entries: Slab<Entry<K, V>>,
    /// The slots, by the hash of their keys: each key is in memory once.
    slots: HashTable<u32>,
    hasher: ahash::RandomState,
}

#[derive(Debug)]
pub(crate) struct Entry<K, V> {
    pub key: K,
    pub value: V,
}

// === impl Keyed ===

impl<K: Eq + Hash, V> Keyed<K, V> {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The slot of a key.
    pub(crate) fn slot(&self, key: &K) -> Option<u32> {
        let is_it = |slot: &u32| self.get(*slot).is_some_and(|it| it.key == *key);
        self.slots.find(self.hasher.hash_one(key), is_it).copied()
    }

    /// The slot of a key, which gets one if it has none.
    pub(crate) fn slot_or_insert(&mut self, key: &K, value: impl FnOnce() -> V) -> u32
    where
        K: Clone,
    {
        if let Some(slot) = self.slot(key) {
            return slot;
        }
        // Memory ends long before four billion entries.
        let slot = self.entries.insert(Entry { key: key.clone(), value: value() }) as u32;
        let (entries, hasher) = (&self.entries, &self.hasher);
        let hash_of = |slot: &u32| entries.get(*slot as usize).map_or(0, |it| hasher.hash_one(&it.key));
        self.slots.insert_unique(hasher.hash_one(key), slot, hash_of);
        slot
    }

    pub(crate) fn get(&self, slot: u32) -> Option<&Entry<K, V>> {
        self.entries.get(slot as usize)
    }

    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut V> {
        self.entries.get_mut(slot as usize).map(|it| &mut it.value)
    }

    pub(crate) fn remove(&mut self, slot: u32) -> Option<V> {
        let entry = self.entries.try_remove(slot as usize)?;
        let hash = self.hasher.hash_one(&entry.key);
        if let Ok(found) = self.slots.find_entry(hash, |it| *it == slot) {
            found.remove();
        }
        Some(entry.value)
    }
}

impl<K, V> Default for Keyed<K, V> {
    fn default() -> Self {
        Self { entries: Slab::new(), slots: HashTable::new(), hasher: ahash::RandomState::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::Keyed;
    use std::collections::BTreeMap;

    #[test]
    fn a_key_has_one_slot_and_finds_its_entry_however_many_come_and_go() {
        let (mut keyed, mut slots) = (Keyed::<u32, u32>::default(), BTreeMap::new());
        for round in 0..4 {
            for key in (round..1_000).step_by(3) {
                let slot = keyed.slot_or_insert(&key, || key * 2);
                assert_eq!(*slots.entry(key).or_insert(slot), slot);
            }
            for key in (0..1_000).step_by(7) {
                if let Some(slot) = slots.remove(&key) {
                    assert_eq!(keyed.remove(slot), Some(key * 2));
                    assert_eq!(keyed.remove(slot), None);
                }
            }
            for key in 0..1_000 {
                assert_eq!(keyed.slot(&key), slots.get(&key).copied());
                let value = keyed.slot(&key).and_then(|it| keyed.get(it)).map(|it| it.value);
                assert_eq!(value, slots.contains_key(&key).then_some(key * 2));
            }
            assert_eq!(keyed.len(), slots.len());
        }
    }
}
