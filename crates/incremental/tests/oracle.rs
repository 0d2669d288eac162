//! Random programs and random edits: the result is that of a rebuild, and nothing runs that no edit affects.
//!
//! What the queries of this program do is written in its inputs: a [`Card`] is a list of instructions. So arbitrary inputs make
//! arbitrary graphs of queries, which edits rewire.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test code: a panic is the failure of the test that called it"
)]

use fairway_incremental::{Effects, Engine, Input, OfInput, OfSet, Program, Query, Reader, Set};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

/// Inputs have these names.
const NAMES: u8 = 8;
/// There are so many sets of each type.
const SETS: u8 = 4;

#[derive(Clone, Debug, PartialEq)]
struct Card {
    number: i32,
    group: u8,
    instructions: Vec<Instruction>,
}

/// What an instance does, one after the other, with the sum that it has so far.
#[derive(Clone, Debug, PartialEq)]
enum Instruction {
    /// Adds the number of an input.
    Add(u8),
    /// Adds the value of the instance of this key one stage earlier.
    Ask(u8),
    /// The same, if the sum is odd.
    AskIfOdd(u8),
    /// Adds the names of the inputs of a group.
    Group(u8),
    /// Adds how many inputs an earlier stage has put into a set.
    Filled(u8),
    /// Puts its input into a set; into which depends on the sum.
    Put(u8),
    /// Says the sum of an input.
    Note(u8),
    /// Puts the sum out.
    Output,
}

/// What can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fact {
    Input(u8),
    Group(u8),
    Filled(u8, u8),
    Step(u8, u8),
    Total(u8),
}

/// What a run read and into which sets it put something.
#[derive(Clone, Debug, Default)]
struct Run {
    reads: BTreeSet<Fact>,
    puts: BTreeSet<Fact>,
}

/// The runs of one settling, in order.
type Log = Mutex<Vec<(Fact, Run)>>;

struct Cards;

impl Program for Cards {
    type Settings = Log;
    type Name = u8;
    type Object = Arc<Card>;
    type Inputs = HashMap<u8, Arc<Card>>;
    type OutputKey = (u8, u8);
    type Output = i32;
    type Note = i32;
    type Made = Effects<Cards>;
}

impl Input<Cards> for Card {
    type Key = u8;

    fn name(key: &u8) -> u8 {
        *key
    }

    fn downcast(object: &Arc<Card>) -> Option<&Arc<Card>> {
        Some(object)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Group(u8);

impl Set<Cards> for Group {
    type Member = u8;

    fn of_input(name: &u8, card: &Arc<Card>) -> Vec<(Self, u8)> {
        vec![(Self(card.group), *name)]
    }
}

/// Filled by the instances of a stage.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Filled<const STAGE: u8>(u8);

impl<const STAGE: u8> Set<Cards> for Filled<STAGE> {
    type Member = u8;
}

/// Some are brought into being by inputs (see [`born_of_input`]), the others are only read.
struct Step<const STAGE: u8>;

impl<const STAGE: u8> Query<Cards> for Step<STAGE> {
    type Key = u8;
    type Value = Option<i32>;
    const STAGE: u8 = STAGE;

    fn run(key: &u8, reader: &mut Reader<'_, Cards>, made: &mut Effects<Cards>) -> Option<i32> {
        let mut run = Run::default();
        let value = step::<STAGE>(*key, reader, made, &mut run);
        reader.settings().lock().unwrap().push((Fact::Step(STAGE, *key), run));
        value
    }
}

fn step<const STAGE: u8>(
    key: u8,
    reader: &mut Reader<'_, Cards>,
    made: &mut Effects<Cards>,
    run: &mut Run,
) -> Option<i32> {
    let is_born = born_of_input(STAGE, key);
    run.reads.insert(Fact::Input(key));
    let card = reader.input::<Card>(&key)?;
    let mut sum = card.number;
    for it in &card.instructions {
        match *it {
            Instruction::Add(name) => {
                run.reads.insert(Fact::Input(name));
                sum += reader.input::<Card>(&name).map_or(-1, |it| it.number);
            }
            Instruction::Ask(key) => sum += ask(STAGE, key, reader, run),
            Instruction::AskIfOdd(key) if sum % 2 != 0 => sum += ask(STAGE, key, reader, run),
            Instruction::Group(group) => {
                run.reads.insert(Fact::Group(group));
                sum += reader.members(&Group(group)).iter().map(|it| i32::from(*it)).sum::<i32>();
            }
            Instruction::Filled(set) => {
                let filler = match STAGE {
                    2 | 3 => Some(1),
                    4 => Some(3),
                    _ => None,
                };
                run.reads.extend(filler.map(|it| Fact::Filled(it, set)));
                sum += match filler {
                    Some(1) => reader.count(&Filled::<1>(set)) as i32,
                    Some(_) => reader.count(&Filled::<3>(set)) as i32,
                    None => 0,
                };
            }
            Instruction::Put(set) if is_born => {
                let set = (set + u8::from(sum % 2 == 0)) % SETS;
                run.puts.insert(Fact::Filled(STAGE, set));
                match STAGE {
                    1 => made.memberships.put(Filled::<1>(set), key),
                    _ => made.memberships.put(Filled::<3>(set), key),
                }
            }
            Instruction::Note(about) if is_born => made.notes.push((about, sum)),
            Instruction::Output if is_born => made.outputs.push(((STAGE, key), sum)),
            _ => {}
        }
    }
    // Coarse, so that many edits change what was computed and not what is read.
    Some(sum / 3)
}

fn ask(stage: u8, key: u8, reader: &mut Reader<'_, Cards>, run: &mut Run) -> i32 {
    if stage == 0 {
        return 0;
    }
    run.reads.insert(Fact::Step(stage - 1, key));
    let value = match stage {
        1 => reader.get::<Step<0>>(&key),
        2 => reader.get::<Step<1>>(&key),
        3 => reader.get::<Step<2>>(&key),
        _ => reader.get::<Step<3>>(&key),
    };
    value.unwrap_or(7)
}

/// Instances of odd stages, but for one, so that there are two of one query that live by different things.
fn born_of_input(stage: u8, key: u8) -> bool {
    stage == 1 || (stage == 3 && key != 0)
}

impl OfInput<Cards> for Step<1> {
    fn of_input(name: &u8) -> Option<u8> {
        born_of_input(1, *name).then_some(*name)
    }
}

impl OfInput<Cards> for Step<3> {
    fn of_input(name: &u8) -> Option<u8> {
        born_of_input(3, *name).then_some(*name)
    }
}

/// Of a set with at least two members.
struct Total;

impl Query<Cards> for Total {
    type Key = u8;
    type Value = ();
    const STAGE: u8 = 5;

    fn run(set: &u8, reader: &mut Reader<'_, Cards>, made: &mut Effects<Cards>) {
        let mut run = Run::default();
        run.reads.insert(Fact::Filled(3, *set));
        let mut sum = 0;
        for key in reader.members(&Filled::<3>(*set)).iter() {
            run.reads.insert(Fact::Step(4, *key));
            sum += reader.get::<Step<4>>(key).unwrap_or_default();
        }
        made.outputs.push(((5, *set), sum));
        reader.settings().lock().unwrap().push((Fact::Total(*set), run));
    }
}

impl OfSet<Cards> for Total {
    type Set = Filled<3>;
    const LEAST: usize = 2;

    fn of_set(Filled(set): &Filled<3>) -> Option<u8> {
        Some(*set)
    }
}

fn engine() -> Engine<Cards> {
    Engine::new(Log::default()).set::<Group>().of_input::<Step<1>>().of_input::<Step<3>>().of_set::<Total>()
}

/// Everything that can be seen of an engine.
#[derive(Debug, PartialEq)]
struct Seen {
    outputs: BTreeMap<(u8, u8), i32>,
    notes: BTreeMap<u8, Vec<i32>>,
    values: BTreeMap<Fact, Option<i32>>,
    sets: BTreeMap<Fact, BTreeSet<u8>>,
    instances: usize,
}

fn see(engine: &Engine<Cards>) -> Seen {
    let mut notes: BTreeMap<u8, Vec<i32>> = BTreeMap::new();
    engine.notes().for_each(|(about, it)| notes.entry(*about).or_default().push(*it));
    let (mut values, mut sets) = (BTreeMap::new(), BTreeMap::new());
    for key in 0..NAMES {
        let of_steps = [
            engine.value::<Step<0>>(&key),
            engine.value::<Step<1>>(&key),
            engine.value::<Step<2>>(&key),
            engine.value::<Step<3>>(&key),
            engine.value::<Step<4>>(&key),
        ];
        for (stage, value) in (0..).zip(of_steps) {
            values.extend(value.map(|it| (Fact::Step(stage, key), it)));
        }
    }
    for set in 0..SETS {
        sets.insert(Fact::Group(set), BTreeSet::clone(&engine.members(&Group(set))));
        sets.insert(Fact::Filled(1, set), BTreeSet::clone(&engine.members(&Filled::<1>(set))));
        sets.insert(Fact::Filled(3, set), BTreeSet::clone(&engine.members(&Filled::<3>(set))));
    }
    let outputs = engine.outputs().map(|(key, it)| (*key, *it)).collect();
    Seen { outputs, notes, values, sets, instances: engine.instances() }
}

fn take_log(engine: &Engine<Cards>) -> Vec<(Fact, Run)> {
    std::mem::take(&mut *engine.settings().lock().unwrap())
}

/// What edits of these inputs can affect, going by what each instance has read and put before and after.
fn affected(
    edited: &BTreeSet<Fact>,
    before: &BTreeMap<Fact, Run>,
    after: &BTreeMap<Fact, Run>,
) -> BTreeSet<Fact> {
    let mut affected = edited.clone();
    loop {
        let known = affected.len();
        for (instance, run) in before.iter().chain(after) {
            let is_born_or_gone = match instance {
                Fact::Step(stage, key) => born_of_input(*stage, *key) && edited.contains(&Fact::Input(*key)),
                _ => false,
            };
            if is_born_or_gone || run.reads.iter().any(|it| affected.contains(it)) {
                affected.insert(*instance);
                affected.extend(&run.puts);
            }
            // What is read for the first time is new.
            if affected.contains(instance) {
                let new =
                    run.reads.iter().filter(|it| matches!(it, Fact::Step(..)) && !before.contains_key(it));
                affected.extend(new.copied().collect::<Vec<_>>());
            }
        }
        if affected.len() == known {
            return affected;
        }
    }
}

fn instruction() -> impl Strategy<Value = Instruction> {
    let (name, set) = (|| 0..NAMES, || 0..SETS);
    prop_oneof![
        name().prop_map(Instruction::Add),
        name().prop_map(Instruction::Ask),
        name().prop_map(Instruction::AskIfOdd),
        set().prop_map(Instruction::Group),
        set().prop_map(Instruction::Filled),
        set().prop_map(Instruction::Put),
        name().prop_map(Instruction::Note),
        Just(Instruction::Output),
    ]
}

fn card() -> impl Strategy<Value = Card> {
    (-4..9_i32, 0..SETS, prop::collection::vec(instruction(), 0..7))
        .prop_map(|(number, group, instructions)| Card { number, group, instructions })
}

type Edit = (u8, Option<Card>);

fn edits() -> impl Strategy<Value = Vec<Vec<Edit>>> {
    let edit = (0..NAMES, prop::option::weighted(0.8, card()));
    prop::collection::vec(prop::collection::vec(edit, 1..5), 1..20)
}

/// What an edit touches itself: its input, and the groups in which that was and is.
fn touched(engine: &Engine<Cards>, (name, card): &Edit) -> BTreeSet<Fact> {
    let was = engine.inputs().get(name);
    if was.map(|it| &**it) == card.as_ref() {
        return BTreeSet::new();
    }
    let groups = was.map(|it| it.group).into_iter().chain(card.as_ref().map(|it| it.group));
    groups.map(Fact::Group).chain([Fact::Input(*name)]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn the_result_is_that_of_a_rebuild_and_nothing_runs_that_no_edit_affects(batches in edits()) {
        let mut engine = engine();
        // What somebody knows who heard every change.
        let (mut outputs, mut notes) = (BTreeMap::new(), BTreeMap::new());
        let mut known: BTreeMap<Fact, Run> = BTreeMap::new();
        for batch in batches {
            let mut edited = BTreeSet::new();
            for edit in batch {
                edited.extend(touched(&engine, &edit));
                engine.edit(edit.0, edit.1.map(Arc::new));
            }
            let changes = engine.settle();
            let log = take_log(&engine);

            prop_assert_eq!(changes.faults, []);
            for (key, now) in changes.outputs {
                let was = match now {
                    Some(it) => outputs.insert(key, it),
                    None => outputs.remove(&key),
                };
                prop_assert_ne!(was, now, "nothing new");
            }
            for (about, now) in changes.notes {
                let was = match now.is_empty() {
                    false => notes.insert(about, now.clone()).unwrap_or_default(),
                    true => notes.remove(&about).unwrap_or_default(),
                };
                prop_assert_ne!(was, now, "nothing new");
            }
            let seen = see(&engine);
            prop_assert_eq!((&seen.outputs, &seen.notes), (&outputs, &notes));

            let mut rebuilt = self::engine();
            for (name, card) in engine.inputs() {
                rebuilt.edit(*name, Some(card.clone()));
            }
            rebuilt.settle();
            prop_assert_eq!(&seen, &see(&rebuilt));

            prop_assert_eq!(engine.runs(), log.len());
            let mut after = known.clone();
            after.extend(log.iter().cloned());
            let affected = affected(&edited, &known, &after);
            let mut ran = BTreeSet::new();
            for (instance, _) in &log {
                prop_assert!(affected.contains(instance), "{:?} ran for {:?}", instance, edited);
                prop_assert!(ran.insert(*instance), "{:?} ran twice", instance);
            }
            // What is gone is not known any more.
            let totals: BTreeSet<u8> = seen.outputs.keys().filter(|(stage, _)| *stage == 5).map(|(_, it)| *it).collect();
            after.retain(|it, _| match it {
                Fact::Total(set) => totals.contains(set),
                it => seen.values.contains_key(it),
            });
            known = after;

            engine.settle();
            prop_assert_eq!(engine.runs(), 0);
        }
        for name in 0..NAMES {
            engine.edit(name, None);
        }
        engine.settle();
        prop_assert_eq!(engine.instances(), 0);
    }
}
