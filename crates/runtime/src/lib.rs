//! Threads, drain, readiness, admin port, metrics and logs of every Fairway program.
#![forbid(unsafe_code)]

pub mod drain;
pub mod readiness;
pub mod transport;
pub mod workers;
