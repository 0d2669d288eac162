//! What is kept of a connection while it lives, and said of it once when it ends.

use super::{Door, Worker};
use crate::pod::LocalPod;
use crate::view::ConnectionView;
use fairway_config::model::Generation;
use fairway_hbone::{Ended, Side, Transfer};
use fairway_identity::SpiffeId;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use tokio::time::Instant;

/// How a connection ended, for the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    /// Both sides were done.
    Closed,
    /// One side broke.
    Broken,
    /// The plan said no.
    Refused,
    /// Nobody took it.
    Unreachable,
    /// The pod had no identity in time.
    NoIdentity,
    /// Stopped from here: the pod is gone, or the drain over.
    CutOff,
}

/// One connection's account. Its end, however it comes, is logged and counted once.
pub(crate) struct Account {
    worker: Rc<Worker>,
    pod: Arc<LocalPod>,
    door: Door,
    since: Instant,
    client: SocketAddr,
    destination: Option<SocketAddr>,
    peer: Option<SpiffeId>,
    way: &'static str,
    generation: Generation,
    sent: u64,
    received: u64,
    outcome: Outcome,
    reason: Option<String>,
    entry: Option<u64>,
}

impl Outcome {
    pub(super) const ALL: [Self; 6] =
        [Self::Closed, Self::Broken, Self::Refused, Self::Unreachable, Self::NoIdentity, Self::CutOff];
}

impl Account {
    pub(super) fn open(worker: &Rc<Worker>, pod: &Arc<LocalPod>, door: Door, client: SocketAddr) -> Self {
        worker.fleet.opened(worker.id);
        worker.metrics.opened(door);
        pod.opened();
        Self {
            worker: worker.clone(),
            pod: pod.clone(),
            door,
            since: Instant::now(),
            client,
            destination: None,
            peer: None,
            way: "",
            generation: Generation::default(),
            sent: 0,
            received: 0,
            outcome: Outcome::CutOff,
            reason: None,
            entry: None,
        }
    }

    /// By which configuration, to where.
    pub(super) fn decided(&mut self, generation: Generation, destination: SocketAddr) {
        self.generation = generation;
        self.destination = Some(destination);
    }

    /// It has reached its far end; `way` is how.
    pub(super) fn connected(&mut self, peer: Option<SpiffeId>, way: &'static str) {
        self.peer = peer;
        self.way = way;
        self.entry = Some(self.worker.journal.enter(
            self.since,
            ConnectionView {
                direction: self.direction(),
                pod: self.pod.key.to_string(),
                client: self.client,
                destination: self.destination,
                local: self.pod.id().cloned(),
                peer: self.peer.clone(),
                seconds: 0,
            },
        ));
    }

    /// It did not get anywhere.
    pub(super) fn failed(&mut self, outcome: Outcome, reason: impl ToString) {
        self.outcome = outcome;
        self.reason = Some(reason.to_string());
    }

    /// Its bytes have been moved.
    pub(super) fn moved(&mut self, transfer: &Transfer) {
        (self.sent, self.received) = (transfer.sent, transfer.received);
        match &transfer.ended {
            Ended::Closed { .. } => self.outcome = Outcome::Closed,
            Ended::Broken { by, error } => {
                let by = match by {
                    Side::Near => "client",
                    Side::Far => "server",
                };
                self.outcome = Outcome::Broken;
                self.reason = Some(format!("{by}: {error}"));
            }
        }
    }

    fn direction(&self) -> &'static str {
        match self.door {
            Door::Outbound => "outbound",
            Door::Hbone => "inbound",
            Door::Plaintext => "plaintext",
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if let Some(entry) = self.entry {
            self.worker.journal.leave(entry);
        }
        self.pod.closed();
        self.worker.fleet.closed(self.worker.id);
        self.worker.metrics.closed(self.door, self.outcome, self.sent, self.received);
        tracing::info!(
            target: "fairway::access",
            direction = self.direction(),
            pod = %self.pod.key,
            client = %self.client,
            destination = self.destination.map(tracing::field::display),
            local = self.pod.id().map(tracing::field::display),
            peer = self.peer.as_ref().map(tracing::field::display),
            way = self.way,
            outcome = ?self.outcome,
            reason = self.reason,
            sent = self.sent,
            received = self.received,
            milliseconds = self.since.elapsed().as_millis() as u64,
            generation = self.generation.0,
            "connection"
        );
    }
}
