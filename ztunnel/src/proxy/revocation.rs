//! Ends open connections that a commit has made inadmissible.
//!
//! Each worker knows its open connections and by what they were admitted ([`OpenConnections`]). The applier tells the workers
//! what a commit affects; a worker judges those connections again, and tells whoever carries one that it ends.

use super::Worker;
use crate::decide::{self, Affected, Established, Index, OpenConnections, Revoked};
use crate::local_pod::LocalPod;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::oneshot;

/// The open connections of a worker.
#[derive(Default)]
pub(super) struct Admitted(RefCell<OpenConnections<Carrier>>);

/// Whoever carries a connection.
struct Carrier {
    pod: Arc<LocalPod>,
    revoke: oneshot::Sender<Revoked>,
}

/// A connection's place among those that are judged again, until it is dropped.
pub(super) struct Admission {
    worker: Rc<Worker>,
    number: u64,
    revoked: oneshot::Receiver<Revoked>,
}

impl Worker {
    /// Enters a connection that is established. It is judged once more: a commit may have come while it was being
    /// established, and from here on every commit finds it.
    pub(super) fn admit(
        self: &Rc<Self>,
        pod: &Arc<LocalPod>,
        established: Established,
    ) -> Result<Admission, Revoked> {
        judge(&self.state.load(), pod, &established)?;
        let (revoke, revoked) = oneshot::channel();
        let carrier = Carrier { pod: pod.clone(), revoke };
        let number = self.admitted.0.borrow_mut().insert(pod.key.clone(), established, carrier);
        Ok(Admission { worker: self.clone(), number, revoked })
    }

    /// Judges again what a commit affects.
    pub(super) fn review(&self, affected: &Affected) {
        let index = self.state.load();
        let judge = |carrier: &Carrier, it: &Established| judge(&index, &carrier.pod, it);
        let revoked = self.admitted.0.borrow_mut().review(&index, affected, judge);
        for (carrier, why) in revoked {
            // It may be ending by itself.
            let _ = carrier.revoke.send(why);
        }
    }
}

/// By the uid, so that a pod is not judged by what is said of another one of its name.
fn judge(index: &Index, pod: &LocalPod, established: &Established) -> Result<(), Revoked> {
    let workload = index.workload(&pod.key).filter(|it| it.uid == pod.uid);
    let addresses = workload.map(|it| pod.addresses(it)).unwrap_or_default();
    decide::is_admitted(index, workload.map(|it| &**it), addresses, established)
}

/// Waits until a connection is not admitted any more, and gives the reason; for ever where it is not judged again.
pub(super) async fn revoked(admission: &mut Option<Admission>) -> Revoked {
    match admission {
        Some(admission) => admission.revoked().await,
        None => std::future::pending().await,
    }
}

// === impl Admission ===

impl Admission {
    async fn revoked(&mut self) -> Revoked {
        match (&mut self.revoked).await {
            Ok(why) => why,
            // The sender is dropped with this, not before.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.worker.admitted.0.borrow_mut().remove(self.number);
    }
}
