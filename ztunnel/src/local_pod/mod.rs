//! A captured pod, as the threads that carry its traffic see it.

mod claim;
mod peers;

pub use claim::Claim;
pub(crate) use peers::PeerConnections;

use fairway_config::model::{Workload, WorkloadKey};
use fairway_identity::{IdentityHandle, SpiffeId, TlsIdentity};
use fairway_netns::Namespace;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use tokio::sync::SetOnce;

/// A captured pod: what does not change between configurations. Its workload is looked up for each connection.
#[derive(Debug)]
pub(crate) struct LocalPod {
    pub(crate) uid: Arc<str>,
    pub(crate) key: WorkloadKey,
    pub(crate) namespace: Namespace,
    /// The addresses from the registration.
    addresses: Vec<IpAddr>,
    /// Set when the configuration knows the pod.
    identity: SetOnce<IdentityHandle>,
    /// [`Claim::Meshed`] is valid: a configuration that has the pod outside the mesh is out of date.
    claimed: AtomicBool,
    connections: AtomicUsize,
    /// Accepted sockets that are open, on all three listeners.
    pub(crate) sockets: AtomicUsize,
    /// Of those, connections of tunnels, by who is at their other end.
    pub(crate) peers: Arc<PeerConnections>,
    stopped: AtomicBool,
}

impl LocalPod {
    pub(crate) fn new(
        uid: Arc<str>,
        key: WorkloadKey,
        namespace: Namespace,
        addresses: Vec<IpAddr>,
        claim: Claim,
    ) -> Self {
        Self {
            uid,
            key,
            namespace,
            addresses,
            identity: SetOnce::new(),
            claimed: AtomicBool::new(claim == Claim::Meshed),
            connections: AtomicUsize::new(0),
            sockets: AtomicUsize::new(0),
            peers: Arc::default(),
            stopped: AtomicBool::new(false),
        }
    }

    /// Sets the pod's identity. Only the first call counts: the service account of a pod cannot change.
    pub(crate) fn identify(&self, identity: impl FnOnce() -> IdentityHandle) {
        if !self.identity.initialized() {
            let _ = self.identity.set(identity());
        }
    }

    /// Waits until the pod's identity is known.
    pub(crate) async fn identity(&self) -> &IdentityHandle {
        self.identity.wait().await
    }

    /// The current certificate, if the identity is known and a certificate was issued.
    pub(crate) fn current_identity(&self) -> Option<Arc<TlsIdentity>> {
        self.identity.get().and_then(IdentityHandle::current)
    }

    /// The pod's SPIFFE id, if the configuration knows the pod.
    pub(crate) fn id(&self) -> Option<&SpiffeId> {
        self.identity.get().map(IdentityHandle::id)
    }

    /// The pod's addresses from the configuration; those from the registration while the configuration has none.
    pub(crate) fn addresses<'a>(&'a self, workload: &'a Workload) -> &'a [IpAddr] {
        if workload.addresses.is_empty() { &self.addresses } else { &workload.addresses }
    }

    /// From now on the configuration alone decides whether the pod is in the mesh.
    pub(crate) fn drop_claim(&self) {
        self.claimed.store(false, Relaxed);
    }

    pub(crate) fn is_claimed(&self) -> bool {
        self.claimed.load(Relaxed)
    }

    /// The number of open connections and tunnels.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Relaxed)
    }

    pub(crate) fn opened(&self) {
        self.connections.fetch_add(1, Relaxed);
    }

    pub(crate) fn closed(&self) {
        self.connections.fetch_sub(1, Relaxed);
    }

    /// Marks that no connection will be accepted any more.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Relaxed);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Relaxed)
    }
}
