//! What policies say of a request or a connection, as the log has it.

use fairway_config::model::{AuthenticationKey, RateLimitKey};
use fairway_policy::PolicyRefusal;
use fairway_telemetry::{RuleName, describe_denial};

/// Why a connection or a request would be refused if what is only observed were enforced.
pub(crate) type Observed = Option<PolicyRefusal>;

/// Why a connection is refused of which only the bytes are known.
#[derive(Clone, Debug)]
pub(crate) enum BytesRefusal {
    /// Who connects may not.
    Policy(PolicyRefusal),
    /// The limits count requests, and nobody can count what is no request.
    Limits(RateLimitKey),
    /// Bytes carry no credentials.
    Authentication(AuthenticationKey),
}

// === impl BytesRefusal ===

impl From<PolicyRefusal> for BytesRefusal {
    fn from(refusal: PolicyRefusal) -> Self {
        Self::Policy(refusal)
    }
}

/// Why a connection is refused, in words for the log.
pub(crate) fn describe_bytes_refusal(refusal: &BytesRefusal) -> String {
    match refusal {
        BytesRefusal::Policy(refusal) => format!("denied by {}", describe_denial(refusal)),
        BytesRefusal::Limits(key) => {
            format!("closed by {}: it counts requests, and these bytes are none", describe_limits(key))
        }
        BytesRefusal::Authentication(key) => {
            format!("closed by policy=\"{}\": bytes that are no request have no credentials", key.policy())
        }
    }
}

/// A limit in words for the log: the client is not told which one it met.
pub(crate) fn describe_limit(key: &RateLimitKey, limit: &RuleName) -> String {
    format!("{} limit=\"{limit}\"", describe_limits(key))
}

/// The policy that limits come from, in words for the log.
pub(crate) fn describe_limits(key: &RateLimitKey) -> String {
    format!("policy=\"{}\"", key.policy())
}
