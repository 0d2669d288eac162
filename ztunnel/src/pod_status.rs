//! How far the capture of a pod is, as the admin port, the registration socket and the reports to the controller have it.

use fairway_netns::NamespaceId;
use fairway_netns::capture::Fence;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The state of a pod's capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PodState {
    /// The configuration does not know the pod yet.
    Waiting,
    /// The pod's TCP connections go through the tunnel.
    Captured,
    /// The pod leaves the mesh. Its open connections may still end.
    Releasing,
    /// The pod is outside the mesh; its network namespace has no rules of ours.
    Outside,
    /// The last attempt to capture the pod has failed. It is tried again.
    Failed,
}

/// The fence of a captured pod: what may bypass the tunnel. A new connection never may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FenceStatus {
    /// Only connections that are older than the capture, until they end.
    Up {
        /// The number of such connections that are still open.
        older_connections: u32,
    },
    /// Any connection that was open before the capture, and packets of connections that the kernel has forgotten.
    Down,
}

/// The status of a registered pod, as `/pods` on the admin port shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodStatus {
    /// `metadata.uid` of the Pod.
    pub uid: Arc<str>,
    /// `<namespace>/<name>` of the Pod.
    pub pod: Arc<str>,
    /// The state of the capture.
    pub state: PodState,
    /// The last error, while the state is [`PodState::Failed`].
    pub reason: Option<String>,
    /// How often rules that another program had changed were repaired.
    pub repairs: u64,
    /// Open connections and tunnels of the pod.
    pub connections: usize,
    /// What may bypass the tunnel. `None` while the pod is not captured.
    pub fence: Option<FenceStatus>,
    #[serde(skip)]
    pub(crate) namespace: Option<NamespaceId>,
}

impl From<&Fence> for FenceStatus {
    fn from(fence: &Fence) -> Self {
        let older = fence.older().map_or(0, |it| it.len());
        match fence {
            Fence::Down => Self::Down,
            Fence::Up | Fence::UpExcept(_) => {
                Self::Up { older_connections: u32::try_from(older).unwrap_or(u32::MAX) }
            }
        }
    }
}
