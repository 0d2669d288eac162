//! What one pod may have of its node's tunnel, so that the others have theirs: sockets, and handshakes that are not done.

use crate::pod::LocalPod;
use fairway_runtime::descriptors::{self, Room};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tokio::task::AbortHandle;

/// How many pods have connections now. Clones are of the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Crowd(Arc<AtomicUsize>);

/// One accepted socket of a pod. It is given back when it is dropped.
pub(crate) struct Accepted {
    pod: Arc<LocalPod>,
    crowd: Crowd,
}

/// The handshakes of peers that are under way at a pod, the oldest first.
#[derive(Clone, Default)]
pub(super) struct Handshakes(Rc<UnderWay>);

#[derive(Default)]
struct UnderWay {
    shaking: RefCell<VecDeque<(u64, Option<AbortHandle>)>>,
    next: Cell<u64>,
}

/// One of them. When all that know it have dropped it, it is over.
#[derive(Clone)]
pub(super) struct Shaking(Rc<One>);

struct One {
    number: u64,
    handshakes: Handshakes,
}

// === impl Crowd ===

impl Crowd {
    /// One more socket for a pod, if it may have one.
    pub(super) fn admit(&self, pod: &Arc<LocalPod>, room: Room, most: usize) -> Option<Accepted> {
        let open = pod.sockets.load(Relaxed);
        let files = usize::try_from(descriptors::for_clients()).unwrap_or(usize::MAX);
        if !may_have(open, room, most, files, self.0.load(Relaxed)) {
            return None;
        }
        if pod.sockets.fetch_add(1, Relaxed) == 0 {
            self.0.fetch_add(1, Relaxed);
        }
        Some(Accepted { pod: pod.clone(), crowd: self.clone() })
    }
}

/// Whether a pod with so many sockets may have one more. Each is two files, with the one towards its far end. One pod alone
/// never has more than half of them; where they run short, none has more than an even share, so that those which have the most
/// are refused first.
fn may_have(open: usize, room: Room, most: usize, files: usize, pods: usize) -> bool {
    let pairs = files / 2;
    let share = match room {
        Room::Enough => pairs / 2,
        Room::Scarce => pairs / pods.max(1),
    };
    open < most.min(share.max(1))
}

// === impl Accepted ===

impl Accepted {
    pub(super) fn pod(&self) -> &Arc<LocalPod> {
        &self.pod
    }
}

impl Drop for Accepted {
    fn drop(&mut self) {
        if self.pod.sockets.fetch_sub(1, Relaxed) == 1 {
            self.crowd.0.fetch_sub(1, Relaxed);
        }
    }
}

// === impl Handshakes ===

impl Handshakes {
    /// A new one. The oldest gives way where there are too many: a peer that says nothing is the oldest soon.
    pub(super) fn begin(&self, most: usize) -> Shaking {
        let number = self.0.next.replace(self.0.next.get() + 1);
        let mut shaking = self.0.shaking.borrow_mut();
        let oldest = if shaking.len() >= most { shaking.pop_front() } else { None };
        shaking.push_back((number, None));
        // A task that ends may come back here.
        drop(shaking);
        if let Some((_, Some(oldest))) = oldest {
            oldest.abort();
        }
        Shaking(Rc::new(One { number, handshakes: self.clone() }))
    }

    fn remove(&self, number: u64) {
        self.0.shaking.borrow_mut().retain(|it| it.0 != number);
    }
}

// === impl Shaking ===

impl Shaking {
    /// Where it runs.
    pub(super) fn runs_in(&self, task: AbortHandle) {
        let mut shaking = self.0.handshakes.0.shaking.borrow_mut();
        if let Some(place) = shaking.iter_mut().find(|it| it.0 == self.0.number) {
            place.1 = Some(task);
        }
    }

    /// The peer is known.
    pub(super) fn done(&self) {
        self.0.handshakes.remove(self.0.number);
    }
}

impl Drop for One {
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
            assert_eq!(may_have(open, room, 1000, files, pods), expected, "{open} {room:?} {files} {pods}");
        }
    }

    #[tokio::test]
    async fn the_oldest_handshake_gives_way_and_one_that_is_done_does_not() {
        tokio::task::LocalSet::new()
            .run_until(async {
                let handshakes = Handshakes::default();
                let begin = || {
                    let shaking = handshakes.begin(2);
                    let task = tokio::task::spawn_local(std::future::pending::<()>());
                    shaking.runs_in(task.abort_handle());
                    (shaking, task)
                };
                let (done, first) = begin();
                done.done();
                let (_oldest, second) = begin();
                let (_newer, third) = begin();
                let (_newest, fourth) = begin();
                assert!(second.await.unwrap_err().is_cancelled());
                tokio::task::yield_now().await;
                assert!(!first.is_finished() && !third.is_finished() && !fourth.is_finished());
                assert_eq!(handshakes.0.shaking.borrow().len(), 2);
            })
            .await;
    }
}
