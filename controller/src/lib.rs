//! Reads the cluster, compiles it, serves it to the proxies, writes status, issues identities.
#![forbid(unsafe_code)]

pub mod admission;
mod apiserver;
pub mod ca;
mod capture;
pub mod check;
pub mod compile;
pub mod diagnostic;
pub mod events;
pub mod leader;
pub mod metrics;
pub mod name;
pub mod pipeline;
pub mod program;
pub mod provision;
pub mod resources;
pub mod serve;
pub mod source;
pub mod status;
