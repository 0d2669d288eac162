//! Instances of queries and sets, by type. The one place where types are erased: the engine sees tables of any query and of
//! any set, and a query or a set that is asked for by its type finds its own table.

use crate::engine::Engine;
use crate::keyed::Keyed;
use crate::members::{Again, Members};
use crate::node::Node;
use crate::program::{Program, Query, Set};
use crate::readers::Readers;
use std::any::{Any, TypeId, type_name};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Names an instance of a query while it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct QueryId {
    pub table: u16,
    pub slot: u32,
}

/// Names a set while it has members or readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SetId {
    pub table: u16,
    pub slot: u32,
}

/// Something that an instance has read. (Flat, so that it takes eight bytes.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Read {
    Input { slot: u32 },
    Set { table: u16, slot: u32 },
    Query { table: u16, slot: u32 },
}

/// Tables of one sort, found by the type that they are of.
#[derive(Debug)]
pub(crate) struct Tables<T: ?Sized> {
    tables: Vec<Box<T>>,
    by_type: HashMap<TypeId, u16, ahash::RandomState>,
}

/// A table of instances of a query.
pub(crate) trait AnyQueries<P: Program>: Any + Send + Sync {
    fn stage(&self) -> u8;
    fn node(&self, slot: u32) -> Option<&Node<P>>;
    fn node_mut(&mut self, slot: u32) -> Option<&mut Node<P>>;
    fn remove(&mut self, slot: u32) -> Option<Node<P>>;
    fn len(&self) -> usize;
    /// What to call to run an instance.
    fn run(&self) -> fn(&mut Engine<P>, QueryId);
    /// The query's type and the instance's key, for messages.
    fn describe(&self, slot: u32) -> (&'static str, String);
}

/// A table of sets.
pub(crate) trait AnySets<P: Program>: Any + Send + Sync {
    fn readers_mut(&mut self, slot: u32) -> Option<&mut Readers>;
    /// Puts an input into a set or takes it out; gives back how many members there were and are, if the set changed.
    fn change(&mut self, slot: u32, member: &P::Name, is_put: bool) -> Option<(usize, usize)>;
    /// Removes the set if nobody needs it.
    fn remove_if_idle(&mut self, slot: u32);
    /// What to call when the number of a set's members changed.
    fn changed(&self) -> fn(&mut Engine<P>, SetId, usize, usize);
}

/// The instances of a query.
pub(crate) struct QueryTable<P: Program, Q: Query<P>>(pub Keyed<Q::Key, Instance<P, Q>>);

pub(crate) struct Instance<P: Program, Q: Query<P>> {
    pub node: Node<P>,
    pub value: Q::Value,
}

/// Brings an instance of a query into being, or lets it go, with the number of a set's members: before, and now.
type BirthOfSet<P, S> = fn(&mut Engine<P>, &S, usize, usize);

/// The sets of a type.
pub(crate) struct SetTable<P: Program, S: Set<P>> {
    pub sets: Keyed<S, SetEntry<S::Member>>,
    again: Again<S::Member>,
    /// What to call when the number of a set's members changed: these bring instances of queries into being.
    pub births: Vec<BirthOfSet<P, S>>,
}

pub(crate) struct SetEntry<M> {
    pub members: Members<M>,
    pub readers: Readers,
}

/// What a type is called in messages: its own name and that of its module.
pub(crate) fn short_name<T>() -> &'static str {
    let name = type_name::<T>();
    let path = name.split('<').next().unwrap_or_default();
    match path.rmatch_indices("::").nth(1) {
        Some((at, _)) => &name[at + 2..],
        None => name,
    }
}

// === impl Tables ===

impl<T: ?Sized> Tables<T> {
    /// The number of the table of a type, which is made if there is none.
    pub(crate) fn find<Of: 'static>(&mut self, make: impl FnOnce() -> Box<T>) -> u16 {
        *self.by_type.entry(TypeId::of::<Of>()).or_insert_with(|| {
            self.tables.push(make());
            // One for each type that the program has.
            (self.tables.len() - 1) as u16
        })
    }

    pub(crate) fn find_existing<Of: 'static>(&self) -> Option<u16> {
        self.by_type.get(&TypeId::of::<Of>()).copied()
    }

    pub(crate) fn get(&self, table: u16) -> Option<&T> {
        self.tables.get(usize::from(table)).map(|it| &**it)
    }

    pub(crate) fn get_mut(&mut self, table: u16) -> Option<&mut T> {
        self.tables.get_mut(usize::from(table)).map(|it| &mut **it)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.tables.iter().map(|it| &**it)
    }
}

impl<T: ?Sized> Default for Tables<T> {
    fn default() -> Self {
        Self { tables: Vec::new(), by_type: HashMap::default() }
    }
}

// === impl Read ===

impl From<QueryId> for Read {
    fn from(QueryId { table, slot }: QueryId) -> Self {
        Self::Query { table, slot }
    }
}

impl From<SetId> for Read {
    fn from(SetId { table, slot }: SetId) -> Self {
        Self::Set { table, slot }
    }
}

// === impl QueryTable ===

impl<P: Program, Q: Query<P>> QueryTable<P, Q> {
    /// The slot of an instance, which is there from now on.
    pub(crate) fn slot_or_insert(&mut self, key: &Q::Key) -> u32 {
        self.0.slot_or_insert(key, || Instance { node: Node::default(), value: Q::Value::default() })
    }
}

impl<P: Program, Q: Query<P>> AnyQueries<P> for QueryTable<P, Q> {
    fn stage(&self) -> u8 {
        Q::STAGE
    }

    fn node(&self, slot: u32) -> Option<&Node<P>> {
        self.0.get(slot).map(|it| &it.value.node)
    }

    fn node_mut(&mut self, slot: u32) -> Option<&mut Node<P>> {
        self.0.get_mut(slot).map(|it| &mut it.node)
    }

    fn remove(&mut self, slot: u32) -> Option<Node<P>> {
        self.0.remove(slot).map(|it| it.node)
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn run(&self) -> fn(&mut Engine<P>, QueryId) {
        Engine::run::<Q>
    }

    fn describe(&self, slot: u32) -> (&'static str, String) {
        (short_name::<Q>(), self.0.get(slot).map(|it| format!("{:?}", it.key)).unwrap_or_default())
    }
}

// === impl SetTable ===

impl<P: Program, S: Set<P>> SetTable<P, S> {
    /// The slot of a set, which is there from now on.
    pub(crate) fn slot_or_insert(&mut self, set: &S) -> u32 {
        self.sets.slot_or_insert(set, || SetEntry { members: Members::None, readers: Readers::None })
    }

    pub(crate) fn members(&self, slot: u32) -> Arc<BTreeSet<S::Member>> {
        self.sets.get(slot).map(|it| it.value.members.get()).unwrap_or_default()
    }

    pub(crate) fn count(&self, slot: u32) -> usize {
        self.sets.get(slot).map_or(0, |it| it.value.members.len())
    }

    /// Puts a member in or takes it out; gives back how many there were and are, if the set changed.
    pub(crate) fn change_member(
        &mut self,
        slot: u32,
        member: &S::Member,
        is_put: bool,
    ) -> Option<(usize, usize)> {
        let set = &mut self.sets.get_mut(slot)?.members;
        let before = set.len();
        self.again.change(slot, set, member, is_put).then(|| (before, set.len()))
    }
}

impl<P: Program, S: Set<P>> AnySets<P> for SetTable<P, S> {
    fn readers_mut(&mut self, slot: u32) -> Option<&mut Readers> {
        self.sets.get_mut(slot).map(|it| &mut it.readers)
    }

    fn change(&mut self, slot: u32, member: &P::Name, is_put: bool) -> Option<(usize, usize)> {
        // Only sets of names get here: see `Memberships::put`.
        let member: &dyn Any = member;
        self.change_member(slot, member.downcast_ref()?, is_put)
    }

    fn remove_if_idle(&mut self, slot: u32) {
        if self.sets.get(slot).is_some_and(|it| it.value.readers.is_empty() && it.value.members.len() == 0) {
            self.sets.remove(slot);
        }
    }

    fn changed(&self) -> fn(&mut Engine<P>, SetId, usize, usize) {
        Engine::set_changed::<S>
    }
}

impl<P: Program, S: Set<P>> Default for SetTable<P, S> {
    fn default() -> Self {
        Self { sets: Keyed::default(), again: Again::default(), births: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_thousands_of_instances_have_read_stays_small() {
        assert_eq!((size_of::<Read>(), size_of::<QueryId>(), size_of::<Readers>()), (8, 8, 24));
    }

    #[test]
    fn a_type_is_named_with_its_module() {
        assert_eq!(short_name::<Readers>(), "readers::Readers");
        assert_eq!(short_name::<u8>(), "u8");
    }
}
