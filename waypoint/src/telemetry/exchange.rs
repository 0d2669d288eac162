//! A request from its head to the last byte of its response: counted when it is dropped, whatever became of it.

use super::access::Outcome;
use super::{Entry, Telemetry};
use crate::body::Progress;
use crate::listen::connection::Connection;
use crate::pipeline::Reason;
use http::StatusCode;
use http::request::Parts;
use std::fmt;
use std::rc::Rc;
use tokio::time::Instant;

/// A request from its head to the last byte of its response.
pub struct Exchange {
    telemetry: Rc<Telemetry>,
    connection: Rc<Connection>,
    /// Its place among the requests of the connection.
    place: usize,
    started: Instant,
    answered: Option<(StatusCode, Instant)>,
    reason: Option<Reason>,
    sent: u64,
    received: Option<Rc<Progress>>,
    ended: Ended,
    entry: Option<Box<Entry>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// As far as is known, the client has it all.
    Whole,
    /// The endpoint broke off.
    BrokeOff,
    /// The route's time limit cut it off.
    CutOff,
}

// === impl Exchange ===

impl Exchange {
    /// A request begins.
    pub fn begin(telemetry: &Rc<Telemetry>, connection: &Rc<Connection>, parts: &Parts) -> Self {
        telemetry.counters.begin();
        Self {
            telemetry: telemetry.clone(),
            connection: connection.clone(),
            place: connection.paces.open(),
            started: Instant::now(),
            answered: None,
            reason: None,
            sent: 0,
            received: None,
            ended: Ended::Whole,
            entry: telemetry.samples().map(|sampled| Box::new(Entry::new(sampled, parts))),
        }
    }

    /// When it began.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// For the log, if this request is remembered for it.
    pub fn note(&mut self, note: impl FnOnce(&mut Entry)) {
        if let Some(entry) = &mut self.entry {
            note(entry);
        }
    }

    /// The head of the response is there.
    pub fn answered(&mut self, status: StatusCode, at: Instant) {
        self.answered = Some((status, at));
        self.connection.paces.answered(self.place);
    }

    /// The proxy itself answers.
    pub fn answered_because(&mut self, status: StatusCode, reason: Reason) {
        self.reason = Some(reason);
        self.answered(status, Instant::now());
    }

    /// The request has a body; how far it is. A patient one is a stream of messages, which may be silent.
    pub fn receives(&mut self, progress: Rc<Progress>, patient: bool) {
        self.connection.paces.receives(self.place, progress.clone(), patient);
        self.received = Some(progress);
    }

    /// The client can take more of the response's body.
    pub fn asked(&self) {
        self.connection.paces.asked(self.place);
    }

    /// Bytes of the response's body that were handed on.
    pub fn sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
        self.connection.paces.sent(self.place, bytes);
    }

    /// The endpoint broke off in the middle of its response.
    pub fn broke_off(&mut self) {
        self.ended = Ended::BrokeOff;
    }

    /// The route's time limit passed in the middle of the response.
    pub fn cut_off(&mut self) {
        self.ended = Ended::CutOff;
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.connection.paces.close(self.place);
        self.connection.end();
        let now = Instant::now();
        let total = now.saturating_duration_since(self.started);
        self.telemetry.counters.end(self.answered.map(|(status, _)| status), self.reason, total);
        let Some(entry) = &self.entry else { return };
        let (status, at) = self.answered.unwrap_or((StatusCode::default(), now));
        entry.write(
            self.telemetry.identity.as_ref(),
            &Outcome {
                status,
                reason: self.reason,
                ended: match (self.answered, self.ended) {
                    (None, _) => "client_gone",
                    (_, Ended::Whole) => "whole",
                    (_, Ended::BrokeOff) => "endpoint_broke_off",
                    (_, Ended::CutOff) => "cut_off",
                },
                received: self.received.as_ref().map_or(0, |it| it.bytes()),
                sent: self.sent,
                until_head: at.saturating_duration_since(self.started),
                total,
            },
        );
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("answered", &self.answered).finish_non_exhaustive()
    }
}
