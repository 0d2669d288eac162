//! A captured pod, as the threads that carry its traffic see it.

use super::Claim;
use fairway_config::model::{Workload, WorkloadKey};
use fairway_identity::{IdentityHandle, SpiffeId, TlsIdentity};
use fairway_netns::Namespace;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use tokio::sync::SetOnce;

/// A captured pod. What it is in the mesh is looked up per connection; this is what does not change.
#[derive(Debug)]
pub(crate) struct LocalPod {
    pub(crate) uid: Arc<str>,
    pub(crate) key: WorkloadKey,
    pub(crate) namespace: Namespace,
    /// The addresses it was registered with.
    addresses: Vec<IpAddr>,
    /// Known when the configuration knows the pod.
    identity: SetOnce<IdentityHandle>,
    /// Whoever registered it knows better than a configuration that says it is outside: that one must be old.
    claimed: AtomicBool,
    connections: AtomicUsize,
    /// Accepted sockets that are open, at all of its doors.
    pub(crate) sockets: AtomicUsize,
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
            stopped: AtomicBool::new(false),
        }
    }

    /// Says who it is; only the first time counts, for a pod's service account cannot change.
    pub(crate) fn identify(&self, identity: impl FnOnce() -> IdentityHandle) {
        if !self.identity.initialized() {
            let _ = self.identity.set(identity());
        }
    }

    /// Its identity, when it is known who it is.
    pub(crate) async fn identity(&self) -> &IdentityHandle {
        self.identity.wait().await
    }

    /// What it has to show for it now.
    pub(crate) fn current_identity(&self) -> Option<Arc<TlsIdentity>> {
        self.identity.get().and_then(IdentityHandle::current)
    }

    /// Who it is, if that is known.
    pub(crate) fn id(&self) -> Option<&SpiffeId> {
        self.identity.get().map(IdentityHandle::id)
    }

    /// Its addresses: what the configuration says, or before it says any, those it was registered with.
    pub(crate) fn addresses<'a>(&'a self, workload: &'a Workload) -> &'a [IpAddr] {
        if workload.addresses.is_empty() { &self.addresses } else { &workload.addresses }
    }

    /// From now on the configuration alone says whether it is in the mesh.
    pub(crate) fn drop_claim(&self) {
        self.claimed.store(false, Relaxed);
    }

    pub(crate) fn is_claimed(&self) -> bool {
        self.claimed.load(Relaxed)
    }

    /// Connections and tunnels open now.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Relaxed)
    }

    pub(crate) fn opened(&self) {
        self.connections.fetch_add(1, Relaxed);
    }

    pub(crate) fn closed(&self) {
        self.connections.fetch_sub(1, Relaxed);
    }

    /// No more connections will come.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Relaxed);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Relaxed)
    }
}
