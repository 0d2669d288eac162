//! Which query instances have read something.

use crate::table::QueryId;
use std::collections::HashSet;

/// The query instances that have read one thing. Most things have one or two readers, some have thousands.
#[derive(Debug, Default)]
#[allow(clippy::box_collection, reason = "few have many readers, and each has room for the largest variant")]
pub(crate) enum Readers {
    #[default]
    None,
    One(QueryId),
    Few(Vec<QueryId>),
    Many(Box<HashSet<QueryId, ahash::RandomState>>),
}

/// From this many readers on, a set is searched faster than a list.
const MANY: usize = 9;

// === impl Readers ===

impl Readers {
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::None)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = QueryId> + '_ {
        let (list, set) = match self {
            Self::None => (&[][..], None),
            Self::One(it) => (std::slice::from_ref(it), None),
            Self::Few(list) => (&list[..], None),
            Self::Many(set) => (&[][..], Some(set)),
        };
        list.iter().chain(set.into_iter().flat_map(|it| it.iter())).copied()
    }

    pub(crate) fn add(&mut self, reader: QueryId) {
        match self {
            Self::None => *self = Self::One(reader),
            Self::One(it) if *it == reader => {}
            Self::One(it) => *self = Self::Few(vec![*it, reader]),
            Self::Few(list) if list.contains(&reader) => {}
            Self::Few(list) if list.len() + 1 < MANY => {
                list.reserve_exact(1);
                list.push(reader);
            }
            Self::Few(list) => {
                *self = Self::Many(Box::new(list.iter().copied().chain([reader]).collect()));
            }
            Self::Many(set) => drop(set.insert(reader)),
        }
    }

    pub(crate) fn remove(&mut self, reader: QueryId) {
        match self {
            Self::None => {}
            Self::One(it) => {
                if *it == reader {
                    *self = Self::None;
                }
            }
            Self::Few(list) => {
                list.retain(|it| *it != reader);
                if list.is_empty() {
                    *self = Self::None;
                }
            }
            Self::Many(set) => {
                set.remove(&reader);
                if set.is_empty() {
                    *self = Self::None;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn readers_are_a_set_whatever_their_number() {
        let id = |slot| QueryId { table: 1, slot };
        let (mut readers, mut expected) = (Readers::default(), BTreeSet::new());
        for (slot, is_added) in (0..30).map(|it| (it % 20, true)).chain((0..25).map(|it| (it, false))) {
            match is_added {
                true => readers.add(id(slot)),
                false => readers.remove(id(slot)),
            }
            match is_added {
                true => expected.insert(id(slot)),
                false => expected.remove(&id(slot)),
            };
            assert_eq!(readers.iter().collect::<BTreeSet<_>>(), expected);
            assert_eq!(readers.is_empty(), expected.is_empty());
        }
    }
}
