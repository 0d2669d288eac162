//! Load balancing: which endpoint of a Service gets a request or a connection.
//!
//! # Purpose
//!
//! The waypoint balances requests and the node tunnel balances connections. Both have to respect the same fields of a Service
//! and treat a failing endpoint alike. This crate makes the decisions for both. It opens no socket and reads no clock: the
//! caller passes the time, the random numbers, and what it has learned about each endpoint.
//!
//! A choice has two steps:
//!
//! 1. [`locality`] reduces the endpoints of a Service to the candidates of one client, when the configuration changes.
//! 2. [`pick`] chooses one of the candidates, for each request.
//!
//! Between them stands an [`EndpointRecord`] for each endpoint: its open requests, its latency, and its health.
//!
//! # Guarantees
//!
//! - **Locality.** An endpoint that the Service's `internalTrafficPolicy` excludes is never a candidate. While endpoints have
//!   hints for the client's node or zone (`trafficDistribution`), no other endpoint is a candidate.
//! - **Ejection.** An ejected endpoint gets no request while a healthy one is left, except the one half-open probe that decides
//!   whether it is readmitted.
//! - **Never all.** If every candidate is ejected, all of them are candidates again: [`pick`] returns `None` only for an empty
//!   list.
//! - **Fairness.** Candidates that are equally loaded are chosen equally often.
//! - **Affinity.** With a client key, the same client gets the same endpoint while that endpoint is healthy. If another
//!   endpoint is removed, no client of this one moves. All proxies of all versions agree without exchanging anything.
//! - **Cost.** [`pick`] looks at two candidates, whatever their number, unless they are ejected or excluded, or clients have
//!   affinity. It allocates nothing and takes no lock. An [`EndpointRecord`] consists of atomics that threads update without
//!   waiting for each other.
//!
//! # Example
//!
//! ```
//! use fairway_balance::{EndpointRecord, Health, Moment, Request, pick};
//! use rand::SeedableRng;
//! use std::sync::Arc;
//!
//! let endpoints: Vec<_> = (1..=3_u8)
//!     .map(|host| Arc::new(EndpointRecord::new(([10, 0, 0, host], 8080).into(), None)))
//!     .collect();
//! let mut rng = rand::rngs::SmallRng::seed_from_u64(7);
//!
//! // The first endpoint refuses a connection and is ejected for 100 ms.
//! endpoints[0].record_connect_failure(Moment(0));
//! assert_eq!(endpoints[0].health(Moment(99)), Health::Ejected);
//! for _ in 0..100 {
//!     let request = Request::at(Moment(50));
//!     let chosen = pick(&endpoints[..], &request, &mut rng, |_| false, |_| ()).expect("three candidates");
//!     assert_ne!(chosen, 0);
//! }
//!
//! // Then an active health check is due. `pick` reports it once, and the request goes elsewhere.
//! let mut due = Vec::new();
//! let request = Request::at(Moment(100));
//! while due.is_empty() {
//!     let chosen = pick(&endpoints[..], &request, &mut rng, |_| false, |index| due.push(index));
//!     assert_ne!(chosen, Some(0));
//! }
//! assert_eq!(due, [0]);
//!
//! // The check succeeds: one request becomes the half-open probe, and its response readmits the endpoint.
//! endpoints[0].record_check_success(Moment(110));
//! assert_eq!(endpoints[0].health(Moment(110)), Health::ProbeDue);
//! endpoints[0].record_response(Moment(120), None);
//! assert_eq!(endpoints[0].health(Moment(120)), Health::Healthy);
//! ```
#![forbid(unsafe_code)]

mod affinity;
mod ejection;
mod endpoint;
mod latency;
pub mod locality;
mod pick;

pub use affinity::HashKey;
pub use ejection::Health;
pub use endpoint::{EndpointRecord, InFlight};
pub use locality::Locality;
pub use pick::{Candidates, Readmission, Request, pick};

/// Milliseconds since an epoch that the caller chooses, such as the start of the process. Monotonic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

impl Moment {
    /// The moment `milliseconds` later.
    pub fn after(self, milliseconds: u64) -> Self {
        Self(self.0.saturating_add(milliseconds))
    }
}
