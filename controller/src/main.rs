//! The program `fairway-controller`: arguments and exit code. All else is in the library.
#![forbid(unsafe_code)]

use clap::Parser;
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "fairway-controller", version)]
struct Program {
    #[command(flatten)]
    arguments: fairway_controller::program::Arguments,
}

fn main() -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(fairway_controller::program::run(Program::parse().arguments))
}
