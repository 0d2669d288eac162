//! Why a connection or a datagram is carried nowhere.

use crate::pipeline::Reason;

/// Why a connection is closed, or a datagram dropped, instead of being carried. Each has a word for metrics and the log;
/// the client is told nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The client does not speak TLS, or not well.
    NotTls,
    /// The client was too slow to say what it wants.
    TooSlow,
    /// No listener has the name.
    NoListener,
    /// The TLS handshake with the client failed.
    Handshake,
    /// No route for the listener, or for the name.
    NoRoute,
    /// The route has no backend to choose from.
    NoBackend,
    /// The route's backend leads nowhere.
    UnresolvedBackend,
    /// The backend has no endpoint that serves.
    NoEndpoint,
    /// No connection to an endpoint.
    Unreachable,
    /// The backend's BackendTLSPolicy cannot be met.
    TlsPolicy,
    /// No TLS session with an endpoint.
    Tls,
    /// The proxy has no certificate yet, and the endpoint takes mTLS only.
    NoIdentity,
    /// The backend is reached through its waypoint only, and that takes no datagrams.
    ThroughWaypoint,
    /// As many clients are served as the proxy has room for.
    Full,
    /// The proxy ends.
    Draining,
}

// === impl Refusal ===

impl Refusal {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::NotTls,
        Self::TooSlow,
        Self::NoListener,
        Self::Handshake,
        Self::NoRoute,
        Self::NoBackend,
        Self::UnresolvedBackend,
        Self::NoEndpoint,
        Self::Unreachable,
        Self::TlsPolicy,
        Self::Tls,
        Self::NoIdentity,
        Self::ThroughWaypoint,
        Self::Full,
        Self::Draining,
    ];

    /// The word for metrics and the log.
    pub fn label(self) -> &'static str {
        match self {
            Self::NotTls => "not_tls",
            Self::TooSlow => "too_slow",
            Self::NoListener => "no_listener",
            Self::Handshake => "handshake",
            Self::NoRoute => "no_route",
            Self::NoBackend => "no_backend",
            Self::UnresolvedBackend => "unresolved_backend",
            Self::NoEndpoint => "no_endpoint",
            Self::Unreachable => "unreachable",
            Self::TlsPolicy => "tls_policy",
            Self::Tls => "tls",
            Self::NoIdentity => "no_identity",
            Self::ThroughWaypoint => "through_waypoint",
            Self::Full => "full",
            Self::Draining => "draining",
        }
    }

    /// Its place in [`Self::ALL`].
    pub fn index(self) -> usize {
        Self::ALL.iter().position(|it| *it == self).unwrap_or_default()
    }
}

impl From<Reason> for Refusal {
    /// For what can go wrong on the way to an endpoint.
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::NoEndpoint => Self::NoEndpoint,
            Reason::NoIdentity => Self::NoIdentity,
            Reason::TlsPolicy => Self::TlsPolicy,
            Reason::Tls => Self::Tls,
            _ => Self::Unreachable,
        }
    }
}
