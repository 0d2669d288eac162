//! Why a connection is closed or a datagram dropped.

use crate::reason::Reason;

/// Why a connection is closed, or a datagram dropped. Metrics and log have a word for each; the client is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum L4Refusal {
    /// The first bytes are not a valid TLS ClientHello.
    NotTls,
    /// The ClientHello has not arrived in time.
    TooSlow,
    /// No listener matches the SNI.
    NoListener,
    /// The listener serves nobody.
    ListenerClosed,
    /// The connection does not begin with a header of the PROXY protocol from a trusted peer.
    NoProxyHeader,
    /// The listener finds its clients by a header of requests, and only bytes are seen.
    NoRequest,
    /// The TLS handshake with the client has failed.
    Handshake,
    /// The listener has no route, or none for the SNI.
    NoRoute,
    /// A policy does not let it pass.
    Denied,
    /// The route has no backend with a weight above 0.
    NoBackend,
    /// The drawn backend is not in the configuration, or its reference is not permitted.
    UnresolvedBackend,
    /// The backend has no serving endpoint.
    NoEndpoint,
    /// No endpoint has accepted a connection.
    Unreachable,
    /// The backend's BackendTLSPolicy is invalid.
    TlsPolicy,
    /// The TLS handshake with the endpoint has failed.
    Tls,
    /// The endpoint accepts only mTLS, and no certificate was issued for the proxy yet.
    NoIdentity,
    /// The Service requires its waypoint, and waypoints do not carry UDP.
    ThroughWaypoint,
    /// The client is this proxy itself, and its bytes have passed the route before, or too many.
    Loop,
    /// The proxy serves its maximum of clients.
    Full,
    /// The listener has its maximum of connections.
    ConnectionLimit,
    /// The proxy is draining and starts nothing new.
    Draining,
}

// === impl L4Refusal ===

impl L4Refusal {
    /// All variants, for the counters.
    pub const ALL: [Self; 21] = [
        Self::NotTls,
        Self::TooSlow,
        Self::NoListener,
        Self::ListenerClosed,
        Self::NoProxyHeader,
        Self::NoRequest,
        Self::Handshake,
        Self::NoRoute,
        Self::Denied,
        Self::NoBackend,
        Self::UnresolvedBackend,
        Self::NoEndpoint,
        Self::Unreachable,
        Self::TlsPolicy,
        Self::Tls,
        Self::NoIdentity,
        Self::ThroughWaypoint,
        Self::Loop,
        Self::Full,
        Self::ConnectionLimit,
        Self::Draining,
    ];

    /// The word for metrics and the log.
    pub fn label(self) -> &'static str {
        match self {
            Self::NotTls => "not_tls",
            Self::TooSlow => "too_slow",
            Self::NoListener => "no_listener",
            Self::ListenerClosed => "listener_closed",
            Self::NoProxyHeader => "no_proxy_header",
            Self::NoRequest => "no_request",
            Self::Handshake => "handshake",
            Self::NoRoute => "no_route",
            Self::Denied => "denied",
            Self::NoBackend => "no_backend",
            Self::UnresolvedBackend => "unresolved_backend",
            Self::NoEndpoint => "no_endpoint",
            Self::Unreachable => "unreachable",
            Self::TlsPolicy => "tls_policy",
            Self::Tls => "tls",
            Self::NoIdentity => "no_identity",
            Self::ThroughWaypoint => "through_waypoint",
            Self::Loop => "loop",
            Self::Full => "full",
            Self::ConnectionLimit => "connection_limit",
            Self::Draining => "draining",
        }
    }

    /// Its place in [`Self::ALL`].
    pub fn index(self) -> usize {
        Self::ALL.iter().position(|it| *it == self).unwrap_or_default()
    }
}

impl From<Reason> for L4Refusal {
    /// For what can go wrong on the way to an endpoint.
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::NoEndpoint => Self::NoEndpoint,
            Reason::NoIdentity => Self::NoIdentity,
            Reason::TlsPolicy => Self::TlsPolicy,
            Reason::Tls => Self::Tls,
            Reason::Loop => Self::Loop,
            _ => Self::Unreachable,
        }
    }
}
