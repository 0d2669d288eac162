//! `fairway`: shows it, runs it, checks it, explains it.
#![forbid(unsafe_code)]

use clap::{Parser, Subcommand};
use fairway_cli::{check, demo, explain, run};
use std::future::Future;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Fairway: a service mesh and gateway that is configured by the Gateway API alone.
#[derive(Parser, Debug)]
#[command(name = "fairway", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Demo(demo::Arguments),
    Exec(demo::exec::Arguments),
    Run(run::Arguments),
    Check(check::Arguments),
    Explain(explain::Arguments),
    /// The controller as a program of its own.
    #[command(hide = true)]
    Controller(fairway_controller::program::Arguments),
    /// The proxy of one Gateway or waypoint as a program of its own.
    #[command(hide = true)]
    Waypoint(fairway_waypoint::program::Arguments),
    /// The node tunnel as a program of its own.
    #[command(hide = true)]
    Ztunnel(fairway_ztunnel::program::Arguments),
    /// Runs an echo server to try routes with: it names itself and the request it saw
    Echo(fairway_echo::program::Arguments),
}

fn main() -> ExitCode {
    match start(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("fairway: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        // Enters namespaces, and has to do so before there is a runtime.
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Exec(arguments) => on_runtime(demo::exec::run(arguments)),
        Command::Run(arguments) => on_runtime(run::run(arguments)),
        Command::Check(arguments) => on_runtime(check::run(arguments)),
        Command::Explain(arguments) => on_runtime(explain::run(arguments)),
        Command::Controller(arguments) => on_runtime(fairway_controller::program::run(arguments)),
        Command::Waypoint(arguments) => on_runtime(fairway_waypoint::program::run(arguments)),
        Command::Ztunnel(arguments) => on_runtime(fairway_ztunnel::program::run(arguments)),
        Command::Echo(arguments) => on_runtime(fairway_echo::program::run(arguments)),
    }
}

/// The control thread's runtime; proxies start their workers beside it.
fn on_runtime(main: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(main)
}
