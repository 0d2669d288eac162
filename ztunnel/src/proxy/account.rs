//! One connection while it is carried, and the record of it.

use super::revocation::Admission;
use super::worker::WorkerPod;
use super::{Direction, Worker};
use crate::decide::{Established, InboundRefusal, Revoked};
use crate::view::ConnectionView;
use fairway_config::model::{BackendKey, Generation};
use fairway_hbone::{Ended, Side, Transfer};
use fairway_identity::SpiffeId;
use fairway_policy::PolicyRefusal;
use fairway_telemetry::{ClientAddress, Outcome, PolicyDecision, Record, describe_denial};
use std::net::SocketAddr;
use std::rc::Rc;

/// One connection while it is carried. Its end, however it comes, is counted and logged once.
pub(super) struct Account {
    worker: Rc<Worker>,
    local: Rc<WorkerPod>,
    direction: Direction,
    client: SocketAddr,
    destination: Option<SocketAddr>,
    backend: Option<BackendKey>,
    peer: Option<SpiffeId>,
    entry: Option<u64>,
    admission: Option<Admission>,
    record: Record,
}

impl Account {
    pub(super) fn open(
        worker: &Rc<Worker>,
        local: &Rc<WorkerPod>,
        direction: Direction,
        client: SocketAddr,
    ) -> Self {
        worker.worker_pool.opened(worker.id);
        worker.counters.opened(direction);
        local.pod.opened();
        let mut record = Record::connection(&worker.recorder, direction.into());
        record.note(|it| {
            it.client = Some(ClientAddress::Socket(client));
            it.pod = Some(local.pod.key.clone());
        });
        Self {
            worker: worker.clone(),
            local: local.clone(),
            direction,
            client,
            destination: None,
            backend: None,
            peer: None,
            entry: None,
            admission: None,
            record,
        }
    }

    /// By which configuration, and to where: the address that was dialled, and the Service's port that has it.
    pub(super) fn decided(
        &mut self,
        generation: Generation,
        destination: SocketAddr,
        backend: Option<BackendKey>,
    ) {
        (self.destination, self.backend) = (Some(destination), backend);
        self.record.note(|it| (it.generation, it.destination) = (generation, Some(destination)));
    }

    /// Who is at the far end: the client of an inbound connection, the server of an outbound one.
    pub(super) fn authenticated(&mut self, peer: SpiffeId) {
        self.peer = Some(peer);
    }

    /// It is about to be carried. From here on it ends when a commit says that it is not admitted any more.
    pub(super) fn admit(&mut self, established: Established) -> Result<(), Revoked> {
        self.admission = Some(self.worker.admit(&self.local.pod, established)?);
        Ok(())
    }

    /// Its admission, for whoever carries it and has this account besides.
    pub(super) fn take_admission(&mut self) -> Option<Admission> {
        self.admission.take()
    }

    /// It has reached its server; `via` is how.
    pub(super) fn connected(&mut self, via: &'static str) {
        self.record.note(|it| it.via = Some(via));
        self.entry = Some(self.worker.connections.insert(
            self.record.started(),
            ConnectionView {
                direction: self.direction.label(),
                pod: self.local.pod.key.to_string(),
                client: self.client,
                destination: self.destination,
                local: self.local.pod.id().cloned(),
                peer: self.peer.clone(),
                seconds: 0,
            },
        ));
    }

    /// The tunnel itself does not carry it, or no longer: the reason in one word, the `detail` in words.
    pub(super) fn refused(&mut self, outcome: Outcome, reason: &'static str, detail: impl ToString) {
        self.record.refused(outcome, reason);
        self.record.note(|it| it.detail = Some(detail.to_string()));
    }

    /// It is not let in. What a policy refuses is counted.
    pub(super) fn denied(&mut self, refusal: &InboundRefusal) {
        if let InboundRefusal::Policy(refusal) = refusal {
            self.count(refusal, PolicyDecision::Denied);
        }
        self.refused(Outcome::Refused, refusal.reason(), refusal);
    }

    /// It was admitted, and is not any more. What a policy refuses is counted.
    pub(super) fn revoked(&mut self, outcome: Outcome, revoked: &Revoked) {
        if let Revoked::Refused(InboundRefusal::Policy(refusal)) = revoked {
            self.count(refusal, PolicyDecision::Denied);
        }
        self.refused(outcome, revoked.reason(), revoked);
    }

    /// An authorization that is only observed would refuse it. Its line is written in any case.
    pub(super) fn observed(&mut self, refusal: &PolicyRefusal) {
        self.count(refusal, PolicyDecision::WouldDeny);
        self.record.note(|it| {
            it.detail = Some(format!("would be denied by {}", describe_denial(refusal)));
            it.is_observed = true;
        });
    }

    fn count(&self, refusal: &PolicyRefusal, decision: PolicyDecision) {
        if let Some(series) = self.worker.state.policies().find(refusal) {
            self.worker.recorder.count_policy(series, decision);
        }
    }

    /// One of its ends broke it. `detail` is formatted if it is logged.
    pub(super) fn failed(&mut self, outcome: Outcome, detail: impl ToString) {
        self.record.ended(outcome);
        self.record.note(|it| it.detail = Some(detail.to_string()));
    }

    /// Its bytes have been moved. The near side is the client's.
    pub(super) fn moved(&mut self, transfer: &Transfer) {
        // What was sent by the client was received here.
        self.record.set_received(transfer.sent);
        self.record.set_sent(transfer.received);
        match &transfer.ended {
            Ended::Closed { .. } => self.record.ended(Outcome::Completed),
            Ended::Broken { by: Side::Near, error } => self.failed(Outcome::ClientAborted, error),
            Ended::Broken { by: Side::Far, error } => self.failed(Outcome::ServerAborted, error),
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if let Some(entry) = self.entry {
            self.worker.connections.remove(entry);
        }
        self.local.pod.closed();
        self.worker.worker_pool.closed(self.worker.id);
        self.worker.counters.closed(self.direction);
        // Of the two the client is the one that connects, on whichever side of it this tunnel is.
        let (pod, peer) = (self.local.pod.id(), self.peer.as_ref());
        let (client, server) = match self.direction {
            Direction::Outbound => (pod, peer),
            Direction::Inbound | Direction::Plaintext => (peer, pod),
        };
        let telemetry = &self.worker.telemetry;
        self.record.between(&self.local.series.resolve(
            telemetry,
            self.direction,
            &self.backend,
            client,
            server,
        ));
        self.record.note(|it| {
            (it.client_identity, it.server_identity) = (client.cloned(), server.cloned());
        });
    }
}
