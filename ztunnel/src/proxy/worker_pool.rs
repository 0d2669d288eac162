//! The workers as the rest of the tunnel sees them: which worker serves a pod, and which one carries a connection.

use super::budget::{ActivePods, SocketPermit};
use super::{Direction, Listeners};
use crate::decide::Affected;
use crate::local_pod::LocalPod;
use fairway_runtime::drain;
use fairway_runtime::workers::WorkerId;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tokio::sync::mpsc;

/// A worker passes a connection on when it has this many more than the least loaded one. Small enough that a busy pod gets
/// every processor, large enough that a quiet pod keeps its tunnels on one worker.
const LOAD_DIFFERENCE: usize = 32;

/// A message to a worker.
pub(crate) enum Command {
    /// Accept the connections of a pod.
    Serve(Arc<LocalPod>, Listeners, drain::Watch),
    /// Carry a connection that another worker has accepted.
    Carry(SocketPermit, Direction, TcpStream, drain::Watch),
    /// Judge again those open connections that a commit affects.
    Review(Arc<Affected>),
    /// The worker reads no further message and ends.
    Stop,
}

/// All workers. Clones share the same state.
#[derive(Clone)]
pub(crate) struct WorkerPool {
    handles: Arc<[WorkerHandle]>,
    /// The worker that serves the next pod.
    next: Arc<AtomicUsize>,
    active_pods: ActivePods,
}

struct WorkerHandle {
    inbox: mpsc::UnboundedSender<Command>,
    /// Connections that the worker has open or was given.
    load: AtomicUsize,
}

// === impl WorkerPool ===

impl WorkerPool {
    pub(crate) fn new(inboxes: Vec<mpsc::UnboundedSender<Command>>) -> Self {
        let handles = inboxes.into_iter().map(|inbox| WorkerHandle { inbox, load: AtomicUsize::new(0) });
        Self { handles: handles.collect(), next: Arc::default(), active_pods: ActivePods::default() }
    }

    /// The number of pods that have open sockets.
    pub(super) fn active_pods(&self) -> &ActivePods {
        &self.active_pods
    }

    /// Assigns a pod to a worker, round robin.
    pub(crate) fn serve(&self, pod: Arc<LocalPod>, listeners: Listeners, drain: drain::Watch) {
        let worker = self.next.fetch_add(1, Relaxed) % self.handles.len().max(1);
        self.send(WorkerId(worker), Command::Serve(pod, listeners, drain));
    }

    /// Has every worker judge again those of its open connections that a commit affects.
    pub(crate) fn review(&self, affected: Affected) {
        let affected = Arc::new(affected);
        for worker in 0..self.handles.len() {
            self.send(WorkerId(worker), Command::Review(affected.clone()));
        }
    }

    pub(crate) fn stop(&self) {
        for worker in 0..self.handles.len() {
            self.send(WorkerId(worker), Command::Stop);
        }
    }

    /// The worker that should carry a connection which `accepting` has accepted. `None` if `accepting` should.
    pub(super) fn less_loaded(&self, accepting: WorkerId) -> Option<WorkerId> {
        let own_load = self.load(accepting)?;
        let loads = self.handles.iter().map(|handle| handle.load.load(Relaxed)).enumerate();
        let (worker, load) = loads.min_by_key(|(_, load)| *load)?;
        (worker != accepting.0 && own_load > load + LOAD_DIFFERENCE).then_some(WorkerId(worker))
    }

    pub(super) fn opened(&self, worker: WorkerId) {
        if let Some(handle) = self.handles.get(worker.0) {
            handle.load.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn closed(&self, worker: WorkerId) {
        if let Some(handle) = self.handles.get(worker.0) {
            handle.load.fetch_sub(1, Relaxed);
        }
    }

    /// A worker that has ended drops the command, and with it closes the sockets in it.
    pub(super) fn send(&self, to: WorkerId, command: Command) {
        if let Some(handle) = self.handles.get(to.0) {
            let _ = handle.inbox.send(command);
        }
    }

    fn load(&self, worker: WorkerId) -> Option<usize> {
        self.handles.get(worker.0).map(|handle| handle.load.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_with_few_connections_keeps_them_and_a_busy_one_shares_them() {
        let (inboxes, _held): (Vec<_>, Vec<_>) = (0..3).map(|_| mpsc::unbounded_channel()).unzip();
        let workers = WorkerPool::new(inboxes);
        for _ in 0..LOAD_DIFFERENCE {
            workers.opened(WorkerId(1));
        }
        assert_eq!(workers.less_loaded(WorkerId(1)), None);
        workers.opened(WorkerId(1));
        workers.opened(WorkerId(0));
        assert_eq!(workers.less_loaded(WorkerId(1)), Some(WorkerId(2)));
        workers.closed(WorkerId(1));
        assert_eq!(workers.less_loaded(WorkerId(1)), None);
        assert_eq!(workers.less_loaded(WorkerId(0)), None);
    }
}
