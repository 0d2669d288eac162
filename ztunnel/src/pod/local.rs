//! A captured pod, as the threads that carry its traffic see it.

use fairway_config::model::WorkloadKey;
use fairway_identity::IdentityHandle;
use fairway_netns::Namespace;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

/// A captured pod. What it is in the mesh is looked up per connection; this is what does not change.
#[derive(Debug)]
pub(crate) struct LocalPod {
    pub(crate) uid: Arc<str>,
    pub(crate) key: WorkloadKey,
    pub(crate) namespace: Namespace,
    pub(crate) identity: IdentityHandle,
    connections: AtomicUsize,
    stopped: AtomicBool,
}

impl LocalPod {
    pub(crate) fn new(
        uid: Arc<str>,
        key: WorkloadKey,
        namespace: Namespace,
        identity: IdentityHandle,
    ) -> Self {
        Self {
            uid,
            key,
            namespace,
            identity,
            connections: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
        }
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
