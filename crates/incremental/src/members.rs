//! The members of sets of one type.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::Arc;

/// The members of one set. Most sets have one; a tree of its own for each of those would be ten times as large.
#[derive(Debug)]
pub(crate) enum Members<M> {
    None,
    One(M),
    Many(Arc<BTreeSet<M>>),
}

/// How many more times than once a member was put into a set, by the set's slot.
#[derive(Debug)]
pub(crate) struct Again<M>(HashMap<(u32, M), u32, ahash::RandomState>);

// === impl Members ===

impl<M: Clone + Ord> Members<M> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(_) => 1,
            Self::Many(set) => set.len(),
        }
    }

    pub(crate) fn get(&self) -> Arc<BTreeSet<M>> {
        match self {
            Self::None => Arc::default(),
            Self::One(it) => Arc::new(BTreeSet::from([it.clone()])),
            Self::Many(set) => set.clone(),
        }
    }

    fn contains(&self, member: &M) -> bool {
        match self {
            Self::None => false,
            Self::One(it) => it == member,
            Self::Many(set) => set.contains(member),
        }
    }

    fn insert(&mut self, member: M) {
        *self = match std::mem::replace(self, Self::None) {
            Self::None => Self::One(member),
            Self::One(it) => Self::Many(Arc::new(BTreeSet::from([it, member]))),
            Self::Many(mut set) => {
                Arc::make_mut(&mut set).insert(member);
                Self::Many(set)
            }
        };
    }

    fn remove(&mut self, member: &M) {
        *self = match std::mem::replace(self, Self::None) {
            Self::Many(mut set) if set.len() > 1 => {
                Arc::make_mut(&mut set).remove(member);
                Self::Many(set)
            }
            Self::None | Self::One(_) | Self::Many(_) => Self::None,
        };
    }
}

// === impl Again ===

impl<M: Clone + Ord + Hash> Again<M> {
    /// Puts a member into the set of a slot, or takes it out of it once; says whether the set changed.
    pub(crate) fn change(&mut self, slot: u32, set: &mut Members<M>, member: &M, is_put: bool) -> bool {
        match (is_put, set.contains(member)) {
            (true, false) => set.insert(member.clone()),
            (true, true) => {
                *self.0.entry((slot, member.clone())).or_default() += 1;
                return false;
            }
            (false, false) => return false,
            (false, true) => {
                if let Entry::Occupied(mut more) = self.0.entry((slot, member.clone())) {
                    *more.get_mut() -= 1;
                    if *more.get() == 0 {
                        more.remove();
                    }
                    return false;
                }
                set.remove(member);
            }
        }
        true
    }
}

impl<M> Default for Again<M> {
    fn default() -> Self {
        Self(HashMap::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_stays_until_it_was_taken_out_as_often_as_it_was_put_in() {
        let (mut set, mut again) = (Members::None, Again::default());
        let mut change = |member: &str, is_put| {
            let changed = again.change(7, &mut set, &member.to_owned(), is_put);
            (changed, set.get().iter().cloned().collect::<Vec<_>>().join(" "))
        };
        let text = |it: (bool, &str)| (it.0, it.1.to_owned());
        for (member, is_put, expected) in [
            ("a", false, (false, "")),
            ("a", true, (true, "a")),
            ("a", true, (false, "a")),
            ("b", true, (true, "a b")),
            ("a", false, (false, "a b")),
            ("a", false, (true, "b")),
            ("a", false, (false, "b")),
            ("b", false, (true, "")),
        ] {
            assert_eq!(change(member, is_put), text(expected), "{member} {is_put}");
        }
    }
}
