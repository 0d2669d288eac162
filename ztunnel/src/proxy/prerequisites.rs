//! What a connection waits for: the pod's place in the configuration, and the pod's certificate. A pod that has just started may
//! connect before either is there.

use super::Worker;
use super::worker::WorkerPod;
use crate::decide::Index;
use crate::local_pod::LocalPod;
use fairway_config::model::{Mesh, Workload};
use fairway_identity::TlsIdentity;
use std::sync::Arc;
use tokio::time::timeout;

/// No certificate was issued for the pod within [`identity_timeout`](crate::TunnelSettings::identity_timeout).
#[derive(Debug, thiserror::Error)]
#[error("no identity in time")]
pub(super) struct NoIdentity;

/// Waits until the configuration in force knows the pod. After [`identity_timeout`](crate::TunnelSettings::identity_timeout) returns the
/// current one, whether it does or not.
pub(super) async fn wait_for_index(worker: &Worker, pod: &LocalPod) -> Arc<Index> {
    let index = worker.state.load();
    if find_workload(&index, pod).is_some() {
        return index;
    }
    let known = async {
        let mut changes = worker.state.watch();
        loop {
            changes.borrow_and_update();
            let index = worker.state.load();
            if find_workload(&index, pod).is_some() || changes.changed().await.is_err() {
                return index;
            }
        }
    };
    // Boxed: waiting is rare, and the future of every connection would be larger by its state.
    Box::pin(timeout(worker.settings.identity_timeout, known)).await.unwrap_or_else(|_| worker.state.load())
}

/// The pod's workload. `None` if the configuration has another pod of that name, or is older than the pod's claim.
pub(super) fn find_workload<'a>(index: &'a Index, pod: &LocalPod) -> Option<&'a Workload> {
    let workload =
        index.workload(&pod.key).filter(|workload| workload.uid == pod.uid).map(|workload| &**workload);
    workload.filter(|workload| workload.mesh != Mesh::Outside || !pod.is_claimed())
}

/// The pod's current certificate. Waits for the first one.
pub(super) async fn wait_for_identity(
    worker: &Worker,
    local: &WorkerPod,
) -> Result<Arc<TlsIdentity>, NoIdentity> {
    if let Some(identity) = local.pod.current_identity() {
        return Ok(identity);
    }
    let ready = async { local.pod.identity().await.ready().await };
    Box::pin(timeout(worker.settings.identity_timeout, ready)).await.map_err(|_| NoIdentity)
}
