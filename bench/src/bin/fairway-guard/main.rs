//! Serves one fixed script of requests through a proxy in memory, and prints what they allocated.
//!
//! `fairway-bench guard` runs it, once as it is and twice under Callgrind. It is a program of its own because its allocator
//! counts, and the allocator of `fairway-bench` must not: that one is timed.
#![forbid(unsafe_code)]

mod client;
mod endpoint;
mod script;

use clap::Parser;
use fairway_waypoint::testing::MemoryProxy;
use script::Script;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Requests before those that count: pools are filled and buffers have grown by then.
const WARM_UP: u32 = 200;

#[derive(Parser)]
struct Arguments {
    /// What the client asks, and what the rule does with it.
    #[arg(value_enum)]
    script: Script,
    /// How many requests are counted; 200 are sent before them and are not.
    #[arg(long, default_value_t = 1000)]
    requests: u32,
}

fn main() -> anyhow::Result<()> {
    let Arguments { script, requests } = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let proxy = MemoryProxy::start(script.configuration(), |_, stream| {
            tokio::task::spawn_local(endpoint::serve(stream));
            Ok(())
        })
        .map_err(|rejected| anyhow::anyhow!("the configuration is refused: {rejected:?}"))?;
        let mut client = client::Client::connect(&proxy, script).await?;
        client.ask(WARM_UP).await?;
        let region = Region::new(ALLOCATOR);
        client.ask(requests).await?;
        let change = region.change();
        println!("{}", change.allocations + change.reallocations);
        Ok(())
    })
}
