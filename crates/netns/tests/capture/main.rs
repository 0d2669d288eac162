//! Each rule proves itself in real namespaces, over IPv4 and IPv6.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // all of it is tests

mod fence;
mod inbound;
mod mutation;
mod outbound;
mod smuggling;
mod stage;
mod state;
