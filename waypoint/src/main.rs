//! The program `fairway-waypoint`: arguments, allocator and exit code. All else is in the library.
#![forbid(unsafe_code)]

use clap::Parser;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "fairway-waypoint", version)]
struct Program {
    #[command(flatten)]
    arguments: fairway_waypoint::program::Arguments,
}

fn main() -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(fairway_waypoint::program::run(Program::parse().arguments))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_well_formed() {
        Program::command().debug_assert();
    }
}
