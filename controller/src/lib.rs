//! Reads the cluster, compiles it, serves it to the proxies, writes status, issues identities.
#![forbid(unsafe_code)]

pub mod ca;
