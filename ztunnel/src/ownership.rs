//! Which tunnel process owns the captured pods of the node.

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Kubernetes sends SIGTERM to all containers of a pod at about the same moment. An announcement older than this belongs to a
/// restart of the installer alone.
const ANNOUNCEMENT_VALIDITY: Duration = Duration::from_secs(5);

/// Which tunnel process owns the captured pods of the node. Clones share one state.
#[derive(Clone, Debug)]
pub struct Ownership {
    owner: watch::Sender<Owner>,
    /// The name of the Kubernetes pod that this process runs in.
    own_pod: Arc<str>,
    /// When the installer in this pod last announced that the mesh stays on the node.
    mesh_stays: watch::Sender<Option<Instant>>,
}

/// The owner of the node's captured pods, as this process knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// This process: it accepts connections and registrations.
    This,
    /// The process that has taken over from this one.
    Successor,
    /// Nobody: the mesh has left the node, and no pod may be captured again.
    Nobody,
}

// === impl Ownership ===

impl Default for Ownership {
    fn default() -> Self {
        Self::new("")
    }
}

impl Ownership {
    /// Owned by this process, which runs in the Kubernetes pod `own_pod`.
    pub fn new(own_pod: &str) -> Self {
        Self {
            owner: watch::Sender::new(Owner::This),
            own_pod: own_pod.into(),
            mesh_stays: watch::Sender::new(None),
        }
    }

    /// The current owner and every later change.
    pub fn watch(&self) -> watch::Receiver<Owner> {
        self.owner.subscribe()
    }

    /// Waits until this process is the owner.
    pub(crate) async fn wait_until_owner(&self) {
        let _ = self.owner.subscribe().wait_for(|owner| *owner == Owner::This).await;
    }

    /// The next tunnel process serves the pods: it is the owner.
    pub(crate) fn pass_on(&self) {
        self.owner.send_replace(Owner::Successor);
    }

    /// The next tunnel process has exited: this one is the owner again, unless nobody is.
    pub(crate) fn take_back(&self) {
        self.owner.send_if_modified(|owner| {
            let returns = *owner == Owner::Successor;
            if returns {
                *owner = Owner::This;
            }
            returns
        });
    }

    /// Gives up the node for good: from now on [`Owner::Nobody`] owns it.
    pub(crate) fn relinquish(&self) {
        self.owner.send_replace(Owner::Nobody);
    }

    /// The installer in Kubernetes pod `pod` announces that the mesh stays on the node. An announcement from another pod is
    /// ignored: it concerns the tunnel process of that pod, and this process may still have to release its pods.
    pub(crate) fn announce_mesh_stays(&self, pod: &str) {
        if pod == &*self.own_pod {
            self.mesh_stays.send_replace(Some(Instant::now()));
        }
    }

    /// Waits until it is known what happens to the captured pods when this process ends: the mesh stays, the mesh has left,
    /// or the successor has the pods.
    pub(crate) async fn wait_until_settled(&self) {
        let (mut owner, mut mesh_stays) = (self.owner.subscribe(), self.mesh_stays.subscribe());
        tokio::select! {
            _ = owner.wait_for(|owner| *owner != Owner::This) => {}
            _ = mesh_stays.wait_for(|at| at.is_some_and(|at| at.elapsed() < ANNOUNCEMENT_VALIDITY)) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::timeout;

    #[tokio::test(start_paused = true)]
    async fn an_announcement_for_the_previous_tunnel_does_not_settle_what_happens_to_this_one() {
        let settles = async |ownership: &Ownership| {
            timeout(Duration::from_secs(60), ownership.wait_until_settled()).await.is_ok()
        };
        let ownership = Ownership::new("ztunnel-b");
        ownership.announce_mesh_stays("ztunnel-a");
        assert!(!settles(&ownership).await);
        // The installer alone was restarted, a while ago.
        ownership.announce_mesh_stays("ztunnel-b");
        tokio::time::advance(2 * ANNOUNCEMENT_VALIDITY).await;
        assert!(!settles(&ownership).await);
        ownership.announce_mesh_stays("ztunnel-b");
        assert!(settles(&ownership).await);
        let ownership = Ownership::new("ztunnel-b");
        ownership.relinquish();
        assert!(settles(&ownership).await);
    }
}
