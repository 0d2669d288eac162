//! `fairway demo`: the whole job on real traffic, on one machine.

mod binomial;
mod bookshop;
mod capture;
pub mod client;
mod east_west;
pub mod environment;
mod example;
pub mod exec;
mod live_change;
mod north_south;
pub mod programs;
pub mod report;

use anyhow::Context;
use environment::{Environment, EnvironmentOptions};
use exec::ExecServer;
use fairway_runtime::signals::Signals;
use fairway_testbed::{Entered, Sandbox};
use report::{Output, Report};
use std::process::ExitCode;

/// Shows the whole job on real traffic, on this machine
///
/// It makes pods out of network namespaces, with ordinary servers in them that open plain sockets, and shows capture, mTLS,
/// waypoints and a shared Gateway at work. It needs neither root nor Kubernetes, leaves nothing behind, and ends with 1 if
/// one expectation fails.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Leave it all running and say how to play with it; Ctrl-C ends it.
    #[arg(long)]
    keep: bool,
    /// For people, or for machines.
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
}

/// Runs the demo: the outer process waits, the inner one, in namespaces of its own, plays.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    match Sandbox::enter()? {
        Entered::Ended(ended) => Ok(ended.exit_code()),
        Entered::Inside(sandbox) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let good = runtime.block_on(async {
                tokio::select! {
                    played = play(&sandbox, arguments) => played,
                    // Inside, this is the first process: without a handler a signal does nothing to it.
                    interrupted = interrupted() => interrupted,
                }
            })?;
            Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

async fn interrupted() -> anyhow::Result<bool> {
    Signals::install()?.next().await;
    Ok(false)
}

async fn play(sandbox: &Sandbox, arguments: &Arguments) -> anyhow::Result<bool> {
    let mut report = Report::new(arguments.output);
    report.say(
        "Fairway demo: the bookshop. Pods are network namespaces; every program in them opens plain sockets.",
    );
    let mut environment = Environment::start(sandbox, &EnvironmentOptions::of_this_program()?, &report)
        .await
        .context("the environment cannot be set")?;
    report.say(&format!("{} pods run, their proxies included.", environment.pods().count()));

    east_west::play(&environment, &mut report).await;
    capture::play(&environment, &mut report).await;
    north_south::play(&environment, &mut report).await;
    live_change::play(&environment, &mut report).await;

    report.scene("The programs");
    let ended_program = environment.ended_program();
    report.note(
        "all of them still run",
        ended_program.is_none(),
        ended_program.unwrap_or_else(|| "they do".to_owned()),
    );
    let good = report.finish();
    if arguments.keep {
        keep(&environment, &report).await?;
    }
    Ok(good)
}

async fn keep(environment: &Environment, report: &Report) -> anyhow::Result<()> {
    let exec_server = ExecServer::open(environment.folder())?;
    let reviews = environment.service("bookshop/reviews", 80)?;
    let folder = environment.folder().display();
    report.say(&format!(
        "\nIt goes on running until Ctrl-C. In another terminal:\n\n  \
         fairway exec bookshop/reader -- curl -s http://{reviews}/        # again and again: v1 and v2\n  \
         fairway exec storefront/web-1 -- curl -si http://{reviews}/      # the consumer route's header\n  \
         fairway exec legacy/till -- curl -s http://{}/     # outside the mesh\n  \
         $EDITOR {folder}/objects/bookshop/reviews.yaml     # takes effect when you save\n  \
         fairway check {folder}/objects                     # what a cluster would say of it\n  \
         tail -f {folder}/logs/ztunnel.log\n\nPods: {}",
        environment.pod_address("bookshop/catalog-1", 8080)?,
        environment.pods().collect::<Vec<_>>().join(" "),
    ));
    exec_server.serve(environment).await
}
