//! What it costs to compile an object grows with the object, and not with its square. Counted in allocations, which do not depend
//! on the machine. A process of its own, since what it counts is the process.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code: a panic is the failure of the test that called it"
)]

mod objects;

use objects::{Size, bytes, largest, read, removals, world};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::collections::BTreeMap;

#[global_allocator]
static COUNTED: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// How much more twice the size may cost: in proportion, and a half for what comes in steps.
const MOST: f64 = 2.5;
/// Below this nothing is compared: what every object costs would be most of it.
const LEAST: usize = 2_000;

/// Allocations, and bytes that are allocated, while the objects are compiled.
fn costs(size: Size) -> BTreeMap<&'static str, [usize; 2]> {
    let mut compiler = world();
    let mut costs = BTreeMap::new();
    for (what, objects) in largest(size) {
        let edits = read(&objects).unwrap_or_else(|refused| panic!("{what}: {refused:?}"));
        let counting = Region::new(COUNTED);
        let output = compiler.apply(edits.clone());
        let counted = counting.change();
        drop(output);
        compiler.apply(removals(edits));
        let size = objects.iter().map(bytes).sum::<usize>();
        println!(
            "{what}: {} KiB in, {} allocations, {} KiB",
            size >> 10,
            counted.allocations,
            counted.bytes_allocated >> 10
        );
        costs.insert(what, [counted.allocations, counted.bytes_allocated]);
    }
    costs
}

#[test]
fn an_object_of_twice_the_size_costs_in_proportion() {
    let (half, whole) = (costs(Size::Half), costs(Size::Whole));
    let mut over = Vec::new();
    for (what, [allocations, bytes]) in &half {
        let more = whole[what];
        for (unit, half, whole, least) in
            [("allocations", *allocations, more[0], LEAST), ("bytes", *bytes, more[1], LEAST * 100)]
        {
            let ratio = whole as f64 / half.max(1) as f64;
            if whole > least && ratio > MOST {
                over.push(format!(
                    "{what}: {half} {unit} at half the size, {whole} at the whole: {ratio:.1} times"
                ));
            }
        }
    }
    assert!(over.is_empty(), "{over:#?}");
}
