//! How a request or a connection ends. Each has one word, which metrics and logs share.

use http::StatusCode;

/// How a request or a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Both sides were done; of a request: the client has the whole response.
    Completed,
    /// It was not let in, or no route takes it. The reason says why.
    Refused,
    /// No endpoint could be reached.
    Unreachable,
    /// This side had no identity in time.
    NoIdentity,
    /// The client ended it before it was done.
    ClientAborted,
    /// The server ended it before it was done.
    ServerAborted,
    /// The route's time limit passed.
    TimedOut,
    /// A change of configuration ended it: what was allowed or routed when it began is so no longer.
    Revoked,
    /// Another one needed its place.
    Displaced,
    /// The end of the proxy or of the pod ended it.
    Terminated,
}

/// The class of a response's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResponseClass {
    /// 1xx: a connection that was upgraded.
    Informational,
    /// 2xx
    Success,
    /// 3xx
    Redirection,
    /// 4xx
    ClientError,
    /// 5xx
    ServerError,
    /// The client left before there was a response.
    None,
}

/// A connection past the mesh's mTLS, seen from a captured pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Plaintext {
    /// It came from outside the mesh, and was let in.
    LetIn,
    /// It came from outside the mesh, and was refused: the pod is strict, or authorization says no.
    Refused,
    /// Its node's kubelet probes: that is always plaintext, and no reason not to be strict.
    Probe,
    /// The pod opened it, to a destination that has no tunnel.
    Sent,
}

// === impl Outcome ===

impl Outcome {
    pub(crate) const LABELS: [&'static str; 10] = [
        "completed",
        "refused",
        "unreachable",
        "no_identity",
        "client_aborted",
        "server_aborted",
        "timed_out",
        "revoked",
        "displaced",
        "terminated",
    ];

    /// The word for metrics and logs.
    pub fn label(self) -> &'static str {
        Self::LABELS.get(self.index()).copied().unwrap_or_default()
    }

    pub(crate) fn index(self) -> usize {
        match self {
            Self::Completed => 0,
            Self::Refused => 1,
            Self::Unreachable => 2,
            Self::NoIdentity => 3,
            Self::ClientAborted => 4,
            Self::ServerAborted => 5,
            Self::TimedOut => 6,
            Self::Revoked => 7,
            Self::Displaced => 8,
            Self::Terminated => 9,
        }
    }
}

// === impl ResponseClass ===

impl ResponseClass {
    pub(crate) const LABELS: [&'static str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "none"];

    /// The class of a status; of no status if there was no response. A status beyond 599 counts as a server's error.
    pub fn of(status: Option<StatusCode>) -> Self {
        match status.map(|it| it.as_u16() / 100) {
            None => Self::None,
            Some(1) => Self::Informational,
            Some(2) => Self::Success,
            Some(3) => Self::Redirection,
            Some(4) => Self::ClientError,
            Some(_) => Self::ServerError,
        }
    }

    pub(crate) fn index(self) -> usize {
        match self {
            Self::Informational => 0,
            Self::Success => 1,
            Self::Redirection => 2,
            Self::ClientError => 3,
            Self::ServerError => 4,
            Self::None => 5,
        }
    }
}

// === impl Plaintext ===

impl Plaintext {
    pub(crate) const LABELS: [&'static str; 4] = ["let_in", "refused", "probe", "sent"];

    pub(crate) fn index(self) -> usize {
        match self {
            Self::LetIn => 0,
            Self::Refused => 1,
            Self::Probe => 2,
            Self::Sent => 3,
        }
    }
}
