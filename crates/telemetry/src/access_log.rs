//! The access log: one line for a record. Every proxy and tunnel writes it with the fields below and no others.

use crate::id::ConnectionId;
use crate::labels::{Direction, RuleName, split};
use crate::outcome::Outcome;
use fairway_config::model::{BackendKey, Generation, ListenerKey, RouteKey, WorkloadKey};
use fairway_identity::SpiffeId;
use http::{HeaderValue, Method, StatusCode, Uri};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Which records are logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccessLog {
    /// No record is logged.
    #[default]
    Off,
    /// Those that have a reason: the proxy itself answered with an error, or refused to carry.
    Errors,
    /// Those that have a reason, and of the others one in this many.
    OneIn(u32),
    /// All, as [`AccessLog::OneIn`] one, but of those that have a reason only so many that a peer does not fill the log: nobody has
    /// asked for them.
    Carried,
}

/// Whether a record that is remembered is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sampled {
    Always,
    IfError,
}

/// Where a client is. A proxy that is told of it by a header knows no port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAddress {
    /// An address without a port.
    Ip(IpAddr),
    /// An address and a port.
    Socket(SocketAddr),
}

/// What is remembered of a request or connection for its line. Everything is shared with the request; nothing is formatted
/// before the end.
#[derive(Debug, Default)]
pub struct Details {
    /// What the request asks for; none for a connection of which only the bytes are known.
    pub request: Option<RequestLine>,
    /// The `x-request-id` that the request has.
    pub request_id: Option<HeaderValue>,
    /// The number of the connection, or of the one that the request came on.
    pub connection_id: Option<ConnectionId>,
    /// What is spoken: `tcp`, `tls`, `udp`, …
    pub protocol: Option<&'static str>,
    /// The pod of the tunnel's node that it is from or to.
    pub pod: Option<WorkloadKey>,
    /// The listener that took it.
    pub listener: Option<ListenerKey>,
    /// The Service and port that were dialled.
    pub service: Option<Arc<str>>,
    /// The server's name that the client gave in TLS.
    pub sni: Option<Arc<str>>,
    /// The route that took it.
    pub route: Option<RouteKey>,
    /// The rule of the route.
    pub rule: Option<RuleName>,
    /// The backend that was chosen.
    pub backend: Option<BackendKey>,
    /// Where the client is.
    pub client: Option<ClientAddress>,
    /// Who the client proved to be.
    pub client_identity: Option<SpiffeId>,
    /// Who the server proved to be: the proxy itself, or the far end of a tunnel.
    pub server_identity: Option<SpiffeId>,
    /// The address that was dialled.
    pub destination: Option<SocketAddr>,
    /// How the tunnel reached it: `tunnel`, `waypoint`, `plain`, `passthrough`.
    pub via: Option<&'static str>,
    /// The endpoint that a proxy chose.
    pub endpoint: Option<SocketAddr>,
    /// Who the endpoint proved to be.
    pub endpoint_identity: Option<SpiffeId>,
    /// Tries beyond the first.
    pub retries: u32,
    /// What the reason leaves open, in words.
    pub detail: Option<String>,
    /// Whether a policy that is only observed would have refused it: then its line is written whatever became of it.
    pub is_observed: bool,
    /// The configuration that it was decided by.
    pub generation: Generation,
}

/// What a request asks for.
#[derive(Debug)]
pub struct RequestLine {
    /// The method as the client sent it.
    pub method: Method,
    /// The target; only its authority and path are logged.
    pub target: Uri,
    /// The Host header, for targets without an authority.
    pub host: Option<HeaderValue>,
}

/// What a line says of every record, beside its [`Details`].
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) direction: Option<Direction>,
    pub(crate) outcome: Outcome,
    pub(crate) reason: Option<&'static str>,
    pub(crate) status: Option<StatusCode>,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) until_head: Option<Duration>,
    pub(crate) took: Duration,
    /// Lines like this one that were left out before it.
    pub(crate) suppressed: u64,
}

// === impl Details ===

impl Details {
    /// Writes the line. A field that has no value is left out.
    pub(crate) fn write(&self, measured: &Measured) {
        let request = self.request.as_ref();
        let (service, port) = split(self.backend.as_ref());
        tracing::info!(
            target: "fairway::access",
            direction = measured.direction.map(Direction::label),
            protocol = self.protocol,
            method = request.map(|it| it.method.as_str()),
            host = request.and_then(RequestLine::host),
            path = request.map(|it| it.target.path()),
            status = measured.status.map(|it| it.as_u16()),
            outcome = measured.outcome.label(),
            reason = measured.reason,
            detail = self.detail.as_deref(),
            pod = self.pod.as_ref().map(WorkloadKey::as_str),
            listener = self.listener.as_ref().map(ListenerKey::as_str),
            service = self.service.as_deref(),
            sni = self.sni.as_deref(),
            route = self.route.as_ref().map(RouteKey::as_str),
            rule = self.rule.as_ref().map(display),
            backend = present(service),
            backend_port = present(port),
            client = self.client.map(display),
            client_identity = self.client_identity.as_ref().map(SpiffeId::as_str),
            server_identity = self.server_identity.as_ref().map(SpiffeId::as_str),
            destination = self.destination.map(display),
            via = self.via,
            endpoint = self.endpoint.map(display),
            endpoint_identity = self.endpoint_identity.as_ref().map(SpiffeId::as_str),
            retries = (self.retries > 0).then_some(self.retries),
            received_bytes = measured.received,
            sent_bytes = measured.sent,
            head_seconds = measured.until_head.map(seconds),
            duration_seconds = seconds(measured.took),
            request_id = self.request_id.as_ref().and_then(|it| it.to_str().ok()),
            connection_id = self.connection_id.map(display),
            suppressed = (measured.suppressed > 0).then_some(measured.suppressed),
            generation = self.generation.0,
        );
    }
}

// === impl RequestLine ===

impl RequestLine {
    fn host(&self) -> Option<&str> {
        let authority = self.target.authority().map(|it| it.as_str());
        authority.or_else(|| self.host.as_ref()?.to_str().ok())
    }
}

// === impl ClientAddress ===

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => fmt::Display::fmt(ip, f),
            Self::Socket(address) => fmt::Display::fmt(address, f),
        }
    }
}

fn present(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// In whole microseconds: a clock says no more, and the digits behind them would only be noise.
fn seconds(duration: Duration) -> f64 {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    micros as f64 / 1e6
}
