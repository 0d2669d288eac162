//! Pods out of network namespaces joined by a bridge, for the demo and the end-to-end tests.
//!
//! A program calls [`Sandbox::enter`] first of all; a test wraps itself in [`Sandbox::run_test`].
//!
//! # Guarantees
//!
//! - Both work as root and as an ordinary user whom the kernel lets make user namespaces; otherwise the error says what to type.
//! - Nothing is left behind, however the process ends: interfaces, namespaces and mounts belong to the sandbox's process.
//! - Only addresses of the network's subnets are reachable from a pod: nothing leaves the sandbox.
//!
//! # Example
//!
//! ```no_run
//! use fairway_testbed::{Network, Sandbox};
//! use std::net::SocketAddr;
//!
//! Sandbox::run_async_test("a_pod_is_reached", async |sandbox| {
//!     let network = Network::new(sandbox, &["10.42.0.1/16".parse().unwrap()]).unwrap();
//!     let client = network.add_pod("client", &["10.42.0.2".parse().unwrap()]).unwrap();
//!     let server = network.add_pod("server", &["10.42.0.3".parse().unwrap()]).unwrap();
//!     let address = SocketAddr::new(server.address().unwrap(), 8080);
//!     let listener = server.listen(address).await.unwrap();
//!     client.connect(address).await.unwrap();
//!     listener.accept().await.unwrap();
//! });
//! ```
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
