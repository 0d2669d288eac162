//! Carrying connections: what [`crate::decide`] says, done with sockets.
//!
//! A pod's listeners are accepted on one worker, its home: a pod with few connections then has one tunnel to each peer, not
//! one a worker, and an idle pod costs three sockets, not three a worker. What a busy pod's home has too much of it hands
//! to the worker with the least.

mod account;
mod acquaintance;
mod budget;
mod fleet;
mod health;
mod inbound;
mod insecure;
mod link;
mod listener;
mod metrics;
mod outbound;
mod plaintext;
mod probe;
mod revocation;
mod worker;

pub(crate) use fleet::{Command, Fleet};
pub use listener::Listeners;
pub(crate) use metrics::Metrics;
pub(crate) use worker::{Worker, run};

/// By which of a pod's three doors a connection came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Door {
    /// From the pod.
    Outbound,
    /// To the pod, in a tunnel.
    Hbone,
    /// To the pod, outside a tunnel.
    Plaintext,
}
