//! What is known of a pod before the configuration knows it.

use serde::{Deserialize, Serialize};

/// What the caller of a registration knows about the pod's membership in the mesh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Claim {
    /// Nothing. The registration waits until the configuration knows the pod.
    #[default]
    Unknown,
    /// The API server says that the pod is in the mesh. The pod is captured at once, even if the configuration, which may
    /// lag behind, says otherwise.
    Meshed,
}
