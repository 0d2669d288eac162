//! The largest objects that an API server takes are compiled within stated ceilings of memory and of the processor: one object
//! cannot hurt the plane. A process of its own, since what it measures is the process.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code: a panic is the failure of the test that called it"
)]

mod objects;

use fairway_controller::resources::Kind;
use objects::{Size, bytes, client_policies, largest, read, removals, world};
use peak_alloc::PeakAlloc;
use std::collections::BTreeSet;
use std::time::Duration;

/// Counts every allocation, so that a small one shows too.
#[global_allocator]
static MEMORY_IN_USE: PeakAlloc = PeakAlloc;

/// What compiling one object may add to the peak of memory, beside the object itself. The controller's limit is 1 GiB.
const MEMORY: usize = 64 << 20;
/// What compiling one object may take of the processor. Without optimisation it is some ten times as slow.
const PROCESSOR: Duration =
    if cfg!(debug_assertions) { Duration::from_secs(15) } else { Duration::from_secs(2) };

fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(stat.split(' ').next().and_then(|it| it.parse().ok()).unwrap_or_default())
}

/// What compiling 2,000 ClientPolicies for one ListenerSet with 64 listeners may add, with 100 ranges in each: 96 KiB for each policy and
/// its status, whatever the number of listeners.
const CLIENT_POLICIES: usize = 192 << 20;

#[test]
fn thousands_of_client_policies_of_one_object_are_compiled_within_their_ceilings() {
    let mut compiler = world();
    let edits = read(&client_policies(2_000, 64, 100)).unwrap();
    MEMORY_IN_USE.reset_peak_usage();
    let (before, started) = (MEMORY_IN_USE.current_usage(), processor_time());
    let output = compiler.apply(edits);
    let (took, grown) = (processor_time() - started, MEMORY_IN_USE.peak_usage().saturating_sub(before));
    println!("{took:?}, {} KiB; {} statuses", grown >> 10, output.statuses.len());
    assert!(output.statuses.len() > 2_000, "{}", output.statuses.len());
    assert!(took <= PROCESSOR && grown <= CLIENT_POLICIES, "{took:?}, {} MiB", grown >> 20);
}

#[test]
fn the_largest_object_of_each_kind_is_compiled_within_its_ceilings() {
    let mut compiler = world();
    let (mut over, mut missing) = (Vec::new(), BTreeSet::from(Kind::ALL));
    // One stands for all CRDs, and of its schema nothing is kept.
    missing.remove(&Kind::Definition);
    for (what, objects) in largest(Size::Whole) {
        missing.retain(|it| objects.iter().all(|object| object["kind"] != it.as_str()));
        let edits = match read(&objects) {
            Ok(edits) => edits,
            Err(refused) => {
                over.push(format!(
                    "{what}: refused before it is compiled: {:#?}",
                    &refused[..refused.len().min(3)]
                ));
                continue;
            }
        };
        MEMORY_IN_USE.reset_peak_usage();
        let (before, started) = (MEMORY_IN_USE.current_usage(), processor_time());
        let output = compiler.apply(edits.clone());
        let (took, grown) = (processor_time() - started, MEMORY_IN_USE.peak_usage().saturating_sub(before));
        println!(
            "{what}: {} KiB in, {took:?}, {} KiB; {} resources, {} problems",
            objects.iter().map(bytes).sum::<usize>() >> 10,
            grown >> 10,
            output.upserts.len(),
            output.problems.iter().map(|(_, it)| it.len()).sum::<usize>()
        );
        if took > PROCESSOR || grown > MEMORY {
            over.push(format!("{what}: {took:?}, {} MiB", grown >> 20));
        }
        compiler.apply(removals(edits));
    }
    assert!(over.is_empty(), "{over:#?}");
    assert!(missing.is_empty(), "nothing is as large as it can be of {missing:?}");
}
