//! Every state in which a client can keep a connection of a Gateway ends: docs/limits.md has the table. Where the kernel has no part in it,
//! time is paused.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code: a panic is the failure of the test that called it"
)]

#[path = "../support/mod.rs"]
mod support;

mod memory;
mod sockets;
