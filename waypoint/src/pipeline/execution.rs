//! How the decisions of a request are carried out. [`decide`](super::decide) is one path for every request: where it is served its decisions
//! are counted, waited for and sent; where it is explained they are written down, and nothing is sent, counted or waited for.

use super::access::PolicySet;
use super::authentication;
use super::callout::Callouts;
use super::limits::{self, Asked};
use super::sender::Sender;
use super::target::RouteTarget;
use super::{Origin, Reason};
use crate::authentication::{Refusal, Verdict, Verifier};
use crate::connection::Order;
use crate::route::hop::{Hop, Hops};
use crate::route::{ChosenBackend, RouteTable, RuleEntry};
use crate::settings::ProxySettings;
use crate::stage::callout::Callout;
use crate::table::{AccessTable, Authenticator, BoundListener};
use crate::telemetry::Exchange;
use crate::upstream::caller::Caller;
use crate::worker::Serving;
use fairway_config::model::{AuthenticationKey, BackendKey, CertificateKey, RateLimitKey, Scheme, SpiffeId};
use fairway_policy::{Decider, PolicyRefusal};
use fairway_telemetry::{RequestLabels, Series};
use http::HeaderValue;
use http::request::Parts;
use rand::rngs::SmallRng;
use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Who has sent a request, and what is done where decisions ask for more than a decision.
pub(crate) trait Execution<'t> {
    /// Where decisions are noted.
    type Notes: Notes<'t>;

    /// What the connection was made to.
    fn origin(&self) -> &'t Origin;

    /// Where the client is.
    fn caller(&self) -> &Caller;

    /// Who the client proved to be.
    fn identity(&self) -> Option<&SpiffeId>;

    /// The address of the client as a header.
    fn forwarded_for(&self) -> Option<&HeaderValue>;

    /// `https` if the proxy ended TLS, else `http`.
    fn scheme(&self) -> Scheme;

    /// The listener that takes the request, if it was looked up to find the client.
    fn listener(&self) -> Option<&'t Arc<BoundListener>>;

    /// The settings of the proxy.
    fn settings(&self) -> &ProxySettings;

    /// The key of this proxy's own endpoints, should it be a waypoint.
    fn waypoint_key(&self) -> &BackendKey;

    /// The randomness that stages use.
    fn rng(&self) -> &RefCell<SmallRng>;

    /// What stages ask other services by.
    fn callouts<'a>(&'a self, place: CalloutPlace<'a>) -> impl Callout + 'a;

    /// When a request must be over that began then, if its rule limits its time.
    fn deadline(&self, started: Instant, limit: Option<Duration>) -> Option<Instant>;

    /// One of the rule's backends; none if there is nothing to draw from.
    fn choose(&self, rule: &RuleEntry<'t>) -> Option<ChosenBackend<'t>>;

    /// Counts a request by these limits, or says that one refuses it.
    fn count(&self, asked: &[Asked<'t>], notes: &mut Self::Notes) -> Result<(), Reason>;

    /// What a policy says of the client's credentials, which asks for some.
    fn verify(
        &self,
        asked: authentication::Asked<'t>,
        notes: &mut Self::Notes,
        verify: impl FnOnce(&'t Verifier) -> Verdict<'t>,
    ) -> Verdict<'t>;

    /// Asks the client to connect anew: the Service is not this waypoint's any more.
    fn let_go(&self);
}

/// Where a stage stands that asks another service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CalloutPlace<'a> {
    /// The configuration that the request is served by.
    pub serving: &'a Serving,
    /// The port that was asked: of the listener or of the Service.
    pub port: u16,
    /// The certificate for backends that ask for one.
    pub shown: Option<&'a CertificateKey>,
    /// The rules that the request has passed.
    pub passed: &'a Hops,
    /// The rule that it is at.
    pub hop: &'a Hop,
}

/// Where the decisions of a request are noted.
pub(crate) trait Notes<'t> {
    /// When the request began.
    fn started(&self) -> Instant;

    /// A port of a Service was asked, which has these endpoints.
    fn asked(&mut self, backend: &BackendKey);

    /// Where its rule is looked up, or that it has none.
    fn found(&mut self, target: &RouteTarget<'t>);

    /// It was compared with the rules of a table; none takes it, or this one.
    fn compared(&mut self, table: &'t RouteTable, parts: &Parts, selected: Option<&RuleEntry<'t>>);

    /// Where it counts from here on.
    fn counts_in(&mut self, series: &Series<RequestLabels>);

    /// The backend that was chosen, and the head that goes there unless its stages change it.
    fn chosen(&mut self, backend: &ChosenBackend<'t>, parts: &Parts);

    /// A policy refuses it.
    fn denied(&mut self, refusal: &PolicyRefusal, access: &AccessTable);

    /// A policy that is only observed would refuse it.
    fn observed(&mut self, refusal: &PolicyRefusal, access: &AccessTable);

    /// All of these policies let it pass; the rule that allows it at the innermost level, if one does.
    fn allowed(&mut self, policies: &PolicySet<'t>, by: Option<Decider<'t>>);

    /// The client has not said who it is, as a policy asks for it, or would be refused for that if the policy were enforced.
    fn unauthenticated(&mut self, key: &AuthenticationKey, by: &Authenticator, refusal: &Refusal);

    /// An authentication closes what it is for.
    fn closed_by_authentication(&mut self, key: &AuthenticationKey);

    /// The limits of a policy close what they are for.
    fn closed_by(&mut self, key: &RateLimitKey);
}

// === impl Sender ===

impl<'t> Execution<'t> for Sender<'t> {
    type Notes = Exchange;

    fn origin(&self) -> &'t Origin {
        &self.client.origin
    }

    fn caller(&self) -> &Caller {
        self.caller()
    }

    fn identity(&self) -> Option<&SpiffeId> {
        self.client.identity.as_ref()
    }

    fn forwarded_for(&self) -> Option<&HeaderValue> {
        self.forwarded_for()
    }

    fn scheme(&self) -> Scheme {
        self.client.scheme
    }

    fn listener(&self) -> Option<&'t Arc<BoundListener>> {
        self.listener
    }

    fn settings(&self) -> &ProxySettings {
        &self.client.worker.settings
    }

    fn waypoint_key(&self) -> &BackendKey {
        &self.client.worker.waypoint_key
    }

    fn rng(&self) -> &RefCell<SmallRng> {
        &self.client.worker.rng
    }

    fn callouts<'a>(&'a self, place: CalloutPlace<'a>) -> impl Callout + 'a {
        Callouts { client: self.client, caller: self.caller(), place }
    }

    fn deadline(&self, started: Instant, limit: Option<Duration>) -> Option<Instant> {
        limit.map(|limit| started + limit)
    }

    fn choose(&self, rule: &RuleEntry<'t>) -> Option<ChosenBackend<'t>> {
        rule.choose(&mut *self.client.worker.rng.borrow_mut())
    }

    fn count(&self, asked: &[Asked<'t>], notes: &mut Exchange) -> Result<(), Reason> {
        limits::take(asked, self.client.worker.nanos(Instant::now()), notes)
    }

    fn verify(
        &self,
        asked: authentication::Asked<'t>,
        _: &mut Exchange,
        verify: impl FnOnce(&'t Verifier) -> Verdict<'t>,
    ) -> Verdict<'t> {
        verify(&asked.by.verifier)
    }

    fn let_go(&self) {
        self.client.connection.tell(Order::Finish);
    }
}

// === impl Exchange ===

impl<'t> Notes<'t> for Exchange {
    fn started(&self) -> Instant {
        self.started()
    }

    fn asked(&mut self, backend: &BackendKey) {
        self.note(|it| it.backend = Some(backend.clone()));
    }

    fn found(&mut self, target: &RouteTarget<'t>) {
        if let RouteTarget::Rules { listener, .. } = target {
            self.note(|it| it.listener = listener.map(|it| it.key.clone()));
        }
    }

    fn compared(&mut self, _: &'t RouteTable, _: &Parts, _: Option<&RuleEntry<'t>>) {}

    fn counts_in(&mut self, series: &Series<RequestLabels>) {
        self.matched(series);
    }

    fn chosen(&mut self, backend: &ChosenBackend<'t>, _: &Parts) {
        self.matched(backend.series);
    }

    fn denied(&mut self, refusal: &PolicyRefusal, access: &AccessTable) {
        self.denied(refusal, access);
    }

    fn observed(&mut self, refusal: &PolicyRefusal, access: &AccessTable) {
        self.observed(refusal, access);
    }

    fn allowed(&mut self, _: &PolicySet<'t>, _: Option<Decider<'t>>) {}

    fn unauthenticated(&mut self, key: &AuthenticationKey, by: &Authenticator, refusal: &Refusal) {
        self.unauthenticated(key, by, refusal);
    }

    fn closed_by_authentication(&mut self, key: &AuthenticationKey) {
        self.closed_by_authentication(key);
    }

    fn closed_by(&mut self, key: &RateLimitKey) {
        self.closed_by(key);
    }
}
