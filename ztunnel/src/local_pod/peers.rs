//! How many connections of tunnels each identity has to a pod.

use fairway_config::model::SpiffeId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The connections of tunnels to one pod, by the identity of their peer.
#[derive(Debug, Default)]
pub(crate) struct PeerConnections(Mutex<HashMap<SpiffeId, usize>>);

/// One of them. It is counted until it is dropped.
#[derive(Debug)]
pub(crate) struct PeerPermit {
    peer: SpiffeId,
    peers: Arc<PeerConnections>,
}

impl PeerConnections {
    /// Counts one more of `peer`, unless it has `most` already. Whoever they are, they leave the others room.
    pub(crate) fn admit(self: &Arc<Self>, peer: &SpiffeId, most: usize) -> Option<PeerPermit> {
        let mut counts = self.counts();
        let count = counts.entry(peer.clone()).or_default();
        if *count >= most.max(1) {
            return None;
        }
        *count += 1;
        Some(PeerPermit { peer: peer.clone(), peers: self.clone() })
    }

    /// Held for a few instructions, when a connection begins or ends.
    fn counts(&self) -> MutexGuard<'_, HashMap<SpiffeId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PeerPermit {
    fn drop(&mut self) {
        let mut counts = self.peers.counts();
        if let Some(count) = counts.get_mut(&self.peer) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_identity_has_its_part_and_leaves_the_others_theirs() {
        let id = |name: &str| format!("spiffe://cluster.local/ns/a/sa/{name}").parse::<SpiffeId>().unwrap();
        let peers = Arc::new(PeerConnections::default());
        let first = peers.admit(&id("greedy"), 2).unwrap();
        let _second = peers.admit(&id("greedy"), 2).unwrap();
        assert!(peers.admit(&id("greedy"), 2).is_none());
        assert!(peers.admit(&id("other"), 2).is_some());
        drop(first);
        assert!(peers.admit(&id("greedy"), 2).is_some());
        assert_eq!(peers.counts().len(), 1, "who has none is forgotten");
    }
}
