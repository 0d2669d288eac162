//! Threads, drain, readiness, admin port, metrics and logs of every Fairway program.
#![forbid(unsafe_code)]

pub mod admin;
pub mod descriptors;
pub mod drain;
pub mod http2;
pub mod logs;
pub mod metrics;
pub mod readiness;
pub mod settings;
pub mod signals;
pub mod transport;
pub mod workers;
