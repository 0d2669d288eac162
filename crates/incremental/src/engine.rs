//! Runs what is out of date until nothing is, and keeps what it made.

mod run;

use crate::fault::Fault;
use crate::keyed::Keyed;
use crate::node::State;
use crate::program::{Inputs, OfInput, OfSet, Program, Query, Set};
use crate::readers::Readers;
use crate::results::{Notes, Outputs};
use crate::table::{AnyQueries, AnySets, QueryId, QueryTable, Read, SetId, SetTable, Tables};
use std::any::Any;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

/// Runs the queries of a program when what they have read changes. See the [crate's front page](crate).
pub struct Engine<P: Program> {
    settings: Arc<P::Settings>,
    inputs: P::Inputs,
    /// The inputs that were read, whether they are there or not.
    input_readers: Keyed<P::Name, Readers>,
    sets: Tables<dyn AnySets<P>>,
    queries: Tables<dyn AnyQueries<P>>,
    births: Vec<BirthOfInput<P>>,
    indexes: Vec<Index<P>>,
    /// The instances that have to run, the earliest stage first.
    stale: BTreeSet<(u8, QueryId)>,
    /// What lost its last reader, or its last member.
    unread: Vec<Read>,
    outputs: Outputs<P::OutputKey, P::Output>,
    notes: Notes<P::Name, P::Note>,
    faults: HashMap<QueryId, Fault<P::Name>, ahash::RandomState>,
    new_faults: Vec<Fault<P::Name>>,
    /// How often each instance ran since the last change was taken in.
    runs_of: HashMap<QueryId, u32, ahash::RandomState>,
    runs: usize,
}

/// Brings an instance of a query into being, or lets it go, with the input of this name.
type BirthOfInput<P> = fn(&mut Engine<P>, &<P as Program>::Name, bool);

/// Puts an input into its sets in place of what had its name before.
type Index<P> = fn(
    &mut Engine<P>,
    &<P as Program>::Name,
    Option<&<P as Program>::Object>,
    Option<&<P as Program>::Object>,
);

/// What edits lead to; whatever is not named stays as it is.
pub struct Changes<P: Program> {
    /// New and changed outputs; none where an output is gone. In order.
    pub outputs: Vec<(P::OutputKey, Option<P::Output>)>,
    /// All notes about each input whose notes changed; none left is an empty list. In order.
    pub notes: Vec<(P::Name, Vec<P::Note>)>,
    /// Faults that were not there before.
    pub faults: Vec<Fault<P::Name>>,
}

// === impl Engine ===

impl<P: Program> Engine<P> {
    /// An engine without inputs.
    pub fn new(settings: P::Settings) -> Self {
        Self {
            settings: Arc::new(settings),
            inputs: P::Inputs::default(),
            input_readers: Keyed::default(),
            sets: Tables::default(),
            queries: Tables::default(),
            births: Vec::new(),
            indexes: Vec::new(),
            stale: BTreeSet::new(),
            unread: Vec::new(),
            outputs: Outputs::default(),
            notes: Notes::default(),
            faults: HashMap::default(),
            new_faults: Vec::new(),
            runs_of: HashMap::default(),
            runs: 0,
        }
    }

    /// Registers a set into which inputs put themselves. (Other sets need no registration.)
    #[must_use]
    pub fn set<S: Set<P>>(mut self) -> Self {
        self.indexes.push(Self::index::<S>);
        self
    }

    /// Registers a query of which inputs bring instances into being. (A query that is only read needs no registration.)
    #[must_use]
    pub fn of_input<Q: OfInput<P>>(mut self) -> Self {
        self.births.push(Self::born_of_input::<Q>);
        self
    }

    /// Registers a query of which sets bring instances into being.
    #[must_use]
    pub fn of_set<Q: OfSet<P>>(mut self) -> Self {
        let table = self.find_set_table::<Q::Set>();
        if let Some(table) = self.set_table_mut::<Q::Set>(table) {
            table.births.push(Self::born_of_set::<Q>);
        }
        self
    }

    /// What every query may know beside the inputs.
    pub fn settings(&self) -> &Arc<P::Settings> {
        &self.settings
    }

    /// The inputs as they are now.
    pub fn inputs(&self) -> &P::Inputs {
        &self.inputs
    }

    /// The output of a key, as of the last [`Self::settle`].
    pub fn output(&self, key: &P::OutputKey) -> Option<&P::Output> {
        self.outputs.get(key)
    }

    /// Every output, in no particular order.
    pub fn outputs(&self) -> impl Iterator<Item = (&P::OutputKey, &P::Output)> {
        self.outputs.iter()
    }

    /// Every note and the input that it is about, in order.
    pub fn notes(&self) -> impl Iterator<Item = (&P::Name, &P::Note)> {
        self.notes.iter()
    }

    /// Every fault that there is, in no particular order.
    pub fn faults(&self) -> impl Iterator<Item = &Fault<P::Name>> {
        self.faults.values()
    }

    /// The members that the set has after the last change; empty for a set that nobody has a member in.
    pub fn members<S: Set<P>>(&self, set: &S) -> Arc<BTreeSet<S::Member>> {
        let table = self.sets.find_existing::<S>().and_then(|it| self.set_table::<S>(it));
        table.and_then(|it| Some(it.members(it.sets.slot(set)?))).unwrap_or_default()
    }

    /// The value of an instance; none when it is not needed by anything, or has a fault.
    pub fn value<Q: Query<P>>(&self, key: &Q::Key) -> Option<Q::Value> {
        let table = self.queries.find_existing::<Q>()?;
        let slot = self.query_table::<Q>(table)?.0.slot(key)?;
        self.value_at::<Q>(QueryId { table, slot })
    }

    /// How many instances ran in the last [`Self::settle`]: the measure of being incremental.
    pub fn runs(&self) -> usize {
        self.runs
    }

    /// How many instances there are.
    pub fn instances(&self) -> usize {
        self.queries.iter().map(|it| it.len()).sum()
    }

    /// Puts an input in, or takes it out; nothing runs yet.
    pub fn edit(&mut self, name: P::Name, object: Option<P::Object>) {
        if self.inputs.get(&name) == object.as_ref() {
            return;
        }
        let now = object.clone();
        let was = match object {
            Some(object) => self.inputs.insert(name.clone(), object),
            None => self.inputs.remove(&name),
        };
        for index in 0..self.indexes.len() {
            let index = self.indexes[index];
            index(self, &name, was.as_ref(), now.as_ref());
        }
        if was.is_some() != now.is_some() {
            for index in 0..self.births.len() {
                let birth = self.births[index];
                birth(self, &name, now.is_some());
            }
        }
        let readers = self.input_readers.slot(&name).and_then(|it| self.input_readers.get(it));
        let readers: Vec<QueryId> = readers.into_iter().flat_map(|it| it.value.iter()).collect();
        self.outdate(readers);
    }

    /// Runs what is out of date, and says what changed since the last time.
    pub fn settle(&mut self) -> Changes<P> {
        self.runs = 0;
        self.runs_of.clear();
        self.new_faults.clear();
        while !self.stale.is_empty() || !self.unread.is_empty() {
            while let Some((_, id)) = self.stale.pop_first() {
                match self
                    .queries
                    .get(id.table)
                    .and_then(|it| it.node(id.slot))
                    .is_some_and(|it| it.is_needed())
                {
                    true => self.run_any(id),
                    false => self.remove_query(id),
                }
            }
            self.remove_unread();
        }
        Changes {
            outputs: self.outputs.settle(),
            notes: self.notes.settle(),
            faults: std::mem::take(&mut self.new_faults),
        }
    }
}

// === Births ===

impl<P: Program> Engine<P> {
    fn born_of_input<Q: OfInput<P>>(&mut self, name: &P::Name, is_there: bool) {
        if let Some(key) = Q::of_input(name) {
            self.live::<Q>(&key, is_there);
        }
    }

    fn born_of_set<Q: OfSet<P>>(&mut self, set: &Q::Set, before: usize, after: usize) {
        let (was, is) = (before >= Q::LEAST, after >= Q::LEAST);
        if was != is
            && let Some(key) = Q::of_set(set)
        {
            self.live::<Q>(&key, is);
        }
    }

    /// Gives an instance something to live by, or takes it away.
    fn live<Q: Query<P>>(&mut self, key: &Q::Key, lives: bool) {
        let id = self.find_query::<Q>(key);
        let Some(node) = self.queries.get_mut(id.table).and_then(|it| it.node_mut(id.slot)) else { return };
        node.lives = if lives { node.lives + 1 } else { node.lives.saturating_sub(1) };
        self.outdate([id]);
    }
}

// === Sets ===

impl<P: Program> Engine<P> {
    fn index<S: Set<P>>(&mut self, name: &P::Name, was: Option<&P::Object>, now: Option<&P::Object>) {
        let of = |it: Option<&P::Object>| it.map(|it| S::of_input(name, it)).unwrap_or_default();
        let (was, now) = (of(was), of(now));
        for (set, member) in was.iter().filter(|it| !now.contains(it)) {
            self.change_member(set, member, false);
        }
        for (set, member) in now.iter().filter(|it| !was.contains(it)) {
            self.change_member(set, member, true);
        }
    }

    fn change_member<S: Set<P>>(&mut self, set: &S, member: &S::Member, is_put: bool) {
        let id = self.find_set(set);
        let changed =
            self.set_table_mut::<S>(id.table).and_then(|it| it.change_member(id.slot, member, is_put));
        if let Some((before, after)) = changed {
            self.set_changed::<S>(id, before, after);
        }
    }

    fn change_set(&mut self, id: SetId, member: &P::Name, is_put: bool) {
        let Some(table) = self.sets.get_mut(id.table) else { return };
        let Some((before, after)) = table.change(id.slot, member, is_put) else { return };
        let changed = table.changed();
        changed(self, id, before, after);
    }

    /// What follows when a set has other members than before.
    pub(crate) fn set_changed<S: Set<P>>(&mut self, id: SetId, before: usize, after: usize) {
        let Some(table) = self.set_table::<S>(id.table) else { return };
        let Some(entry) = table.sets.get(id.slot) else { return };
        let (set, births) = (entry.key.clone(), table.births.clone());
        let readers: Vec<QueryId> = entry.value.readers.iter().collect();
        if after == 0 && readers.is_empty() {
            self.unread.push(id.into());
        }
        self.outdate(readers);
        births.into_iter().for_each(|birth| birth(self, &set, before, after));
    }
}

// === Finding tables and what is in them ===

impl<P: Program> Engine<P> {
    pub(crate) fn find_input(&mut self, name: &P::Name) -> u32 {
        self.input_readers.slot_or_insert(name, Readers::default)
    }

    fn find_set_table<S: Set<P>>(&mut self) -> u16 {
        self.sets.find::<S>(|| Box::new(SetTable::<P, S>::default()))
    }

    pub(crate) fn find_set<S: Set<P>>(&mut self, set: &S) -> SetId {
        let table = self.find_set_table::<S>();
        let slot = self.set_table_mut::<S>(table).map_or(0, |it| it.slot_or_insert(set));
        SetId { table, slot }
    }

    pub(crate) fn find_query<Q: Query<P>>(&mut self, key: &Q::Key) -> QueryId {
        let table = self.queries.find::<Q>(|| Box::new(QueryTable::<P, Q>(Keyed::default())));
        let slot = self.query_table_mut::<Q>(table).map_or(0, |it| it.slot_or_insert(key));
        QueryId { table, slot }
    }

    /// None when the instance has a fault.
    pub(crate) fn value_at<Q: Query<P>>(&self, id: QueryId) -> Option<Q::Value> {
        let instance = &self.query_table::<Q>(id.table)?.0.get(id.slot)?.value;
        (instance.node.state == State::Done).then(|| instance.value.clone())
    }

    pub(crate) fn set_table<S: Set<P>>(&self, table: u16) -> Option<&SetTable<P, S>> {
        let table: &dyn Any = self.sets.get(table)?;
        table.downcast_ref()
    }

    fn set_table_mut<S: Set<P>>(&mut self, table: u16) -> Option<&mut SetTable<P, S>> {
        let table: &mut dyn Any = self.sets.get_mut(table)?;
        table.downcast_mut()
    }

    fn query_table<Q: Query<P>>(&self, table: u16) -> Option<&QueryTable<P, Q>> {
        let table: &dyn Any = self.queries.get(table)?;
        table.downcast_ref()
    }

    fn query_table_mut<Q: Query<P>>(&mut self, table: u16) -> Option<&mut QueryTable<P, Q>> {
        let table: &mut dyn Any = self.queries.get_mut(table)?;
        table.downcast_mut()
    }
}

impl<P: Program> fmt::Debug for Engine<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("instances", &self.instances())
            .field("stale", &self.stale.len())
            .field("faults", &self.faults.len())
            .finish_non_exhaustive()
    }
}
