//! Reads the cluster, compiles it, serves it to the proxies, writes status, issues identities.
#![forbid(unsafe_code)]

pub mod ca;
pub mod compile;
pub mod resources;
pub mod serve;
pub mod status;
