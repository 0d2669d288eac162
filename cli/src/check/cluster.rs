//! Looks at a cluster, and says what it looks at if that takes long.

use fairway_controller::check::cluster::{Access, ClusterReport, NoCluster, judge, read};
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::watch;

/// How long nothing is said of how far it is.
const QUIET: Duration = Duration::from_secs(2);

/// Looks at it and judges it.
pub(super) async fn look(
    kubeconfig: Option<PathBuf>,
    context: Option<String>,
) -> anyhow::Result<ClusterReport> {
    let (step, steps) = watch::channel("");
    let mut reading = pin!(read(Access { kubeconfig, context }, &step));
    let picture = tokio::select! {
        picture = &mut reading => picture,
        () = say(steps) => reading.await,
    };
    Ok(judge(&picture.map_err(with_remedy)?))
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
