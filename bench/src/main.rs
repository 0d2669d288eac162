//! `fairway-bench`: every published figure, measured on this machine, side by side with peers in one run.
//!
//! # Purpose
//!
//! Machines are noisy and differ. So contenders take turns in one run, and what counts is the CPU time a request costs and the ratio
//! between contenders; requests per second are given beside it. `gateway`, `tunnel` and `fairness` measure time. `guard` measures what
//! does not depend on the machine: allocations and instructions of a request.
//!
//! # Guarantees
//!
//! - **Turns.** Each round measures every contender once. What is printed are medians over the rounds; a first round, in which pools and
//!   caches fill, does not count.
//! - **The same job.** The contenders of `gateway` get the same load from the same clients and have the same backend. One of them does
//!   nothing but pass requests on (`bare`): no proxy can be cheaper.
//! - **Committed numbers.** `guard` ends with 1 if allocations differ from `bench/guard.json` at all, or instructions by more than 1 %. Only
//!   `--update` writes that file.
//!
//! # Example
//!
//! ```text
//! make bench ARGS="gateway"   # builds release programs, then measures
//! make guard                  # compares; ARGS=--update writes the numbers
//! ```
#![forbid(unsafe_code)]

mod backend;
mod bare;
mod cluster;
mod contender;
mod envoy;
mod fairness;
mod gateway;
mod guard;
mod load;
mod process;
mod report;
mod tunnel;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "fairway-bench", about, long_about = None)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The gateway alone: plain HTTP/1.1 keep-alive through one pinned processor, beside a bare hyper proxy and Envoy.
    Gateway(gateway::Settings),
    /// Allocations and instructions of a request, compared with committed numbers.
    Guard(guard::Settings),
    /// TCP between two pods: plain, and through two ztunnels.
    Tunnel(tunnel::Settings),
    /// Readers that stop and other tenants: what they do to the throughput and the latency of everybody else.
    Fairness(fairness::Settings),
    /// A bare hyper proxy: one server, one pooled client connection, nothing else (the floor to compare with).
    #[command(hide = true)]
    Bare(bare::Settings),
    /// The backend that answers every request with a few bytes.
    #[command(hide = true)]
    Backend(backend::Settings),
}

fn main() -> anyhow::Result<ExitCode> {
    let command = Arguments::parse().command;
    match &command {
        Command::Guard(settings) => return guard::run(settings),
        // These enter namespaces, and have to do so before there is a runtime.
        Command::Tunnel(settings) => return tunnel::run(settings),
        Command::Fairness(settings) => return fairness::run(settings),
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        match command {
            Command::Gateway(settings) => gateway::run(settings).await,
            Command::Bare(settings) => bare::run(settings).await,
            Command::Backend(settings) => backend::run(settings).await,
            Command::Tunnel(_) | Command::Fairness(_) | Command::Guard(_) => Ok(()),
        }
    })?;
    Ok(ExitCode::SUCCESS)
}
