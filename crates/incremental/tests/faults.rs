//! Queries that break a rule: their runs do not count, and that is told.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test code: a panic is the failure of the test that called it"
)]

use fairway_incremental::{Cause, Effects, Engine, Fault, OfInput, OfSet, Program, Query, Reader, Set};
use std::collections::HashMap;

/// Inputs are numbers by name.
struct Numbers;

impl Program for Numbers {
    type Settings = ();
    type Name = &'static str;
    type Object = i32;
    type Inputs = HashMap<&'static str, i32>;
    type OutputKey = &'static str;
    type Output = i32;
    type Note = String;
    type Made = Effects<Numbers>;

    fn note_of(fault: &Fault<&'static str>) -> Option<(&'static str, String)> {
        Some((fault.about?, fault.to_string()))
    }
}

macro_rules! query {
    ($name:ident, $stage:literal, $value:ty, |$key:ident, $reader:ident, $made:ident| $run:expr) => {
        struct $name;

        impl Query<Numbers> for $name {
            type Key = &'static str;
            type Value = $value;
            const STAGE: u8 = $stage;

            fn run(
                $key: &&'static str,
                $reader: &mut Reader<'_, Numbers>,
                $made: &mut Effects<Numbers>,
            ) -> $value {
                let _ = (&$key, &$reader, &$made);
                $run
            }
        }
    };
}

macro_rules! of_input {
    ($($name:ident),+) => {$(
        impl OfInput<Numbers> for $name {
            fn of_input(name: &&'static str) -> Option<&'static str> {
                Some(*name)
            }
        }
    )+};
}

query!(Late, 5, i32, |key, reader, made| reader.object(key).unwrap_or_default());

// Reads a later stage as soon as its number is negative.
query!(Hasty, 1, Option<i32>, |key, reader, made| {
    let number = reader.object(key)?;
    made.outputs.push((*key, number));
    if number < 0 {
        assert_eq!(reader.get::<Late>(key), 0, "there is a value, and it does not count");
        made.outputs.push(("never", 1));
    }
    Some(number)
});

query!(Follower, 2, (), |key, reader, made| {
    let number = reader.get::<Hasty>(key);
    made.outputs.push(("followed", number.unwrap_or_default() * 10));
});

of_input!(Hasty, Follower, Unborn, Restless, Reaching);

#[test]
fn a_read_of_a_later_stage_does_not_count_and_is_told_and_is_mended_by_the_next_edit() {
    let mut engine = Engine::<Numbers>::new(()).of_input::<Hasty>().of_input::<Follower>();
    engine.edit("a", Some(3));
    engine.settle();

    engine.edit("a", Some(-3));
    let changes = engine.settle();
    assert_eq!(changes.outputs, [], "what was there before stays, of the query and of those that read it");
    assert_eq!(engine.output(&"followed"), Some(&30));
    let early = Cause::ReadsTooEarly { stage: 1, read: "faults::Late", read_stage: 5 };
    let causes: Vec<&Cause> = changes.faults.iter().map(|it| &it.cause).collect();
    let reads = Cause::ReadsFaulty { read: "faults::Hasty", key: "\"a\"".to_owned() };
    assert_eq!(causes, [&early, &reads]);
    assert_eq!(engine.value::<Hasty>(&"a"), None);
    let first = "query faults::Hasty(\"a\") of stage 1 reads query faults::Late of stage 5".to_owned();
    assert_eq!(changes.notes, [("a", vec![first])]);
    assert_eq!(engine.settle().faults, [], "told once");
    assert_eq!(engine.faults().count(), 2);

    engine.edit("a", Some(4));
    let changes = engine.settle();
    assert_eq!(changes.outputs, [("a", Some(4)), ("followed", Some(40))]);
    assert_eq!((changes.notes, engine.faults().count()), (vec![("a", Vec::new())], 0));
}

#[test]
fn a_fault_goes_with_what_has_it() {
    let mut engine = Engine::<Numbers>::new(()).of_input::<Hasty>().of_input::<Follower>();
    engine.edit("a", Some(-1));
    assert_eq!(engine.settle().outputs, [], "there is nothing yet that could stay");
    engine.edit("a", None);
    engine.settle();
    assert_eq!((engine.faults().count(), engine.notes().count(), engine.instances()), (0, 0, 0));
}

query!(OnlyRead, 0, i32, |key, reader, made| {
    made.outputs.push((*key, 1));
    1
});

query!(Unborn, 1, i32, |key, reader, made| reader.get::<OnlyRead>(key));

#[test]
fn what_is_only_read_has_no_effects() {
    let mut engine = Engine::<Numbers>::new(()).of_input::<Unborn>();
    engine.edit("a", Some(1));
    let changes = engine.settle();
    assert_eq!(changes.outputs, []);
    assert_eq!(changes.faults[0].cause, Cause::MakesUnborn);
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Here;

impl Set<Numbers> for Here {
    type Member = &'static str;
}

// Is in the set if it is not in the set.
query!(Restless, 0, (), |key, reader, made| {
    if !reader.members(&Here).contains(key) {
        made.memberships.put(Here, *key);
    }
});

#[test]
fn a_query_that_undoes_what_it_read_is_stopped() {
    let mut engine = Engine::<Numbers>::new(()).of_input::<Restless>().of_input::<Hasty>();
    engine.edit("a", Some(1));
    let changes = engine.settle();
    assert!(matches!(changes.faults[..], [Fault { cause: Cause::Unsettled { runs: 100 }, .. }]));
    assert_eq!(changes.outputs, [("a", Some(1))], "others are not held up");
    assert!(engine.runs() < 110);
    engine.edit("a", None);
    engine.settle();
    assert_eq!((engine.instances(), engine.members(&Here).len()), (0, 0));
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Reached;

impl Set<Numbers> for Reached {
    type Member = &'static str;
}

// Fills a set at a stage later than that at which it is read.
query!(Reaching, 0, (), |key, reader, made| {
    made.memberships.put(Here, *key);
    made.outputs.push((*key, reader.count(&Reached) as i32));
});

query!(Reach, 3, (), |key, reader, made| made.memberships.put(Reached, *key));

impl OfSet<Numbers> for Reach {
    type Set = Here;

    fn of_set(_: &Here) -> Option<&'static str> {
        Some("reach")
    }
}

#[test]
fn a_set_may_be_filled_later_than_it_is_read() {
    let mut engine = Engine::<Numbers>::new(()).of_input::<Reaching>().of_set::<Reach>();
    engine.edit("a", Some(1));
    engine.edit("b", Some(1));
    assert_eq!(engine.settle().outputs, [("a", Some(1)), ("b", Some(1))]);
    engine.edit("b", None);
    assert_eq!(engine.settle().outputs, [("b", None)]);
    engine.edit("a", None);
    engine.settle();
    assert_eq!((engine.instances(), engine.members(&Reached).len()), (0, 0));
}
