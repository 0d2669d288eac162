//! The workers as others see them: who takes a pod, who takes a connection.

use super::budget::{Accepted, Crowd};
use super::{Door, Listeners};
use crate::decide::Affected;
use crate::pod::LocalPod;
use fairway_runtime::drain;
use fairway_runtime::workers::WorkerId;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tokio::sync::mpsc;

/// Connections that a pod's home may have more than the idlest worker before it hands one over. Few enough that a busy pod
/// gets every processor, enough that a quiet one keeps its tunnels together.
const SPREAD: usize = 32;

/// What a worker is told.
pub(crate) enum Command {
    /// Accept a pod's connections.
    Serve(Arc<LocalPod>, Listeners, drain::Watch),
    /// Carry a connection that another worker accepted.
    Carry(Accepted, Door, TcpStream, drain::Watch),
    /// Judge again those open connections that a commit affects.
    Review(Arc<Affected>),
    /// End.
    Stop,
}

/// All workers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Fleet(Arc<[Seat]>, Arc<AtomicUsize>, Crowd);

struct Seat {
    inbox: mpsc::UnboundedSender<Command>,
    load: AtomicUsize,
}

impl Fleet {
    pub(crate) fn new(inboxes: Vec<mpsc::UnboundedSender<Command>>) -> Self {
        let seats = inboxes.into_iter().map(|inbox| Seat { inbox, load: AtomicUsize::new(0) });
        Self(seats.collect(), Arc::default(), Crowd::default())
    }

    /// The pods that have connections now.
    pub(super) fn crowd(&self) -> &Crowd {
        &self.2
    }

    /// Gives a pod to the next worker in turn.
    pub(crate) fn serve(&self, pod: Arc<LocalPod>, listeners: Listeners, drain: drain::Watch) {
        let turn = self.1.fetch_add(1, Relaxed) % self.0.len().max(1);
        self.send(turn, Command::Serve(pod, listeners, drain));
    }

    /// Has every worker judge again those of its open connections that a commit affects.
    pub(crate) fn review(&self, affected: Affected) {
        let affected = Arc::new(affected);
        for index in 0..self.0.len() {
            self.send(index, Command::Review(affected.clone()));
        }
    }

    pub(crate) fn stop(&self) {
        for index in 0..self.0.len() {
            self.send(index, Command::Stop);
        }
    }

    /// Who should carry a connection that `home` has accepted, if not `home`.
    pub(super) fn relief(&self, home: WorkerId) -> Option<WorkerId> {
        let busy = self.load(home)?;
        let (idlest, load) =
            self.0.iter().map(|seat| seat.load.load(Relaxed)).enumerate().min_by_key(|(_, load)| *load)?;
        (idlest != home.0 && busy > load + SPREAD).then_some(WorkerId(idlest))
    }

    pub(super) fn hand_over(&self, to: WorkerId, command: Command) {
        self.send(to.0, command);
    }

    pub(super) fn opened(&self, worker: WorkerId) {
        if let Some(seat) = self.0.get(worker.0) {
            seat.load.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn closed(&self, worker: WorkerId) {
        if let Some(seat) = self.0.get(worker.0) {
            seat.load.fetch_sub(1, Relaxed);
        }
    }

    fn load(&self, worker: WorkerId) -> Option<usize> {
        self.0.get(worker.0).map(|seat| seat.load.load(Relaxed))
    }

    fn send(&self, index: usize, command: Command) {
        // A worker that has ended takes nothing: what it was sent is dropped, and so closed.
        if let Some(seat) = self.0.get(index) {
            let _ = seat.inbox.send(command);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_home_keeps_its_connections_and_a_busy_one_shares_them() {
        let (inboxes, _held): (Vec<_>, Vec<_>) = (0..3).map(|_| mpsc::unbounded_channel()).unzip();
        let fleet = Fleet::new(inboxes);
        for _ in 0..SPREAD {
            fleet.opened(WorkerId(1));
        }
        assert_eq!(fleet.relief(WorkerId(1)), None);
        fleet.opened(WorkerId(1));
        fleet.opened(WorkerId(0));
        assert_eq!(fleet.relief(WorkerId(1)), Some(WorkerId(2)));
        fleet.closed(WorkerId(1));
        assert_eq!(fleet.relief(WorkerId(1)), None);
        assert_eq!(fleet.relief(WorkerId(0)), None);
    }
}
