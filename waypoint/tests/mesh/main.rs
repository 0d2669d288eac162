//! A waypoint in the mesh: tunnels in and out. One file for each story.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code: a panic is the failure of the test that called it"
)]

#[path = "../support/mod.rs"]
mod support;

mod bytes;
mod fixtures;
mod required;
mod services;
mod shares;
mod tunnels;
mod withdrawal;
