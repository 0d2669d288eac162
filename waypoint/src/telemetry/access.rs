//! The access log: one line for a request.

use crate::serve::Reason;
use fairway_config::model::{Generation, RouteKey, SpiffeId};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, Uri, header};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// What is remembered of a request for its line. All of it is shared with the request; nothing is formatted before the end.
#[derive(Debug)]
pub struct Entry {
    pub(super) sampled: Sampled,
    method: Method,
    target: Uri,
    host: Option<HeaderValue>,
    /// The client's address, and who it proved to be.
    pub client: (Option<IpAddr>, Option<SpiffeId>),
    /// The route and the rule that served it.
    pub route: Option<(RouteKey, usize)>,
    /// The endpoint that answered, and who it proved to be.
    pub endpoint: Option<(SocketAddr, Option<SpiffeId>)>,
    /// Tries beyond the first.
    pub retries: u32,
    /// The configuration it was served from.
    pub generation: Generation,
}

/// Whether a request that is remembered is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sampled {
    /// Yes.
    Always,
    /// If the proxy answered it with an error.
    IfError,
}

/// How a request ended.
pub(super) struct Outcome {
    pub status: StatusCode,
    pub reason: Option<Reason>,
    pub ended: &'static str,
    pub received: u64,
    pub sent: u64,
    pub until_head: Duration,
    pub total: Duration,
}

// === impl Entry ===

impl Entry {
    pub(super) fn new(sampled: Sampled, parts: &Parts) -> Self {
        Self {
            sampled,
            method: parts.method.clone(),
            target: parts.uri.clone(),
            host: parts.headers.get(header::HOST).cloned(),
            client: (None, None),
            route: None,
            endpoint: None,
            retries: 0,
            generation: Generation::default(),
        }
    }

    pub(super) fn write(&self, own: Option<&SpiffeId>, outcome: &Outcome) {
        if self.sampled == Sampled::IfError && outcome.reason.is_none() {
            return;
        }
        let authority = self.target.authority().map(|it| it.as_str());
        let host = authority.or_else(|| self.host.as_ref()?.to_str().ok()).unwrap_or_default();
        let (route, rule) = self.route.as_ref().map_or(("", 0), |(route, rule)| (route.as_str(), *rule));
        let endpoint = self.endpoint.as_ref();
        tracing::info!(
            target: "access",
            method = self.method.as_str(),
            host,
            path = self.target.path(),
            status = outcome.status.as_u16(),
            reason = outcome.reason.map(Reason::label).unwrap_or_default(),
            ended = outcome.ended,
            route,
            rule,
            client = self.client.0.map(tracing::field::display),
            client_identity = self.client.1.as_ref().map(SpiffeId::as_str),
            own_identity = own.map(SpiffeId::as_str),
            endpoint = endpoint.map(|(address, _)| tracing::field::display(address)),
            endpoint_identity = endpoint.and_then(|(_, identity)| identity.as_ref()).map(SpiffeId::as_str),
            retries = self.retries,
            bytes_received = outcome.received,
            bytes_sent = outcome.sent,
            head_us = u64::try_from(outcome.until_head.as_micros()).unwrap_or(u64::MAX),
            total_us = u64::try_from(outcome.total.as_micros()).unwrap_or(u64::MAX),
            generation = self.generation.0,
        );
    }
}
