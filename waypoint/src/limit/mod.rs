//! How often requests may come: the limits of policies, counted by this proxy alone.
//!
//! A [`Limiter`] counts for one limit of the configuration. A request takes a place in a bucket ([`Rate`]), or is told how long to
//! wait. Where clients are told apart each has a bucket of its own ([`KeyedBuckets`]), by a hash of what tells it apart
//! ([`ClientKey`]).
//!
//! All workers count in the same buckets, with atomics and without a lock: a client that asks often keeps nobody waiting. Time comes
//! in with each call ([`Nanos`]). Memory is bounded, for each limit, for each namespace and for the proxy ([`Rooms`]).

mod bucket;
mod client_key;
mod keyed;
mod limiter;
mod rate;
mod room;
#[cfg(test)]
mod tests;

pub use client_key::{ClientKey, Who};
pub use keyed::KeyedBuckets;
pub use limiter::{Limiter, Order, Refused};
pub use rate::{Nanos, Rate, Wait};
pub use room::{Room, Rooms};
