//! Carries connections: does with sockets what [`crate::decide`] decides.
//!
//! One worker accepts from all three listeners of a pod. A pod with few connections then has one tunnel to each peer, not one on
//! each worker, and an idle pod costs three sockets. A worker that is far busier than another passes accepted connections on.

mod accept;
mod account;
mod budget;
mod connector;
mod inbound;
mod listener;
mod metrics;
mod outbound;
mod plaintext;
mod prerequisites;
mod probe;
mod program_socket;
mod relay;
mod revocation;
mod upstreams;
mod worker;
mod worker_pool;

pub(crate) use accept::run;
pub use listener::Listeners;
pub(crate) use metrics::{Counters, Metrics};
pub(crate) use worker::Worker;
pub(crate) use worker_pool::{Command, WorkerPool};

/// On which of a pod's three listeners a connection was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Direction {
    /// From the pod: captured by the rules, port 15001.
    Outbound,
    /// To the pod, in an HBONE tunnel, port 15008.
    Inbound,
    /// To the pod, in plaintext: captured by the rules, port 15006.
    Plaintext,
}

// === impl Direction ===

impl Direction {
    /// As metrics, logs and the admin port have it.
    pub(crate) fn label(self) -> &'static str {
        fairway_telemetry::Direction::from(self).label()
    }
}

impl From<Direction> for fairway_telemetry::Direction {
    fn from(direction: Direction) -> Self {
        match direction {
            Direction::Outbound => Self::Outbound,
            Direction::Inbound => Self::Inbound,
            Direction::Plaintext => Self::Plaintext,
        }
    }
}
