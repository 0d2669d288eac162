//! Any sequence of edits gives what compiling the result from scratch gives.

mod pool;

use super::settings;
use crate::compile::{Capture, CompileSettings, Compiler, Loopback, Mode, Output};
use crate::diagnostic::Diagnostic;
use crate::provision::Proxy;
use crate::resources::{Edit, Object, ObjectRef};
use crate::source::{Completion, Standalone};
use crate::status::ObjectStatus;
use fairway_config::model::{ObjectName, Resource, ResourceKey};
use pool::POOL;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

/// What somebody knows who heard every output.
#[derive(Debug, Default, PartialEq)]
struct Listener {
    resources: BTreeMap<ResourceKey, Resource>,
    statuses: BTreeMap<ObjectRef, ObjectStatus>,
    proxies: BTreeMap<ObjectName, Proxy>,
    problems: BTreeMap<ObjectRef, Vec<Diagnostic>>,
}

impl Listener {
    fn hear(&mut self, output: Output) {
        assert_eq!(output.faults, Vec::<String>::new());
        for key in output.removals {
            assert!(self.resources.remove(&key).is_some(), "{key} was never there");
        }
        for it in output.upserts {
            assert_ne!(self.resources.get(&it.key()), Some(&it), "nothing new");
            self.resources.insert(it.key(), it);
        }
        for (object, status) in output.statuses {
            assert_ne!(self.statuses.get(&object), Some(&status), "nothing new");
            self.statuses.insert(object, status);
        }
        output.retired.iter().for_each(|it| drop(self.proxies.remove(it)));
        self.proxies.extend(output.proxies.into_iter().map(|it| (it.name.clone(), it)));
        for (object, problems) in output.problems {
            match problems.is_empty() {
                true => drop(self.problems.remove(&object)),
                false => drop(self.problems.insert(object, problems)),
            }
        }
    }

    /// What differs, in words.
    fn difference(&self, other: &Self) -> Vec<String> {
        fn differ<K: Ord + Debug, V: PartialEq + Debug>(
            a: &BTreeMap<K, V>,
            b: &BTreeMap<K, V>,
        ) -> Vec<String> {
            let keys: BTreeSet<&K> = a.keys().chain(b.keys()).collect();
            let differ = |it: &&K| a.get(it) != b.get(it);
            keys.into_iter()
                .filter(differ)
                .map(|it| format!("{it:?}: {:#?} / {:#?}", a.get(it), b.get(it)))
                .collect()
        }
        let mut all = differ(&self.resources, &other.resources);
        all.extend(differ(&self.statuses, &other.statuses));
        all.extend(differ(&self.proxies, &other.proxies));
        all.extend(differ(&self.problems, &other.problems));
        all
    }

    /// The statuses of objects that are gone are nobody's business; everything else must be the same.
    fn read(compiler: &Compiler) -> Self {
        let mut problems: BTreeMap<ObjectRef, Vec<Diagnostic>> = BTreeMap::new();
        for it in compiler.problems() {
            problems.entry(it.object.as_ref().unwrap().object().unwrap()).or_default().push(it.clone());
        }
        Self {
            resources: compiler.resources().map(|(key, it)| (key.clone(), it.clone())).collect(),
            statuses: compiler.statuses().map(|(key, it)| (key.clone(), it.clone())).collect(),
            proxies: compiler.proxies().map(|it| (it.name.clone(), it.clone())).collect(),
            problems,
        }
    }
}

fn edits() -> impl Strategy<Value = Vec<Vec<(usize, bool)>>> {
    let edit = (0..POOL.len(), prop::bool::weighted(0.75));
    prop::collection::vec(prop::collection::vec(edit, 1..6), 1..24)
}

fn modes() -> impl Strategy<Value = CompileSettings> {
    let capture = prop_oneof![Just(Capture::On), Just(Capture::Off)];
    let mode = prop_oneof![Just(Mode::Standalone), Just(Mode::Kubernetes)];
    let loopback = prop_oneof![Just(Loopback::Allowed), Just(Loopback::Refused)];
    (capture, mode, loopback).prop_map(|(capture, mode, loopback)| CompileSettings {
        capture,
        mode,
        loopback,
        ..settings()
    })
}

fn edit((index, put): (usize, bool)) -> Edit {
    match put {
        true => Edit::Upsert(POOL[index].clone()),
        false => Edit::Remove(POOL[index].reference()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_edits_gives_what_a_rebuild_gives(batches in edits(), settings in modes()) {
        let mut compiler = Compiler::new(settings.clone());
        let mut heard = Listener::default();
        for batch in batches {
            heard.hear(compiler.apply(batch.into_iter().map(edit)));
            let mut rebuilt = Compiler::new(settings.clone());
            rebuilt.apply(compiler.objects().iter().cloned().map(Edit::Upsert));
            let (ours, theirs) = (Listener::read(&compiler), Listener::read(&rebuilt));
            prop_assert_eq!(ours.difference(&theirs), Vec::<String>::new());
            heard.statuses.retain(|it, _| ours.statuses.contains_key(it));
            prop_assert_eq!(heard.difference(&ours), Vec::<String>::new());
        }
    }

    #[test]
    fn what_is_filled_in_is_what_would_be_filled_in_from_scratch(batches in edits()) {
        let completion = Completion::for_settings(&settings());
        let mut standalone = Standalone::new(completion.clone());
        let (mut written, mut filled) = (BTreeMap::new(), BTreeMap::new());
        let take = |into: &mut BTreeMap<ObjectRef, Object>, edit: Edit| match edit {
            Edit::Upsert(it) => drop(into.insert(it.reference(), it)),
            Edit::Remove(it) => drop(into.remove(&it)),
        };
        for batch in batches {
            let batch: Vec<Edit> = batch.into_iter().map(edit).collect();
            batch.iter().for_each(|it| take(&mut written, it.clone()));
            standalone.complete(batch).into_iter().for_each(|it| take(&mut filled, it));
            let mut from_scratch = BTreeMap::new();
            let mut rebuilt = Standalone::new(completion.clone());
            let edits = rebuilt.complete(written.values().cloned().map(Edit::Upsert));
            edits.into_iter().for_each(|it| take(&mut from_scratch, it));
            prop_assert_eq!(&filled, &from_scratch);
        }
    }
}
