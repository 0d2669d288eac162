//! Runs units until nothing is out of date, and keeps what they made.

use super::evaluation::{Evaluation, Value};
use super::index::{self, Index, IndexKey};
use super::output::{Output, Proxy};
use super::reader::Reader;
use super::readership::Readership;
use super::settings::Settings;
use super::unit::{Life, STAGES, Unit};
use crate::diagnostic::Diagnostic;
use crate::resources::{Edit, ObjectRef, Resources};
use crate::status::ObjectStatus;
use fairway_config::model::{ObjectName, Resource, ResourceKey};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

type Set<T> = HashSet<T, ahash::RandomState>;
type Map<K, V> = HashMap<K, V, ahash::RandomState>;

/// Something a unit can have read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Fact {
    /// An object, or that there is none.
    Object(ObjectRef),
    /// The set under a key.
    Index(IndexKey),
    /// What another unit made.
    Unit(Unit),
}

/// Runs units until nothing is out of date, and keeps what they made.
#[derive(Debug)]
pub(super) struct Engine {
    settings: Arc<Settings>,
    objects: Resources,
    index: Index,
    nodes: Map<Unit, Node>,
    readers: Readership,
    stale: [Set<Unit>; STAGES],
    resources: Owned<ResourceKey, Resource>,
    statuses: Owned<ObjectRef, ObjectStatus>,
    proxies: Owned<ObjectName, Proxy>,
    /// Objects whose problems changed since the last [`Self::settle`].
    troubled: BTreeSet<ObjectRef>,
    problems: BTreeMap<ObjectRef, Vec<(Unit, Diagnostic)>>,
    units_run: usize,
}

/// A unit that ran: what it read and what it put where.
#[derive(Debug, Default)]
struct Node {
    reads: Box<[Arc<Fact>]>,
    value: Value,
    resources: Box<[ResourceKey]>,
    statuses: Box<[ObjectRef]>,
    proxies: Box<[ObjectName]>,
    problems: Box<[ObjectRef]>,
    index: Box<[(IndexKey, ObjectRef)]>,
}

/// Whether a unit that made nothing is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    /// Yes: a unit that runs now is reading it, and will be known as its reader when it is done.
    Always,
    /// If another unit has read it.
    IfUsed,
}

/// Things that units own, and what was there before the changes that are not settled yet.
#[derive(Debug)]
struct Owned<K, V> {
    held: Map<K, (Unit, V)>,
    before: Map<K, Option<V>>,
}

// === impl Engine ===

impl Engine {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings: Arc::new(settings),
            objects: Resources::default(),
            index: Index::default(),
            nodes: Map::default(),
            readers: Readership::default(),
            stale: Default::default(),
            resources: Owned::default(),
            statuses: Owned::default(),
            proxies: Owned::default(),
            troubled: BTreeSet::new(),
            problems: BTreeMap::new(),
            units_run: 0,
        }
    }

    pub(super) fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    pub(super) fn objects(&self) -> &Resources {
        &self.objects
    }

    pub(super) fn index(&self) -> &Index {
        &self.index
    }

    pub(super) fn resources(&self) -> impl Iterator<Item = (&ResourceKey, &Resource)> {
        self.resources.held.iter().map(|(key, (_, it))| (key, it))
    }

    pub(super) fn statuses(&self) -> impl Iterator<Item = (&ObjectRef, &ObjectStatus)> {
        self.statuses.held.iter().map(|(key, (_, it))| (key, it))
    }

    pub(super) fn proxies(&self) -> impl Iterator<Item = &Proxy> {
        self.proxies.held.values().map(|(_, it)| it)
    }

    pub(super) fn implied_waypoints(&self) -> BTreeSet<ObjectName> {
        self.index.get(&IndexKey::Implied).iter().map(ObjectRef::object_name).collect()
    }

    pub(super) fn problems(&self) -> impl Iterator<Item = &Diagnostic> {
        self.problems.values().flatten().map(|(_, it)| it)
    }

    pub(super) fn units_run(&self) -> usize {
        self.units_run
    }

    #[cfg(test)]
    pub(super) fn units_held(&self) -> usize {
        self.nodes.len()
    }

    /// Takes a change in; nothing runs yet.
    pub(super) fn edit(&mut self, edit: Edit) {
        let object = edit.object();
        let (old, new) = match edit {
            Edit::Upsert(it) => {
                let keys = IndexKey::of(&it);
                if self.objects.get(&object) == Some(&it) {
                    return;
                }
                (self.objects.insert(it), keys)
            }
            Edit::Remove(it) => (self.objects.remove(&it), Vec::new()),
        };
        let old = old.as_ref().map(IndexKey::of).unwrap_or_default();
        for key in old.iter().filter(|it| !new.contains(it)) {
            self.set_member(key, &object, false);
        }
        for key in new.iter().filter(|it| !old.contains(it)) {
            self.set_member(key, &object, true);
        }
        for unit in index::roots(&object) {
            self.outdate(unit);
        }
        self.outdate_readers(&Fact::Object(object));
    }

    /// Runs what is out of date and says what changed since the last time.
    pub(super) fn settle(&mut self) -> Output {
        self.units_run = 0;
        let implied = self.index.get(&IndexKey::Implied);
        while let Some(unit) = self.next_stale() {
            self.run(&unit, Keep::IfUsed);
        }
        let waypoints_changed = implied != self.index.get(&IndexKey::Implied);
        let mut output = Output { waypoints_changed, ..Output::default() };
        for (key, now) in self.resources.settle() {
            match now {
                Some(resource) => output.upserts.push(resource),
                None => output.removals.push(key),
            }
        }
        output.upserts.sort_by_cached_key(Resource::key);
        output.removals.sort();
        for (object, now) in self.statuses.settle() {
            match now {
                Some(status) => output.statuses.push((object, status)),
                None => output.unjudged.push(object),
            }
        }
        output.statuses.sort_by(|(a, _), (b, _)| a.cmp(b));
        output.unjudged.sort();
        for (name, now) in self.proxies.settle() {
            match now {
                Some(proxy) => output.proxies.push(proxy),
                None => output.retired.push(name),
            }
        }
        output.proxies.sort_by(|a, b| a.name.cmp(&b.name));
        output.retired.sort();
        for object in std::mem::take(&mut self.troubled) {
            let problems =
                self.problems.get(&object).into_iter().flatten().map(|(_, it)| it.clone()).collect();
            output.problems.push((object, problems));
        }
        output
    }

    /// What a unit made; runs it if it never ran, or is out of date.
    pub(super) fn value_of(&mut self, unit: &Unit) -> Value {
        if !self.nodes.contains_key(unit) || self.stale[unit.stage()].remove(unit) {
            self.run(unit, Keep::Always);
        }
        self.nodes.get(unit).map(|it| it.value.clone()).unwrap_or_default()
    }

    fn next_stale(&mut self) -> Option<Unit> {
        let set = self.stale.iter_mut().find(|it| !it.is_empty())?;
        let unit = set.iter().next().cloned()?;
        set.remove(&unit);
        Some(unit)
    }

    fn run(&mut self, unit: &Unit, keep: Keep) {
        self.units_run += 1;
        let mut reader = Reader::new(self, unit.stage());
        let evaluation = unit.evaluate(&mut reader);
        let reads = reader.into_reads();
        self.commit(unit, evaluation, reads, keep);
    }

    fn commit(&mut self, unit: &Unit, mut made: Evaluation, reads: Set<Fact>, keep: Keep) {
        // A unit may find the same thing twice: two listeners that use one certificate.
        made.index.sort();
        made.index.dedup();
        let old = self.nodes.remove(unit).unwrap_or_default();
        // The new before the old: what is read still must not be forgotten in between.
        let gone: Vec<_> = old.reads.iter().filter(|it| !reads.contains(&***it)).cloned().collect();
        let reads: Box<[Arc<Fact>]> = reads.into_iter().map(|it| self.readers.add(it, unit)).collect();
        gone.iter().for_each(|it| self.forget_reader(it, unit));
        let changed = old.value != made.value;
        let is_empty = made.is_empty();

        // Both are in order.
        for (key, member) in old.index.iter().filter(|it| made.index.binary_search(it).is_err()) {
            self.set_member(key, member, false);
        }
        for (key, member) in made.index.iter().filter(|it| old.index.binary_search(it).is_err()) {
            self.set_member(key, member, true);
        }
        let resources = made.resources.into_iter().map(|it| (it.key(), it));
        let resources = self.resources.replace(unit, &old.resources, resources);
        let statuses = self.statuses.replace(unit, &old.statuses, made.statuses);
        let proxies = made.proxies.into_iter().map(|it| (it.name.clone(), it));
        let proxies = self.proxies.replace(unit, &old.proxies, proxies);
        let problems = self.replace_problems(unit, &old.problems, made.problems);

        let own = Fact::Unit(unit.clone());
        if is_empty && keep == Keep::IfUsed && !self.readers.has(&own) && !self.is_alive(unit) {
            reads.iter().for_each(|it| self.forget_reader(it, unit));
        } else {
            let index = made.index.into_boxed_slice();
            let node = Node { reads, value: made.value, resources, statuses, proxies, problems, index };
            self.nodes.insert(unit.clone(), node);
        }
        if changed {
            self.outdate_readers(&own);
        }
    }

    fn replace_problems(
        &mut self,
        unit: &Unit,
        old: &[ObjectRef],
        new: Vec<(ObjectRef, Diagnostic)>,
    ) -> Box<[ObjectRef]> {
        let objects: BTreeSet<ObjectRef> = new.iter().map(|(object, _)| object.clone()).collect();
        for object in old.iter().chain(&objects).collect::<BTreeSet<_>>() {
            let held = self.problems.entry(object.clone()).or_default();
            let before: Vec<Diagnostic> =
                held.iter().filter(|(of, _)| of == unit).map(|(_, it)| it.clone()).collect();
            let mut now: Vec<Diagnostic> =
                new.iter().filter(|(about, _)| about == object).map(|(_, it)| it.clone()).collect();
            now.sort();
            now.dedup();
            if before != now {
                held.retain(|(of, _)| of != unit);
                held.extend(now.into_iter().map(|it| (unit.clone(), it)));
                held.sort_by(|(_, a), (_, b)| a.cmp(b));
                self.troubled.insert(object.clone());
            }
            if self.problems.get(object).is_some_and(Vec::is_empty) {
                self.problems.remove(object);
            }
        }
        objects.into_iter().collect()
    }

    fn set_member(&mut self, key: &IndexKey, member: &ObjectRef, there: bool) {
        let changed = match there {
            true => self.index.insert(key, member.clone()),
            false => self.index.remove(key, member),
        };
        if changed {
            if let Some(unit) = key.wakes(self.index.len(key)) {
                self.outdate(unit);
            }
            self.outdate_readers(&Fact::Index(key.clone()));
        }
    }

    fn forget_reader(&mut self, fact: &Fact, unit: &Unit) {
        if !self.readers.remove(fact, unit) {
            return;
        }
        // The last one that read a unit that made nothing: the unit goes too, and with it what it read.
        if let Fact::Unit(read) = fact
            && self.nodes.get(read).is_some_and(Node::is_empty)
            && !self.is_alive(read)
            && let Some(node) = self.nodes.remove(read)
        {
            node.reads.iter().for_each(|it| self.forget_reader(it, read));
        }
    }

    /// Whether a unit has to be remembered even if it made nothing: something it has read may make it make something.
    fn is_alive(&self, unit: &Unit) -> bool {
        match unit.life() {
            Life::Object(it) => self.objects.get(&it).is_some(),
            Life::Sets(keys) => keys.iter().any(|it| self.index.len(it) > 0),
            Life::Readers => false,
        }
    }

    fn outdate_readers(&mut self, fact: &Fact) {
        for unit in self.readers.of(fact) {
            self.stale[unit.stage()].insert(unit.clone());
        }
    }

    fn outdate(&mut self, unit: Unit) {
        self.stale[unit.stage()].insert(unit);
    }
}

impl Node {
    /// Whether it made nothing.
    fn is_empty(&self) -> bool {
        self.value == Value::Nothing
            && self.resources.is_empty()
            && self.statuses.is_empty()
            && self.proxies.is_empty()
            && self.problems.is_empty()
            && self.index.is_empty()
    }
}

// === impl Owned ===

impl<K: Eq + Hash + Clone, V: PartialEq + Clone> Owned<K, V> {
    /// Takes over what a unit made in place of what it had made before.
    fn replace(&mut self, unit: &Unit, old: &[K], new: impl IntoIterator<Item = (K, V)>) -> Box<[K]> {
        let mut keys = Vec::new();
        for (key, value) in new {
            let was = self.held.get(&key);
            if was.is_none_or(|(_, it)| *it != value) {
                self.before.entry(key.clone()).or_insert_with(|| was.map(|(_, it)| it.clone()));
            }
            self.held.insert(key.clone(), (unit.clone(), value));
            keys.push(key);
        }
        for key in old.iter().filter(|it| !keys.contains(it)) {
            // It may have moved to another unit in the meantime.
            if self.held.get(key).is_some_and(|(owner, _)| owner == unit) {
                let was = self.held.remove(key).map(|(_, it)| it);
                self.before.entry(key.clone()).or_insert(was);
            }
        }
        keys.into_boxed_slice()
    }

    /// What differs from before, and what it is now.
    fn settle(&mut self) -> Vec<(K, Option<V>)> {
        let before = std::mem::take(&mut self.before).into_iter();
        before
            .filter_map(|(key, was)| {
                let now = self.held.get(&key).map(|(_, it)| it.clone());
                (was != now).then_some((key, now))
            })
            .collect()
    }
}

impl<K, V> Default for Owned<K, V> {
    fn default() -> Self {
        Self { held: Map::default(), before: Map::default() }
    }
}
