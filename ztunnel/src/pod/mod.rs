//! The pods of this node. A registered pod is captured while the configuration says that it is in the mesh, and released when
//! it no longer does.

mod candidate;
pub(crate) mod find;
mod managed;
mod reconciler;
mod registry;
mod step;

pub use crate::local_pod::Claim;
pub use candidate::{Candidate, Netns};
pub use find::Leftovers;
pub(crate) use reconciler::ReconcilerContext;
pub(crate) use registry::Registry;

use crate::pod_status::PodState;
use crate::proxy::Listeners;
use fairway_config::model::WorkloadKey;
use fairway_netns::capture::CaptureError;
use fairway_netns::{NamespaceId, NetnsError};
use std::sync::Arc;
use tokio::sync::oneshot;

/// An event in the life of a pod, sent by whoever starts pods (the CNI plugin, `fairway run`).
#[derive(Debug)]
pub enum PodEvent {
    /// A pod has a network namespace. None of its containers runs yet.
    Added {
        /// The pod, its network namespace and its claim.
        pod: Candidate,
        /// Answered when the pod may start: it is captured, or known to be outside the mesh. On an error it must not start.
        done: oneshot::Sender<Result<PodState, PodError>>,
    },
    /// The previous tunnel process hands off a pod that it has captured.
    Inherited {
        /// The pod as the previous process knew it.
        pod: Candidate,
        /// The pod's listening sockets. Connections may be waiting in their accept queues.
        sockets: Listeners,
        /// Answered when this process serves the pod.
        done: oneshot::Sender<Result<PodState, PodError>>,
    },
    /// The pod is gone.
    Removed {
        /// `metadata.uid` of the Pod.
        uid: Arc<str>,
    },
    /// The next tunnel process asks for the captured pods. Nothing changes yet.
    PrepareHandoff(oneshot::Sender<Vec<PodHandoff>>),
    /// The next tunnel process serves the pods: this one accepts nothing new, and open connections go on.
    CompleteHandoff,
    /// The mesh leaves this node. Answered when the rules of every pod are removed.
    Release(oneshot::Sender<()>),
}

/// A captured pod on its way to the next tunnel process.
#[derive(Debug)]
pub struct PodHandoff {
    /// The pod, with an open handle of its network namespace.
    pub pod: Candidate,
    /// Duplicates of the pod's listening sockets.
    pub sockets: Listeners,
}

/// Why a pod is not captured.
#[derive(Debug, thiserror::Error)]
pub enum PodError {
    /// The network namespace cannot be entered, or a socket cannot be opened in it.
    #[error(transparent)]
    Namespace(#[from] NetnsError),
    /// The rules cannot be written, for example because the kernel has no nftables.
    #[error("the capture rules cannot be loaded: {0}")]
    Capture(#[from] CaptureError),
    /// The configuration has not named the pod within [`registration_timeout`](crate::TunnelSettings::registration_timeout).
    #[error("the configuration has no pod {key} with uid {uid} on this node")]
    Unknown {
        /// `<namespace>/<name>` of the Pod.
        key: WorkloadKey,
        /// `metadata.uid` of the Pod.
        uid: Arc<str>,
    },
    /// The listening sockets cannot be duplicated.
    #[error("the pod's sockets cannot be duplicated: {0}")]
    Sockets(#[source] std::io::Error),
    /// A pod with `hostNetwork` has no namespace of its own, and capturing the node would cut it off.
    #[error("{0} is the node's own network namespace, which is never captured")]
    NodeNamespace(NamespaceId),
    /// The pod was removed while its registration waited, or the tunnel is ending.
    #[error("the pod was removed, or the tunnel is ending")]
    Gone,
}
