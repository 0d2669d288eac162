//! What a connection has to wait for: a pod that has just started may speak before the configuration knows it.

use super::Worker;
use super::worker::Here;
use crate::decide::Index;
use crate::pod::LocalPod;
use fairway_config::model::{Mesh, Workload};
use fairway_identity::TlsIdentity;
use std::sync::Arc;
use tokio::time::timeout;

/// The pod had no identity in time.
#[derive(Debug, thiserror::Error)]
#[error("no identity in time")]
pub(super) struct NoIdentity;

/// The configuration in force, as soon as it knows the pod; in the end the one that is, whatever it knows.
pub(super) async fn index_with(worker: &Worker, pod: &LocalPod) -> Arc<Index> {
    let index = worker.state.load();
    if workload(&index, pod).is_some() {
        return index;
    }
    let known = async {
        let mut changes = worker.state.watch();
        loop {
            changes.borrow_and_update();
            let index = worker.state.load();
            if workload(&index, pod).is_some() || changes.changed().await.is_err() {
                return index;
            }
        }
    };
    // Rare and short; a connection should not carry its state for the rest of its life.
    Box::pin(timeout(worker.settings.identity_wait, known)).await.unwrap_or_else(|_| worker.state.load())
}

/// What the configuration says of the pod. Not of one that had its name before.
pub(super) fn workload<'a>(index: &'a Index, pod: &LocalPod) -> Option<&'a Workload> {
    let known = index.workload(&pod.key).filter(|it| it.uid == pod.uid).map(|it| &**it);
    // An old configuration, if whoever registered the pod has seen that it is in the mesh.
    known.filter(|it| it.mesh != Mesh::Outside || !pod.is_claimed())
}

/// The pod's identity; waits for its first one.
pub(super) async fn identity(worker: &Worker, here: &Here) -> Result<Arc<TlsIdentity>, NoIdentity> {
    if let Some(identity) = here.pod.current_identity() {
        return Ok(identity);
    }
    let ready = async { here.pod.identity().await.ready().await };
    Box::pin(timeout(worker.settings.identity_wait, ready)).await.map_err(|_| NoIdentity)
}
