//! The program `fairway-ztunnel`: arguments, allocator and exit code. All else is in the library.
#![forbid(unsafe_code)]

use clap::Parser;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "fairway-ztunnel", version)]
struct Program {
    #[command(flatten)]
    arguments: fairway_ztunnel::program::Arguments,
}

fn main() -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(fairway_ztunnel::program::run(Program::parse().arguments))
}
