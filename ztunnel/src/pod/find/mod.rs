//! Discovery of pods that nobody registers: pods that were running before their namespace was labelled, and all pods after a
//! restart of the tunnel without a handoff.
//!
//! The configuration names the pods of the node that have to be captured, by uid. The node's processes lead to their network
//! namespaces ([`processes`]). A pod that neither the configuration nor a process mentions for a while is forgotten.

mod cgroup;
mod processes;
mod static_pod;

use super::{Candidate, Claim, Netns, PodEvent};
use crate::TunnelSettings;
use crate::ownership::Ownership;
use crate::state::State;
use crate::view::PodTable;
use fairway_config::model::{Mesh, Workload, WorkloadKey};
use fairway_netns::Namespace;
use fairway_netns::capture::{self, Capture, Fence};
use processes::Found;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep};

/// Pause before the next search for a pod that has no process yet.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Interval between searches for pods that are gone.
const SWEEP_INTERVAL: Duration = Duration::from_secs(30);
/// A pod is forgotten after it has been gone for this time.
const FORGET_AFTER: Duration = Duration::from_secs(60);

/// Finds unregistered pods among the processes of the node.
pub(crate) struct Finder {
    pub(crate) settings: Arc<TunnelSettings>,
    pub(crate) state: State,
    pub(crate) pods: mpsc::Sender<PodEvent>,
    pub(crate) table: PodTable,
    pub(crate) ownership: Ownership,
    pub(crate) proc: PathBuf,
    pub(crate) leftovers: Leftovers,
}

/// What is done with capture rules in pods outside the mesh when the process starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leftovers {
    /// Remove them: an earlier tunnel process was killed.
    Remove,
    /// Leave them: the process that has handed off its pods still releases those that it has kept.
    LeaveToPredecessor,
}

/// A pod of this node in the configuration.
#[derive(Clone, Debug)]
struct LocalPod {
    uid: Arc<str>,
    key: WorkloadKey,
    /// Under which other uid it may be found.
    node_uid: Option<Arc<str>>,
    addresses: Vec<IpAddr>,
}

// === impl Finder ===

impl Finder {
    /// Runs while this process owns the node's pods. Sends `true` to `first` when the pods that were there at the start are
    /// captured or have failed.
    pub(crate) async fn run(self, first: watch::Sender<bool>) {
        let mut changes = self.state.watch();
        let mut gone: HashMap<Arc<str>, Instant> = HashMap::new();
        let mut sweep = Instant::now() + SWEEP_INTERVAL;
        let mut cleaned = self.leftovers == Leftovers::LeaveToPredecessor;
        loop {
            self.ownership.wait_until_owner().await;
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
                    sweep = Instant::now() + SWEEP_INTERVAL;
                }
            }
            if self.state.load().generation().0 > 0 {
                first.send_replace(true);
            }
            let pause = if self.missing().is_empty() { SWEEP_INTERVAL } else { RETRY_INTERVAL };
            tokio::select! {
                changed = changes.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    // Pods often start together, and a search reads every process of the node.
                    sleep(RETRY_INTERVAL / 10).await;
                }
                () = sleep(pause) => {}
            }
        }
    }

    /// Pods that have to be captured and are not registered.
    fn missing(&self) -> Vec<LocalPod> {
        let registered = self.table.uids();
        self.local_pods(|mesh| mesh != Mesh::Outside).filter(|it| !registered.contains(&it.uid)).collect()
    }

    /// Pods outside the mesh that nobody has registered. A registered one is its reconciler's to release.
    fn outside(&self) -> Vec<LocalPod> {
        let registered = self.table.uids();
        self.local_pods(|mesh| mesh == Mesh::Outside).filter(|it| !registered.contains(&it.uid)).collect()
    }

    fn local_pods(&self, wanted: impl Fn(Mesh) -> bool) -> impl Iterator<Item = LocalPod> {
        let index = self.state.load();
        let workloads = index.snapshot().workloads.values();
        let ours = workloads.filter(|it| it.node == self.settings.node && wanted(it.mesh));
        let pod = |it: &Arc<Workload>| LocalPod {
            uid: it.uid.clone(),
            key: it.key.clone(),
            node_uid: it.node_uid.clone(),
            addresses: it.addresses.clone(),
        };
        ours.map(pod).collect::<Vec<_>>().into_iter()
    }

    async fn search<'a>(&self, pods: impl Iterator<Item = &'a LocalPod>) -> Found {
        let uids = |it: &'a LocalPod| it.node_uid.iter().chain([&it.uid]).cloned();
        let (proc, wanted) = (self.proc.clone(), pods.flat_map(uids).collect::<HashSet<_>>());
        let search = move || processes::search(&proc, &wanted);
        tokio::task::spawn_blocking(search).await.unwrap_or_default()
    }

    async fn register(&self, missing: &[LocalPod], found: &Found) {
        let mut outcomes = Vec::new();
        for pod in missing {
            let Some(namespace) = static_pod::namespace(pod, found).await else { continue };
            let LocalPod { uid, key, .. } = pod;
            let (done, outcome) = oneshot::channel();
            let pod = Candidate {
                uid: uid.clone(),
                key: key.clone(),
                netns: Netns::Open(namespace.clone()),
                addresses: Vec::new(),
                claim: Claim::Unknown,
            };
            tracing::info!(pod = %key, "found a running pod that has to be captured");
            if self.pods.send(PodEvent::Added { pod, done }).await.is_ok() {
                outcomes.push(outcome);
            }
        }
        for outcome in outcomes {
            // The pod's reconciler logs the outcome.
            let _ = outcome.await;
        }
    }

    /// Removes rules that a tunnel process which was killed has left in pods outside the mesh.
    async fn clean(&self, outside: &[LocalPod], found: &Found) {
        for pod in outside {
            let namespace = static_pod::namespace(pod, found).await;
            let namespace = namespace.filter(|it| !self.settings.is_node_namespace(it));
            let key = &pod.key;
            if let Some(namespace) = namespace
                && let Err(error) = self.clean_one(namespace, key).await
            {
                tracing::warn!(pod = %key, %error, "capture rules from an earlier tunnel process cannot be removed; restart the pod");
            }
        }
    }

    async fn clean_one(&self, namespace: &Namespace, key: &WorkloadKey) -> Result<(), super::PodError> {
        let rules = self.settings.capture_rules();
        let left = namespace.run_long(move || capture::inspect(&rules, &Fence::Down)).await??;
        if left != Capture::Missing {
            namespace.run_long(move || capture::remove(&rules)).await??;
            tracing::info!(pod = %key, "pod released: it left the mesh while no tunnel was running");
        }
        Ok(())
    }

    /// Forgets pods that have had no process, and no place in the configuration, for [`FORGET_AFTER`].
    async fn forget(&self, gone: &mut HashMap<Arc<str>, Instant>, found: &Found) {
        let known: HashSet<Arc<str>> = self.local_pods(|_| true).map(|it| it.uid).collect();
        let absent: HashSet<Arc<str>> = self
            .table
            .uids()
            .into_iter()
            .filter(|uid| !known.contains(uid) && !found.alive.contains(uid))
            .collect();
        gone.retain(|uid, _| absent.contains(uid));
        for uid in absent {
            let since = *gone.entry(uid.clone()).or_insert_with(Instant::now);
            if since.elapsed() >= FORGET_AFTER {
                tracing::info!(uid = &*uid, "pod is gone, and no removal was announced");
                gone.remove(&uid);
                let _ = self.pods.send(PodEvent::Removed { uid }).await;
            }
        }
    }
}
