//! Pods out of network namespaces joined by a bridge, for the demo and the end-to-end tests.
//!
//! A program calls [`Sandbox::enter`] first of all; a test wraps itself in [`Sandbox::run_test`]. Both work as root and as an
//! ordinary user, and leave nothing behind however they end.
#![forbid(unsafe_code)]

mod network;
mod pod;
mod sandbox;
pub mod segment;
mod wire;

pub use fairway_netns::Subnet;
pub use network::{Network, TestbedError};
pub use pod::Pod;
pub use sandbox::{Ended, Entered, Sandbox, SandboxError};
pub use wire::{Needle, Seen, Wire};
