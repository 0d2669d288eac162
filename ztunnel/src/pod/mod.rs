//! The pods of this node: who registers, is captured while the configuration says so, and let go when it does not.

mod candidate;
mod custody;
pub(crate) mod find;
mod keeper;
mod local;
mod registry;
mod step;

pub use candidate::{Candidate, Claim, Netns};
pub(crate) use keeper::Surroundings;
pub(crate) use local::LocalPod;
pub(crate) use registry::Registry;

use crate::proxy::Listeners;
use fairway_config::model::WorkloadKey;
use fairway_netns::capture::{CaptureError, Fence};
use fairway_netns::{NamespaceId, NetnsError};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::sync::oneshot;

/// What whoever starts pods (a CNI plugin, the demo) tells the tunnel.
#[derive(Debug)]
pub enum PodEvent {
    /// A pod has a network namespace, and none of its programs runs yet.
    Added {
        /// What is known of it.
        pod: Candidate,
        /// Answered when the pod may start: captured, or known not to be in the mesh. An error means that it must not.
        done: oneshot::Sender<Result<PodState, PodError>>,
    },
    /// The version of the tunnel before this one had captured a pod, and hands it over with its sockets.
    Inherited {
        /// What is known of it.
        pod: Candidate,
        /// Its sockets, on which connections may be waiting.
        sockets: Listeners,
        /// Answered when it is served.
        done: oneshot::Sender<Result<PodState, PodError>>,
    },
    /// The pod is gone.
    Removed {
        /// The pod's uid.
        uid: Arc<str>,
    },
    /// The next version asks what it is to inherit. Nothing changes yet.
    Show(oneshot::Sender<Vec<Legacy>>),
    /// The next version serves what it was shown: no new connection is taken, those that are open go on.
    HandOver,
    /// The mesh leaves this node: rules are taken away. Answered when they are.
    Release(oneshot::Sender<()>),
}

/// A captured pod that the next version of the tunnel is to have.
#[derive(Debug)]
pub struct Legacy {
    /// What is known of it.
    pub pod: Candidate,
    /// Its sockets.
    pub sockets: Listeners,
}

/// How far the capture of a pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PodState {
    /// The configuration does not say yet what it is.
    Waiting,
    /// Its TCP goes through the tunnel.
    Captured,
    /// It was taken out of the mesh; connections that were open may still end.
    Releasing,
    /// It is not in the mesh.
    Outside,
    /// It should be captured, and is not; it is tried again.
    Failed,
}

/// What may go around the tunnel of a captured pod. No new connection may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FenceStatus {
    /// Nothing but so many connections from before its capture, until they end.
    Up {
        /// How many there are.
        older_connections: u32,
    },
    /// Whatever is open.
    Down,
}

/// A registered pod, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodStatus {
    /// The pod's uid.
    pub uid: Arc<str>,
    /// `<namespace>/<pod>`
    pub pod: Arc<str>,
    /// How far its capture is.
    pub state: PodState,
    /// Why not further.
    pub reason: Option<String>,
    /// How often rules that somebody had changed were put back.
    pub repairs: u64,
    /// Connections and tunnels open now.
    pub connections: usize,
    /// Whether what does not go through the tunnel is refused; none while the pod is not captured.
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

/// Why a pod is not captured.
#[derive(Debug, thiserror::Error)]
pub enum PodError {
    /// Its namespace cannot be entered, or a socket not be opened in it.
    #[error(transparent)]
    Namespace(#[from] NetnsError),
    /// The rules cannot be put in place.
    #[error("capture rules: {0}")]
    Capture(#[from] CaptureError),
    /// The configuration says nothing of it.
    #[error("the configuration holds no pod {key} with uid {uid} on this node")]
    Unknown {
        /// Its namespace and name.
        key: WorkloadKey,
        /// Its uid.
        uid: Arc<str>,
    },
    /// Its sockets cannot be shared.
    #[error("its sockets: {0}")]
    Sockets(#[source] std::io::Error),
    /// A pod with `hostNetwork` has no namespace of its own, and capturing the node would cut it off.
    #[error("{0} is the node's own network namespace, which is never captured")]
    NodeNamespace(NamespaceId),
    /// It was removed, or the tunnel is ending.
    #[error("the pod was removed, or the tunnel is ending")]
    Gone,
}
