//! `fairway demo`: the whole job on real traffic, on one machine.

mod bookshop;
mod capture;
mod cast;
mod chance;
pub mod client;
mod east_west;
pub mod errand;
mod live_change;
mod north_south;
pub mod programs;
pub mod report;
pub mod stage;

use anyhow::Context;
use errand::Errands;
use fairway_runtime::signals::Signals;
use fairway_testbed::{Entered, Sandbox};
use report::{Output, Report};
use stage::{Setting, Stage};
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
    let mut stage = Stage::set(sandbox, &Setting::of_this_program()?, &report)
        .await
        .context("the stage cannot be set")?;
    report.say(&format!("{} pods run, their proxies included.", stage.pods().count()));

    east_west::play(&stage, &mut report).await;
    capture::play(&stage, &mut report).await;
    north_south::play(&stage, &mut report).await;
    live_change::play(&stage, &mut report).await;

    report.scene("The programs");
    let casualty = stage.casualty();
    report.note(
        "all of them still run",
        casualty.is_none(),
        casualty.unwrap_or_else(|| "they do".to_owned()),
    );
    let good = report.finish();
    if arguments.keep {
        keep(&stage, &report).await?;
    }
    Ok(good)
}

async fn keep(stage: &Stage, report: &Report) -> anyhow::Result<()> {
    let errands = Errands::open(stage.folder())?;
    let reviews = stage.service("bookshop/reviews", 80)?;
    let folder = stage.folder().display();
    report.say(&format!(
        "\nIt goes on running until Ctrl-C. In another terminal:\n\n  \
         fairway exec bookshop/reader -- curl -s http://{reviews}/        # again and again: v1 and v2\n  \
         fairway exec storefront/web-1 -- curl -si http://{reviews}/      # the consumer route's header\n  \
         fairway exec legacy/till -- curl -s http://{}/     # outside the mesh\n  \
         $EDITOR {folder}/objects/bookshop/reviews.yaml     # takes effect when you save\n  \
         fairway check {folder}/objects                     # what a cluster would say of it\n  \
         tail -f {folder}/logs/ztunnel.log\n\nPods: {}",
        stage.pod_address("bookshop/catalog-1", 8080)?,
        stage.pods().collect::<Vec<_>>().join(" "),
    ));
    errands.serve(stage).await
}
