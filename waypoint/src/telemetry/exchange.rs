//! A request from its head to the last byte of its response: recorded when it is dropped, whatever became of it.

use super::{Telemetry, describe_limit, describe_limits, outcome};
use crate::authentication::Refusal;
use crate::body::Progress;
use crate::connection::Connection;
use crate::reason::Reason;
use crate::table::{AccessTable, Authenticator, Counted};
use fairway_config::model::{AuthenticationKey, ClientTreatment, RateLimitKey, SpiffeId};
use fairway_policy::PolicyRefusal;
use fairway_telemetry::{
    ClientAddress, Details, LimitDecision, Outcome, PolicyDecision, Record, RequestLabels, Series, Trust,
    describe_denial,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, StatusCode};
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use tokio::time::Instant;

/// A request from its head to the last byte of its response.
pub struct Exchange {
    telemetry: Rc<Telemetry>,
    connection: Rc<Connection>,
    /// Its place among the requests of the connection.
    place: usize,
    record: Record,
    reason: Option<Reason>,
    received: Option<Rc<Progress>>,
    is_grpc: bool,
}

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

// === impl Exchange ===

impl Exchange {
    /// Counts a request as begun; it has ended when this is dropped.
    pub fn begin(telemetry: &Rc<Telemetry>, connection: &Rc<Connection>, parts: &Parts) -> Self {
        telemetry.counters.begin();
        let mut record = Record::request(&telemetry.recorder, parts);
        record.note(|it| it.connection_id = Some(connection.id(|| telemetry.recorder.connection_id())));
        Self {
            telemetry: telemetry.clone(),
            connection: connection.clone(),
            place: connection.paces.open(),
            record,
            reason: None,
            received: None,
            is_grpc: false,
        }
    }

    /// When the request began: its duration and its timeouts count from here.
    pub fn started(&self) -> Instant {
        self.record.started()
    }

    /// For the log, if this request is remembered for it.
    pub fn note(&mut self, note: impl FnOnce(&mut Details)) {
        self.record.note(note);
    }

    /// Who has sent it: where the client is, the identity it has proved, and the peer of the connection where that is somebody else.
    pub fn comes_from(&mut self, client: Option<IpAddr>, identity: Option<&SpiffeId>, peer: Option<IpAddr>) {
        self.record.note(|it| {
            it.client = client.map(ClientAddress::Ip);
            it.client_identity = identity.cloned();
            it.peer = peer;
        });
    }

    /// Gives the request its id.
    pub fn identify(&mut self, headers: &mut HeaderMap, trust: Trust) {
        self.record.identify(headers, trust);
    }

    /// Gives the request its id; a new one sorts by its time.
    pub fn identify_in_time(&mut self, headers: &mut HeaderMap, trust: Trust) {
        self.record.identify_in_time(headers, trust);
    }

    /// The rule that takes it, or the backend that was chosen. The last call counts.
    pub fn matched(&mut self, series: &Series<RequestLabels>) {
        self.record.matched(series);
    }

    /// A policy refuses it.
    pub fn denied(&mut self, refusal: &PolicyRefusal, access: &AccessTable) {
        self.count(refusal, access, PolicyDecision::Denied);
        self.record.note(|it| it.detail = Some(format!("denied by {}", describe_denial(refusal))));
    }

    /// A policy that is only observed would refuse it.
    pub fn observed(&mut self, refusal: &PolicyRefusal, access: &AccessTable) {
        self.count(refusal, access, PolicyDecision::WouldDeny);
        self.record.note(|it| {
            it.detail = Some(format!("would be denied by {}", describe_denial(refusal)));
            it.is_observed = true;
        });
    }

    /// A client has not said who it is, as a policy asks for it, or would be refused for that if the policy were enforced.
    pub fn unauthenticated(&mut self, key: &AuthenticationKey, by: &Authenticator, refusal: &Refusal) {
        let is_observed = by.verifier.is_observed();
        let decision = if is_observed { PolicyDecision::WouldDeny } else { PolicyDecision::Denied };
        if let Some(series) = by.series(refusal.method) {
            self.telemetry.recorder.count_policy(series, decision);
        }
        self.record.note(|it| {
            let would = if is_observed { "would be denied" } else { "denied" };
            let (policy, method, why) = (key.policy(), refusal.method, refusal.why);
            it.detail = Some(format!("{would} by policy=\"{policy}\" rule=\"{method}\": {why}"));
            it.is_observed |= is_observed;
        });
    }

    /// An authentication closes what it is for: it is not known, or cannot be carried out.
    pub fn closed_by_authentication(&mut self, key: &AuthenticationKey) {
        self.record.note(|it| it.detail = Some(format!("closed by policy=\"{}\"", key.policy())));
    }

    /// A limit refuses it, or would if it were enforced.
    pub fn limited(&mut self, key: &RateLimitKey, counted: &Counted, decision: LimitDecision) {
        self.telemetry.recorder.count_limit(&counted.series, decision);
        self.record.note(|it| {
            let (by, is_observed) = match decision {
                LimitDecision::Limited => ("limited by", it.is_observed),
                LimitDecision::WouldLimit => ("would be limited by", true),
            };
            it.detail = Some(format!("{by} {}", describe_limit(key, &counted.name)));
            it.is_observed = is_observed;
        });
    }

    /// The limits of a policy close what they are for: they are not known, or cannot be carried out.
    pub fn closed_by(&mut self, key: &RateLimitKey) {
        self.record.note(|it| it.detail = Some(format!("closed by {}", describe_limits(key))));
    }

    fn count(&self, refusal: &PolicyRefusal, access: &AccessTable, decision: PolicyDecision) {
        if let Some(series) = access.series(refusal) {
            self.telemetry.recorder.count_policy(series, decision);
        }
    }

    /// It is a call of gRPC.
    pub fn speaks_grpc(&mut self) {
        self.is_grpc = true;
    }

    /// The header or the trailers of an endpoint's response, in either of which gRPC says how the call ended.
    pub fn ended_as_said_in(&mut self, fields: &HeaderMap) {
        if self.is_grpc
            && let Some(status) = fields.get(&GRPC_STATUS)
        {
            self.record.grpc_status(status);
        }
    }

    /// The head of the response is there.
    pub fn answered(&mut self, status: StatusCode, at: Instant) {
        self.record.responded(status, at);
        self.connection.paces.answered(self.place);
    }

    /// The proxy itself answers.
    pub fn answered_because(&mut self, status: StatusCode, reason: Reason) {
        self.reason = Some(reason);
        self.record.refused(outcome::of_reason(reason), reason.label());
        self.answered(status, Instant::now());
    }

    /// The request has a body; how far it is. A patient one is a stream of messages, which may be silent.
    pub fn receives(&mut self, progress: Rc<Progress>, patient: bool) {
        self.connection.paces.receives(self.place, progress.clone(), patient);
        self.received = Some(progress);
    }

    /// The listener that takes the request treats its client so.
    pub fn treat_as(&self, treatment: &Arc<ClientTreatment>) {
        self.connection.paces.treat_as(self.place, treatment);
    }

    /// The client can take more of the response's body.
    pub fn asked(&self) {
        self.connection.paces.asked(self.place);
    }

    /// Bytes of the response's body that were handed on.
    pub fn sent(&mut self, bytes: usize) {
        self.record.add_sent(bytes as u64);
        self.connection.paces.sent(self.place, bytes);
    }

    /// A stage closes the connection: there is no response.
    pub fn closed(&mut self) {
        self.record.refused(Outcome::Refused, "closed");
    }

    /// The endpoint broke off in the middle of its response.
    pub fn broke_off(&mut self) {
        self.record.ended(Outcome::ServerAborted);
    }

    /// The route's time limit passed in the middle of the response.
    pub fn cut_off(&mut self) {
        self.record.ended(Outcome::TimedOut);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.connection.paces.close(self.place);
        self.connection.end();
        self.telemetry.counters.end(self.reason);
        if let Some(progress) = &self.received {
            self.record.set_received(progress.bytes());
        }
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("record", &self.record).finish_non_exhaustive()
    }
}
