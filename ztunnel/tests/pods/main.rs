//! Real pods, real capture: two tunnels in one process, each with its pods, and everything on the wire looked at.
#![allow(clippy::unwrap_used, reason = "how a test fails")]

mod capture;
mod handoff;
mod mesh;
mod revocation;
mod smuggling;
mod sockets;
mod traffic;
