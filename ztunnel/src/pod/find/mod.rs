//! Pods that nobody registered: those that ran before their namespace was labelled, and after a restart of the tunnel all.
//!
//! The configuration says which pods of the node are to be captured, by uid; the node's processes say where their network
//! namespaces are ([`processes`]). A pod that is in neither any more is forgotten, in case nobody says that it has gone.

mod cgroup;
mod processes;

use super::{Candidate, Claim, Netns, PodEvent};
use crate::Settings;
use crate::state::State;
use crate::succession::Duty;
use crate::view::PodTable;
use fairway_config::model::{Mesh, WorkloadKey};
use fairway_netns::Namespace;
use fairway_netns::capture::{self, Capture, Fence};
use processes::Found;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep};

/// How soon a pod is looked for again that is not there yet.
const AGAIN: Duration = Duration::from_secs(1);
/// How often pods that are gone are looked for.
const SWEEP: Duration = Duration::from_secs(30);
/// How long a pod must be gone before it is forgotten.
const GONE: Duration = Duration::from_secs(60);

/// Looks for pods.
pub(crate) struct Finder {
    pub(crate) settings: Arc<Settings>,
    pub(crate) state: State,
    pub(crate) pods: mpsc::Sender<PodEvent>,
    pub(crate) table: PodTable,
    pub(crate) duty: Duty,
    pub(crate) proc: PathBuf,
}

/// A pod of this node, as the configuration has it.
type Local = (Arc<str>, WorkloadKey);

// === impl Finder ===

impl Finder {
    /// Runs for ever, while this tunnel is on duty. `first` is told when the pods that were there at the start are dealt
    /// with.
    pub(crate) async fn run(self, first: watch::Sender<bool>) {
        let mut changes = self.state.watch();
        let mut gone: HashMap<Arc<str>, Instant> = HashMap::new();
        let mut sweep = Instant::now() + SWEEP;
        let mut cleaned = false;
        loop {
            self.duty.ours().await;
            changes.borrow_and_update();
            let missing = self.missing();
            let due = sweep <= Instant::now();
            let outside =
                if cleaned || self.state.load().generation().0 == 0 { Vec::new() } else { self.outside() };
            if due || !missing.is_empty() || !outside.is_empty() {
                let found = self.search(missing.iter().chain(&outside)).await;
                self.register(&missing, &found).await;
                cleaned |= !outside.is_empty();
                self.clean(&outside, &found).await;
                if due {
                    self.forget(&mut gone, &found).await;
                    sweep = Instant::now() + SWEEP;
                }
            }
            if self.state.load().generation().0 > 0 {
                first.send_replace(true);
            }
            let pause = if self.missing().is_empty() { SWEEP } else { AGAIN };
            tokio::select! {
                changed = changes.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    // Pods come in crowds, and processes are many.
                    sleep(AGAIN / 10).await;
                }
                () = sleep(pause) => {}
            }
        }
    }

    /// Those that should be captured and are not registered.
    fn missing(&self) -> Vec<Local> {
        let registered = self.table.uids();
        self.locals(|mesh| mesh != Mesh::Outside).filter(|(uid, _)| !registered.contains(uid)).collect()
    }

    fn outside(&self) -> Vec<Local> {
        self.locals(|mesh| mesh == Mesh::Outside).collect()
    }

    fn locals(&self, wanted: impl Fn(Mesh) -> bool) -> impl Iterator<Item = Local> {
        let index = self.state.load();
        let workloads = index.snapshot().workloads.values();
        let ours = workloads.filter(|it| it.node == self.settings.node && wanted(it.mesh));
        ours.map(|it| (it.uid.clone(), it.key.clone())).collect::<Vec<_>>().into_iter()
    }

    async fn search<'a>(&self, pods: impl Iterator<Item = &'a Local>) -> Found {
        let (proc, wanted) = (self.proc.clone(), pods.map(|(uid, _)| uid.clone()).collect::<HashSet<_>>());
        let search = move || processes::search(&proc, &wanted);
        tokio::task::spawn_blocking(search).await.unwrap_or_default()
    }

    async fn register(&self, missing: &[Local], found: &Found) {
        let mut outcomes = Vec::new();
        for (uid, key) in missing {
            let Some(namespace) = found.namespaces.get(uid) else { continue };
            let (done, outcome) = oneshot::channel();
            let pod = Candidate {
                uid: uid.clone(),
                key: key.clone(),
                netns: Netns::Open(namespace.clone()),
                addresses: Vec::new(),
                claim: Claim::Unknown,
            };
            tracing::info!(pod = %key, "found running");
            if self.pods.send(PodEvent::Added { pod, done }).await.is_ok() {
                outcomes.push(outcome);
            }
        }
        for outcome in outcomes {
            // Its task says how it went.
            let _ = outcome.await;
        }
    }

    /// Takes away what a tunnel that ended in the middle of something has left in pods that are not in the mesh.
    async fn clean(&self, outside: &[Local], found: &Found) {
        for (uid, key) in outside {
            let namespace = found.namespaces.get(uid).filter(|it| !self.settings.is_the_nodes(it));
            if let Some(namespace) = namespace
                && let Err(error) = self.clean_one(namespace, key).await
            {
                tracing::warn!(pod = %key, %error, "what is left of its capture cannot be taken away");
            }
        }
    }

    async fn clean_one(&self, namespace: &Namespace, key: &WorkloadKey) -> Result<(), super::PodError> {
        let rules = self.settings.rules();
        let left = namespace.run(move || capture::inspect(&rules, &Fence::Down)).await??;
        if left != Capture::Missing {
            namespace.run(move || capture::remove(&rules)).await??;
            tracing::info!(pod = %key, "released: it left the mesh while no tunnel ran here");
        }
        Ok(())
    }

    /// Forgets pods that the configuration does not know and that have no process, and have had none for a while.
    async fn forget(&self, gone: &mut HashMap<Arc<str>, Instant>, found: &Found) {
        let known: HashSet<Arc<str>> = self.locals(|_| true).map(|(uid, _)| uid).collect();
        let absent: HashSet<Arc<str>> = self
            .table
            .uids()
            .into_iter()
            .filter(|uid| !known.contains(uid) && !found.alive.contains(uid))
            .collect();
        gone.retain(|uid, _| absent.contains(uid));
        for uid in absent {
            let since = *gone.entry(uid.clone()).or_insert_with(Instant::now);
            if since.elapsed() >= GONE {
                tracing::info!(uid = &*uid, "a pod is gone, and nobody said so");
                gone.remove(&uid);
                let _ = self.pods.send(PodEvent::Removed { uid }).await;
            }
        }
    }
}
