//! What is known of a pod by whoever registers it.

use fairway_config::model::WorkloadKey;
use fairway_netns::{Namespace, NetnsError};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// A pod that may have to be captured.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The pod's uid.
    pub uid: Arc<str>,
    /// Its namespace and name.
    pub key: WorkloadKey,
    /// Its network namespace.
    pub netns: Netns,
    /// Its addresses, where they are known: the configuration learns them only after the pod has started.
    pub addresses: Vec<IpAddr>,
    /// Whether whoever registers it knows that it is in the mesh.
    pub claim: Claim,
}

/// Where a network namespace is.
#[derive(Clone, Debug)]
pub enum Netns {
    /// A path to a handle.
    At(PathBuf),
    /// The handle.
    Open(Namespace),
}

/// What whoever registers a pod says of its place in the mesh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Claim {
    /// Nothing: the configuration is to say it, and the registration waits for it.
    #[default]
    Unknown,
    /// The API server was seen to say that it is in. It is captured at once, though the configuration may not say so yet.
    Meshed,
}

// === impl Candidate ===

impl Candidate {
    /// One of which no more is known.
    pub fn new(uid: impl Into<Arc<str>>, key: impl Into<WorkloadKey>, netns: impl Into<PathBuf>) -> Self {
        Self {
            uid: uid.into(),
            key: key.into(),
            netns: Netns::At(netns.into()),
            addresses: Vec::new(),
            claim: Claim::Unknown,
        }
    }
}

// === impl Netns ===

impl Netns {
    /// The handle.
    pub fn open(&self) -> Result<Namespace, NetnsError> {
        match self {
            Self::At(path) => Namespace::open(path),
            Self::Open(namespace) => Ok(namespace.clone()),
        }
    }
}
