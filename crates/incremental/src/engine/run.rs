//! One run of an instance: what it reads and makes is taken over in place of what it read and made before, and its readers run again.

use super::Engine;
use crate::effects::Effects;
use crate::fault::{Cause, Fault};
use crate::node::State;
use crate::program::{Program, Query};
use crate::reader::{Finished, Reader};
use crate::readers::Readers;
use crate::table::{QueryId, Read};
use std::collections::HashSet;

/// So often an instance may run after one edit. More than a few times means that it changes what it reads.
const MOST_RUNS: u32 = 100;

impl<P: Program> Engine<P> {
    /// Runs an instance if it never ran or is out of date.
    pub(crate) fn bring_up_to_date(&mut self, id: QueryId) {
        let Some(table) = self.queries.get(id.table) else { return };
        let is_stale = self.stale.remove(&(table.stage(), id));
        if is_stale || table.node(id.slot).is_some_and(|it| it.state == State::New) {
            self.run_any(id);
        }
    }

    pub(super) fn run_any(&mut self, id: QueryId) {
        let Some(run) = self.queries.get(id.table).map(|it| it.run()) else { return };
        self.runs += 1;
        let runs = self.runs_of.entry(id).or_default();
        *runs += 1;
        match *runs > MOST_RUNS {
            false => run(self, id),
            true => self.reject(id, None, Cause::Unsettled { runs: MOST_RUNS }),
        }
    }

    /// Runs an instance of a query of known type.
    pub(crate) fn run<Q: Query<P>>(&mut self, id: QueryId) {
        let key = self.query_table::<Q>(id.table).and_then(|it| it.0.get(id.slot)).map(|it| it.key.clone());
        let Some(key) = key else { return };
        let mut reader = Reader::new(self, Q::STAGE);
        let mut made = P::Made::default();
        let value = Q::run(&key, &mut reader, &mut made);
        let mut finished = reader.finish();
        let effects: Effects<P> = made.into();
        let Some(instance) = self.query_table_mut::<Q>(id.table).and_then(|it| it.0.get_mut(id.slot)) else {
            return;
        };
        if finished.fault.is_none() && instance.node.lives == 0 && !effects.is_empty() {
            finished.fault = Some(Cause::MakesUnborn);
        }
        if let Some(cause) = finished.fault.take() {
            return self.reject(id, Some(finished), cause);
        }
        let changed = instance.node.state != State::Done || instance.value != value;
        instance.value = value;
        self.commit(id, finished.reads, effects, changed);
    }

    /// Takes over what a run made.
    fn commit(
        &mut self,
        id: QueryId,
        reads: HashSet<Read, ahash::RandomState>,
        effects: Effects<P>,
        changed: bool,
    ) {
        self.replace_reads(id, reads);
        self.faults.remove(&id);
        let memberships = effects.memberships.find(self);
        let Some(node) = self.queries.get_mut(id.table).and_then(|it| it.node_mut(id.slot)) else { return };
        node.state = State::Done;
        let old = std::mem::replace(&mut node.memberships, memberships.clone());
        node.outputs = self.outputs.replace(id, &node.outputs, effects.outputs);
        node.notes = self.notes.replace(id, &node.notes, effects.notes);
        for (set, member) in old.iter().filter(|it| memberships.binary_search(it).is_err()) {
            self.change_set(*set, member, false);
        }
        for (set, member) in memberships.iter().filter(|it| old.binary_search(it).is_err()) {
            self.change_set(*set, member, true);
        }
        if changed {
            self.outdate_readers(id);
        }
    }

    /// Notes that a run does not count. What the instance made before stays.
    fn reject(&mut self, id: QueryId, finished: Option<Finished<P::Name>>, cause: Cause) {
        let about = match finished {
            Some(finished) => {
                self.replace_reads(id, finished.reads);
                finished.about
            }
            None => None,
        };
        let Some(table) = self.queries.get_mut(id.table) else { return };
        let (query, key) = table.describe(id.slot);
        let fault = Fault { query, key, about, cause };
        let Some(node) = table.node_mut(id.slot) else { return };
        let was = std::mem::replace(&mut node.state, State::AtFault);
        node.notes = self.notes.replace(id, &node.notes, P::note_of(&fault).into_iter().collect());
        if was != State::AtFault {
            self.outdate_readers(id);
        }
        if self.faults.get(&id) != Some(&fault) {
            self.new_faults.push(fault.clone());
            self.faults.insert(id, fault);
        }
    }

    fn replace_reads(&mut self, id: QueryId, reads: HashSet<Read, ahash::RandomState>) {
        let mut reads: Box<[Read]> = reads.into_iter().collect();
        reads.sort_unstable();
        let Some(node) = self.queries.get_mut(id.table).and_then(|it| it.node_mut(id.slot)) else { return };
        let old = std::mem::replace(&mut node.reads, reads.clone());
        for it in reads.iter().filter(|it| old.binary_search(it).is_err()) {
            if let Some(readers) = self.readers_mut(*it) {
                readers.add(id);
            }
        }
        old.iter().filter(|it| reads.binary_search(it).is_err()).for_each(|it| self.remove_reader(*it, id));
    }

    fn remove_reader(&mut self, read: Read, id: QueryId) {
        let Some(readers) = self.readers_mut(read) else { return };
        readers.remove(id);
        if readers.is_empty() {
            self.unread.push(read);
        }
    }

    fn readers_mut(&mut self, read: Read) -> Option<&mut Readers> {
        match read {
            Read::Input { slot } => self.input_readers.get_mut(slot),
            Read::Set { table, slot } => self.sets.get_mut(table)?.readers_mut(slot),
            Read::Query { table, slot } => {
                self.queries.get_mut(table)?.node_mut(slot).map(|it| &mut it.readers)
            }
        }
    }

    pub(super) fn outdate_readers(&mut self, id: QueryId) {
        let node = self.queries.get(id.table).and_then(|it| it.node(id.slot));
        let readers: Vec<QueryId> = node.into_iter().flat_map(|it| it.readers.iter()).collect();
        self.outdate(readers);
    }

    pub(super) fn outdate(&mut self, ids: impl IntoIterator<Item = QueryId>) {
        for id in ids {
            let stage = self.queries.get(id.table).map(|it| it.stage());
            self.stale.extend(stage.map(|stage| (stage, id)));
        }
    }

    /// Removes an instance that nothing needs, and all that it made.
    pub(super) fn remove_query(&mut self, id: QueryId) {
        let Some(node) = self.queries.get_mut(id.table).and_then(|it| it.remove(id.slot)) else { return };
        node.reads.iter().for_each(|it| self.remove_reader(*it, id));
        node.memberships.iter().for_each(|(set, member)| self.change_set(*set, member, false));
        self.outputs.replace(id, &node.outputs, []);
        self.notes.replace(id, &node.notes, Vec::new());
        // Its number may be another one's from now on.
        self.faults.remove(&id);
        self.runs_of.remove(&id);
    }

    /// Forgets what nothing needs any more, and with it what only that had read.
    pub(super) fn remove_unread(&mut self) {
        while let Some(it) = self.unread.pop() {
            match it {
                Read::Input { slot } => {
                    if self.input_readers.get(slot).is_some_and(|it| it.value.is_empty()) {
                        self.input_readers.remove(slot);
                    }
                }
                Read::Set { table, slot } => {
                    if let Some(table) = self.sets.get_mut(table) {
                        table.remove_if_idle(slot);
                    }
                }
                Read::Query { table, slot } => {
                    let Some(queries) = self.queries.get(table) else { continue };
                    if queries.node(slot).is_some_and(|it| !it.is_needed()) {
                        let id = QueryId { table, slot };
                        self.stale.remove(&(queries.stage(), id));
                        self.remove_query(id);
                    }
                }
            }
        }
    }
}
