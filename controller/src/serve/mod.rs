//! Serves the compiled configuration to proxies: each gets what it needs, then what changes.
//!
//! [`Hub`] holds the configuration, encoded once for all; [`scope`] says who needs what; a session for each proxy sends
//! differences and hears answers; [`grpc`] and [`Hub::subscribe_channel`] bring proxies to it.

pub mod grpc;
mod hub;
mod hub_state;
pub mod scope;
mod session;
mod states;
#[cfg(test)]
mod tests;

pub use grpc::{Admission, Peer, Refused, StreamLifetime, Trusted};
pub use hub::Hub;
pub use states::{ProxyState, States};
