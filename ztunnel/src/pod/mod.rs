//! The pods of this node: who registers, is captured while the configuration says so, and let go when it does not.

mod keeper;
mod local;
mod registry;
mod step;

pub(crate) use keeper::Surroundings;
pub(crate) use local::LocalPod;
pub(crate) use registry::Registry;

use fairway_config::model::WorkloadKey;
use fairway_netns::NetnsError;
use fairway_netns::capture::CaptureError;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::oneshot;

/// What whoever starts pods (a CNI plugin, the demo) tells the tunnel.
#[derive(Debug)]
pub enum PodEvent {
    /// A pod has a network namespace, and none of its programs runs yet.
    Added {
        /// The pod's uid.
        uid: Arc<str>,
        /// Its namespace and name.
        key: WorkloadKey,
        /// A path to its network namespace.
        netns: PathBuf,
        /// Answered when the pod may start: captured, or known not to be in the mesh. An error means that it must not.
        done: oneshot::Sender<Result<PodState, PodError>>,
    },
    /// The pod is gone.
    Removed {
        /// The pod's uid.
        uid: Arc<str>,
    },
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
    /// It was removed, or the tunnel is ending.
    #[error("the pod was removed, or the tunnel is ending")]
    Gone,
}
