//! What an operator may turn, and the limits that hold when nothing is turned.

use fairway_balance::Locality;
use fairway_config::model::{BackendKey, ClientLimits, ClientTimeouts, ObjectName, SpiffeId};
use fairway_telemetry::{AccessLog, DEFAULT_SERIES};
use std::num::NonZeroUsize;
use std::time::Duration;

/// Settings of one proxy; the configuration (routes, listeners, endpoints) is not among them.
#[derive(Clone, Debug)]
pub struct ProxySettings {
    /// The Gateway object this proxy runs for.
    pub gateway: ObjectName,
    /// Threads that serve, each with listeners, connections and pools of its own.
    pub workers: NonZeroUsize,
    /// The proxy's own identity; with it mesh endpoints are reached and tunnels taken.
    pub identity: Option<SpiffeId>,
    /// Bounds on what a peer can make the proxy hold.
    pub limits: Limits,
    /// How long the proxy waits for peers.
    pub timeouts: Timeouts,
    /// Which requests the access log tells of.
    pub access_log: AccessLog,
    /// Series that metrics keep apart.
    pub series: usize,
    /// Where the proxy is.
    pub locality: Locality,
}

/// Bounds on what a peer can make the proxy hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's or response's head (HTTP/1: all lines; HTTP/2: the decoded header list).
    pub head_bytes: usize,
    /// Header fields of a request.
    pub header_fields: usize,
    /// Bytes of a request's target.
    pub target_bytes: usize,
    /// HTTP/2 streams a client may have open in one connection.
    pub streams: u32,
    /// Bytes of a request body kept for another try or for a mirror; a longer body is sent once and is not mirrored.
    pub replay_bytes: usize,
    /// Mirrored requests in flight on one worker; more are dropped and counted.
    pub mirrors: usize,
    /// Client connections open on one worker; more wait in the kernel's queue.
    pub connections: usize,
    /// Clients of UDP listeners served by one worker at a time, each with a socket and a port of its own towards its endpoint.
    /// A new one then takes the place of one that is not known to be more than a forged address, or is not served.
    pub sessions: usize,
    /// Idle upstream connections kept for one endpoint on one worker.
    pub idle_upstreams: usize,
}

/// How long the proxy waits for peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a client's TLS handshake, or the first message of TLS that passes through.
    pub handshake: Duration,
    /// For the rest of a request's head once it has begun.
    pub head: Duration,
    /// For the next request on an open client connection.
    pub idle: Duration,
    /// For a byte either way where a response has begun and its request has not ended.
    pub stream_idle: Duration,
    /// For a part of a request's body while the client is the one that is waited for.
    pub body: Duration,
    /// For a part of a response that the client does not take.
    pub response: Duration,
    /// Bytes a second that such parts must bring on average.
    pub body_rate: u64,
    /// For a connection to an endpoint.
    pub connect: Duration,
    /// For the proxy's first certificate when an endpoint is in the mesh.
    pub identity: Duration,
    /// For an endpoint's `100 Continue` (RFC 9110 §10.1.1: never without end).
    pub continue_: Duration,
    /// For the next use of an idle upstream connection.
    pub upstream_idle: Duration,
    /// For the next datagram between a client and its endpoint; the client's next one may then go to another.
    pub session: Duration,
}

// === impl ProxySettings ===

impl ProxySettings {
    /// The settings of a Gateway's proxy that nobody tuned.
    pub fn new(gateway: ObjectName) -> Self {
        Self {
            gateway,
            workers: fairway_runtime::workers::default_count(),
            identity: None,
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            access_log: AccessLog::default(),
            series: DEFAULT_SERIES,
            locality: Locality::default(),
        }
    }

    /// The key of this proxy's own endpoints, should it be a waypoint.
    pub fn waypoint_key(&self) -> BackendKey {
        BackendKey::of_waypoint(&self.gateway)
    }
}

// === impl Limits ===

impl Limits {
    /// The same, as far as a listener does not narrow them for its clients. It widens none.
    #[must_use]
    pub fn of_clients(self, listener: &ClientLimits) -> Self {
        let narrow = |own: usize, said: Option<u64>| {
            said.and_then(|it| usize::try_from(it).ok()).map_or(own, |it| it.min(own))
        };
        let streams = listener.streams.and_then(|it| u32::try_from(it).ok());
        Self {
            head_bytes: narrow(self.head_bytes, listener.header_bytes),
            header_fields: narrow(self.header_fields, listener.headers),
            streams: streams.map_or(self.streams, |it| it.min(self.streams)),
            ..self
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 64 * 1024,
            header_fields: 100,
            target_bytes: 16 * 1024,
            streams: 100,
            replay_bytes: 64 * 1024,
            mirrors: 128,
            connections: 32 * 1024,
            sessions: 8 * 1024,
            idle_upstreams: 256,
        }
    }
}

// === impl Timeouts ===

impl Timeouts {
    /// The same, with what a listener says for its clients.
    #[must_use]
    pub fn of_clients(self, listener: &ClientTimeouts) -> Self {
        let ClientTimeouts { handshake, request_headers, request_body, idle, stream_idle } = *listener;
        Self {
            handshake: handshake.unwrap_or(self.handshake),
            head: request_headers.unwrap_or(self.head),
            body: request_body.unwrap_or(self.body),
            idle: idle.unwrap_or(self.idle),
            stream_idle: stream_idle.unwrap_or(self.stream_idle),
            ..self
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake: Duration::ZERO,
            head: Duration::ZERO,
            idle: Duration::ZERO,
            stream_idle: Duration::ZERO,
            body: Duration::ZERO,
            response: Duration::from_secs(60),
            body_rate: 100,
            connect: Duration::from_secs(5),
            identity: Duration::from_secs(5),
            continue_: Duration::from_secs(1),
            upstream_idle: Duration::from_secs(55),
            session: Duration::from_secs(60),
        }
        .of_clients(&ClientTimeouts::BUILT_IN)
    }
}
