//! How what the proxy knows of an end is called in records.

use crate::l4::{Carried, L4Refusal};
use crate::reason::Reason;
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
        | Reason::HeadTooLarge
        | Reason::BadField
        | Reason::Expectation
        | Reason::NoListener
        | Reason::ListenerClosed
        | Reason::Misdirected
        | Reason::NoRoute
        | Reason::Unauthenticated
        | Reason::UnresolvedAuthentication
        | Reason::Denied
        | Reason::Limited(_)
        | Reason::UnresolvedLimit
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
pub(super) fn of_refusal(refusal: L4Refusal) -> Outcome {
    match refusal {
        L4Refusal::NotTls
        | L4Refusal::NoListener
        | L4Refusal::ListenerClosed
        | L4Refusal::NoProxyHeader
        | L4Refusal::NoRequest
        | L4Refusal::Handshake
        | L4Refusal::NoRoute
        | L4Refusal::Denied
        | L4Refusal::NoBackend
        | L4Refusal::UnresolvedBackend
        | L4Refusal::ThroughWaypoint
        | L4Refusal::Loop
        | L4Refusal::Full
        | L4Refusal::Draining => Outcome::Refused,
        L4Refusal::NoEndpoint | L4Refusal::Unreachable | L4Refusal::TlsPolicy | L4Refusal::Tls => {
            Outcome::Unreachable
        }
        L4Refusal::NoIdentity => Outcome::NoIdentity,
        L4Refusal::TooSlow => Outcome::TimedOut,
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
