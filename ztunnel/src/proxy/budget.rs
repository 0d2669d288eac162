//! Limits of one pod on its node's tunnel, so that a pod cannot starve the others: accepted sockets, and TLS handshakes in
//! progress.

use crate::local_pod::LocalPod;
use fairway_runtime::descriptors::{self, Room};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tokio::task::AbortHandle;

/// The number of pods that have accepted sockets. Clones share one counter.
#[derive(Clone, Debug, Default)]
pub(crate) struct ActivePods(Arc<AtomicUsize>);

/// Permission for one accepted socket of a pod. It is returned when it is dropped.
pub(crate) struct SocketPermit {
    pod: Arc<LocalPod>,
    active_pods: ActivePods,
}

/// The TLS handshakes that are in progress at a pod, the oldest first.
#[derive(Clone, Default)]
pub(super) struct PendingHandshakes(Rc<Pending>);

#[derive(Default)]
struct Pending {
    queue: RefCell<VecDeque<(u64, Option<AbortHandle>)>>,
    next: Cell<u64>,
}

/// One handshake. It leaves the queue when the last clone is dropped.
#[derive(Clone)]
pub(super) struct HandshakeGuard(Rc<HandshakeEntry>);

struct HandshakeEntry {
    number: u64,
    handshakes: PendingHandshakes,
}

// === impl ActivePods ===

impl ActivePods {
    /// Admits one more socket of the pod, or `None` if the pod has as many as it may have. `most` bounds it in any case.
    pub(super) fn admit(&self, pod: &Arc<LocalPod>, room: Room, most: usize) -> Option<SocketPermit> {
        let open = pod.sockets.load(Relaxed);
        let files = usize::try_from(descriptors::for_clients()).unwrap_or(usize::MAX);
        if !is_admitted(open, room, most, files, self.0.load(Relaxed)) {
            return None;
        }
        if pod.sockets.fetch_add(1, Relaxed) == 0 {
            self.0.fetch_add(1, Relaxed);
        }
        Some(SocketPermit { pod: pod.clone(), active_pods: self.clone() })
    }

    /// Whether a socket that was admitted would be with this `room`, which is known once it is open.
    pub(super) fn keeps(&self, permit: &SocketPermit, room: Room, most: usize) -> bool {
        let others = permit.pod.sockets.load(Relaxed).saturating_sub(1);
        let files = usize::try_from(descriptors::for_clients()).unwrap_or(usize::MAX);
        is_admitted(others, room, most, files, self.0.load(Relaxed))
    }
}

/// Whether a pod with `open` sockets may have one more. Each needs two of the `files`: one for the other end. A single pod never
/// has more than half of them. When they run short, no pod has more than an even share, so that the pods with the most sockets
/// are refused first.
fn is_admitted(open: usize, room: Room, most: usize, files: usize, pods: usize) -> bool {
    let pairs = files / 2;
    let share = match room {
        Room::Enough => pairs / 2,
        Room::Scarce => pairs / pods.max(1),
    };
    open < most.min(share.max(1))
}

// === impl SocketPermit ===

impl SocketPermit {
    pub(super) fn pod(&self) -> &Arc<LocalPod> {
        &self.pod
    }
}

impl Drop for SocketPermit {
    fn drop(&mut self) {
        if self.pod.sockets.fetch_sub(1, Relaxed) == 1 {
            self.active_pods.0.fetch_sub(1, Relaxed);
        }
    }
}

// === impl PendingHandshakes ===

impl PendingHandshakes {
    /// Registers a handshake. If there are `most` already, the oldest is aborted: a peer that sends nothing soon is the oldest.
    pub(super) fn begin(&self, most: usize) -> HandshakeGuard {
        let number = self.0.next.replace(self.0.next.get() + 1);
        let mut queue = self.0.queue.borrow_mut();
        let oldest = if queue.len() >= most { queue.pop_front() } else { None };
        queue.push_back((number, None));
        // Aborting a task may drop a guard, which borrows the queue.
        drop(queue);
        if let Some((_, Some(oldest))) = oldest {
            oldest.abort();
        }
        HandshakeGuard(Rc::new(HandshakeEntry { number, handshakes: self.clone() }))
    }

    fn remove(&self, number: u64) {
        self.0.queue.borrow_mut().retain(|(queued, _)| *queued != number);
    }
}

// === impl HandshakeGuard ===

impl HandshakeGuard {
    /// Sets the task to abort when this handshake has to give way.
    pub(super) fn runs_in(&self, task: AbortHandle) {
        let mut queue = self.0.handshakes.0.queue.borrow_mut();
        if let Some((_, abort)) = queue.iter_mut().find(|(number, _)| *number == self.0.number) {
            *abort = Some(task);
        }
    }

    /// The handshake is complete: it no longer counts.
    pub(super) fn done(&self) {
        self.0.handshakes.remove(self.0.number);
    }
}

impl Drop for HandshakeEntry {
    fn drop(&mut self) {
        self.handshakes.remove(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pod_never_has_all_and_where_files_run_short_the_largest_is_refused_first() {
        for (open, room, files, pods, expected) in [
            (0, Room::Enough, 768, 1, true),
            (191, Room::Enough, 768, 1, true),
            (192, Room::Enough, 768, 1, false),
            (191, Room::Scarce, 768, 32, false),
            (12, Room::Scarce, 768, 32, false),
            (11, Room::Scarce, 768, 32, true),
            (0, Room::Scarce, 768, 5000, true),
            (999, Room::Enough, 1 << 20, 1, true),
            (1000, Room::Enough, 1 << 20, 1, false),
        ] {
            assert_eq!(
                is_admitted(open, room, 1000, files, pods),
                expected,
                "{open} {room:?} {files} {pods}"
            );
        }
    }

    #[tokio::test]
    async fn the_oldest_handshake_gives_way_and_one_that_is_done_does_not() {
        tokio::task::LocalSet::new()
            .run_until(async {
                let handshakes = PendingHandshakes::default();
                let begin = || {
                    let handshake = handshakes.begin(2);
                    let task = tokio::task::spawn_local(std::future::pending::<()>());
                    handshake.runs_in(task.abort_handle());
                    (handshake, task)
                };
                let (done, first) = begin();
                done.done();
                let (_oldest, second) = begin();
                let (_newer, third) = begin();
                let (_newest, fourth) = begin();
                assert!(second.await.unwrap_err().is_cancelled());
                tokio::task::yield_now().await;
                assert!(!first.is_finished() && !third.is_finished() && !fourth.is_finished());
                assert_eq!(handshakes.0.queue.borrow().len(), 2);
            })
            .await;
    }
}
