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
    /// 2xx, or the gRPC status OK.
    Success,
    /// 3xx: the client is sent elsewhere.
    Redirection,
    /// 4xx, or a gRPC status that blames the client.
    ClientError,
    /// 5xx, or a gRPC status that blames the server.
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

/// What a policy decided against a request or a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PolicyDecision {
    /// It is refused, because an enforced policy says so.
    Denied,
    /// It is let in, as the policy is only observed.
    WouldDeny,
}

/// What a limit decided against a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LimitDecision {
    /// It is refused, with 429.
    Limited,
    /// It passes, as the policy is only observed.
    WouldLimit,
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
    pub fn from_status(status: Option<StatusCode>) -> Self {
        match status.map(|it| it.as_u16() / 100) {
            None => Self::None,
            Some(1) => Self::Informational,
            Some(2) => Self::Success,
            Some(3) => Self::Redirection,
            Some(4) => Self::ClientError,
            Some(_) => Self::ServerError,
        }
    }

    /// The class of a gRPC response, which has the HTTP status 200 whatever became of the call: by its `grpc-status`, as
    /// the OpenTelemetry conventions tell a server's errors from a client's. None if that is no number.
    pub fn of_grpc(status: &[u8]) -> Option<Self> {
        match std::str::from_utf8(status).ok()?.parse().ok()? {
            0u32 => Some(Self::Success),
            // UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS, and what nobody has defined.
            2 | 4 | 12..=15 | 17.. => Some(Self::ServerError),
            1 | 3 | 5..=11 | 16 => Some(Self::ClientError),
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

// === impl PolicyDecision ===

impl PolicyDecision {
    pub(crate) const LABELS: [&'static str; 2] = ["denied", "would_deny"];

    pub(crate) fn index(self) -> usize {
        match self {
            Self::Denied => 0,
            Self::WouldDeny => 1,
        }
    }
}

// === impl LimitDecision ===

impl LimitDecision {
    pub(crate) const LABELS: [&'static str; 2] = ["limited", "would_limit"];

    pub(crate) fn index(self) -> usize {
        match self {
            Self::Limited => 0,
            Self::WouldLimit => 1,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_has_a_word_of_its_own() {
        let words: std::collections::BTreeSet<_> = Outcome::LABELS.into_iter().collect();
        assert_eq!(words.len(), Outcome::LABELS.len());
        assert_eq!(Outcome::Completed.label(), "completed");
        assert_eq!(Outcome::Terminated.label(), "terminated");
    }

    #[test]
    fn a_response_has_the_class_of_its_status() {
        let class = |status: u16| ResponseClass::from_status(StatusCode::from_u16(status).ok());
        for (status, label) in
            [(101, "1xx"), (204, "2xx"), (302, "3xx"), (404, "4xx"), (503, "5xx"), (799, "5xx")]
        {
            assert_eq!(ResponseClass::LABELS[class(status).index()], label, "{status}");
        }
        assert_eq!(ResponseClass::LABELS[ResponseClass::from_status(None).index()], "none");
    }

    #[test]
    fn a_grpc_response_has_the_class_of_its_grpc_status() {
        for (status, class) in [
            ("0", Some(ResponseClass::Success)),
            ("5", Some(ResponseClass::ClientError)),
            ("8", Some(ResponseClass::ClientError)),
            ("2", Some(ResponseClass::ServerError)),
            ("14", Some(ResponseClass::ServerError)),
            ("99", Some(ResponseClass::ServerError)),
            ("-1", None),
            ("", None),
        ] {
            assert_eq!(ResponseClass::of_grpc(status.as_bytes()), class, "{status}");
        }
    }
}
