//! `fairway-echo`: the server as a program.
#![forbid(unsafe_code)]

use clap::Parser;
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "fairway-echo", version)]
struct Program {
    #[command(flatten)]
    arguments: fairway_echo::program::Arguments,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<ExitCode> {
    fairway_echo::program::run(Program::parse().arguments).await
}
