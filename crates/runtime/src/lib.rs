//! Threads, drain, readiness, admin port, metrics and logs of every Fairway program.
//!
//! A program has one thread for each processor ([`workers`]) and one more for control. It is ready when every [`readiness`]
//! gate has opened, and ends in phases ([`drain`]).
//!
//! # Guarantees
//!
//! - A gate that opened stays open; one that is dropped before that keeps the program not ready.
//! - The phases of a drain come in order, each at most as long as its deadline. The end is reported as clean only if nothing
//!   had to be cut off.
//! - A log line is written by a thread of its own: who logs does not wait for the disk. Lines that are lost are counted.
//!
//! # Example
//!
//! ```
//! use fairway_runtime::readiness::Readiness;
//!
//! let readiness = Readiness::new();
//! let configuration = readiness.gate("the first configuration");
//! assert_eq!(readiness.pending(), ["the first configuration"]);
//! configuration.open();
//! assert!(readiness.is_ready());
//! ```
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
pub mod task;
pub mod transport;
pub mod workers;
