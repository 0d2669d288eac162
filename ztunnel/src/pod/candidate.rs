//! A pod as whoever registers it describes it.

use crate::local_pod::Claim;
use fairway_config::model::WorkloadKey;
use fairway_netns::{Namespace, NetnsError};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// A pod that has to be captured if it is in the mesh.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// `metadata.uid` of the Pod; for a static pod the one that the API server shows.
    pub uid: Arc<str>,
    /// `<namespace>/<name>` of the Pod.
    pub key: WorkloadKey,
    /// The pod's network namespace. Another one at a later registration means a new sandbox.
    pub netns: Netns,
    /// The pod's addresses, if they are known. The configuration learns them only after the pod has started.
    pub addresses: Vec<IpAddr>,
    /// What the caller knows about the pod's membership.
    pub claim: Claim,
}

/// How to get at a network namespace.
#[derive(Clone, Debug)]
pub enum Netns {
    /// A path such as `/run/netns/cni-1234`, opened when it is needed.
    At(PathBuf),
    /// An open handle, which stays valid when the path is gone.
    Open(Namespace),
}

// === impl Candidate ===

impl Candidate {
    /// A pod without known addresses and without a claim.
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
    /// Opens the path, or clones the handle. Fails if nothing is there or it is no network namespace.
    pub fn open(&self) -> Result<Namespace, NetnsError> {
        match self {
            Self::At(path) => Namespace::open(path),
            Self::Open(namespace) => Ok(namespace.clone()),
        }
    }
}
