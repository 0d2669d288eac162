//! What is kept of a connection while it lives, and said of it once when it ends.

use super::revocation::Admission;
use super::{Door, Worker};
use crate::decide::{Established, Revoked};
use crate::pod::LocalPod;
use crate::view::ConnectionView;
use fairway_config::model::Generation;
use fairway_hbone::{Ended, Side, Transfer};
use fairway_identity::SpiffeId;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
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
    admission: Option<Admission>,
}

/// What is said of a connection that has ended.
struct Line<'a> {
    direction: &'static str,
    pod: &'a str,
    client: SocketAddr,
    destination: Option<SocketAddr>,
    /// Who the pod is, and who is at the far end.
    identities: (Option<&'a SpiffeId>, Option<&'a SpiffeId>),
    way: &'static str,
    outcome: Outcome,
    reason: Option<&'a str>,
    bytes: (u64, u64),
    took: Duration,
    generation: Generation,
}

impl Outcome {
    pub(super) const ALL: [Self; 6] =
        [Self::Closed, Self::Broken, Self::Refused, Self::Unreachable, Self::NoIdentity, Self::CutOff];

    /// As metrics have it.
    fn label(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Broken => "broken",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::NoIdentity => "no_identity",
            Self::CutOff => "cut_off",
        }
    }
}

impl Line<'_> {
    fn write(&self) {
        // Of the two the client is the one that connects, on whichever side of it this tunnel is.
        let (client, server) = match (self.direction, self.identities) {
            ("outbound", (pod, far)) => (pod, far),
            (_, (pod, far)) => (far, pod),
        };
        let reason = match (self.reason, self.outcome) {
            (None, Outcome::CutOff) => Some("the pod is gone, or the tunnel has come to its end"),
            (reason, _) => reason,
        };
        tracing::info!(
            target: "fairway::access",
            direction = self.direction,
            pod = self.pod,
            client = %self.client,
            destination = self.destination.map(tracing::field::display),
            client_identity = client.map(SpiffeId::as_str),
            server_identity = server.map(SpiffeId::as_str),
            way = self.way,
            outcome = self.outcome.label(),
            reason,
            sent = self.bytes.0,
            received = self.bytes.1,
            milliseconds = u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
            generation = self.generation.0,
            "connection"
        );
    }
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
            admission: None,
        }
    }

    /// By which configuration, to where.
    pub(super) fn decided(&mut self, generation: Generation, destination: SocketAddr) {
        self.generation = generation;
        self.destination = Some(destination);
    }

    /// It is about to be carried. From here on it ends when a commit says that it is not admitted any more.
    pub(super) fn admit(&mut self, established: Established) -> Result<(), Revoked> {
        self.admission = Some(self.worker.admit(&self.pod, established)?);
        Ok(())
    }

    /// Its admission, for whoever carries it and has this account besides.
    pub(super) fn take_admission(&mut self) -> Option<Admission> {
        self.admission.take()
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
        let line = Line {
            direction: self.direction(),
            pod: self.pod.key.as_str(),
            client: self.client,
            destination: self.destination,
            identities: (self.pod.id(), self.peer.as_ref()),
            way: self.way,
            outcome: self.outcome,
            reason: self.reason.as_deref(),
            bytes: (self.sent, self.received),
            took: self.since.elapsed(),
            generation: self.generation,
        };
        line.write();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairway_runtime::logs::{Format, logged};

    fn write(format: Format, change: impl FnOnce(&mut Line<'_>)) -> String {
        let id = |account: &str| format!("spiffe://cluster.local/ns/shop/sa/{account}").parse().unwrap();
        let (pod, far): (SpiffeId, SpiffeId) = (id("pod"), id("far"));
        let mut line = Line {
            direction: "outbound",
            pod: "shop/pod-1",
            client: ([10, 7, 0, 10], 40000).into(),
            destination: Some(([10, 96, 0, 1], 80).into()),
            identities: (Some(&pod), Some(&far)),
            way: "tunnel",
            outcome: Outcome::Closed,
            reason: None,
            bytes: (5, 7),
            took: Duration::from_millis(30),
            generation: Generation(42),
        };
        change(&mut line);
        logged(format, || line.write()).join("\n")
    }

    #[test]
    fn a_line_says_who_talked_to_whom_how_and_why_not() {
        assert_eq!(
            write(Format::Text, |_| {}),
            "INFO fairway::access: connection direction=\"outbound\" pod=\"shop/pod-1\" client=10.7.0.10:40000 \
             destination=10.96.0.1:80 client_identity=\"spiffe://cluster.local/ns/shop/sa/pod\" \
             server_identity=\"spiffe://cluster.local/ns/shop/sa/far\" way=\"tunnel\" outcome=\"closed\" sent=5 received=7 \
             milliseconds=30 generation=42"
        );
        let inbound = write(Format::Text, |it| it.direction = "inbound");
        assert!(inbound.contains("client_identity=\"spiffe://cluster.local/ns/shop/sa/far\""), "{inbound}");
        assert_eq!(
            write(Format::Json, |it| {
                (it.direction, it.outcome) = ("plaintext", Outcome::Refused);
                (it.identities.1, it.reason) = (None, Some("this pod takes mTLS only"));
            }),
            "\"level\":\"INFO\",\"message\":\"connection\",\"direction\":\"plaintext\",\"pod\":\"shop/pod-1\",\
             \"client\":\"10.7.0.10:40000\",\"destination\":\"10.96.0.1:80\",\
             \"server_identity\":\"spiffe://cluster.local/ns/shop/sa/pod\",\"way\":\"tunnel\",\"outcome\":\"refused\",\
             \"reason\":\"this pod takes mTLS only\",\"sent\":5,\"received\":7,\"milliseconds\":30,\"generation\":42,\
             \"target\":\"fairway::access\"}"
        );
    }

    #[test]
    fn every_end_that_is_no_good_end_has_a_reason() {
        let line = write(Format::Text, |it| it.outcome = Outcome::CutOff);
        assert!(line.contains("outcome=\"cut_off\" reason=\"the pod is gone"), "{line}");
    }
}
