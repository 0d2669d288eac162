//! Reads a cluster and checks it; says how far it is if that takes long.

use fairway_controller::check::cluster::{Access, ClusterReport, NoCluster, check_snapshot, read};
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::watch;

/// How long nothing is said of how far it is.
const QUIET: Duration = Duration::from_secs(2);

/// Reads a cluster and checks it.
pub(super) async fn check_cluster(
    kubeconfig: Option<PathBuf>,
    context: Option<String>,
) -> anyhow::Result<ClusterReport> {
    let (step, steps) = watch::channel("");
    let mut reading = pin!(read(Access { kubeconfig, context }, &step));
    let snapshot = tokio::select! {
        snapshot = &mut reading => snapshot,
        () = say(steps) => reading.await,
    };
    Ok(check_snapshot(&snapshot.map_err(with_remedy)?))
}

fn with_remedy(error: NoCluster) -> anyhow::Error {
    let remedy = match error {
        NoCluster::Unknown(_) => "give --kubeconfig, or the directory of your YAML",
        NoCluster::Unreachable { .. } => "see whether `kubectl version` works",
    };
    anyhow::anyhow!("no cluster could be checked: {error}; {remedy}")
}

/// On a terminal; it ends with the reading.
async fn say(mut steps: watch::Receiver<&'static str>) {
    if !std::io::stderr().is_terminal() {
        return;
    }
    tokio::time::sleep(QUIET).await;
    loop {
        eprintln!("looking at {} …", *steps.borrow_and_update());
        if steps.changed().await.is_err() {
            return;
        }
    }
}
