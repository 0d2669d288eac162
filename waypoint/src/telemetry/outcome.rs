//! How what the proxy knows of an end is called in records.

use crate::pipeline::Reason;
use crate::stream::{Carried, Refusal};
use fairway_telemetry::Outcome;

/// How a request ends that the proxy itself answers.
pub(super) fn of_reason(reason: Reason) -> Outcome {
    match reason {
        Reason::BadRequest(_)
        | Reason::Ambiguous(_)
        | Reason::Connect
        | Reason::BadTarget
        | Reason::TargetTooLong
        | Reason::TooManyFields
        | Reason::BadField
        | Reason::Expectation
        | Reason::NoListener
        | Reason::ListenerClosed
        | Reason::Misdirected
        | Reason::NoRoute
        | Reason::Denied
        | Reason::Loop
        | Reason::NoBackend
        | Reason::UnresolvedBackend
        | Reason::UnresolvedFilter
        | Reason::Filter
        | Reason::NotAuthorized => Outcome::Refused,
        Reason::NoEndpoint | Reason::Unreachable | Reason::TlsPolicy | Reason::Tls | Reason::Refused => {
            Outcome::Unreachable
        }

        Reason::NoIdentity => Outcome::NoIdentity,
        Reason::BadBody => Outcome::ClientAborted,
        Reason::Broken | Reason::Protocol => Outcome::ServerAborted,
        Reason::SlowBody | Reason::RequestTimeout | Reason::TryTimeout => Outcome::TimedOut,
    }
}

/// How a stream ends that is not carried.
pub(super) fn of_refusal(refusal: Refusal) -> Outcome {
    match refusal {
        Refusal::NotTls
        | Refusal::NoListener
        | Refusal::ListenerClosed
        | Refusal::NoProxyHeader
        | Refusal::Handshake
        | Refusal::NoRoute
        | Refusal::Denied
        | Refusal::NoBackend
        | Refusal::UnresolvedBackend
        | Refusal::ThroughWaypoint
        | Refusal::Full
        | Refusal::Draining => Outcome::Refused,
        Refusal::NoEndpoint | Refusal::Unreachable | Refusal::TlsPolicy | Refusal::Tls => {
            Outcome::Unreachable
        }
        Refusal::NoIdentity => Outcome::NoIdentity,
        Refusal::TooSlow => Outcome::TimedOut,
    }
}

/// How a stream ends that was carried.
pub(super) fn of_carried(carried: Carried) -> Outcome {
    match carried {
        Carried::Whole => Outcome::Completed,
        Carried::ClientBroke => Outcome::ClientAborted,
        Carried::EndpointBroke => Outcome::ServerAborted,
        Carried::CutOff => Outcome::Terminated,
        Carried::Moved => Outcome::Revoked,
        Carried::Displaced => Outcome::Displaced,
    }
}
