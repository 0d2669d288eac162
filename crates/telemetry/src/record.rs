//! The record of a request or a connection, from its first byte to its last.

use crate::access_log::{AccessLog, Details, Measured, RequestLine, Sampled};
use crate::id::{ConnectionId, Ids, REQUEST_ID, Trust};
use crate::labels::{ConnectionLabels, Direction, LimitLabels, PlaintextLabels, PolicyLabels, RequestLabels};
use crate::line_budget::LineBudget;
use crate::outcome::{LimitDecision, Outcome, Plaintext, PolicyDecision, ResponseClass};
use crate::series::{Series, Tally};
use crate::telemetry::Telemetry;
use fairway_identity::SpiffeId;
use fairway_runtime::workers::WorkerId;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;
use tokio::time::Instant;

/// What one worker records with. It stays on the worker's thread.
#[derive(Debug)]
pub struct Recorder {
    worker: WorkerId,
    telemetry: Telemetry,
    log: AccessLog,
    until_logged: Cell<u32>,
    server_identity: Option<SpiffeId>,
    ids: RefCell<Ids>,
    refusals: RefCell<LineBudget>,
}

/// A request or a connection. It is counted, and its line is written, when it is dropped, whatever became of it.
#[derive(Debug)]
pub struct Record {
    recorder: Rc<Recorder>,
    kind: Kind,
    started: Instant,
    response: Option<(StatusCode, Instant)>,
    class: Option<ResponseClass>,
    outcome: Option<Outcome>,
    reason: Option<&'static str>,
    received: u64,
    sent: u64,
    tally: Option<Arc<Tally>>,
    sampled: Sampled,
    details: Option<Box<Details>>,
}

/// What a record is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Request,
    Connection(Direction),
}

// === impl Recorder ===

impl Recorder {
    pub(crate) fn new(
        telemetry: Telemetry,
        worker: WorkerId,
        log: AccessLog,
        server_identity: Option<SpiffeId>,
    ) -> Self {
        Self {
            worker,
            telemetry,
            log,
            until_logged: Cell::new(0),
            server_identity,
            ids: RefCell::default(),
            refusals: RefCell::default(),
        }
    }

    /// The number of a new connection.
    pub fn connection_id(&self) -> ConnectionId {
        self.ids.borrow_mut().connection()
    }

    /// Counts a connection past the mesh's mTLS.
    pub fn count_plaintext(&self, series: &Series<PlaintextLabels>, kind: Plaintext) {
        if let Some(tally) = series.tally(self.worker) {
            tally.count(kind.index());
        }
    }

    /// Counts what a policy decided against a request or a connection.
    pub fn count_policy(&self, series: &Series<PolicyLabels>, decision: PolicyDecision) {
        if let Some(tally) = series.tally(self.worker) {
            tally.count(decision.index());
        }
    }

    /// Counts what a limit decided against a request.
    pub fn count_limit(&self, series: &Series<LimitLabels>, decision: LimitDecision) {
        if let Some(tally) = series.tally(self.worker) {
            tally.count(decision.index());
        }
    }

    /// Whether a record is remembered for the log, and if so whether it is logged in any case.
    fn sample(&self) -> Option<Sampled> {
        if self.log == AccessLog::Off || !tracing::enabled!(target: "fairway::access", tracing::Level::INFO) {
            return None;
        }
        match self.log {
            AccessLog::Off => None,
            AccessLog::Errors => Some(Sampled::IfError),
            AccessLog::Carried => Some(Sampled::Always),
            AccessLog::OneIn(many) => {
                let left = self.until_logged.get();
                self.until_logged.set(if left == 0 { many.saturating_sub(1) } else { left - 1 });
                Some(if left == 0 { Sampled::Always } else { Sampled::IfError })
            }
        }
    }
}

// === impl Record ===

impl Record {
    /// A request begins: its head has been read.
    pub fn request(recorder: &Rc<Recorder>, parts: &Parts) -> Self {
        let mut record = Self::begin(recorder, Kind::Request);
        record.note(|details| {
            details.request = Some(RequestLine {
                method: parts.method.clone(),
                target: parts.uri.clone(),
                host: parts.headers.get(header::HOST).cloned(),
            });
        });
        record
    }

    /// A connection begins, of which only the bytes are known.
    pub fn connection(recorder: &Rc<Recorder>, direction: Direction) -> Self {
        let mut record = Self::begin(recorder, Kind::Connection(direction));
        if record.details.is_some() {
            let id = recorder.connection_id();
            record.note(|details| details.connection_id = Some(id));
        }
        record
    }

    fn begin(recorder: &Rc<Recorder>, kind: Kind) -> Self {
        let sampled = recorder.sample();
        let details = || Details { server_identity: recorder.server_identity.clone(), ..Details::default() };
        Self {
            recorder: recorder.clone(),
            kind,
            started: Instant::now(),
            response: None,
            class: None,
            outcome: None,
            reason: None,
            received: 0,
            sent: 0,
            tally: None,
            sampled: sampled.unwrap_or(Sampled::IfError),
            details: sampled.map(|_| Box::new(details())),
        }
    }

    /// When it began: the first instant of its duration.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// For its line, if it is remembered for one.
    pub fn note(&mut self, note: impl FnOnce(&mut Details)) {
        if let Some(details) = &mut self.details {
            note(details);
        }
    }

    /// Gives the request its id: the one in its headers, if that is trusted, or a new one, which is put there.
    pub fn identify(&mut self, headers: &mut HeaderMap, trust: Trust) {
        self.recorder.ids.borrow_mut().identify(headers, trust);
        self.note(|details| details.request_id = headers.get(&REQUEST_ID).cloned());
    }

    /// The same, with new ids that sort by their time.
    pub fn identify_in_time(&mut self, headers: &mut HeaderMap, trust: Trust) {
        self.recorder.ids.borrow_mut().identify_in_time(headers, trust, SystemTime::now());
        self.note(|details| details.request_id = headers.get(&REQUEST_ID).cloned());
    }

    /// What the request was matched to. The last call counts.
    pub fn matched(&mut self, series: &Series<RequestLabels>) {
        self.tally = series.tally(self.recorder.worker).cloned();
        if let (Some(details), Some(labels)) = (&mut self.details, series.labels()) {
            if let Some((route, rule)) = &labels.rule {
                (details.route, details.rule) = (Some(route.clone()), Some(rule.clone()));
            }
            details.backend.clone_from(&labels.backend);
        }
    }

    /// Who talks to whom. The last call counts.
    pub fn between(&mut self, series: &Series<ConnectionLabels>) {
        self.tally = series.tally(self.recorder.worker).cloned();
        if let (Some(details), Some(labels)) = (&mut self.details, series.labels()) {
            details.route.clone_from(&labels.route);
            details.backend.clone_from(&labels.backend);
        }
    }

    /// The head of the response is there.
    pub fn responded(&mut self, status: StatusCode, at: Instant) {
        self.response = Some((status, at));
    }

    /// The response is one of gRPC, and ended with this `grpc-status`: that, and not the HTTP status, says what became of it.
    pub fn grpc_status(&mut self, status: &HeaderValue) {
        self.class = ResponseClass::of_grpc(status.as_bytes()).or(self.class);
    }

    /// The proxy or tunnel itself decides the end, and why: one word.
    pub fn refused(&mut self, outcome: Outcome, reason: &'static str) {
        (self.outcome, self.reason) = (Some(outcome), Some(reason));
    }

    /// How it ends. Of a request: nothing was amiss before the call.
    pub fn ended(&mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
    }

    /// Bytes that came from the client, all together.
    pub fn set_received(&mut self, bytes: u64) {
        self.received = bytes;
    }

    /// Bytes that went to the client, all together.
    pub fn set_sent(&mut self, bytes: u64) {
        self.sent = bytes;
    }

    /// More bytes went to the client.
    pub fn add_sent(&mut self, bytes: u64) {
        self.sent += bytes;
    }

    fn outcome(&self) -> Outcome {
        match (self.outcome, self.kind, self.response) {
            (Some(outcome), _, _) => outcome,
            // A request that is dropped without a response: the client did not wait for it.
            (None, Kind::Request, None) => Outcome::ClientAborted,
            (None, Kind::Request, Some(_)) => Outcome::Completed,
            // The task that carried it was ended.
            (None, Kind::Connection(_), _) => Outcome::Terminated,
        }
    }

    fn count(&self, took: Duration) {
        let Recorder { telemetry, worker, .. } = &*self.recorder;
        let result = match (self.kind, self.class, self.response) {
            (Kind::Connection(_), _, _) => self.outcome().index(),
            (Kind::Request, Some(class), Some((StatusCode::OK, _))) => class.index(),
            (Kind::Request, _, response) => {
                ResponseClass::from_status(response.map(|(status, _)| status)).index()
            }
        };
        let tally = match (&self.tally, self.kind) {
            (Some(tally), _) if !tally.is_retired() => Some(tally),
            // Its object was removed meanwhile.
            (Some(_), Kind::Request) => telemetry.requests().other().tally(*worker),
            (Some(_), Kind::Connection(_)) => telemetry.connections().other().tally(*worker),
            (None, Kind::Request) => telemetry.unmatched().tally(*worker),
            (None, Kind::Connection(direction)) => telemetry.unknown(direction).tally(*worker),
        };
        if let Some(tally) = tally {
            tally.count(result);
            tally.measure(took, self.received, self.sent);
        }
    }

    /// Whether the line is written: then how many like it were left out before.
    fn admit(&self, details: &Details, now: Instant) -> Option<u64> {
        let is_refused = self.reason.is_some() || details.is_observed;
        match self.sampled {
            Sampled::Always if !is_refused || self.recorder.log != AccessLog::Carried => Some(0),
            Sampled::IfError if !is_refused => None,
            _ => {
                let Details { pod, listener, service, route, backend, .. } = details;
                let place = (self.reason, details.is_observed, pod, listener, service, route, backend);
                self.recorder.refusals.borrow_mut().admit(place, now)
            }
        }
    }

    fn measured(&self, took: Duration, suppressed: u64) -> Measured {
        Measured {
            direction: match self.kind {
                Kind::Request => None,
                Kind::Connection(direction) => Some(direction),
            },
            outcome: self.outcome(),
            reason: self.reason,
            status: self.response.map(|(status, _)| status),
            received: self.received,
            sent: self.sent,
            until_head: self.response.map(|(_, at)| at.saturating_duration_since(self.started)),
            took,
            suppressed,
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let now = Instant::now();
        let took = now.saturating_duration_since(self.started);
        self.count(took);
        if let Some(details) = &self.details
            && let Some(suppressed) = self.admit(details, now)
        {
            details.write(&self.measured(took, suppressed));
        }
    }
}
