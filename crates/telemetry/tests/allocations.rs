//! What a record allocates. A program of its own: its allocator counts.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "test code: a panic is the failure of the test"
)]

use fairway_runtime::workers::WorkerId;
use fairway_telemetry::{
    AccessLog, ConnectionLabels, Direction, Outcome, Record, RequestLabels, RuleName, Telemetry, Trust,
};
use http::{Request, StatusCode};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::num::NonZeroUsize;
use tokio::time::Instant;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Allocations of the best of several tries: the test's own threads allocate too, now and then.
fn allocations(mut work: impl FnMut()) -> usize {
    let mut measure = |_| {
        let region = Region::new(ALLOCATOR);
        work();
        region.change().allocations + region.change().reallocations
    };
    (0..5).map(&mut measure).min().unwrap()
}

/// One test, as all tests of a program share its allocator.
#[test]
fn a_record_allocates_nothing_and_ids_share_their_allocations() {
    let telemetry = Telemetry::new(NonZeroUsize::MIN, 8);
    let recorder = telemetry.recorder(WorkerId(0), AccessLog::Errors, None).unwrap();
    let (head, ()) = Request::new(()).into_parts();
    let series = telemetry.requests().series(RequestLabels {
        rule: Some(("HTTPRoute/shop/cart".into(), RuleName::Number(0))),
        backend: Some("shop/cart:80".into()),
    });
    let between = telemetry.connections().series(ConnectionLabels {
        client: Some("spiffe://cluster.local/ns/shop/sa/web".parse().unwrap()),
        ..ConnectionLabels::new(Direction::Outbound)
    });
    let record = || {
        let mut record = Record::request(&recorder, &head);
        record.matched(&series);
        record.responded(StatusCode::OK, Instant::now());
        record.add_sent(512);
        drop(record);
        let mut record = Record::connection(&recorder, Direction::Outbound);
        record.between(&between);
        record.ended(Outcome::Completed);
    };
    // The first record of a series makes its counters.
    record();
    assert_eq!(allocations(|| (0..100).for_each(|_| record())), 0);

    let mut headers = head.headers.clone();
    headers.reserve(4);
    let mut identify = || Record::request(&recorder, &head).identify(&mut headers, Trust::Replace);
    identify();
    let made = allocations(|| (0..320).for_each(|_| identify()));
    assert!(made <= 20, "{made} allocations for 320 ids");
}
