//! What the mesh promises while its parts end, crash, renew and move: on the demo's environment, each program a process of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // all of it is tests

mod certificates;
mod controller;
mod ends;
mod fairness;
mod load;
mod pods;
mod waypoint;

use fairway_cli::demo::environment::{Environment, EnvironmentOptions};
use fairway_cli::demo::report::{Output, Report};
use fairway_testbed::Sandbox;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Nothing takes so long even on a busy machine; who waits longer has found a mistake.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The bookshop, with certificates of this lifetime.
async fn environment(sandbox: &Sandbox, certificate_lifetime: &'static str) -> Environment {
    let options = EnvironmentOptions { program: env!("CARGO_BIN_EXE_fairway").into(), certificate_lifetime };
    Environment::start(sandbox, &options, &Report::new(Output::Json)).await.unwrap()
}

/// Waits until this holds.
async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !holds().await {
        assert!(Instant::now() < deadline, "waited {TIMEOUT:?} for {what}");
        sleep(Duration::from_millis(50)).await;
    }
}
