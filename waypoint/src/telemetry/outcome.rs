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
        | Reason::BodyTooLarge
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
        | L4Refusal::ConnectionLimit
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Who reads a word in a log or on a graph finds it explained.
    #[test]
    fn every_reason_has_a_row_in_the_documentation_and_every_row_is_a_reason() {
        let page = include_str!("../../../docs/observability.md");
        let (_, section) = page.split_once("\n### Reasons at Gateways and waypoints\n").unwrap();
        let (section, _) = section.split_once("\n### ").unwrap();
        let mut documented = BTreeSet::new();
        for row in section.lines().filter(|it| it.starts_with("| `")) {
            let [words, of, _] = row.split(" | ").collect::<Vec<_>>()[..] else { panic!("{row}") };
            for word in words.trim_start_matches("| ").split(", ") {
                documented.insert((word.trim_matches('`'), of));
            }
        }
        let requests: BTreeSet<&str> = Reason::LABELS.into_iter().chain(["closed"]).collect();
        let streams: BTreeSet<&str> = L4Refusal::ALL.map(L4Refusal::label).into_iter().collect();
        let shown = requests.union(&streams).map(|word| {
            let of = match (requests.contains(word), streams.contains(word)) {
                (true, true) => "both",
                (true, false) => "requests",
                _ => "streams",
            };
            (*word, of)
        });
        assert_eq!(documented, shown.collect());
    }
}
